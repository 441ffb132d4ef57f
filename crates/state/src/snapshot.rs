//! [`FrozenKeyedTable`]: a table as it was at a barrier, for the thread that writes it.
//!
//! Rows lie in the order in which their keys came; a state file has them by key group. Writing goes
//! over the pages in order and notes each row's group (2 bytes per row), then orders row numbers by
//! counting, as many groups at once as [`ORDERED_MAX`] rows allow (4 bytes per row), and then copies
//! rows group by group. Within a group rows stay in order, so the copying is one sweep over the pages
//! per group, with what comes next on its way from memory. A large table is noted and ordered by two
//! threads, in two [`Stretch`]es.
//!
//! What is stored in cells and slabs is the encoding already: of the types only the hash of a key's
//! encoding is needed.
//!
//! All of this is done by a thread of its own (`beside`) where there is much of it.

mod beside;

use crate::bits::{Bits, rows_of_word};
use crate::cell::{Stored, stored};
use crate::changes::FrozenChanges;
use crate::pages::{FrozenPages, PageView};
use crate::parallel::{in_parallel, threads_for};
use crate::slabs::FrozenSlabs;
use beside::beside;
use millstream_checkpoint::snapshot::{FrozenTable, RowSink, SnapshotError};
use millstream_checkpoint::state_file::BLOCK_BYTES;
use millstream_core::key_group::{KeyGroup, MaxParallelism};
use std::ops::Range;
use std::sync::Arc;

/// As many row numbers are in order at a time: 64 MiB, or those of one group.
const ORDERED_MAX: usize = 16 << 20;

/// Rows are brought near so far ahead.
const AHEAD: usize = 16;

/// So many rows are worth a thread that encodes them.
const ROWS_BESIDE: u64 = 64 << 10;

/// How key and value lie in a row.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Bytes of the key's cell.
    pub(crate) key: usize,
    /// The cell is the encoding.
    pub(crate) key_is_fixed: bool,
    /// Bytes of the value's cell, which follows.
    pub(crate) value: usize,
    /// The cell is the encoding.
    pub(crate) value_is_fixed: bool,
    /// Bytes of the row.
    pub(crate) stride: usize,
    /// The hash of a key from its encoding.
    pub(crate) hash: fn(&[u8]) -> u64,
}

/// The content of a [`KeyedTable`](crate::KeyedTable) at one point. What it holds is freed when it is
/// dropped, written or not.
pub struct FrozenKeyedTable {
    layout: Layout,
    max: MaxParallelism,
    live: Bits,
    rows: Arc<FrozenPages>,
    slabs: FrozenSlabs,
    changes: Option<FrozenChanges>,
}

impl FrozenKeyedTable {
    pub(crate) fn new(
        layout: Layout,
        max: MaxParallelism,
        live: Bits,
        rows: Arc<FrozenPages>,
        slabs: FrozenSlabs,
        changes: Option<FrozenChanges>,
    ) -> Self {
        Self { layout, max, live, rows, slabs, changes }
    }

    /// What was copied because the table has changed it since.
    #[cfg(test)]
    pub(crate) fn copied_bytes(&self) -> usize {
        self.rows.copied_bytes() + self.slabs.copied_bytes()
    }

    /// Writes the rows of these words of 64, with the removed keys of each group before them.
    fn write_selected(
        &self,
        words: impl Fn(usize) -> u64 + Sync,
        removed: &[(KeyGroup, &[u8])],
        out: &mut dyn RowSink,
    ) -> Result<(), SnapshotError> {
        let each = 0..self.live.words().len();
        let rows: u64 = each.map(|at| u64::from(words(at).count_ones())).sum();
        if rows < ROWS_BESIDE {
            return self.encode_selected(&words, removed, out);
        }
        beside(|out| self.encode_selected(&words, removed, out), out)
    }

    /// The same on the thread that calls it.
    fn encode_selected(
        &self,
        words: &(impl Fn(usize) -> u64 + Sync),
        removed: &[(KeyGroup, &[u8])],
        out: &mut dyn RowSink,
    ) -> Result<(), SnapshotError> {
        let stretches = self.stretches(words);
        let count = |group: usize| stretches.iter().map(|stretch| stretch.counts[group]).sum();
        let counts: Vec<u32> = (0..self.max.get() as usize).map(count).collect();
        let mut removed = Removed { left: removed, block: Vec::new() };
        let mut block = Vec::with_capacity(BLOCK_BYTES + 1024);
        let mut slice = 0..0;
        while slice.end < counts.len() {
            slice = next_slice(&counts, slice.end);
            let order = |stretch: &Stretch| stretch.order(words, slice.clone());
            let orders: Vec<Vec<u32>> =
                in_parallel(stretches.iter().map(|stretch| move || order(stretch)).collect());
            let mut rows: Vec<&[u32]> = orders.iter().map(Vec::as_slice).collect();
            for group in slice.clone() {
                let of_group = rows.iter_mut().zip(&stretches).map(|(rows, stretch)| {
                    let (of_group, rest) = rows.split_at(stretch.counts[group] as usize);
                    *rows = rest;
                    of_group
                });
                let of_group: Vec<&[u32]> = of_group.collect();
                let group = KeyGroup::new(group as u32).expect("a group of this table");
                removed.write(group, out)?;
                self.write_group(group, &of_group, &mut block, out)?;
            }
        }
        Ok(())
    }

    /// The rows of these words, in a few stretches.
    fn stretches(&self, words: &(impl Fn(usize) -> u64 + Sync)) -> Vec<Stretch> {
        let all = self.live.words().len();
        let threads = threads_for(64 * all);
        let each = all.div_ceil(threads);
        let stretch = |i: usize| i * each..((i + 1) * each).min(all);
        let works = (0..threads).map(|i| move || self.stretch(words, stretch(i)));
        in_parallel(works.collect())
    }

    /// Notes the key group of each row of a stretch.
    fn stretch(&self, words: &impl Fn(usize) -> u64, range: Range<usize>) -> Stretch {
        let mut groups = Vec::new();
        let mut counts = vec![0; self.max.get() as usize];
        let mut pages = Reader::new(&self.rows);
        for row in selected(words, range.clone()) {
            let cells = pages.row(row);
            let group = KeyGroup::of_hash(self.hash(&cells[..self.layout.key]), self.max);
            counts[group.index() as usize] += 1;
            groups.push(group.index() as u16);
        }
        Stretch { words: range, groups, counts }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let hash = self.layout.hash;
        match stored(key, self.layout.key_is_fixed) {
            Stored::Here(key) => hash(key),
            Stored::At(place) => self.slabs.with(place, hash),
        }
    }

    fn write_group(
        &self,
        group: KeyGroup,
        stretches: &[&[u32]],
        block: &mut Vec<u8>,
        out: &mut dyn RowSink,
    ) -> Result<(), SnapshotError> {
        block.clear();
        let mut count = 0;
        let mut pages = Reader::new(&self.rows);
        for rows in stretches {
            for (i, row) in rows.iter().enumerate() {
                if let Some(ahead) = rows.get(i + AHEAD) {
                    self.rows.prefetch(*ahead);
                }
                self.encode(pages.row(*row), block);
                count += 1;
                if block.len() >= BLOCK_BYTES {
                    // Nobody waits for a page while the storage takes its time.
                    pages.close();
                    out.rows(group, count, block)?;
                    block.clear();
                    count = 0;
                }
            }
        }
        pages.close();
        if count > 0 { out.rows(group, count, block) } else { Ok(()) }
    }

    /// Appends key, namespace (which takes no bytes) and value.
    #[inline]
    fn encode(&self, cells: &[u8], out: &mut Vec<u8>) {
        let Layout { key, value, key_is_fixed, value_is_fixed, .. } = self.layout;
        if key_is_fixed && value_is_fixed {
            append(out, &cells[..key + value]);
        } else {
            self.encode_cell(&cells[..key], key_is_fixed, out);
            self.encode_cell(&cells[key..key + value], value_is_fixed, out);
        }
    }

    fn encode_cell(&self, cell: &[u8], fixed: bool, out: &mut Vec<u8>) {
        match stored(cell, fixed) {
            Stored::Here(encoding) => out.extend_from_slice(encoding),
            Stored::At(place) => self.slabs.with(place, |bytes| out.extend_from_slice(bytes)),
        }
    }
}

impl FrozenTable for FrozenKeyedTable {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        self.write_selected(|at| self.live.words()[at], &[], out)
    }

    fn write_changes(&mut self, out: &mut dyn RowSink) -> Result<bool, SnapshotError> {
        let Some(changes) = &self.changes else { return Ok(false) };
        let live = self.live.words();
        let changed = |at: usize| live[at] & changes.word(at);
        let rows: u64 = (0..live.len()).map(|at| u64::from(changed(at).count_ones())).sum();
        let all: u64 = live.iter().map(|word| u64::from(word.count_ones())).sum();
        let tombstones = changes.tombstones();
        if (rows + tombstones.len() as u64) * 2 > all {
            return Ok(false);
        }
        self.write_selected(changed, &tombstones.sorted(self.max), out)?;
        Ok(true)
    }
}

/// Appends the bytes of a row; small rows of the usual sizes with a few moves instead of a call.
#[inline(always)]
fn append(out: &mut Vec<u8>, row: &[u8]) {
    fn sized<const N: usize>(out: &mut Vec<u8>, row: &[u8]) {
        out.extend_from_slice(row.first_chunk::<N>().expect("so many bytes"));
    }
    match row.len() {
        8 => sized::<8>(out, row),
        16 => sized::<16>(out, row),
        24 => sized::<24>(out, row),
        32 => sized::<32>(out, row),
        _ => out.extend_from_slice(row),
    }
}

/// Some rows of a table, with their key groups.
struct Stretch {
    /// The words of 64 rows.
    words: Range<usize>,
    /// Of each row.
    groups: Vec<u16>,
    /// How many rows each group has.
    counts: Vec<u32>,
}

/// The rows of these words.
fn selected<W: Fn(usize) -> u64>(words: &W, range: Range<usize>) -> impl Iterator<Item = u32> {
    range.flat_map(move |at| rows_of_word(at, words(at)))
}

/// Opens one page at a time.
struct Reader<'a> {
    pages: &'a FrozenPages,
    open: Option<(usize, PageView<'a>)>,
}

impl<'a> Reader<'a> {
    fn new(pages: &'a FrozenPages) -> Self {
        Self { pages, open: None }
    }

    #[inline]
    fn row(&mut self, row: u32) -> &[u8] {
        let page = self.pages.page_of(row);
        if self.open.as_ref().is_none_or(|(open, _)| *open != page) {
            self.close();
            self.open = Some((page, self.pages.view(page)));
        }
        let (_, view) = self.open.as_ref().expect("just opened");
        view.row(row)
    }

    fn close(&mut self) {
        self.open = None;
    }
}

/// Tombstones that are still to be written, by group.
struct Removed<'a> {
    left: &'a [(KeyGroup, &'a [u8])],
    block: Vec<u8>,
}

impl Removed<'_> {
    /// Writes those of a group.
    fn write(&mut self, group: KeyGroup, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        let mut count = 0;
        self.block.clear();
        while let Some(((of, key), left)) = self.left.split_first()
            && *of == group
        {
            self.left = left;
            self.block.extend_from_slice(key);
            count += 1;
            if self.block.len() >= BLOCK_BYTES {
                out.removed(group, count, &self.block)?;
                self.block.clear();
                count = 0;
            }
        }
        if count > 0 { out.removed(group, count, &self.block) } else { Ok(()) }
    }
}

/// The groups from `first` on that have at most [`ORDERED_MAX`] rows together; one at least.
fn next_slice(counts: &[u32], first: usize) -> Range<usize> {
    let mut rows = 0;
    let mut end = first;
    while let Some(count) = counts.get(end)
        && (end == first || rows + *count as usize <= ORDERED_MAX)
    {
        rows += *count as usize;
        end += 1;
    }
    first..end
}

impl Stretch {
    /// The rows of some groups, by group and then by number. `words` are those that it was made of.
    fn order(&self, words: &impl Fn(usize) -> u64, slice: Range<usize>) -> Vec<u32> {
        let mut next = 0;
        let mut places: Vec<u32> = Vec::with_capacity(slice.len());
        for count in &self.counts[slice.clone()] {
            places.push(next);
            next += count;
        }
        let mut order = vec![0; next as usize];
        for (row, group) in selected(words, self.words.clone()).zip(&self.groups) {
            let within = usize::from(*group).wrapping_sub(slice.start);
            if let Some(place) = places.get_mut(within) {
                order[*place as usize] = row;
                *place += 1;
            }
        }
        order
    }
}
