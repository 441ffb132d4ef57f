//! What state files promise: all comes back, nothing else is read, and every damage is found.

use super::*;
use crate::handle::*;
use crate::snapshot::*;
use crate::storage::Storage;
use crate::testing::MemoryStorage;
use millstream_core::key_group::KeyGroupRange;
use millstream_core::record::{Record, Schema};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a group, as they are given at once: group, kind, count and bytes.
type Rows = (u32, BlockKind, u32, Vec<u8>);

/// A table of fixed content.
#[derive(Clone, Default)]
struct Fixed {
    whole: Vec<Rows>,
    changes: Option<Vec<Rows>>,
}

fn put(rows: &[Rows], out: &mut dyn RowSink) -> Result<(), SnapshotError> {
    for (group, kind, count, bytes) in rows {
        let group = KeyGroup::new(*group).expect("a group");
        match kind {
            BlockKind::Removed => out.removed(group, *count, bytes)?,
            _ => out.rows(group, *count, bytes)?,
        }
    }
    Ok(())
}

impl FrozenTable for Fixed {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        put(&self.whole, out)
    }

    fn write_changes(&mut self, out: &mut dyn RowSink) -> Result<bool, SnapshotError> {
        match &self.changes {
            Some(changes) => put(changes, out).map(|()| true),
            None => Ok(false),
        }
    }
}

fn schema() -> TableSchema {
    TableSchema { key: u64::schema(), namespace: <()>::schema(), value: u64::schema() }
}

fn snapshot(content: Fixed) -> TableSnapshot {
    TableSnapshot { name: "sums".to_owned(), schema: schema(), content: Box::new(content) }
}

fn groups(range: std::ops::Range<u32>) -> KeyGroupRange {
    KeyGroupRange(range)
}

/// Writers of one task in one storage.
struct Task {
    storage: MemoryStorage,
    inline_max: usize,
    checkpoints: u32,
}

impl Task {
    fn new(inline_max: usize) -> Self {
        Self { storage: MemoryStorage::new(), inline_max, checkpoints: 0 }
    }

    fn writer(&mut self) -> TaskStateWriter {
        self.checkpoints += 1;
        let n = self.checkpoints;
        TaskStateWriter::new(
            Arc::new(self.storage.clone()),
            format!("chk-{n}/task"),
            format!("shared/task-{n}"),
            groups(0..128),
            self.inline_max,
        )
    }

    fn table(&mut self, content: Fixed, previous: Option<&TableState>) -> TableState {
        let mut writer = self.writer();
        let table = writer.table(snapshot(content), previous, true).expect("written");
        writer.finish().expect("durable");
        table
    }

    fn list(&mut self, items: Vec<Vec<u8>>) -> ListState {
        let mut writer = self.writer();
        let (name, mode) = ("splits".to_owned(), ListMode::Split);
        let list = writer.list(ListSnapshot { name, mode, schema: None, items }).expect("written");
        writer.finish().expect("durable");
        list
    }

    fn open(
        &self,
        table: &TableState,
        of: KeyGroupRange,
    ) -> Result<Box<dyn BlockSource>, ReadError> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let restore = OperatorRestore { tables: vec![table.clone()], lists: Vec::new() };
        let mut restored = open_tables(&storage, &restore, &of)?;
        Ok(restored.take_tables("sums").remove(0).blocks)
    }

    fn read(&self, table: &TableState, of: KeyGroupRange) -> Result<Vec<Block>, ReadError> {
        let mut source = self.open(table, of)?;
        let mut blocks = Vec::new();
        while let Some(block) = source.next()? {
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn read_list(
        &self,
        list: &ListState,
        items: std::ops::Range<u64>,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let share = ListShare { list: list.clone(), items };
        let restore = OperatorRestore { tables: Vec::new(), lists: vec![share] };
        Ok(open_tables(&storage, &restore, &groups(0..1))?.items("splits"))
    }
}

/// What is in blocks or rows: per group and kind the count and the bytes, in order.
fn sum<'a>(
    parts: impl IntoIterator<Item = (u32, BlockKind, u32, &'a [u8])>,
) -> BTreeMap<(u32, u8), (u32, Vec<u8>)> {
    let mut all = BTreeMap::<_, (u32, Vec<u8>)>::new();
    for (group, kind, count, bytes) in parts {
        let entry = all.entry((group, kind as u8)).or_default();
        entry.0 += count;
        entry.1.extend_from_slice(bytes);
    }
    all
}

fn sum_rows(rows: &[Rows], of: &KeyGroupRange) -> BTreeMap<(u32, u8), (u32, Vec<u8>)> {
    let mine = rows.iter().filter(|(group, ..)| of.0.contains(group));
    sum(mine.map(|(group, kind, count, bytes)| (*group, *kind, *count, bytes.as_slice())))
}

fn sum_blocks(blocks: &[Block]) -> BTreeMap<(u32, u8), (u32, Vec<u8>)> {
    let group = |block: &Block| block.group.expect("of a table").index();
    sum(blocks.iter().map(|b| (group(b), b.kind, b.count, b.payload.as_slice())))
}

/// Rows of `groups` in ascending order; some larger than a block.
fn any_rows() -> impl Strategy<Value = Vec<Rows>> {
    let length = prop_oneof![8 => 1..200_usize, 3 => 1..40_000_usize, 1 => 60_000..200_000_usize];
    let kind = prop_oneof![3 => Just(BlockKind::Rows), 1 => Just(BlockKind::Removed)];
    let one = (0..128_u32, kind, 1..9_u32, length, any::<u8>());
    proptest::collection::vec(one, 0..30).prop_map(|rows| {
        let fill = |(group, kind, count, length, byte)| (group, kind, count, vec![byte; length]);
        let mut rows: Vec<Rows> = rows.into_iter().map(fill).collect();
        rows.sort_by_key(|(group, ..)| *group);
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_comes_back_to_the_subtask_of_its_group_and_to_no_other(
        rows in any_rows(),
        inline_max in prop_oneof![Just(0_usize), Just(20 << 10), Just(10 << 20)],
        parallelism in 1..6_u32,
    ) {
        let mut task = Task::new(inline_max);
        let table = task.table(Fixed { whole: rows.clone(), changes: None }, None);
        let part = &table.chain[0];
        prop_assert_eq!(part.rows, rows.iter().map(|(.., count, _)| u64::from(*count)).sum::<u64>());
        if let StateFile::Inline(bytes) = &part.file {
            prop_assert!(bytes.len() < inline_max);
        }
        let max = millstream_core::key_group::MaxParallelism::new(128).expect("a maximum");
        for subtask in 0..parallelism {
            let mine = KeyGroupRange::of_subtask(subtask, max, parallelism);
            let blocks = task.read(&table, mine.clone()).expect("readable");
            prop_assert_eq!(sum_blocks(&blocks), sum_rows(&rows, &mine));
        }
    }

    #[test]
    fn every_item_comes_back_in_order_and_shares_are_cut_anywhere(
        lengths in proptest::collection::vec(prop_oneof![0..50_usize, 0..90_000_usize], 0..40),
        inline_max in prop_oneof![Just(0_usize), Just(20 << 10)],
        cut in any::<prop::sample::Index>(),
    ) {
        let items: Vec<Vec<u8>> = lengths.iter().map(|length| vec![*length as u8; *length]).collect();
        let mut task = Task::new(inline_max);
        let list = task.list(items.clone());
        let cut = cut.index(items.len() + 1);
        let (n, at) = (items.len() as u64, cut as u64);
        prop_assert_eq!(list.items, n);
        prop_assert_eq!(&task.read_list(&list, 0..at).expect("readable"), &items[..cut]);
        prop_assert_eq!(&task.read_list(&list, at..n).expect("readable"), &items[cut..]);
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Some groups with a little and one with several blocks.
fn some_rows() -> Vec<Rows> {
    let mut rows: Vec<Rows> =
        (0..100).map(|group| (group, BlockKind::Rows, 3, vec![group as u8; 48])).collect();
    rows.extend((0..5).map(|_| (100, BlockKind::Rows, 1_000, vec![7; 16_000])));
    rows.push((101, BlockKind::Removed, 4, vec![1; 32]));
    rows
}

/// Changes a byte or takes the end away.
fn damage(bytes: &mut Vec<u8>, random: &mut u64) {
    let at = splitmix(random) as usize % bytes.len();
    match splitmix(random) % 4 {
        0 => bytes.truncate(at),
        _ => bytes[at] ^= 1 << (splitmix(random) % 8),
    }
}

#[test]
fn damage_at_ten_thousand_places_is_found_and_its_place_told() {
    let mut random = 42;
    for (inline_max, name) in [(0, "memory:/shared/task-1-0"), (1 << 20, "table `sums`, inside")] {
        let mut task = Task::new(inline_max);
        let table = task.table(Fixed { whole: some_rows(), changes: None }, None);
        let file = task.storage.files().pop_first();
        for _ in 0..5_000 {
            let mut damaged = table.clone();
            match (&mut damaged.chain[0].file, &file) {
                (StateFile::Inline(bytes), _) => damage(bytes, &mut random),
                (StateFile::File(_), file) => {
                    let (path, mut bytes) = file.clone().expect("one file");
                    damage(&mut bytes, &mut random);
                    task.storage.set(&path, bytes);
                }
            }
            match task.read(&damaged, groups(0..128)) {
                Err(ReadError::Corrupt(error)) => {
                    assert!(error.file.starts_with(name), "{error}");
                    assert!(error.offset <= 200_000 && !error.what.is_empty(), "{error}");
                }
                other => panic!("damage was not found: {other:?}"),
            }
        }
    }
}

#[test]
fn damage_of_lists_is_found() {
    let mut random = 7;
    let mut task = Task::new(1 << 20);
    let list = task.list((0..200_u8).map(|n| vec![n; usize::from(n)]).collect());
    for _ in 0..2_000 {
        let mut damaged = list.clone();
        let StateFile::Inline(bytes) = &mut damaged.part.file else { panic!("small") };
        damage(bytes, &mut random);
        assert!(matches!(task.read_list(&damaged, 0..200), Err(ReadError::Corrupt(_))));
    }
}

#[test]
fn the_place_of_a_flipped_bit_is_that_of_its_block() {
    let mut task = Task::new(0);
    let table = task.table(Fixed { whole: some_rows(), changes: None }, None);
    let (path, mut bytes) = task.storage.files().pop_first().expect("one file");
    // The second block: 24 bytes of header and 144 of rows behind 16 bytes of file header.
    let second = HEADER_BYTES + BLOCK_HEADER_BYTES + 48;
    bytes[second + BLOCK_HEADER_BYTES + 3] ^= 1;
    task.storage.set(&path, bytes);
    match task.read(&table, groups(0..128)) {
        Err(ReadError::Corrupt(error)) => {
            assert_eq!((error.file, error.offset), (format!("memory:/{path}"), second as u64));
            assert!(error.what.contains("checksum"), "{}", error.what);
        }
        other => panic!("{other:?}"),
    }
    assert!(task.read(&table, groups(2..128)).is_ok(), "others do not read that block");
}

#[test]
fn lengths_that_handles_and_blocks_claim_allocate_nothing() {
    let mut task = Task::new(0);
    let table = task.table(Fixed { whole: some_rows(), changes: None }, None);
    let (path, bytes) = task.storage.files().pop_first().expect("one file");
    let handles: [fn(&mut FilePart); 4] = [
        |part| part.index_length = u64::MAX,
        |part| part.index_offset = u64::MAX - 3,
        |part| part.index_offset = 3,
        |part| (part.index_offset, part.index_length) = (1 << 60, 1 << 60),
    ];
    for change in handles {
        let mut table = table.clone();
        change(&mut table.chain[0]);
        assert!(matches!(task.read(&table, groups(0..128)), Err(ReadError::Corrupt(_))));
    }
    // A block that claims 4 GiB, with the right checksum.
    let mut lying = bytes.clone();
    let block = &mut lying[HEADER_BYTES..HEADER_BYTES + BLOCK_HEADER_BYTES + 48];
    block[8..12].fill(0xFF);
    let checksum = millstream_core::hash::xxh3_64(&block[8..]);
    block[..8].copy_from_slice(&checksum.to_le_bytes());
    task.storage.set(&path, lying);
    let before = task.storage.bytes_read();
    assert!(matches!(task.read(&table, groups(0..1)), Err(ReadError::Corrupt(_))));
    assert!(task.storage.bytes_read() - before < 8_000);
}

#[test]
fn only_the_blocks_of_the_subtasks_groups_are_read() {
    let mut task = Task::new(0);
    let whole = (0..128).map(|group| (group, BlockKind::Rows, 1, vec![1; 50_000])).collect();
    let table = task.table(Fixed { whole, changes: None }, None);
    let before = task.storage.bytes_read();
    assert_eq!(task.read(&table, groups(64..68)).expect("readable").len(), 4);
    let read = task.storage.bytes_read() - before;
    assert!(read < 4 * 50_000 + 10_000, "{read} bytes");
}

#[test]
fn changes_are_appended_to_the_chain_and_win_by_coming_later() {
    let mut task = Task::new(0);
    let rows = |byte, length| vec![(5, BlockKind::Rows, 1, vec![byte; length])];
    let first = task.table(Fixed { whole: rows(1, 9_000), changes: None }, None);
    let gone = vec![(5, BlockKind::Removed, 1, vec![9; 8])];
    let content = Fixed { whole: rows(2, 9_000), changes: Some(gone) };
    let second = task.table(content, Some(&first));
    assert_eq!(second.chain[..1], first.chain[..]);
    let blocks = task.read(&second, groups(0..128)).expect("readable");
    let kinds: Vec<_> = blocks.iter().map(|block| block.kind).collect();
    assert_eq!(kinds, [BlockKind::Rows, BlockKind::Removed]);
    // A table that does not know what has changed is written whole.
    let third = task.table(Fixed { whole: rows(3, 9_000), changes: None }, Some(&second));
    assert_eq!(third.chain.len(), 1);
}

#[test]
fn a_long_chain_or_one_with_much_in_it_is_written_anew() {
    for (changed, longest) in [(10, 8), (2_500, 3), (90_000, 2)] {
        let mut task = Task::new(0);
        let rows = |length| vec![(5, BlockKind::Rows, 1, vec![0; length])];
        let content = || Fixed { whole: rows(10_000), changes: Some(rows(changed)) };
        let mut lengths = Vec::new();
        let mut previous: Option<TableState> = None;
        for _ in 0..20 {
            let table = task.table(content(), previous.as_ref());
            lengths.push(table.chain.len());
            previous = Some(table);
        }
        assert_eq!(lengths.iter().max(), Some(&longest), "{lengths:?}");
        assert!(lengths.iter().filter(|length| **length == 1).count() >= 2, "{lengths:?}");
    }
}

#[test]
fn a_savepoint_refers_to_nothing_else_and_nothing_builds_on_it() {
    let mut task = Task::new(0);
    let rows = || vec![(5, BlockKind::Rows, 1, vec![0; 10_000])];
    let content = || Fixed { whole: rows(), changes: Some(rows()) };
    let first = task.table(content(), None);
    let StateFile::File(name) = &first.chain[0].file else { panic!("large") };
    assert!(name.is_shared());
    let mut writer = task.writer();
    let savepoint = writer.table(snapshot(content()), Some(&first), false).expect("written");
    assert!(writer.finish().expect("durable") > 10_000);
    let [FilePart { file: StateFile::File(name), .. }] = &savepoint.chain[..] else {
        panic!("one part: {savepoint:?}")
    };
    assert_eq!((name.path.as_str(), name.is_shared()), ("chk-2/task-0", false));
    assert_eq!(task.table(content(), Some(&savepoint)).chain.len(), 1);
    // Nor on files of another job, or on another schema.
    let mut foreign = first.clone();
    let StateFile::File(name) = &mut foreign.chain[0].file else { panic!("large") };
    name.root = Some("/elsewhere".to_owned());
    assert_eq!(task.table(content(), Some(&foreign)).chain.len(), 1);
    let mut other = first.clone();
    other.schema.value = Schema::plain("string");
    assert_eq!(task.table(content(), Some(&other)).chain.len(), 1);
    assert_eq!(task.table(content(), Some(&first)).chain.len(), 2);
}

#[test]
fn nothing_is_left_of_a_snapshot_that_failed_or_was_given_up() {
    let rows = || vec![(5, BlockKind::Rows, 1, vec![0; 10_000])];
    let content = || Fixed { whole: rows(), changes: None };
    for attempt in ["nothing", "create", "write", "finish"] {
        let mut task = Task::new(0);
        let mut writer = task.writer();
        writer.table(snapshot(content()), None, true).expect("written");
        writer.table(snapshot(content()), None, true).expect("written");
        assert!(task.storage.files().is_empty(), "nobody sees files that are not finished");
        task.storage.refuse(attempt, "task-1-2");
        let third = writer.table(snapshot(content()), None, true);
        let result = third.and_then(|_| writer.finish());
        assert_eq!(result.is_ok(), attempt == "nothing", "{attempt}");
        assert_eq!(task.storage.files().len(), if result.is_ok() { 3 } else { 0 });
    }
    let mut task = Task::new(0);
    let mut writer = task.writer();
    writer.table(snapshot(content()), None, true).expect("written");
    drop(writer);
    assert!(task.storage.files().is_empty());
}

#[test]
fn rows_out_of_order_or_of_foreign_groups_are_refused() {
    let row = |group| (group, BlockKind::Rows, 1, vec![0; 8]);
    for rows in [vec![row(5), row(4)], vec![row(128)]] {
        let mut writer = Task::new(0).writer();
        let result = writer.table(snapshot(Fixed { whole: rows, changes: None }), None, true);
        let Err(SnapshotError::Operator(text)) = result else { panic!("{result:?}") };
        assert!(text.contains("table `sums`") && text.contains("key group"), "{text}");
    }
}

#[test]
fn a_missing_file_a_foreign_root_and_a_newer_version_say_what_they_are() {
    let mut task = Task::new(0);
    let table = task.table(Fixed { whole: some_rows(), changes: None }, None);
    let (path, mut bytes) = task.storage.files().pop_first().expect("one file");
    let message = |task: &Task, table: &TableState| {
        task.read(table, groups(0..128)).expect_err("unreadable").to_string()
    };
    let mut foreign = table.clone();
    let StateFile::File(name) = &mut foreign.chain[0].file else { panic!("large") };
    name.root = Some("s3://other".to_owned());
    let text = message(&task, &foreign);
    assert!(text.contains("s3://other") && text.contains("memory:"), "{text}");
    bytes[8] = 2;
    task.storage.set(&path, bytes);
    let text = message(&task, &table);
    assert!(text.contains("version 2") && text.contains(&path), "{text}");
    task.storage.delete(&path).expect("deleted");
    let text = message(&task, &table);
    assert!(text.contains(&path) && text.contains("missing"), "{text}");
}

/// A permanent format: if this fails, bump the version and keep reading the former one.
#[test]
fn the_bytes_of_a_file_never_change() {
    let mut task = Task::new(1 << 10);
    let whole = vec![
        (2, BlockKind::Rows, 1, vec![1, 2, 3]),
        (2, BlockKind::Removed, 2, vec![4]),
        (7, BlockKind::Rows, 1, vec![5]),
    ];
    let table = task.table(Fixed { whole, changes: None }, None);
    let StateFile::Inline(bytes) = &table.chain[0].file else { panic!("small") };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN.replace([' ', '\n'], ""));
    let part = &table.chain[0];
    assert_eq!((part.index_offset, part.index_length, part.rows, part.bytes), (93, 72, 4, 77));
}

/// Header; rows of group 2; removed of group 2; rows of group 7; index.
const GOLDEN: &str = "
    4d494c4c53544154 01000000 00000000
    b08e479b78c81228 03000000 01000000 02000000 00000000 010203
    7ad67076f78b2c76 01000000 02000000 02000000 01000000 04
    f4b57fd960c750e9 01000000 01000000 07000000 00000000 05
    195536db84270391 30000000 03000000 ffffffff 03000000
    02000000 00000000 1000000000000000
    02000000 01000000 2b00000000000000
    07000000 00000000 4400000000000000
";
