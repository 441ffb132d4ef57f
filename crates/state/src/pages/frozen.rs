//! Pages as they were when a snapshot was taken, for the thread that writes it.
//!
//! The pages stay where they are and stay the table's. Whoever wants to change one that a snapshot may
//! still read gives the snapshot a copy first. Each page of a snapshot has a lock with the copy behind
//! it; the story of a page is:
//!
//! 1. [`Pages::freeze`](super::Pages::freeze) marks all pages. The table writes to no marked page.
//! 2. The snapshot locks the page, sees no copy, and reads from the table's memory while it holds the lock.
//! 3. The table wants to write: it locks the page, puts the copy there, unlocks, takes the mark away
//!    and writes. From now on the snapshot finds the copy.
//!
//! So the table waits at most while some rows are copied out of just that page. A snapshot that is
//! dropped takes its copies with it, and pages that are still marked are freed of the mark when they
//! are written to. Blocks of memory are shared, so a snapshot outlives its table.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

use super::{Block, page_log2};
use crate::memory::prefetch;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows as they were.
pub(crate) struct FrozenPages {
    stride: usize,
    /// A page holds 2 to the power of this rows.
    page_log2: u32,
    /// Rows that had been given out.
    made: u32,
    /// The first byte of each page, in memory that `_blocks` keeps.
    starts: Vec<*const u8>,
    /// What the table had to change since: the page as it was.
    copies: Vec<Mutex<Option<Arc<[u8]>>>>,
    _blocks: Vec<Arc<Block>>,
}

// SAFETY: the pointers lead into blocks that live as long as `self`, and are read only by `PageView`,
// which excludes writers by a lock.
unsafe impl Send for FrozenPages {}
// SAFETY: as above.
unsafe impl Sync for FrozenPages {}

/// A page of a snapshot, while its rows are read.
pub(crate) struct PageView<'a> {
    pages: &'a FrozenPages,
    page: usize,
    copy: MutexGuard<'a, Option<Arc<[u8]>>>,
}

impl FrozenPages {
    /// # Safety
    /// Each of `starts` leads to a page of rows of this stride in one of `blocks`: `made` rows in
    /// all. For as long as `self` lives, nobody writes to one of them before [`keep`](Self::keep)
    /// has returned for it.
    pub(super) unsafe fn new(
        stride: usize,
        made: u32,
        starts: Vec<*const u8>,
        blocks: Vec<Arc<Block>>,
    ) -> Self {
        let copies = starts.iter().map(|_| Mutex::new(None)).collect();
        Self { stride, page_log2: page_log2(stride), made, starts, copies, _blocks: blocks }
    }

    /// Keeps a copy of the page, if it has this page at this place and no copy yet.
    pub(super) fn keep(&self, page: usize, start: *const u8, copy: &mut impl FnMut() -> Arc<[u8]>) {
        if self.starts.get(page) == Some(&start) {
            self.lock(page).get_or_insert_with(copy);
        }
    }

    fn lock(&self, page: usize) -> MutexGuard<'_, Option<Arc<[u8]>>> {
        // Nothing behind the lock can be half done.
        self.copies[page].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the page with this row.
    #[inline]
    pub(crate) fn page_of(&self, row: u32) -> usize {
        ((row - 1) >> self.page_log2) as usize
    }

    /// Where the row begins in its page.
    #[inline]
    fn offset(&self, row: u32) -> usize {
        ((row - 1) & ((1 << self.page_log2) - 1)) as usize * self.stride
    }

    /// Opens a page. Held only while rows are copied out of it: the table may be waiting.
    pub(crate) fn view(&self, page: usize) -> PageView<'_> {
        PageView { pages: self, page, copy: self.lock(page) }
    }

    /// Brings the begin of a row near, unless it has been copied.
    pub(crate) fn prefetch(&self, row: u32) {
        prefetch(self.starts[self.page_of(row)].wrapping_add(self.offset(row)));
    }

    /// What copies take.
    #[cfg(test)]
    pub(crate) fn copied_bytes(&self) -> usize {
        let copy = |page| self.lock(page).as_ref().map_or(0, |copy| copy.len());
        (0..self.copies.len()).map(copy).sum()
    }
}

impl PageView<'_> {
    /// The bytes of a row of this page that had been given out.
    #[inline]
    pub(crate) fn row(&self, row: u32) -> &[u8] {
        let FrozenPages { stride, made, starts, .. } = self.pages;
        assert!(self.pages.page_of(row) == self.page && row <= *made);
        let at = self.pages.offset(row);
        match self.copy.as_deref() {
            Some(copy) => &copy[at..at + stride],
            // SAFETY: the row had been given out, so it lies in its page, which is initialised. By
            // the promise to `new` nobody writes to the page before `keep` has put a copy behind the
            // lock that is held here, and there is none.
            None => unsafe { std::slice::from_raw_parts(starts[self.page].add(at), *stride) },
        }
    }
}
