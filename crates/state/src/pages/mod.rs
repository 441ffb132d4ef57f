//! Rows of one size in pages, known by their numbers.
//!
//! A page holds a power of two of rows in about 64 KiB and stays where it is, save the first: that
//! one starts with 1 KiB and is copied to twice the size until it is whole, so that a small table is
//! small. Beyond 2 MiB, pages are cut from huge pages.
//!
//! Row numbers start at 1; 0 is nobody and [`Pages::get`] finds nothing there, so that "no candidate"
//! costs no test of its own. The numbers of freed rows form a list through the rows themselves.
//!
//! Every access says the stride that the caller was compiled for: the length of the slice is then a
//! constant there, and codecs compile to plain loads and stores.
//!
//! A snapshot marks all pages ([`Pages::freeze`]): it may read them from now on. [`Pages::get_mut`] is the
//! only way to a row that can change; where it meets a mark, it gives the snapshot a copy of the page first.
//! While no page is marked it makes no test of its own: the bound of row numbers, which is tested
//! anyway, is then where it ought to be, and zero otherwise. `frozen` has the other side.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

mod frozen;

pub(crate) use frozen::{FrozenPages, PageView};

use crate::memory::{HUGE_PAGE, LINE, Zeroed, prefetch};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

/// The most bytes of a page with more than one row.
const PAGE_BYTES: usize = 64 << 10;

/// The size with which the first page starts.
const FIRST_BYTES: usize = 1 << 10;

/// A freed row holds the number of the next one.
const LINK: usize = 4;

/// The most rows that have numbers: 0 is nobody, and the index keeps the greatest for itself.
pub(crate) const ROWS_MAX: u32 = u32::MAX - 1;

/// Rows of `stride` bytes.
pub(crate) struct Pages {
    stride: usize,
    /// The first byte of each page. Invariant: the first `made` rows lie in these pages, in memory
    /// that `blocks` keeps and that no other page has.
    starts: Vec<*mut u8>,
    /// Of each page: a snapshot may read it, so that it must not be written to.
    marks: Vec<bool>,
    /// How many marks there are.
    marked: usize,
    /// As `made`, or 0 while there are marks.
    writable: u32,
    /// The memory of the pages: one page each at first, later as many as fit into a huge page.
    blocks: Vec<Arc<Block>>,
    /// Bytes of the last block that belong to pages.
    cut: usize,
    /// Rows that have been given out at least once; those with the numbers 1 to `made`.
    made: u32,
    /// Rows for which there is memory.
    room: u32,
    /// The first freed row, or 0.
    free: u32,
    /// Rows that may be made: smaller in tests.
    rows_max: u32,
    /// Those who may read marked pages.
    snapshots: Vec<Weak<FrozenPages>>,
}

// SAFETY: the pointers lead into blocks that are shared with snapshots only, which the marks keep
// apart from writers.
unsafe impl Send for Pages {}

/// Memory of pages, shared by a table and its snapshots. It keeps the memory and gives no access to
/// it but the address; see `Pages` and `FrozenPages` for what is done with that.
struct Block(Zeroed<u8>);

/// What the counters of an `Arc` take.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// The size of a row whose cells take `bytes`: a power of two up to a cache line, which no row then
/// crosses, and whole lines beyond.
pub(crate) const fn stride_for(bytes: usize) -> usize {
    if bytes <= 8 {
        8
    } else if bytes <= LINE {
        bytes.next_power_of_two()
    } else {
        bytes.next_multiple_of(LINE)
    }
}

/// A page holds 2 to the power of this rows. A constant where the stride is one.
#[inline(always)]
const fn page_log2(stride: usize) -> u32 {
    if stride > PAGE_BYTES {
        return 0;
    }
    (PAGE_BYTES / stride).ilog2()
}

impl Pages {
    /// No rows and no memory.
    pub(crate) fn new(stride: usize) -> Self {
        assert!(stride >= LINK);
        Self {
            stride,
            starts: Vec::new(),
            marks: Vec::new(),
            marked: 0,
            writable: 0,
            blocks: Vec::new(),
            cut: 0,
            made: 0,
            room: 0,
            free: 0,
            rows_max: ROWS_MAX,
            snapshots: Vec::new(),
        }
    }

    /// Lets the numbers run out early.
    #[cfg(test)]
    pub(crate) fn limit(&mut self, rows_max: u32) {
        self.rows_max = rows_max;
    }

    /// The bytes of a row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The numbers of the rows that were ever given out are below this.
    pub(crate) fn end(&self) -> u32 {
        self.made + 1
    }

    /// What the pages and the lists of them take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let block = |block: &Arc<Block>| block.0.bytes() + size_of::<Block>() + ARC_BYTES;
        let blocks: usize = self.blocks.iter().map(block).sum();
        blocks
            + self.blocks.capacity() * size_of::<Arc<Block>>()
            + self.starts.capacity() * size_of::<*mut u8>()
            + self.marks.capacity() * size_of::<bool>()
            + self.snapshots.capacity() * size_of::<Weak<FrozenPages>>()
    }

    /// Where a row is, if its number is not above `end`, which is at most `made`.
    #[inline(always)]
    fn find(&self, row: u32, end: u32, stride: usize) -> Option<*mut u8> {
        assert!(stride == self.stride);
        let at = row.wrapping_sub(1);
        if at >= end {
            return None;
        }
        let page_log2 = page_log2(stride);
        let within = at & ((1 << page_log2) - 1);
        // SAFETY: `at` is below `made`: by the invariant its page is there, and its row in it.
        unsafe {
            let start = *self.starts.get_unchecked((at >> page_log2) as usize);
            Some(start.add(within as usize * stride))
        }
    }

    /// The bytes of a row; nothing for number 0. What a freed row holds means nothing.
    #[inline(always)]
    pub(crate) fn get(&self, row: u32, stride: usize) -> Option<&[u8]> {
        let start = self.find(row, self.made, stride)?;
        // SAFETY: by the invariant these are `stride` initialised bytes, which only `get_mut`
        // changes; borrowed as long as `self`.
        Some(unsafe { std::slice::from_raw_parts(start, stride) })
    }

    /// The bytes of a row, to be changed.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, row: u32, stride: usize) -> Option<&mut [u8]> {
        let start = match self.find(row, self.writable, stride) {
            Some(start) => start,
            None => self.find_beside_marks(row, stride)?,
        };
        // SAFETY: as in `get`, and `self` is borrowed alone; rows do not overlap. The page is not
        // marked, so no snapshot reads it.
        Some(unsafe { std::slice::from_raw_parts_mut(start, stride) })
    }

    /// Where a row is, in a page without a mark.
    #[inline]
    fn find_beside_marks(&mut self, row: u32, stride: usize) -> Option<*mut u8> {
        let start = self.find(row, self.made, stride)?;
        let page = ((row - 1) >> page_log2(stride)) as usize;
        if self.marks[page] {
            self.thaw(page);
        }
        Some(start)
    }

    /// All rows as they are now, for another thread. Pages are copied when they are next written to.
    pub(crate) fn freeze(&mut self) -> Arc<FrozenPages> {
        self.snapshots.retain(|snapshot| is_read(snapshot).is_some());
        let starts = self.starts.iter().map(|start| start.cast_const()).collect();
        // SAFETY: by the invariant of `starts`. The marks, set below, make `get_mut` call `keep`
        // before it gives access to a page, for every snapshot in the list.
        let frozen =
            unsafe { FrozenPages::new(self.stride, self.made, starts, self.blocks.clone()) };
        let frozen = Arc::new(frozen);
        self.marks.fill(true);
        self.marked = self.marks.len();
        self.bound_writes();
        self.snapshots.push(Arc::downgrade(&frozen));
        frozen
    }

    /// Takes the mark from a page: snapshots that may read it get a copy.
    #[cold]
    #[inline(never)]
    fn thaw(&mut self, page: usize) {
        let start = self.starts[page];
        let rows = if self.starts.len() == 1 { self.room } else { 1 << page_log2(self.stride) };
        // SAFETY: the page has so many rows, all initialised; nobody writes while it is marked.
        let bytes = unsafe { std::slice::from_raw_parts(start, rows as usize * self.stride) };
        let mut shared = None;
        let mut copy = || Arc::clone(shared.get_or_insert_with(|| Arc::from(bytes)));
        self.snapshots.retain(|snapshot| match is_read(snapshot) {
            Some(snapshot) => {
                snapshot.keep(page, start, &mut copy);
                true
            }
            None => false,
        });
        if self.snapshots.is_empty() {
            self.unmark_all();
        } else {
            self.marks[page] = false;
            self.marked -= 1;
        }
        self.bound_writes();
    }

    fn unmark_all(&mut self) {
        self.marks.fill(false);
        self.marked = 0;
    }

    /// To be called when `made` or `marked` has changed.
    fn bound_writes(&mut self) {
        self.writable = if self.marked == 0 { self.made } else { 0 };
    }

    /// Brings a row near.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        /// Longer rows are left to the hardware, which sees that lines follow each other.
        const BYTES_MAX: usize = 4 * LINE;
        if let Some(start) = self.find(row, self.made, self.stride) {
            let mut line = 0;
            while line < self.stride.min(BYTES_MAX) {
                prefetch(start.wrapping_add(line));
                line += LINE;
            }
        }
    }

    /// Gives out a row that was freed or a new one, with any content; nothing if the numbers have
    /// run out.
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        if self.free != 0 {
            let row = self.free;
            let link = self.get(row, self.stride)?.first_chunk::<LINK>()?;
            self.free = u32::from_le_bytes(*link);
            return Some(row);
        }
        if self.made == self.rows_max {
            return None;
        }
        if self.made == self.room {
            self.grow();
        }
        self.made += 1;
        self.bound_writes();
        Some(self.made)
    }

    /// Takes a row back.
    pub(crate) fn free(&mut self, row: u32) {
        let next = self.free.to_le_bytes();
        let bytes = self.get_mut(row, self.stride).expect("the row was given out");
        bytes[..LINK].copy_from_slice(&next);
        self.free = row;
    }

    #[cold]
    fn grow(&mut self) {
        let page_rows = 1 << page_log2(self.stride);
        if self.room == 0 || self.room < page_rows {
            self.grow_first_page(page_rows);
        } else {
            let start = self.cut_page(page_rows as usize * self.stride);
            self.starts.push(start);
            self.marks.push(false);
            self.room = self.room.saturating_add(page_rows);
        }
    }

    /// Moves to a larger first page. The old one is left to snapshots as it is.
    fn grow_first_page(&mut self, page_rows: u32) {
        let first_rows = (FIRST_BYTES / self.stride).max(1).next_power_of_two() as u32;
        let rows = (self.room * 2).max(first_rows).min(page_rows);
        let mut page = Zeroed::new(rows as usize * self.stride);
        for row in 1..=self.made {
            let at = (row - 1) as usize * self.stride;
            let bytes = self.get(row, self.stride).expect("given out");
            page[at..at + self.stride].copy_from_slice(bytes);
        }
        self.cut = page.len();
        self.starts.clear();
        self.starts.push(page.start().as_ptr());
        self.marks.clear();
        self.marks.push(false);
        self.unmark_all();
        self.bound_writes();
        self.blocks.clear();
        self.blocks.push(Arc::new(Block(page)));
        self.room = rows;
    }

    /// The next page: from what is left of the last block, or from a new one.
    fn cut_page(&mut self, page_bytes: usize) -> *mut u8 {
        let left = self.blocks.last().map_or(0, |block| block.0.len() - self.cut);
        if left < page_bytes {
            let single = self.starts.len() * page_bytes < HUGE_PAGE;
            let block_bytes = if single { page_bytes } else { page_bytes.max(HUGE_PAGE) };
            self.blocks.push(Arc::new(Block(Zeroed::new(block_bytes))));
            self.cut = 0;
        }
        let block = self.blocks.last().expect("there is room in a block");
        // SAFETY: `cut + page_bytes` is within the block; the page does not overlap another one,
        // because `cut` only moves on.
        let start = unsafe { block.0.start().add(self.cut) };
        self.cut += page_bytes;
        start.as_ptr()
    }
}

/// The snapshot, if somebody may still read from it.
fn is_read(snapshot: &Weak<FrozenPages>) -> Option<Arc<FrozenPages>> {
    let found = snapshot.upgrade();
    if found.is_none() {
        // What its last reader read comes before what is written now.
        fence(Ordering::Acquire);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(pages: &Pages, row: u32, stride: usize) -> u64 {
        let bytes = pages.get(row, stride).expect("given out");
        u64::from_le_bytes(*bytes.first_chunk().expect("at least 8 bytes"))
    }

    #[test]
    fn rows_of_every_stride_keep_their_content_while_pages_are_added() {
        for (stride, rows) in [
            (8, 400_000_u32),
            (16, 300_000),
            (48, 60_000),
            (4096, 700),
            (100_032, 40),
            (3 << 20, 3),
        ] {
            let mut pages = Pages::new(stride);
            for expected in 1..=rows {
                let row = pages.allocate().expect("numbers are left");
                assert_eq!(row, expected);
                let bytes = pages.get_mut(row, stride).expect("given out");
                assert_eq!(bytes.as_ptr() as usize % LINE.min(stride & stride.wrapping_neg()), 0);
                bytes.fill(0xFF);
                bytes[..8].copy_from_slice(&u64::from(row).to_le_bytes());
            }
            for row in 1..=rows {
                assert_eq!(number(&pages, row, stride), u64::from(row), "stride {stride}");
            }
            assert!(pages.memory_bytes() >= rows as usize * stride);
        }
    }

    #[test]
    fn nobody_and_rows_not_given_out_are_not_found() {
        let mut pages = Pages::new(16);
        assert!(pages.get(0, 16).is_none() && pages.get(1, 16).is_none());
        pages.allocate();
        assert!(pages.get(0, 16).is_none() && pages.get(2, 16).is_none());
        assert!(pages.get(u32::MAX, 16).is_none());
    }

    #[test]
    fn freed_rows_are_given_out_again_before_new_ones() {
        let mut pages = Pages::new(8);
        let rows: Vec<u32> = (0..10).filter_map(|_| pages.allocate()).collect();
        pages.free(rows[3]);
        pages.free(rows[7]);
        assert_eq!(pages.allocate(), Some(rows[7]));
        assert_eq!(pages.allocate(), Some(rows[3]));
        assert_eq!(pages.allocate(), Some(11));
    }

    #[test]
    fn numbers_run_out_at_the_limit_and_come_back_when_freed() {
        let mut pages = Pages::new(8);
        pages.limit(100);
        for _ in 0..100 {
            assert!(pages.allocate().is_some());
        }
        assert_eq!(pages.allocate(), None);
        pages.free(5);
        assert_eq!(pages.allocate(), Some(5));
        assert_eq!(pages.allocate(), None);
    }

    #[test]
    fn strides_are_powers_of_two_up_to_a_line_and_whole_lines_beyond() {
        let strides = [0, 1, 8, 9, 16, 20, 24, 32, 33, 64, 65, 128, 129].map(stride_for);
        assert_eq!(strides, [8, 8, 8, 16, 16, 32, 32, 32, 64, 64, 128, 128, 192]);
    }
}
