//! Downloads that fail, collide and expire.

use super::super::protocol::Secret;
use super::super::server::{BlobServer, SERVER_LIMITS};
use super::*;
use crate::scratch::Scratch;
use millstream_core::hash::xxh3_128;
use std::sync::atomic::{AtomicU32, Ordering};

const A: JobId = JobId(0xA);
const B: JobId = JobId(0xB);
const CONTENT: &[u8] = b"#!/bin/sh\nexit 7\n";

fn hash() -> ContentHash {
    ContentHash(xxh3_128(CONTENT))
}

/// What a download is to do, in this order; after the last, it succeeds.
#[derive(Clone, Copy)]
enum Fate {
    BreaksOff,
    IsCorrupted,
    IsUnknown,
    Panics,
}

struct Source {
    fates: Vec<Fate>,
    asked: Arc<AtomicU32>,
    pause: Duration,
}

impl Fetch for Source {
    fn fetch(&self, hash: ContentHash, sink: &mut dyn Write, path: &Path) -> Result<(), BlobError> {
        thread::sleep(self.pause);
        let number = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
        let failed = BlobError::file("write", path);
        match self.fates.get(number) {
            None => sink.write_all(CONTENT).map_err(failed),
            Some(Fate::BreaksOff) => {
                sink.write_all(&CONTENT[..5]).map_err(failed)?;
                Err(BlobError::transfer(hash)(io::ErrorKind::ConnectionReset.into()))
            }
            Some(Fate::IsCorrupted) => {
                sink.write_all(&CONTENT[1..]).and_then(|()| sink.write_all(b"!")).map_err(failed)
            }
            Some(Fate::IsUnknown) => Err(BlobError::Unknown(hash)),
            Some(Fate::Panics) => panic!("planted"),
        }
    }
}

struct Worker {
    scratch: Scratch,
    cache: BlobCache,
    asked: Arc<AtomicU32>,
}

fn worker(fates: &[Fate]) -> Worker {
    worker_with_pause(fates, Duration::ZERO)
}

fn worker_with_pause(fates: &[Fate], pause: Duration) -> Worker {
    let scratch = Scratch::new();
    let asked = Arc::new(AtomicU32::new(0));
    let source = Source { fates: fates.to_vec(), asked: asked.clone(), pause };
    let policy = CachePolicy { retry_pause: Duration::from_micros(1), ..CachePolicy::default() };
    let cache = BlobCache::open(scratch.path(), Box::new(source), policy, Mono(0)).unwrap();
    Worker { scratch, cache, asked }
}

impl Worker {
    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn files(&self) -> usize {
        fs::read_dir(self.scratch.path()).unwrap().count()
    }
}

#[test]
fn a_blob_is_fetched_once_and_can_be_executed() {
    let worker = worker(&[]);
    let path = worker.cache.acquire(A, hash()).unwrap();
    assert_eq!(worker.cache.acquire(B, hash()).unwrap(), path);
    assert_eq!(worker.asked(), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    // A fork of another test may hold the file open for a moment.
    let status = (0..100).find_map(|_| {
        thread::sleep(Duration::from_millis(1));
        std::process::Command::new(&path).status().ok()
    });
    assert_eq!(status.unwrap().code(), Some(7));
}

#[test]
fn a_transfer_that_breaks_or_is_corrupted_is_tried_again() {
    let worker = worker(&[Fate::BreaksOff, Fate::IsCorrupted, Fate::BreaksOff, Fate::IsCorrupted]);
    let path = worker.cache.acquire(A, hash()).unwrap();
    assert_eq!(fs::read(path).unwrap(), CONTENT);
    assert_eq!((worker.asked(), worker.files()), (5, 1));
}

#[test]
fn after_five_retries_it_is_given_up_and_the_next_one_may_try() {
    let worker = worker(&[Fate::IsCorrupted; 6]);
    let error = worker.cache.acquire(A, hash()).unwrap_err();
    assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
    assert_eq!((worker.asked(), worker.files()), (6, 0));
    worker.cache.acquire(A, hash()).unwrap();
}

#[test]
fn what_the_server_does_not_have_is_not_asked_for_again() {
    let worker = worker(&[Fate::IsUnknown]);
    assert!(matches!(worker.cache.acquire(A, hash()), Err(BlobError::Unknown(_))));
    assert_eq!(worker.asked(), 1);
}

#[test]
fn many_who_ask_at_once_wait_for_one_download() {
    let worker = worker_with_pause(&[], Duration::from_millis(50));
    thread::scope(|scope| {
        for number in 0..16 {
            let cache = &worker.cache;
            scope.spawn(move || cache.acquire(JobId(number), hash()).unwrap());
        }
    });
    assert_eq!(worker.asked(), 1);
}

#[test]
fn many_who_ask_at_once_share_an_error_and_a_panic() {
    for fate in [Fate::IsUnknown, Fate::Panics] {
        let worker = worker_with_pause(&[fate], Duration::from_millis(50));
        thread::scope(|scope| {
            for number in 0..8 {
                let cache = &worker.cache;
                scope.spawn(move || cache.acquire(JobId(number), hash()).unwrap_err());
            }
        });
        assert_eq!((worker.asked(), worker.files()), (1, 0));
        worker.cache.acquire(A, hash()).unwrap();
    }
}

#[test]
fn a_blob_stays_for_an_hour_after_its_last_user() {
    let worker = worker(&[]);
    worker.cache.acquire(A, hash()).unwrap();
    worker.cache.acquire(A, hash()).unwrap();
    worker.cache.acquire(B, hash()).unwrap();
    worker.cache.release_job(B, Mono(1_000));
    worker.cache.release(A, hash(), Mono(2_000));
    assert_eq!(worker.cache.expire(Mono(u64::MAX)), 0);
    worker.cache.release(A, hash(), Mono(3_000));
    assert_eq!(worker.cache.expire(Mono(3_000 + LINGER_MS - 1)), 0);
    // It is used again, and the hour begins anew.
    worker.cache.acquire(B, hash()).unwrap();
    worker.cache.release_job(B, Mono(4_000));
    assert_eq!(worker.cache.expire(Mono(3_000 + LINGER_MS)), 0);
    assert_eq!((worker.asked(), worker.files()), (1, 1));
    assert_eq!(worker.cache.expire(Mono(4_000 + LINGER_MS)), 1);
    assert_eq!(worker.files(), 0);
    // A release too many is harmless.
    worker.cache.release(A, hash(), Mono(5_000));
    worker.cache.release_job(B, Mono(5_000));
}

#[test]
fn what_an_earlier_process_left_is_checked_before_it_is_used() {
    let worker = worker(&[]);
    fs::write(worker.scratch.join(&hash().to_string()), CONTENT).unwrap();
    fs::write(worker.scratch.join("half.part"), CONTENT).unwrap();
    let reopen = || {
        let asked = worker.asked.clone();
        let source = Source { fates: Vec::new(), asked, pause: Duration::ZERO };
        let policy = CachePolicy::default();
        BlobCache::open(worker.scratch.path(), Box::new(source), policy, Mono(9)).unwrap()
    };
    let cache = reopen();
    assert_eq!(worker.files(), 1);
    cache.acquire(A, hash()).unwrap();
    assert_eq!(worker.asked(), 0, "it was good");

    fs::write(worker.scratch.join(&hash().to_string()), b"rotten").unwrap();
    let cache = reopen();
    let path = cache.acquire(A, hash()).unwrap();
    assert_eq!(worker.asked(), 1);
    assert_eq!(fs::read(path).unwrap(), CONTENT);

    let cache = reopen();
    assert_eq!(cache.expire(Mono(8 + LINGER_MS)), 0);
    assert_eq!(cache.expire(Mono(9 + LINGER_MS)), 1, "nobody came for it");
}

#[test]
fn a_file_that_somebody_tidied_away_is_fetched_again() {
    let worker = worker(&[]);
    let path = worker.cache.acquire(A, hash()).unwrap();
    fs::remove_file(&path).unwrap();
    worker.cache.acquire(B, hash()).unwrap();
    assert!(path.exists());
    assert_eq!(worker.asked(), 2);
}

#[test]
fn a_blob_comes_from_a_server_or_from_a_store_in_the_same_process() {
    let scratch = Scratch::new();
    let store = Arc::new(BlobStore::open(&scratch.join("store"), 1 << 20).unwrap());
    let hash = store.put(A, &mut &*CONTENT, None, None).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let secret = || Secret::new([1; 32]);
    let server = BlobServer::start(store.clone(), secret(), address, SERVER_LIMITS).unwrap();
    let client = BlobClient::new(server.address(), secret(), Duration::from_secs(10));
    let direct = BlobStore::open(&scratch.join("store"), 1 << 20).unwrap();
    let sources: [Box<dyn Fetch>; 2] = [Box::new(client), Box::new(direct)];
    for (number, source) in sources.into_iter().enumerate() {
        let directory = scratch.join(&format!("cache-{number}"));
        let cache = BlobCache::open(&directory, source, CachePolicy::default(), Mono(0)).unwrap();
        assert_eq!(fs::read(cache.acquire(A, hash).unwrap()).unwrap(), CONTENT);
    }
}
