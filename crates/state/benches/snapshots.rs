//! Snapshots of large tables, against plain reading and writing of as many bytes, and updates with a
//! snapshot every second against updates without.
//!
//! `cargo bench -p millstream-state --bench snapshots [-- FILTER]`: medians of three rounds. Files go to
//! cargo's directory for temporary files; before they are read they are put out of the page cache (by
//! `dd`, as far as the system does that).

use millstream_checkpoint::handle::{FilePart, OperatorRestore, TableState};
use millstream_checkpoint::snapshot::{RowSink, SnapshotError, TableSnapshot};
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::{StateOutput, Storage, StorageError};
use millstream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use millstream_core::record::Record;
use millstream_state::{FrozenKeyedTable, KeyedTable};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BATCH: usize = 1024;
const ROUNDS: usize = 3;

fn max() -> MaxParallelism {
    MaxParallelism::new(128).expect("a maximum")
}

fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn seconds<R>(f: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = f();
    (start.elapsed().as_secs_f64(), result)
}

/// Files of a directory, as a storage.
#[derive(Clone)]
struct Files(PathBuf);

struct Output(File);

fn refused(error: &std::io::Error) -> StorageError {
    StorageError {
        attempt: "use".to_owned(),
        path: "a file of the benchmark".to_owned(),
        cause: error.to_string(),
        unknown: false,
    }
}

impl Storage for Files {
    fn root(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    fn below(&self, path: &str) -> Arc<dyn Storage> {
        Arc::new(Self(self.0.join(path)))
    }

    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError> {
        let file = File::create(self.0.join(path)).map_err(|error| refused(&error))?;
        Ok(Box::new(Output(file)))
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let mut file = File::open(self.0.join(path))?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact(&mut bytes).map(|()| bytes)
        };
        read().map_err(|error| refused(&error))
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        Ok(fs::metadata(self.0.join(path)).ok().map(|file| file.len()))
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        fs::remove_file(self.0.join(path)).map_err(|error| refused(&error))
    }

    fn list(&self, _path: &str) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StateOutput for Output {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.0.sync_all().map_err(|error| refused(&error))
    }
}

/// A directory that is removed again.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("snapshots");
        fs::create_dir_all(path.join("shared")).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write(
    files: &Files,
    name: &str,
    schema: &millstream_checkpoint::handle::TableSchema,
    frozen: FrozenKeyedTable,
    previous: Option<&TableState>,
) -> TableState {
    let (storage, groups) = (Arc::new(files.clone()), KeyGroupRange(0..128));
    let path = format!("shared/{name}");
    let mut writer = TaskStateWriter::new(storage, path.clone(), path, groups, 0);
    let (name, schema) = ("table".to_owned(), schema.clone());
    let snapshot = TableSnapshot { name, schema, content: Box::new(frozen) };
    let state = writer.table(snapshot, previous, true).expect("written");
    writer.finish().expect("durable");
    state
}

/// As many bytes, from one buffer, in the pieces in which blocks are written.
fn write_plainly(files: &Files, bytes: u64) {
    let mut file = File::create(files.0.join("plain")).expect("a file");
    let piece: Vec<u8> = (0..64 << 10).map(|i| splitmix64(i) as u8).collect();
    let mut left = bytes;
    while left > 0 {
        let n = left.min(piece.len() as u64);
        file.write_all(&piece[..n as usize]).expect("written");
        left -= n;
    }
    file.sync_all().expect("durable");
}

fn read_plainly(path: &Path) {
    let mut file = File::open(path).expect("a file");
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece).expect("readable") > 0 {}
}

/// Puts a file out of the page cache.
fn forget(path: &Path) {
    let file = format!("if={}", path.display());
    let done = std::process::Command::new("dd").args([&file, "iflag=nocache", "count=0"]).output();
    assert!(done.is_ok_and(|done| done.status.success()), "dd drops {file}");
}

fn update<V: Record>(
    table: &mut KeyedTable<u64, V>,
    keys: impl Iterator<Item = u64>,
    value: impl Fn(u64) -> V,
) {
    let mut keys = keys.peekable();
    let (mut batch, mut hashes) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    while keys.peek().is_some() {
        batch.clear();
        batch.extend(keys.by_ref().take(BATCH));
        hashes.clear();
        hashes.extend(batch.iter().map(Record::hash64));
        table.update_batch(&hashes, |i| batch[i], || value(0), |_, key, v| *v = value(key));
    }
}

fn bytes_of(part: &FilePart) -> u64 {
    part.bytes
}

fn compare<V: Record>(name: &str, keys: u64, value: impl Fn(u64) -> V + Copy) {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    if filters.any(|filter| !name.contains(&filter)) {
        return;
    }
    let directory = Directory::new();
    let files = Files(directory.0.clone());
    let mut table = KeyedTable::<u64, V>::new();
    let schema = KeyedTable::<u64, V>::schema();
    update(&mut table, 0..keys, value);
    let (mut freeze, mut encode, mut whole, mut plain, mut restore, mut read, mut part, mut back) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    let (mut bytes, mut changed) = (0, 0);
    for round in 0..ROUNDS as u64 {
        let (time, frozen) = seconds(|| table.freeze(max(), false));
        freeze.push(time);
        let none = &mut Nowhere;
        encode.push(seconds(|| write_to(frozen, none)).0);

        let frozen = table.freeze(max(), true);
        let (time, state) = seconds(|| write(&files, "whole", &schema, frozen, None));
        whole.push(time);
        bytes = bytes_of(&state.chain[0]);
        plain.push(seconds(|| write_plainly(&files, bytes)).0);

        // One key in a hundred, anywhere.
        let some = (0..keys / 100).map(|i| splitmix64(i + (round << 40)) % keys);
        update(&mut table, some, value);
        let frozen = table.freeze(max(), true);
        let (time, state) = seconds(|| write(&files, "part", &schema, frozen, Some(&state)));
        assert_eq!(state.chain.len(), 2, "an increment");
        part.push(time);
        changed = bytes_of(&state.chain[1]);

        let path = directory.0.join("shared/whole-0");
        forget(&path);
        read.push(seconds(|| read_plainly(&path)).0);
        forget(&path);
        let mut restored = KeyedTable::<u64, V>::new();
        let first = TableState { chain: state.chain[..1].to_vec(), ..state.clone() };
        restore.push(seconds(|| read_back(&mut restored, &files, &first)).0);
        assert_eq!(restored.len() as u64, keys);
        restored.clear();
        back.push(seconds(|| read_back(&mut restored, &files, &first)).0);
    }
    let (whole, plain, part) = (median(whole), median(plain), median(part));
    let (restore, read) = (median(restore), median(read));
    let mb = bytes as f64 / 1e6;
    println!("{name}: {keys} keys, {mb:.0} MB, table {:.0} MB", table.memory_bytes() as f64 / 1e6);
    println!("  freeze      {:8.3} ms", median(freeze) * 1e3);
    println!("  encode only {:8.3} s   {:.0} MB/s", median(encode.clone()), mb / median(encode));
    println!(
        "  whole       {whole:8.3} s   plain write with fsync {plain:.3} s, ratio {:.2}",
        plain / whole
    );
    println!(
        "  increment   {part:8.3} s   {:.1} times faster, {:.1} times smaller",
        whole / part,
        bytes as f64 / changed as f64
    );
    println!(
        "  restore     {restore:8.3} s   plain read {read:.3} s, ratio {:.2}; from the page cache {:.3} s",
        read / restore,
        median(back)
    );
}

/// Takes rows and does nothing with them.
struct Nowhere;

impl RowSink for Nowhere {
    fn rows(&mut self, _: KeyGroup, _: u32, rows: &[u8]) -> Result<(), SnapshotError> {
        std::hint::black_box(rows);
        Ok(())
    }

    fn removed(&mut self, _: KeyGroup, _: u32, keys: &[u8]) -> Result<(), SnapshotError> {
        std::hint::black_box(keys);
        Ok(())
    }
}

fn write_to(frozen: FrozenKeyedTable, out: &mut Nowhere) {
    use millstream_checkpoint::snapshot::FrozenTable;
    Box::new(frozen).write(out).expect("nothing is refused");
}

fn read_back<V: Record>(table: &mut KeyedTable<u64, V>, files: &Files, state: &TableState) {
    let storage: Arc<dyn Storage> = Arc::new(files.clone());
    let handles = OperatorRestore { tables: vec![state.clone()], lists: Vec::new() };
    let mut restored = open_tables(&storage, &handles, &KeyGroupRange(0..128)).expect("readable");
    for part in restored.take_tables("table") {
        table.restore(part, max()).expect("restorable");
    }
}

/// Sums for a while, with or without a snapshot every second; records per second.
fn sums(table: &mut KeyedTable<u64, i64>, keys: u64, files: Option<&Files>) -> f64 {
    const FOR: Duration = Duration::from_secs(4);
    let schema = KeyedTable::<u64, i64>::schema();
    let (start, mut records, mut snapshots) = (Instant::now(), 0_u64, 0_u32);
    let mut writer: Option<std::thread::JoinHandle<TableState>> = None;
    let mut next = Duration::from_millis(500);
    while start.elapsed() < FOR {
        if let Some(files) = files
            && start.elapsed() >= next
        {
            next += Duration::from_secs(1);
            let previous = writer.take().map(|writer| writer.join().expect("written"));
            let frozen = table.freeze(max(), true);
            let (files, schema) = (files.clone(), schema.clone());
            snapshots += 1;
            let name = format!("every-second-{snapshots}");
            writer = Some(std::thread::spawn(move || {
                write(&files, &name, &schema, frozen, previous.as_ref())
            }));
        }
        for _ in 0..100 {
            let from = records;
            let batch = (from..from + BATCH as u64).map(|i| splitmix64(i) % keys);
            let batch: Vec<u64> = batch.collect();
            let hashes: Vec<u64> = batch.iter().map(Record::hash64).collect();
            table.update_batch(&hashes, |i| batch[i], || 0, |i, _, sum| *sum += i as i64);
            records += BATCH as u64;
        }
    }
    let rate = records as f64 / start.elapsed().as_secs_f64();
    drop(writer.map(|writer| writer.join().expect("written")));
    rate
}

fn compare_sums(name: &str, keys: u64) {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    if filters.any(|filter| !name.contains(&filter)) {
        return;
    }
    let directory = Directory::new();
    let files = Files(directory.0.clone());
    let mut ratios = Vec::new();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // A table that has never been frozen tracks nothing.
        let mut table = KeyedTable::<u64, i64>::new();
        update(&mut table, 0..keys, |key| key as i64);
        let straight = sums(&mut table, keys, None);
        let disturbed = sums(&mut table, keys, Some(&files));
        ratios.push(disturbed / straight);
        without.push(straight / 1e6);
        with.push(disturbed / 1e6);
    }
    println!(
        "{name}: {:.1} M/s, with a snapshot every second {:.1} M/s, ratio {:.3}",
        median(without),
        median(with),
        median(ratios)
    );
}

fn main() {
    compare_sums("sums, 1 M keys", 1_000_000);
    compare("1 M keys of 1 KB", 1_000_000, |key| {
        let mut value = [key as u8; 1016];
        value[..8].copy_from_slice(&splitmix64(key).to_le_bytes());
        value
    });
    compare("16 M keys of 16 B", 16_000_000, |key| splitmix64(key) as i64);
    compare("64 M keys of 16 B", 64_000_000, |key| splitmix64(key) as i64);
}
