//! What a directory of records promises: each record is one line of versions, whoever writes.

use super::{DirectoryStore, KEPT};
use crate::scratch::Scratch;
use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A process that takes part in the race of [`the_versions_of_racing_processes_are_one_line`] finds the directory here.
const RACE: &str = "MILLSTREAM_TEST_POINTER_RACE";

fn number(version: &Version) -> u64 {
    version.0.parse().expect("a number")
}

fn written(put: Put) -> Version {
    match put {
        Put::Written(version) => version,
        other => panic!("not written: {other:?}"),
    }
}

/// A writer that always writes what it read and its own mark after it, until `marks` of its own are
/// in; the versions that it was told to have made.
fn append(store: &DirectoryStore, writer: u64, marks: u64) -> Vec<u64> {
    let mut made = Vec::new();
    while (made.len() as u64) < marks {
        let read = store.read("line").expect("it can be read");
        let (version, mut bytes) = match read {
            Some((version, bytes)) => (Some(version), bytes),
            None => (None, Vec::new()),
        };
        bytes.extend(format!("{writer}:{}\n", made.len()).bytes());
        match store.put_if("line", &bytes, version.as_ref()) {
            Put::Written(version) => made.push(number(&version)),
            Put::Conflict => (),
            other => panic!("on a healthy disk: {other:?}"),
        }
    }
    made
}

/// Every mark of every writer is there once, in the order in which it was made.
fn check_line(store: &DirectoryStore, writers: u64, marks: u64) {
    let (version, bytes) = store.read("line").expect("readable").expect("written");
    assert_eq!(number(&version), writers * marks);
    let text = String::from_utf8(bytes).expect("text");
    for writer in 0..writers {
        let mine = text.lines().filter(|line| line.starts_with(&format!("{writer}:")));
        let expected: Vec<String> = (0..marks).map(|mark| format!("{writer}:{mark}")).collect();
        assert_eq!(mine.collect::<Vec<_>>(), expected, "marks were lost or doubled");
    }
}

#[test]
fn a_record_is_written_read_and_replaced() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(&scratch.join("a/b")).expect("it can be made");
    assert_eq!(store.read("leader"), Ok(None));
    let first = written(store.put_if("leader", b"one", None));
    assert_eq!(store.read("leader"), Ok(Some((first.clone(), b"one".to_vec()))));
    let second = written(store.put_if("leader", b"two", Some(&first)));
    assert_ne!(first, second);
    assert_eq!(store.read("leader"), Ok(Some((second, b"two".to_vec()))));
    assert_eq!(store.read("other"), Ok(None), "keys are apart");
}

#[test]
fn a_write_based_on_anything_but_the_newest_version_is_refused() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    let first = written(store.put_if("leader", b"one", None));
    let second = written(store.put_if("leader", b"two", Some(&first)));
    let future = Version("77".to_owned());
    let foreign = Version("etag".to_owned());
    for base in [None, Some(&first), Some(&future), Some(&foreign)] {
        assert_eq!(store.put_if("leader", b"three", base), Put::Conflict, "{base:?}");
    }
    assert_eq!(store.read("leader"), Ok(Some((second, b"two".to_vec()))));
}

#[test]
fn old_versions_go_and_the_newest_stay() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    let mut version = None;
    for _ in 0..3 * KEPT {
        version = Some(written(store.put_if("leader", b"x", version.as_ref())));
    }
    let versions = store.versions("leader").expect("it can be listed");
    let expected: Vec<u64> = (2 * KEPT + 1..=3 * KEPT).collect();
    assert_eq!(versions, expected);
    let left = fs::read_dir(scratch.path()).expect("it is there").count() as u64;
    assert_eq!(left, KEPT, "temporary files are left");
}

/// It listed the directory, slept for long, and links a number that was used and deleted meanwhile.
#[test]
fn a_writer_that_slept_for_long_neither_succeeds_nor_is_read() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    let first = written(store.put_if("leader", b"x", None));
    let temporary = store.write_temporary("leader", b"late").expect("it can be written");
    let mut version = first;
    for _ in 0..KEPT + 1 {
        version = written(store.put_if("leader", b"x", Some(&version)));
    }
    let put = store.publish("leader", &temporary, 2);
    assert!(matches!(put, Put::Unknown(_)), "{put:?}");
    assert_eq!(store.read("leader"), Ok(Some((version.clone(), b"x".to_vec()))));
    written(store.put_if("leader", b"y", Some(&version)));
    let versions = store.versions("leader").expect("it can be listed");
    assert!(!versions.contains(&2), "what the late writer made goes with the other old versions");
}

/// NFS: the link was made, its answer lost, and the repetition finds the name taken, by itself.
#[test]
fn a_link_that_is_there_already_and_ours_counts() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    let temporary = store.write_temporary("leader", b"mine").expect("it can be written");
    fs::hard_link(&temporary, store.path("leader", 1)).expect("it can be linked");
    assert_eq!(store.publish("leader", &temporary, 1), Put::Written(Version("1".to_owned())));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_no_empty_record() {
    let scratch = Scratch::new();
    let store = DirectoryStore::at(&scratch.join("not/mounted"));
    let error = store.read("leader").expect_err("it is not there");
    assert!(error.to_string().contains("not/mounted"), "{error}");
    assert!(matches!(store.put_if("leader", b"x", None), Put::Failed(_)));
}

#[test]
fn files_of_others_in_the_directory_are_no_versions() {
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    for name in ["leader", "leader.", "leader.x", "leader.-1", "leaders.9", ".leader.1.tmp"] {
        fs::write(scratch.join(name), b"?").expect("it can be written");
    }
    fs::create_dir(scratch.join("jobs")).expect("it can be made");
    assert_eq!(store.read("leader"), Ok(None));
    assert_eq!(number(&written(store.put_if("leader", b"x", None))), 1);
}

#[test]
fn the_versions_of_racing_threads_are_one_line() {
    const WRITERS: u64 = 8;
    const MARKS: u64 = 40;
    let scratch = Scratch::new();
    let store = DirectoryStore::create(scratch.path()).expect("it can be made");
    let all: Vec<u64> = std::thread::scope(|scope| {
        let writers = (0..WRITERS).map(|writer| {
            let store = &store;
            scope.spawn(move || append(store, writer, MARKS))
        });
        let running: Vec<_> = writers.collect();
        running.into_iter().flat_map(|it| it.join().expect("no panic")).collect()
    });
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len(), "two writers made the same version");
    check_line(&store, WRITERS, MARKS);
}

#[test]
fn the_versions_of_racing_processes_are_one_line() {
    const WRITERS: u64 = 4;
    const MARKS: u64 = 30;
    if let Some(race) = std::env::var_os(RACE) {
        let race = race.into_string().expect("text");
        let (writer, directory) = race.split_once('@').expect("writer@directory");
        let store = DirectoryStore::create(Path::new(directory)).expect("it can be made");
        append(&store, writer.parse().expect("a number"), MARKS);
        return;
    }
    let scratch = Scratch::new();
    let test = "pointer::tests::the_versions_of_racing_processes_are_one_line";
    let start = |writer: u64| {
        Command::new(std::env::current_exe().expect("this test is a file"))
            .args(["--exact", test])
            .env(RACE, format!("{writer}@{}", scratch.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .expect("it can be started")
    };
    let racers: Vec<_> = (0..WRITERS).map(start).collect();
    for mut racer in racers {
        assert!(racer.wait().expect("it ends").success());
    }
    check_line(&DirectoryStore::at(scratch.path()), WRITERS, MARKS);
}
