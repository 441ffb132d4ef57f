//! Against a real server of the S3 protocol, over real sockets.

mod proxy;
mod server;

use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use millstream_checkpoint::storage::Storage;
use millstream_object_store::ObjectStores;
use proxy::{DELAY, Proxy, Way};
use server::Server;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a record is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

fn stores(endpoint: &str) -> ObjectStores {
    let keys = [
        ("s3.endpoint", endpoint),
        ("s3.region", "us-east-1"),
        ("s3.access-key", "test"),
        ("s3.secret-key", "test"),
        ("s3.retry-timeout-seconds", "1"),
    ];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ObjectStores::new(BTreeMap::from(keys))
}

fn storage(server: &Server, prefix: &str) -> Arc<dyn Storage> {
    let uri = format!("s3://{}/{prefix}", server.bucket);
    stores(&server.endpoint).storage(&uri).expect("a URI")
}

fn records(server: &Server, endpoint: &str, prefix: &str) -> Arc<dyn ConditionalStore> {
    let uri = format!("s3://{}/{prefix}", server.bucket);
    stores(endpoint).records(&uri, PATIENCE).expect("a URI")
}

fn write(storage: &dyn Storage, path: &str, content: &[u8]) {
    let mut output = storage.create(path).expect("it begins");
    output.write_all(content).expect("it is written");
    output.finish().expect("it is finished");
}

#[test]
fn files_small_and_large_come_back_by_range() {
    let Some(server) = Server::start() else { return };
    let storage = storage(&server, "files");
    let large: Vec<u8> =
        (0..20_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write(storage.as_ref(), "chk-1/small", b"state");
    write(storage.as_ref(), "chk-1/large", &large);
    write(storage.as_ref(), "chk-1/empty", b"");
    assert_eq!(storage.read("chk-1/small", 1..4).expect("it is there"), b"tat");
    let range = 8_388_600_u64..8_388_700;
    let expected = &large[range.start as usize..range.end as usize];
    assert_eq!(storage.read("chk-1/large", range).expect("it is there"), expected);
    assert_eq!(storage.length("chk-1/large"), Ok(Some(20_000_000)));
    assert_eq!(storage.length("chk-1/empty"), Ok(Some(0)));
    assert_eq!(storage.length("chk-1/none"), Ok(None));
    let error = storage.read("chk-1/small", 3..9).expect_err("it is shorter");
    assert!(error.path.ends_with("files/chk-1/small"), "{error}");
    assert!(storage.read("chk-1/none", 0..1).is_err());
}

#[test]
fn a_file_that_is_not_finished_is_not_there() {
    let Some(server) = Server::start() else { return };
    let storage = storage(&server, "unfinished");
    for bytes in [10, 9_000_000] {
        let mut output = storage.create("chk-1/a").expect("it begins");
        output.write_all(&vec![7; bytes]).expect("it is written");
        drop(output);
        assert_eq!(storage.length("chk-1/a"), Ok(None));
    }
    assert_eq!(storage.list(""), Ok(Vec::new()));
}

#[test]
fn files_are_listed_and_deleted_with_all_that_is_below() {
    let Some(server) = Server::start() else { return };
    let storage = storage(&server, "tree");
    for path in ["chk-1/a", "chk-1/b/c", "chk-10/a", "shared/x"] {
        write(storage.as_ref(), path, path.as_bytes());
    }
    let listed = |path| storage.list(path).expect("it answers");
    assert_eq!(listed(""), ["chk-1/a", "chk-1/b/c", "chk-10/a", "shared/x"]);
    assert_eq!(listed("chk-1"), ["chk-1/a", "chk-1/b/c"]);
    let below = storage.below("chk-1");
    assert_eq!(below.list("").expect("it answers"), ["a", "b/c"]);
    assert_eq!(below.read("b/c", 0..3).expect("it is there"), b"chk");
    storage.delete("chk-1").expect("it is deleted");
    storage.delete("shared/x").expect("it is deleted");
    storage.delete("shared/x").expect("what is not there is no error");
    assert_eq!(listed(""), ["chk-10/a"]);
}

#[test]
fn of_two_who_change_a_record_at_once_one_succeeds() {
    let Some(server) = Server::start() else { return };
    let store = records(&server, &server.endpoint, "ha");
    assert_eq!(store.read("leader"), Ok(None));
    let Put::Written(first) = store.put_if("leader", b"a", None) else { panic!("nobody else") };
    assert_eq!(store.put_if("leader", b"b", None), Put::Conflict);
    let Put::Written(second) = store.put_if("leader", b"b", Some(&first)) else {
        panic!("it is based on the newest")
    };
    assert_eq!(store.put_if("leader", b"c", Some(&first)), Put::Conflict);
    assert_eq!(store.read("leader"), Ok(Some((second.clone(), b"b".to_vec()))));
    // The same content again is another version: who still has the first must not win by it.
    let Put::Written(third) = store.put_if("leader", b"a", Some(&second)) else {
        panic!("it is based on the newest")
    };
    assert_ne!(third, first);
    assert_eq!(store.put_if("leader", b"d", Some(&first)), Put::Conflict);
    let missing = Version("\"none\"".to_owned());
    assert_eq!(store.put_if("other", b"a", Some(&missing)), Put::Conflict);
}

#[test]
fn many_who_count_in_one_record_lose_no_count() {
    let Some(server) = Server::start() else { return };
    let store = records(&server, &server.endpoint, "count");
    let count = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let add = || loop {
        let found = store.read("n").expect("it answers");
        let next = found.as_ref().map_or(0, |(_, bytes)| count(bytes)) + 1;
        let expected = found.as_ref().map(|(version, _)| version);
        match store.put_if("n", &next.to_le_bytes(), expected) {
            Put::Written(_) => return,
            Put::Conflict => (),
            other => panic!("{other:?}"),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| add()));
        }
    });
    let (_, bytes) = store.read("n").expect("it answers").expect("it is there");
    assert_eq!(count(&bytes), 40);
}

#[test]
fn a_write_whose_answer_is_lost_is_unknown_and_reading_back_tells() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(&server.endpoint);
    let store = records(&server, &proxy.endpoint, "lost");
    let Put::Written(first) = store.put_if("leader", b"a", None) else { panic!("all is well") };
    proxy.set(Way::NoAnswers);
    let put = store.put_if("leader", b"b", Some(&first));
    assert!(matches!(put, Put::Unknown(_)), "{put:?}");
    let error = store.read("leader").expect_err("no answer comes through");
    assert!(!error.unknown && error.to_string().contains("leader"), "{error}");
    proxy.set(Way::Open);
    let (_, found) = store.read("leader").expect("it answers").expect("it is there");
    assert_eq!(found, b"b", "it had been written");
}

#[test]
fn an_answer_is_not_waited_for_longer_than_was_said() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(&server.endpoint);
    let uri = format!("s3://{}/slow", server.bucket);
    let stores = stores(&proxy.endpoint);
    let hasty = stores.records(&uri, DELAY / 5).expect("a URI");
    let patient = stores.records(&uri, DELAY * 20).expect("a URI");
    let Put::Written(first) = patient.put_if("leader", b"a", None) else { panic!("all is well") };
    proxy.set(Way::Slow);
    let begun = Instant::now();
    let put = hasty.put_if("leader", b"b", Some(&first));
    assert!(matches!(put, Put::Unknown(_)), "{put:?}");
    assert!(begun.elapsed() < DELAY, "it waited for {:?}", begun.elapsed());
    let (second, found) = patient.read("leader").expect("it answers").expect("it is there");
    assert_eq!(found, b"b", "it had been written");
    assert!(matches!(patient.put_if("leader", b"c", Some(&second)), Put::Written(_)));
}

#[test]
fn a_way_that_is_closed_for_a_while_is_told_and_then_used_again() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(&server.endpoint);
    let uri = format!("s3://{}/closed", server.bucket);
    let storage = stores(&proxy.endpoint).storage(&uri).expect("a URI");
    write(storage.as_ref(), "a", b"x");
    proxy.set(Way::Closed);
    let error = storage.read("a", 0..1).expect_err("nobody answers");
    assert!(error.to_string().contains("closed/a`"), "{error}");
    proxy.set(Way::Open);
    assert_eq!(storage.read("a", 0..1).expect("it answers"), b"x");
}

#[test]
fn a_bucket_that_is_not_there_is_told_with_what_to_do() {
    let Some(server) = Server::start() else { return };
    let storage = stores(&server.endpoint).storage("s3://no-such-bucket/x").expect("a URI");
    let mut output = storage.create("a").expect("it begins");
    output.write_all(b"x").expect("it is gathered");
    let error = output.finish().expect_err("there is no such bucket");
    assert!(error.cause.contains("create the bucket"), "{error}");
}

#[test]
fn a_store_that_cannot_be_reached_is_told_with_its_address() {
    let uri = "s3://state/jobs";
    let storage = stores("http://127.0.0.1:9").storage(uri).expect("nothing is asked yet");
    let error = storage.length("a").expect_err("nobody is there");
    assert_eq!(error.path, "s3://state/jobs/a");
    assert!(error.cause.contains("127.0.0.1:9"), "{error}");
    assert!(error.cause.ends_with("can be reached from this machine"), "{error}");
    let mut output = storage.create("a").expect("it begins");
    output.write_all(b"x").expect("it is gathered");
    let error = output.finish().expect_err("nobody is there");
    assert!(error.unknown && error.attempt == "write", "{error:?}");
}
