//! Asynchronous calls in whole programs: with real time and threads, and through crashes in virtual time.

use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::testing::TestEnv;
use millstream::{sink, source};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

fn env() -> Env {
    Env::with_arguments(Args::default()).expect("nothing is wrong with no arguments")
}

#[test]
fn calls_of_a_running_job_overlap_and_results_keep_their_order() -> Result<()> {
    let (env, collected) = (env(), sink::collect());
    let (under_way, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = most.clone();
    let slow = move |n: u64| {
        let (under_way, most) = (under_way.clone(), most.clone());
        async move {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(n % 5)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok::<u64, String>(n * 2)
        }
    };
    env.source("numbers", source::collection(0..500_u64))
        .async_map(AsyncOptions::ordered().capacity(50), slow)
        .name("double")
        .sink("doubled", collected.clone());
    env.set_parallelism(1);
    env.execute("doubles")?;
    assert_eq!(collected.take(), (0..500).map(|n| n * 2).collect::<Vec<_>>());
    let most = seen.load(Ordering::SeqCst);
    assert!((2..=50).contains(&most), "{most} calls were under way at once");
    Ok(())
}

#[test]
fn a_service_that_never_answers_fails_the_job_with_the_operator_and_what_to_do() {
    let env = env();
    let silent = |_: u64| std::future::pending::<Result<u64, String>>();
    env.source("numbers", source::collection(0..10_u64))
        .async_map(AsyncOptions::unordered().timeout(Duration::from_millis(50)), silent)
        .name("silent service")
        .sink("nothing", sink::collect());
    let error = env.execute("silence").expect_err("nobody answers").to_string();
    for part in ["operator `silent service`", "within 50ms", "AsyncOptions::timeout"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// Answers each question, but the first time only after some others have been answered.
#[derive(Clone, Default)]
struct Moody(Arc<Mutex<(u64, BTreeSet<u64>)>>);

impl Moody {
    fn ask(&self, n: u64) -> impl Future<Output = std::result::Result<u64, String>> + Send + use<> {
        let moody = self.clone();
        let mut patience = (n * 7) % 5;
        std::future::poll_fn(move |context| {
            let mut state = moody.0.lock().unwrap();
            if patience > 0 && state.1.insert(n * 10 + patience) {
                patience -= 1;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            state.0 += 1;
            Poll::Ready(Ok(n * 2))
        })
    }
}

#[test]
fn a_crash_anywhere_loses_no_record_under_way_and_doubles_none() -> Result<()> {
    for crash in (0..200).step_by(10) {
        let test = TestEnv::new()
            .with_parallelism(1 + crash as u32 % 3)
            .with_turns_of(3)
            .with_seed(crash)
            .checkpoint_every(20)
            .crash_after(crash);
        let test = if crash % 30 == 0 { test.with_unaligned_checkpoints() } else { test };
        let (moody, collected) = (Moody::default(), sink::collect());
        let options = match crash % 20 {
            0 => AsyncOptions::ordered().capacity(7),
            _ => AsyncOptions::unordered().capacity(7),
        };
        let desk = moody.clone();
        test.env()
            .source("numbers", source::collection(0..200_u64))
            .rebalance()
            .async_map(options, move |n| desk.ask(n))
            .name("double")
            .sink("doubled", collected.clone());
        test.execute("doubles")?;
        let mut doubled = collected.take();
        doubled.sort_unstable();
        assert_eq!(doubled, (0..200).map(|n| n * 2).collect::<Vec<_>>(), "crash after {crash}");
    }
    Ok(())
}

#[test]
fn virtual_time_passes_over_pauses_and_timeouts() -> Result<()> {
    /// Fails twice about each; about 13 it says nothing.
    #[derive(Clone, Default)]
    struct Shaky(Arc<Mutex<Vec<u64>>>);

    impl AsyncFunction<u64> for Shaky {
        type Out = u64;

        fn call(&mut self, n: u64) -> impl Future<Output = AsyncResult<u64>> + Send + 'static {
            let asked = self.0.clone();
            async move {
                if n == 13 {
                    std::future::pending::<()>().await;
                }
                let mut asked = asked.lock().unwrap();
                asked.push(n);
                let times = asked.iter().filter(|other| **other == n).count();
                if times < 3 { Err("busy".into()) } else { Ok(n) }
            }
        }

        fn on_timeout(&mut self, _n: u64) -> AsyncResult<u64> {
            Ok(0)
        }
    }

    let test = TestEnv::new();
    let collected = sink::collect();
    let hour = Duration::from_secs(3_600);
    let options = AsyncOptions::ordered().timeout(hour * 10).retry(AsyncRetry::fixed(3, hour));
    test.env()
        .source("numbers", source::collection([12_u64, 13, 14]))
        .async_process(options, Shaky::default())
        .name("shaky")
        .sink("collected", collected.clone());
    let result = test.execute("patience")?;
    assert_eq!(collected.take(), [12, 0, 14]);
    assert_eq!(result.runtime, hour * 10);
    Ok(())
}
