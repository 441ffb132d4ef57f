//! What a local storage promises, also on disks that fail.

use super::local;
use super::output::{Durable, Output};
use crate::scratch::Scratch;
use millstream_checkpoint::storage::{StateOutput, Storage};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn storage(scratch: &Scratch) -> Arc<dyn Storage> {
    local(&scratch.join("state")).expect("the directory can be used")
}

fn put(storage: &dyn Storage, path: &str, content: &[u8]) {
    let mut file = storage.create(path).expect("it can be created");
    file.write_all(content).expect("it can be written");
    file.finish().expect("it can be finished");
}

/// All names in a directory, hidden ones too.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_seen_only_when_it_is_finished() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    let mut file = storage.create("job/chk-1/a").expect("it can be created");
    file.write_all(&vec![7; 300_000]).expect("it can be written");
    assert_eq!(storage.length("job/chk-1/a"), Ok(None));
    assert_eq!(storage.list(""), Ok(vec![]));
    file.finish().expect("it can be finished");
    assert_eq!(storage.length("job/chk-1/a"), Ok(Some(300_000)));
    assert_eq!(storage.list(""), Ok(vec!["job/chk-1/a".to_owned()]));
    assert_eq!(names(&scratch.join("state/job/chk-1")), ["a"]);
}

#[test]
fn a_file_that_is_not_finished_vanishes_and_the_one_before_it_stays() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    put(&*storage, "a", b"first");
    let mut file = storage.create("a").expect("it can be created");
    file.write_all(&vec![0; 1 << 20]).expect("it can be written");
    drop(file);
    assert_eq!(names(&scratch.join("state")), ["a"]);
    assert_eq!(storage.read("a", 0..5), Ok(b"first".to_vec()));
    put(&*storage, "a", b"second");
    assert_eq!(storage.read("a", 0..6), Ok(b"second".to_vec()));
}

#[test]
fn exactly_the_range_is_read_or_nothing() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    put(&*storage, "a", b"0123456789");
    assert_eq!(storage.read("a", 3..7), Ok(b"3456".to_vec()));
    assert_eq!(storage.read("a", 10..10), Ok(vec![]));
    for range in [5..11, 11..11, 0..u64::MAX] {
        let error = storage.read("a", range.clone()).expect_err("there is less");
        let expected = format!(
            "could not read `{}`: bytes {} to {} were asked for, and it has 10",
            scratch.join("state/a").display(),
            range.start,
            range.end
        );
        assert_eq!(error.to_string(), expected);
    }
    let error = storage.read("b", 0..1).expect_err("it is not there");
    assert!(error.to_string().contains("state/b`: No such file"), "{error}");
}

#[test]
fn a_file_or_a_tree_is_deleted_and_the_rest_stays() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    for path in ["chk-1/a", "chk-1/b/c", "chk-10/a", "shared/x"] {
        put(&*storage, path, b"x");
    }
    storage.delete("shared/x").expect("a file is deleted");
    storage.delete("chk-1").expect("a tree is deleted");
    storage.delete("chk-1").expect("deleting twice is no error");
    storage.delete("no/such").expect("neither is what never was");
    assert_eq!(storage.list(""), Ok(vec!["chk-10/a".to_owned()]));
    assert_eq!(storage.list("chk-1"), Ok(vec![]));
    put(&*storage, "chk-1/a", b"y");
    storage.below("chk-10").delete("").expect("the root of a storage is a tree too");
    assert_eq!(storage.list(""), Ok(vec!["chk-1/a".to_owned()]));
}

#[test]
fn a_storage_below_sees_the_same_files_under_shorter_paths() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    let job = storage.below("job");
    put(&*job, "chk-2/b", b"x");
    put(&*job.below("chk-2"), "a", b"y");
    assert_eq!(job.list(""), Ok(vec!["chk-2/a".to_owned(), "chk-2/b".to_owned()]));
    assert_eq!(storage.list("job/chk-2").map(|paths| paths.len()), Ok(2));
    assert_eq!(job.root(), format!("{}/job", storage.root()));
}

#[test]
fn no_path_leads_out_of_the_root() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    fs::write(scratch.join("outside"), "x").expect("it can be written");
    let path = "../outside";
    assert!(storage.read(path, 0..1).is_err());
    assert!(storage.length(path).is_err());
    assert!(storage.create(path).is_err());
    assert!(storage.list("..").is_err());
    let error = storage.delete(path).expect_err("refused");
    assert!(error.to_string().contains("has `.` or `..` in it"), "{error}");
    assert!(scratch.join("outside").exists());
}

#[test]
fn a_directory_is_made_with_the_first_file_and_never_by_looking() {
    let scratch = Scratch::new();
    let root = scratch.join("deep/er/state");
    let storage = local(&root).expect("it may be missing");
    assert_eq!(storage.list("chk-1"), Ok(vec![]));
    assert_eq!(storage.length("chk-1/a"), Ok(None));
    storage.delete("chk-1").expect("nothing is there");
    assert!(!scratch.join("deep").exists());
    put(&*storage, "chk-1/a", b"x");
    fs::remove_dir_all(scratch.join("deep")).expect("it can be removed");
    put(&*storage, "chk-1/a", b"x");
    assert_eq!(storage.length("chk-1/a"), Ok(Some(1)));
}

#[test]
fn many_threads_make_the_same_directories() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let storage = &storage;
            scope.spawn(move || {
                (0..8).for_each(|n| put(&**storage, &format!("a/{n}/b/{thread}"), b"x"));
            });
        }
    });
    assert_eq!(storage.list("").map(|paths| paths.len()), Ok(64));
}

#[test]
fn what_stands_where_a_directory_should_is_named() {
    let scratch = Scratch::new();
    fs::write(scratch.join("state"), "a file").expect("it can be written");
    let error = local(&scratch.join("state")).err().expect("it is a file");
    assert!(error.to_string().contains("state`: it is not a directory"), "{error}");
    let storage = local(&scratch.join("state/below"));
    assert!(storage.is_err(), "a file is above it");
    let storage = local(scratch.path()).expect("it is a directory");
    let error = storage.create("state/a").err().expect("a file is in the way");
    let expected = format!(
        "could not make directory `{0}`: `{0}` is there and is no directory; move away what is in \
         its place, or choose another directory",
        scratch.join("state").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let scratch = Scratch::new();
    let storage = storage(&scratch);
    put(&*storage, "a", b"x");
    let state = scratch.join("state");
    let set = |mode| fs::set_permissions(&state, fs::Permissions::from_mode(mode));
    set(0o555).expect("it is ours");
    let probe = fs::write(state.join("probe"), "x");
    let (file, tree) = (storage.create("b"), storage.create("c/d"));
    set(0o755).expect("it is ours");
    if probe.is_ok() {
        eprintln!("SKIPPED: this user may write where nobody may");
        return;
    }
    let error = file.err().expect("not permitted");
    assert!(error.to_string().contains("state/.b."), "{error}");
    assert!(error.to_string().contains("Permission denied (os error 13); let the user"), "{error}");
    let error = tree.err().expect("not permitted");
    let expected = format!(
        "could not make directory `{}`: Permission denied (os error 13); let the user of this \
         process in, or choose another directory",
        state.join("c").display()
    );
    assert_eq!(error.to_string(), expected);
}

/// A file that takes so many bytes, and whose sync may fail.
struct Failing {
    room: usize,
    sync: Result<(), i32>,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        // ENOSPC
        if taken == 0 { Err(io::Error::from_raw_os_error(28)) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Durable for Failing {
    fn sync(&self) -> io::Result<()> {
        self.sync.map_err(io::Error::from_raw_os_error)
    }
}

fn failing(scratch: &Scratch, room: usize, sync: Result<(), i32>) -> Box<Output<Failing>> {
    let (hidden, path) = (scratch.join(".a.tmp"), scratch.join("a"));
    fs::write(&hidden, "").expect("it can be written");
    Box::new(Output::new(Failing { room, sync }, hidden, path))
}

#[test]
fn a_failed_sync_is_final_and_the_file_never_appears() {
    let scratch = Scratch::new();
    let mut file = failing(&scratch, 100, Err(5));
    file.write_all(b"content").expect("it can be written");
    let error = file.finish().expect_err("the sync fails");
    let expected = format!(
        "could not sync `{}`: Input/output error (os error 5); the disk fails: the kernel's log \
         says more",
        scratch.join("a").display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!error.unknown, "nobody has seen the file");
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_file_with_a_failed_write_cannot_be_finished() {
    let scratch = Scratch::new();
    let mut file = failing(&scratch, 300_000, Ok(()));
    let error = file.write_all(&vec![1; 1 << 20]).expect_err("there is no room");
    let expected = format!(
        "could not write `{}`: No space left on device (os error 28); make room there, or choose \
         another directory",
        scratch.join("a").display()
    );
    assert_eq!(error.to_string(), expected);
    let again = file.write_all(b"x").expect_err("it was given up");
    assert_eq!(again.to_string(), expected);
    assert_eq!(file.finish().expect_err("it was given up").to_string(), expected);
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn what_fails_when_the_rest_is_written_out_fails_the_file() {
    let scratch = Scratch::new();
    let mut file = failing(&scratch, 10, Ok(()));
    file.write_all(b"more than ten bytes").expect("the buffer takes it");
    let error = file.finish().expect_err("there is no room");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(names(scratch.path()).is_empty());
}

/// Set for the child process of the test below: where a small file system is mounted.
const SMALL: &str = "MILLSTREAM_TEST_SMALL_FILE_SYSTEM";

#[test]
fn a_full_or_read_only_disk_is_told_and_leaves_nothing_behind() {
    if let Some(directory) = std::env::var_os(SMALL) {
        return fill(&PathBuf::from(directory));
    }
    let scratch = Scratch::new();
    let directory = scratch.path().display().to_string();
    let program = std::env::current_exe().expect("this program has a path");
    let script = "mount -t tmpfs -o size=256k tmpfs \"$1\" || exit 77; \
                  exec \"$2\" --exact storage::tests::a_full_or_read_only_disk_is_told_and_leaves_nothing_behind";
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", &directory])
        .arg(program)
        .env(SMALL, &directory)
        .output();
    match child {
        Ok(output) if output.status.success() => (),
        Ok(output) if matches!(output.status.code(), Some(1 | 77)) && !is_test(&output.stdout) => {
            eprintln!("SKIPPED: cannot mount: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("SKIPPED: cannot run `unshare`: {error}"),
    }
}

/// The child got so far as to run a test.
fn is_test(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).contains("running 1 test")
}

fn fill(directory: &Path) {
    let storage = local(directory).expect("the directory can be used");
    put(&*storage, "small", &[1; 1000]);
    let mut file = storage.create("chk-1/large").expect("it can be created");
    let written = file.write_all(&vec![2; 1 << 20]);
    let error = written.expect_err("there is no room for it");
    assert!(error.to_string().contains("chk-1/large`: No space left"), "{error}");
    let error = file.finish().expect_err("it was given up");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(storage.list(""), Ok(vec!["small".to_owned()]));
    assert!(names(&directory.join("chk-1")).is_empty());
    put(&*storage, "chk-1/small", &[3; 1000]);
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(directory).status();
    assert!(mounted.expect("it was there before").success());
    let error = storage.create("chk-1/more").err().expect("nothing can be written");
    assert!(error.to_string().contains("Read-only file system (os error 30); mount"), "{error}");
    assert_eq!(storage.read("small", 0..2), Ok(vec![1, 1]));
}
