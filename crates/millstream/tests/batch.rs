//! BATCH mode: the final results of STREAMING, from inputs that are sorted by keys.

use millstream::prelude::*;
use millstream::testing::TestEnv;
use millstream::{sink, source};
use std::time::Duration;

/// Runs the program in both modes, with little and with much memory, and compares what it gives.
fn same_in_both<T: Record + Ord + std::fmt::Debug>(program: impl Fn(&Env) -> DataStream<T>) {
    let run = |mode: RuntimeExecutionMode, parallelism: u32, memory: &str| {
        let test = TestEnv::new().with_parallelism(parallelism).with_turns_of(100);
        let results = sink::collect();
        test.env().set_runtime_mode(mode).configure("execution.sorted-inputs.memory", memory);
        program(test.env()).sink("results", results.clone());
        test.execute("both").expect("nothing fails");
        let mut results = results.take();
        results.sort_unstable();
        results
    };
    let expected = run(RuntimeExecutionMode::Streaming, 1, "128mb");
    assert!(!expected.is_empty());
    for parallelism in [1, 3] {
        for memory in ["128mb", "16kb"] {
            let found = run(RuntimeExecutionMode::Batch, parallelism, memory);
            assert_eq!(found, expected, "parallelism {parallelism}, {memory}");
        }
    }
}

/// Numbers out of order, at most 1,000 ms.
fn numbers(env: &Env) -> DataStream<(u64, i64)> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1))
        .with_timestamp_assigner(|(_, time): &(u64, i64)| *time);
    let record = |n: u64| (n % 41, (n as i64 ^ 0b11_1111) * 10);
    env.source("numbers", source::collection((0..5_000).map(record)))
        .assign_timestamps_and_watermarks(strategy)
}

#[test]
fn windows_of_every_kind() {
    let ten = Duration::from_secs(10);
    same_in_both(|env| {
        let windows = TumblingEventTimeWindows::of(ten);
        let counts = numbers(env).key_by(|n| n.0).window(windows).count().name("tumbling");
        counts.map(|counted| (counted.key, counted.window.start, counted.value))
    });
    same_in_both(|env| {
        let windows = SlidingEventTimeWindows::of(ten, Duration::from_secs(2));
        let counts = numbers(env).key_by(|n| n.0).window(windows).sum(|n| n.1).name("sliding");
        counts.map(|counted| (counted.key, counted.window.start, counted.value))
    });
    same_in_both(|env| {
        let sessions = EventTimeSessionWindows::with_gap(Duration::from_millis(420));
        let counts = numbers(env).key_by(|n| n.0).window(sessions).count().name("sessions");
        counts.map(|counted| (counted.key, counted.window.start, counted.value))
    });
    same_in_both(|env| {
        numbers(env)
            .key_by(|n| n.0)
            .window(GlobalWindows)
            .trigger(TimeTrigger::event_time())
            .reduce(|older, newer| if newer.1 > older.1 { newer } else { older })
            .name("newest")
    });
}

#[test]
fn joins_by_windows_and_by_intervals() {
    same_in_both(|env| {
        let left = numbers(env);
        let right = left.filter(|n| n.1 % 3 == 0);
        left.key_by(|n| n.0)
            .interval_join(&right.key_by(|n| n.0), -2_000, 500)
            .process(|left, right| (left.0, left.1, right.1))
            .name("joined")
    });
    same_in_both(|env| {
        let left = numbers(env);
        let right = left.filter(|n| n.1 % 7 == 0);
        left.key_by(|n| n.0)
            .join(&right.key_by(|n| n.0))
            .window(TumblingEventTimeWindows::of(Duration::from_secs(5)))
            .apply(|left, right| (left.0, left.1, right.1))
            .name("joined")
    });
}

/// The gaps between the numbers of a key, which come by their times; the odd ones aside.
#[derive(Clone)]
struct Gaps {
    odd: OutputTag<(u64, i64)>,
}

#[derive(KeyedState)]
struct Pending {
    times: ListState<i64>,
}

type Ctx<'a> = ProcessContext<'a, u64, Pending, (u64, i64)>;

impl KeyedProcessFunction<u64, (u64, i64)> for Gaps {
    type State = Pending;
    type Out = (u64, i64);

    fn process(&mut self, (_, time): (u64, i64), ctx: &mut Ctx<'_>) -> FunctionResult {
        ctx.state.times.push(time);
        ctx.register_event_timer(i64::MAX);
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, ctx: &mut Ctx<'_>) -> FunctionResult {
        let mut times: Vec<i64> = ctx.state.times.iter().collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            let gap = (*ctx.key(), pair[1] - pair[0]);
            if gap.1 % 20 == 0 { ctx.emit(gap) } else { ctx.output(&self.odd, gap) }
        }
        Ok(())
    }
}

#[test]
fn functions_with_state_timers_and_side_outputs() {
    same_in_both(|env| {
        let odd = OutputTag::new("odd");
        let gaps = numbers(env).key_by(|n| n.0).process(Gaps { odd: odd.clone() }).name("gaps");
        let odd = gaps.side_output(&odd).map(|(key, gap)| (key, -gap));
        gaps.union(&[&odd]).map(|gap| gap).name("all")
    });
}

#[test]
fn a_source_that_never_ends_is_named() {
    let test = TestEnv::new();
    test.env()
        .set_runtime_mode(RuntimeExecutionMode::Batch)
        .source("forever", source::generator(None, |n: u64| n))
        .sink("nowhere", sink::collect());
    let error = test.execute("endless").expect_err("it never ends").to_string();
    assert!(error.contains("BATCH mode needs sources that end"), "{error}");
    assert!(error.contains("operator `forever`"), "{error}");
}

#[test]
fn automatic_is_batch_when_all_sources_end() -> Result<()> {
    let test = TestEnv::new();
    let counts = sink::collect();
    test.env()
        .set_runtime_mode(RuntimeExecutionMode::Automatic)
        .source("numbers", source::collection(0..100_u64))
        .key_by(|n| n % 2)
        .count()
        .name("count")
        .sink("counts", counts.clone());
    test.execute("counts")?;
    let mut counts = counts.take();
    counts.sort_unstable();
    assert_eq!(counts, [(0, 50), (1, 50)], "final results only");
    Ok(())
}
