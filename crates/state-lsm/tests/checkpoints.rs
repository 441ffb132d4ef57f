//! Checkpoints in the files of RocksDB: what they share, and what is refused when they are read.

mod common;

use common::backing;
use millstream_checkpoint::handle::{OperatorRestore, StateFile, TableState};
use millstream_checkpoint::native::TableFormat;
use millstream_checkpoint::snapshot::RestoredTable;
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::Record;
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_state::KeyedRows;
use millstream_state::keyed_rows::Cursor;
use millstream_state::restore::RestoreError;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

const KEYS: u64 = 20_000;

fn max() -> MaxParallelism {
    MaxParallelism::new(128).expect("within bounds")
}

fn all() -> KeyGroupRange {
    KeyGroupRange(0..128)
}

fn table<V: Record>(in_backend: bool) -> KeyedRows<u64, V> {
    KeyedRows::open("sums", backing().filter(|_| in_backend).as_ref())
}

/// Adds something to some keys.
fn add(table: &mut KeyedRows<u64, i64>, keys: std::ops::Range<u64>) {
    let keys: Vec<u64> = keys.collect();
    let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
    table.update_batch(&hashes, |i| keys[i], || 0, |_, key, sum| *sum += key as i64 + 1);
}

fn rows<V: Record>(table: &mut KeyedRows<u64, V>) -> Vec<(u64, V)> {
    let mut rows = Vec::new();
    table.visit_from(&mut Cursor::default(), usize::MAX, |_, key, value| rows.push((key, value)));
    rows.sort_by_key(|(key, _)| *key);
    rows
}

/// Takes the checkpoint with this number.
fn checkpoint(
    table: &mut KeyedRows<u64, i64>,
    storage: &MemoryStorage,
    number: u32,
    previous: Option<&TableState>,
) -> (TableState, u64) {
    let snapshot = table.freeze("sums", max(), true);
    let target: Arc<dyn Storage> = Arc::new(storage.clone());
    let (own, shared) = (format!("chk-{number}/t"), format!("shared/t-{number}"));
    let mut writer = TaskStateWriter::new(target, own, shared, all(), 1_000).with_native(true);
    let state = writer.table(snapshot, previous, true).expect("written");
    (state, writer.finish().expect("durable"))
}

fn opened(storage: &MemoryStorage, state: &TableState, groups: &KeyGroupRange) -> RestoredTable {
    let restore = OperatorRestore { tables: vec![state.clone()], lists: Vec::new() };
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    open_tables(&storage, &restore, groups).expect("opened").tables.remove(0)
}

fn restored<V: Record>(
    storage: &MemoryStorage,
    state: &TableState,
    in_backend: bool,
) -> Result<Vec<(u64, V)>, RestoreError> {
    let mut table = table::<V>(in_backend);
    table.restore(opened(storage, state, &all()), max())?;
    Ok(rows(&mut table))
}

/// The names of files that later checkpoints may refer to.
fn shared(state: &TableState) -> BTreeSet<&str> {
    let files = state.chain.iter().filter_map(|part| match &part.file {
        StateFile::Inline(_) => None,
        StateFile::File(name) => Some(name),
    });
    files.filter(|name| name.is_shared()).map(|name| name.path.as_str()).collect()
}

/// An error and its causes.
fn told(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[test]
fn a_checkpoint_after_small_changes_writes_small_files_and_shares_the_others() {
    let storage = MemoryStorage::new();
    let mut table = table(true);
    add(&mut table, 0..KEYS);
    let (first, whole) = checkpoint(&mut table, &storage, 1, None);
    let after_first = rows(&mut table);
    add(&mut table, 0..KEYS / 100);
    let (second, small) = checkpoint(&mut table, &storage, 2, Some(&first));
    let after_second = rows(&mut table);
    assert!(matches!(second.format, TableFormat::Native(_)));
    assert!(shared(&second).is_superset(&shared(&first)), "{first:?} {second:?}");
    assert!(small * 10 < whole, "{small} bytes after {whole}");
    add(&mut table, 0..KEYS);
    assert_eq!(restored(&storage, &first, true).expect("restored"), after_first);
    assert_eq!(restored(&storage, &second, true).expect("restored"), after_second);
}

#[test]
fn checkpoints_go_on_from_restored_files_under_names_of_their_own() {
    let storage = MemoryStorage::new();
    let mut first = table(true);
    add(&mut first, 0..KEYS);
    let (state, _) = checkpoint(&mut first, &storage, 1, None);
    let mut second = table(true);
    second.restore(opened(&storage, &state, &all()), max()).expect("restored");
    add(&mut second, 100..200);
    add(&mut first, 100..200);
    let (next, _) = checkpoint(&mut second, &storage, 2, None);
    let after_first = rows(&mut first);
    assert_eq!(restored(&storage, &next, true).expect("restored"), after_first);
    assert!(shared(&next).is_disjoint(&shared(&state)));
}

#[test]
fn a_table_that_was_never_used_leaves_no_files_and_comes_back_empty() {
    let storage = MemoryStorage::new();
    let (state, bytes) = checkpoint(&mut table(true), &storage, 1, None);
    assert_eq!((state.chain.len(), bytes), (0, 0));
    assert_eq!(restored::<i64>(&storage, &state, true).expect("restored"), []);
}

#[test]
fn values_that_have_become_wider_are_read_from_files_all_the_same() {
    let storage = MemoryStorage::new();
    let mut table = table(true);
    add(&mut table, 0..KEYS);
    let (state, _) = checkpoint(&mut table, &storage, 1, None);
    let expected: Vec<(u64, i128)> =
        rows(&mut table).into_iter().map(|(key, sum)| (key, i128::from(sum))).collect();
    assert_eq!(restored::<i128>(&storage, &state, true).expect("restored"), expected);
    let error = restored::<bool>(&storage, &state, true).expect_err("refused");
    assert!(error.to_string().contains("could not restore state `sums`"), "{error}");
}

#[test]
fn the_heap_says_what_to_do_with_a_checkpoint_that_it_cannot_read() {
    let storage = MemoryStorage::new();
    let mut table = table(true);
    add(&mut table, 0..KEYS);
    let (state, _) = checkpoint(&mut table, &storage, 1, None);
    let error = told(&restored::<i64>(&storage, &state, false).expect_err("refused"));
    assert!(error.contains("`state.backend.type: rocksdb`"), "{error}");
    assert!(error.contains("savepoint"), "{error}");
}

#[test]
fn damage_anywhere_in_any_file_is_detected_and_the_file_named() {
    let storage = MemoryStorage::new();
    let mut table = table(true);
    add(&mut table, 0..KEYS);
    let (state, _) = checkpoint(&mut table, &storage, 1, None);
    let files: Vec<(String, Vec<u8>)> = storage.files().into_iter().collect();
    assert!(!files.is_empty());
    let mut word = 1_u64;
    for (path, bytes) in files {
        for round in 0..40 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (word >> 33) as usize % bytes.len();
            let mut damaged = bytes.clone();
            if round % 4 == 0 {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1 << (word >> 61);
            }
            storage.set(&path, damaged);
            let error = told(&restored::<i64>(&storage, &state, true).expect_err("detected"));
            assert!(error.contains(&path), "{error} does not name {path}");
        }
        storage.set(&path, bytes);
    }
    assert!(restored::<i64>(&storage, &state, true).is_ok());
}

#[test]
fn a_file_name_that_leads_elsewhere_is_refused() {
    let storage = MemoryStorage::new();
    let mut table = table(true);
    add(&mut table, 0..KEYS);
    let (state, _) = checkpoint(&mut table, &storage, 1, None);
    for name in ["../x.sst", "/etc/x", "", ".", "a/b"] {
        let mut bent = state.clone();
        let TableFormat::Native(format) = &mut bent.format else { panic!("files") };
        format.files[0].name = name.to_owned();
        let error = told(&restored::<i64>(&storage, &bent, true).expect_err("refused"));
        assert!(error.contains("is no name of a file"), "{error}");
    }
}

#[test]
fn nothing_is_left_on_disk_when_all_is_dropped() {
    let place = common::directory().join(format!("left-{}", std::process::id()));
    let config = millstream_state_lsm::LsmConfig { directory: place.clone(), ..common::config() };
    let backend = Arc::new(millstream_state_lsm::LsmBackend::new(&config));
    let backing = millstream_state::Backing { backend, max: max() };
    let mut table = KeyedRows::open("sums", Some(&backing));
    add(&mut table, 0..KEYS);
    let frozen = table.freeze("sums", max(), true);
    assert_eq!(std::fs::read_dir(&place).expect("it is used").count(), 1);
    drop((table, backing));
    assert_eq!(std::fs::read_dir(&place).expect("a snapshot is held").count(), 1);
    drop(frozen);
    assert_eq!(std::fs::read_dir(&place).expect("its parent stays").count(), 0);
    std::fs::remove_dir(&place).expect("empty");
}
