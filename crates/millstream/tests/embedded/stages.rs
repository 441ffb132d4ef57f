//! BATCH mode stage by stage, embedded: what a stage has produced is read again after a failure, and not made
//! again.

use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static READ: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicBool = AtomicBool::new(false);

fn batch_env() -> Env {
    let env = Env::with_arguments(Args::default()).expect("the environment is not set");
    env.set_parallelism(2).set_runtime_mode(RuntimeExecutionMode::Batch);
    env
}

#[test]
fn a_reader_that_fails_reads_again_and_the_source_does_not() -> Result<()> {
    let env = batch_env();
    env.configure("restart-strategy.type", "fixed-delay")
        .configure("restart-strategy.fixed-delay.delay", "10 ms");
    let counts = sink::collect();
    let number = |n: u64| {
        READ.fetch_add(1, Ordering::Relaxed);
        n
    };
    env.source("numbers", source::generator(Some(10_000), number))
        .key_by(|n| n % 100)
        .count()
        .name("count")
        .try_map(|count| match FAILED.swap(true, Ordering::Relaxed) {
            false => Err("as asked"),
            true => Ok(count),
        })
        .name("fails once")
        .sink("counts", counts.clone());
    env.execute("stages")?;
    let mut counts = counts.take();
    counts.sort_unstable();
    assert_eq!(counts, (0..100).map(|key| (key, 100)).collect::<Vec<_>>());
    assert!(FAILED.load(Ordering::Relaxed));
    assert_eq!(READ.load(Ordering::Relaxed), 10_000, "nothing is read from the source twice");
    Ok(())
}

#[test]
fn all_exchanges_may_be_pipelined_and_an_unknown_way_is_refused() -> Result<()> {
    for (mode, works) in [("ALL_EXCHANGES_PIPELINED", true), ("all_exchanges_hybrid_full", false)] {
        let env = batch_env();
        env.configure("execution.batch-shuffle-mode", mode);
        let counts = sink::collect();
        let numbers = env.source("numbers", source::collection(0..100_u64));
        numbers.key_by(|n| n % 2).count().name("count").sink("counts", counts.clone());
        match env.execute("counts") {
            Ok(_) => assert!(works, "{mode} is not known"),
            Err(error) => {
                let error = error.to_string();
                assert!(!works && error.contains("execution.batch-shuffle-mode"), "{error}");
                assert!(error.contains("ALL_EXCHANGES_BLOCKING"), "{error}");
                continue;
            }
        }
        let mut counts = counts.take();
        counts.sort_unstable();
        assert_eq!(counts, [(0, 50), (1, 50)]);
    }
    Ok(())
}
