//! Whatever happens to copies: what is read is what was written.

use super::Copies;
use super::copies::{Teller, proof_of};
use crate::scratch::Scratch;
use crate::storage::local;
use millstream_checkpoint::local::{LocalCopies, ReadCounts, Reads};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const LENGTH: u64 = 600_000;

fn content(seed: u64) -> Vec<u8> {
    (0..LENGTH).map(|at| ((at + seed) * 31 % 251) as u8).collect()
}

/// A job with an original somewhere and copies here.
struct Bench {
    _scratch: Scratch,
    directory: PathBuf,
    copies: Copies,
    remote: Arc<dyn Storage>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    /// The originals cannot be links.
    fn new() -> Self {
        Self::with(|_| Arc::new(MemoryStorage::new()).below("job"))
    }

    fn with(remote: impl FnOnce(&Scratch) -> Arc<dyn Storage>) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.join("copies");
        let told = Arc::<Mutex<Vec<String>>>::default();
        let tell: Teller = {
            let told = told.clone();
            Arc::new(move |line| told.lock().unwrap().push(line.to_owned()))
        };
        let copies = Copies::new(vec![directory.clone()], tell);
        let remote = remote(&scratch);
        Self { _scratch: scratch, directory, copies, remote, told }
    }

    fn write(&self, path: &str, content: &[u8]) {
        let mut output = self.copies.writing(self.remote.clone()).create(path).unwrap();
        content.chunks(10_007).for_each(|part| output.write_all(part).unwrap());
        output.finish().unwrap();
    }

    /// Reads a file in parts, and where they came from.
    fn read(&self, path: &str) -> (Vec<u8>, ReadCounts) {
        let reads = Reads::default();
        let storage = self.copies.reading(self.remote.clone(), reads.clone());
        let length = storage.length(path).unwrap().expect("it is there");
        let mut content = Vec::new();
        while (content.len() as u64) < length {
            let from = content.len() as u64;
            content.extend(storage.read(path, from..length.min(from + 70_001)).unwrap());
        }
        let counts = *reads.lock().unwrap();
        (content, counts)
    }

    fn place(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    fn told(&self) -> String {
        std::mem::take(&mut *self.told.lock().unwrap()).join("\n")
    }
}

const ALL_LOCAL: ReadCounts = ReadCounts { local: LENGTH, remote: 0 };
const ALL_REMOTE: ReadCounts = ReadCounts { local: 0, remote: LENGTH };

#[test]
fn what_was_written_is_read_here_also_when_the_original_is_out_of_reach() {
    let bench = Bench::new();
    bench.write("chk-1/a", &content(1));
    let memory = bench.remote.delete("chk-1/a");
    memory.unwrap();
    assert_eq!(bench.read("chk-1/a"), (content(1), ALL_LOCAL));
    assert_eq!(bench.copies.list(), ["chk-1/a"]);
    assert_eq!(bench.told(), "");
}

#[test]
fn an_original_on_the_same_file_system_is_its_own_copy() {
    let bench = Bench::with(|scratch| local(&scratch.join("job")).unwrap());
    // The directory of checkpoints is there before the first of them.
    bench.write("chk-0/first", b"x");
    bench.write("chk-1/a", &content(1));
    let original = PathBuf::from(bench.remote.root()).join("chk-1/a");
    let [original, copy] = [original, bench.place("chk-1/a")].map(|path| path.metadata().unwrap());
    assert_eq!(original.ino(), copy.ino());
    assert_eq!(bench.read("chk-1/a"), (content(1), ALL_LOCAL));
}

#[test]
fn what_is_missing_cut_short_or_of_another_checkpoint_is_read_where_it_was_written() {
    type Damage = fn(&Bench);
    let damages: [(&str, Damage); 6] = [
        ("it is not there", |bench| std::fs::remove_file(bench.place("chk-1/a")).unwrap()),
        ("its proof is not there", |bench| {
            std::fs::remove_file(proof_of(&bench.place("chk-1/a"))).unwrap();
        }),
        ("it has 300000 bytes, 600000 were written", |bench| {
            std::fs::write(bench.place("chk-1/a"), &content(1)[..300_000]).unwrap();
        }),
        ("bytes 0 to 262144 are not those that were written", |bench| {
            std::fs::copy(bench.place("chk-2/b"), bench.place("chk-1/a")).unwrap();
        }),
        ("it is a copy of `memory:/job/chk-2/b`", |bench| {
            let [from, to] = ["chk-2/b", "chk-1/a"].map(|path| bench.place(path));
            std::fs::copy(&from, &to).unwrap();
            std::fs::copy(proof_of(&from), proof_of(&to)).unwrap();
        }),
        ("its proof is damaged", |bench| {
            std::fs::write(proof_of(&bench.place("chk-1/a")), "").unwrap();
        }),
    ];
    for (why, damage) in damages {
        let bench = Bench::new();
        bench.write("chk-1/a", &content(1));
        bench.write("chk-2/b", &content(2));
        damage(&bench);
        assert_eq!(bench.read("chk-1/a"), (content(1), ALL_REMOTE), "{why}");
        let told = bench.told();
        assert!(told.contains(why) && told.contains("reading memory:/job/chk-1/a"), "{told}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let bench = Bench::new();
    for bit in (0..LENGTH * 8).step_by(97_003) {
        bench.write("chk-1/a", &content(1));
        let mut damaged = content(1);
        damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
        std::fs::write(bench.place("chk-1/a"), damaged).unwrap();
        let (read, counts) = bench.read("chk-1/a");
        assert!(read == content(1), "bit {bit} was flipped");
        assert!(counts.remote > 0 && counts.local + counts.remote == LENGTH, "{counts:?}");
        assert!(bench.told().contains("are not those that were written"));
        assert!(!bench.place("chk-1/a").exists(), "a damaged copy goes");
    }
}

#[test]
fn a_copy_that_cannot_be_written_is_told_once_and_no_failure() {
    let bench = Bench::new();
    std::fs::write(&bench.directory, "a file in the place of the directory").unwrap();
    bench.write("chk-1/a", &content(1));
    bench.write("chk-1/b", &content(2));
    assert_eq!(bench.told().matches("cannot keep a local copy of chk-1/a").count(), 1);
    assert_eq!(bench.read("chk-1/b"), (content(2), ALL_REMOTE));
}

#[test]
fn an_unfinished_file_leaves_no_copy_and_a_deleted_one_neither() {
    let bench = Bench::new();
    let mut output = bench.copies.writing(bench.remote.clone()).create("chk-1/a").unwrap();
    output.write_all(&content(1)).unwrap();
    drop(output);
    assert!(bench.copies.list().is_empty());
    bench.write("chk-1/b", b"content");
    bench.write("shared/c", b"content");
    bench.copies.delete(&["chk-1/b".to_owned(), "../x".to_owned()]);
    assert_eq!(bench.copies.list(), ["shared/c"]);
    assert!(!bench.place("chk-1").exists(), "nor a directory without anything in it");
}
