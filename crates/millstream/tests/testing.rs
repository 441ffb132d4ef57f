//! The test kit: functions and whole programs in one thread, in virtual time, with crashes anywhere.

use millstream::core::metric::MetricValue;
use millstream::operator::inspect::PendingTimers;
use millstream::operator::metrics::{Counter, Gauge, Histogram, Meter};
use millstream::prelude::*;
use millstream::testing::{Harness, TestEnv};
use millstream::{sink, source};
use std::time::Duration;

/// Sums what came per key, and gives it with each event timer; odd numbers go aside as well.
#[derive(Clone)]
struct Sums {
    odd: OutputTag<u64>,
}

#[derive(KeyedState)]
struct Sum {
    sum: ValueState<u64>,
}

type Ctx<'a> = ProcessContext<'a, u64, Sum, (u64, u64)>;

impl KeyedProcessFunction<u64, u64> for Sums {
    type State = Sum;
    type Out = (u64, u64);

    fn process(&mut self, n: u64, ctx: &mut Ctx<'_>) -> FunctionResult {
        let sum = ctx.state.sum.get().copied().unwrap_or_default() + n;
        ctx.state.sum.set(sum);
        if n % 2 == 1 {
            ctx.output(&self.odd, n);
        }
        if let Some(time) = ctx.timestamp() {
            ctx.register_event_timer(time + 100);
        }
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, ctx: &mut Ctx<'_>) -> FunctionResult {
        let sum = (*ctx.key(), ctx.state.sum.get().copied().unwrap_or_default());
        ctx.emit(sum);
        Ok(())
    }
}

fn sums(odd: &OutputTag<u64>) -> Harness<u64, (u64, u64)> {
    let sums = Sums { odd: odd.clone() };
    Harness::new(move |numbers: DataStream<u64>| {
        numbers.key_by(|n| n % 10).process(sums.clone()).name("sums")
    })
    .with_side_output(odd)
}

#[test]
fn a_function_is_seen_from_all_sides() -> Result<()> {
    let odd = OutputTag::new("odd");
    let mut harness = sums(&odd);
    harness.push_at([(3, 1_000), (13, 1_050), (4, 1_010)])?;
    assert_eq!(harness.take_side_output(&odd)?, [3, 13]);
    assert_eq!(
        harness.with_state("sums", &3_u64, |sum: &mut Sum| sum.sum.get().copied())?,
        Some(16)
    );
    assert_eq!(harness.timers("sums")?, PendingTimers { event: 3, processing: 0 });
    harness.advance_watermark(1_100)?;
    assert_eq!(harness.take_timed_output(), [((3, 16), Some(1_100))]);
    assert_eq!(harness.timers("sums")?.event, 2);
    harness.end()?;
    assert_eq!(harness.take_output(), [(4, 4), (3, 16)]);
    Ok(())
}

#[test]
fn a_snapshot_goes_on_with_any_parallelism() -> Result<()> {
    let odd = OutputTag::new("odd");
    let mut harness = sums(&odd);
    harness.push_at((0..100).map(|n| (n, 5_000)))?;
    let snapshot = harness.snapshot()?;
    for parallelism in [1, 2, 4] {
        let mut harness = sums(&odd).with_parallelism(parallelism).restored_from(&snapshot);
        harness.push([7])?;
        let sum = |sum: &mut Sum| sum.sum.get().copied().unwrap_or_default();
        assert_eq!(harness.with_state("sums", &7_u64, sum)?, 10 * 7 + 450 + 7);
        assert_eq!(harness.timers("sums")?.event, 10);
        harness.advance_watermark(5_100)?;
        let mut given = harness.take_output();
        given.sort_unstable();
        let expected = |key| 450 + 10 * key + if key == 7 { 7 } else { 0 };
        assert_eq!(given, (0..10).map(|key| (key, expected(key))).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn after_a_crash_a_function_goes_on_from_the_checkpoint() -> Result<()> {
    let mut harness = sums(&OutputTag::new("odd"));
    harness.push_at([(1, 0)])?;
    harness.checkpoint()?;
    harness.push_at([(11, 0), (21, 0)])?;
    harness.crash()?;
    // What came after the checkpoint has come again.
    assert_eq!(
        harness.with_state("sums", &1_u64, |sum: &mut Sum| sum.sum.get().copied())?,
        Some(33)
    );
    Ok(())
}

#[test]
fn a_question_that_makes_no_sense_is_answered_with_what_there_is() -> Result<()> {
    let mut harness = sums(&OutputTag::new("odd"));
    harness.push([1])?;
    let error = harness.timers("sum").expect_err("there is none").to_string();
    assert!(error.contains("no operator is called `sum`") && error.contains("`sums`"), "{error}");
    let error = harness.with_state("sums", &1_u32, |_: &mut Sum| ()).expect_err("u64").to_string();
    assert!(error.contains("its keys are of type `u64`"), "{error}");
    let error = harness.with_state("sums", &1_u64, |_: &mut u64| ()).expect_err("Sum").to_string();
    assert!(error.contains("the state of operator `sums` is not a `u64`"), "{error}");
    let error = harness.take_side_output(&OutputTag::<u64>::new("even")).expect_err("not read");
    assert!(error.to_string().contains("with_side_output"), "{error}");
    Ok(())
}

/// Records per window and key; the same program with and without crashes.
fn windows(test: &TestEnv) -> Result<Vec<(Timestamp, u64, u64)>> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(50))
        .with_timestamp_assigner(|n: &u64| (*n as i64 ^ 16) * 10);
    let counts = sink::collect();
    test.env()
        .source("numbers", source::collection(0..300_u64))
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|n| n % 7)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(250)))
        .count()
        .name("counts")
        .map(|counted| (counted.window.start, counted.key, counted.value))
        .sink("collected", counts.clone());
    test.execute("windows")?;
    let mut counts = counts.take();
    counts.sort_unstable();
    Ok(counts)
}

#[test]
fn a_crash_anywhere_gives_the_same_windows_as_none() -> Result<()> {
    let expected = windows(&TestEnv::new())?;
    assert_eq!(expected.iter().map(|(_, _, count)| count).sum::<u64>(), 300);
    for crash in (0..300).step_by(10) {
        let test = TestEnv::new()
            .with_parallelism(1 + crash as u32 % 3)
            .with_turns_of(5)
            .with_seed(crash)
            .checkpoint_every(40)
            .crash_after(crash);
        let test = if crash % 20 == 0 { test.with_unaligned_checkpoints() } else { test };
        assert_eq!(windows(&test)?, expected, "crash after {crash}");
    }
    Ok(())
}

#[test]
fn a_program_that_fails_goes_on_as_often_as_it_may() -> Result<()> {
    fn run(test: &TestEnv) -> Result<u64> {
        let failures = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let total = sink::collect();
        test.env()
            .source("numbers", source::collection(0..100_u64))
            .try_map(move |n| {
                let fails =
                    n == 50 && failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
                if fails { Err("bad luck") } else { Ok(n) }
            })
            .key_by(|_| 0_u8)
            .sum(|n| *n)
            .name("sum")
            .sink("total", total.clone());
        test.execute("unlucky")?;
        Ok(total.take().last().map_or(0, |(_, sum)| *sum))
    }
    let lucky = TestEnv::new().with_restarts(2).with_turns_of(10).checkpoint_every(10);
    assert_eq!(run(&lucky)?, 4_950);
    let error = run(&TestEnv::new().with_restarts(1)).expect_err("two failures").to_string();
    assert!(error.contains("operator `try_map`") && error.contains("bad luck"), "{error}");
    assert!(error.contains("tests/testing.rs"), "{error}");
    Ok(())
}

#[test]
fn a_job_that_waits_for_ever_says_for_what() -> Result<()> {
    let test = TestEnv::new();
    let (_input, numbers) = test.input::<u64>("numbers");
    let _output = test.output(&numbers);
    let error = test.execute("endless").expect_err("it has no end").to_string();
    assert!(error.contains("waits for something that never comes"), "{error}");
    assert!(error.contains("call `end` on its test inputs"), "{error}");
    Ok(())
}

#[test]
fn two_inputs_are_filled_in_any_order() -> Result<()> {
    let test = TestEnv::new().with_parallelism(2);
    let (orders, order_stream) = test.input::<(u32, i64)>("orders");
    let (payments, payment_stream) = test.input::<(u32, i64)>("payments");
    let joined = order_stream
        .key_by(|order| order.0)
        .interval_join(&payment_stream.key_by(|paid| paid.0), 0, 5_000)
        .process(|order, payment| (order.0, payment.1 - order.1));
    let joined = test.output(&joined);
    let mut job = test.start("payments")?;
    payments.push_at([((1, 4_000), 4_000), ((2, 20_000), 20_000)]);
    job.run()?;
    orders.push_at([((1, 1_000), 1_000), ((2, 2_000), 2_000)]);
    job.run()?;
    assert_eq!(joined.take(), [(1, 3_000)]);
    orders.end();
    payments.end();
    job.finish()?;
    assert!(job.has_finished() && joined.is_empty());
    Ok(())
}

#[test]
fn a_generator_at_a_rate_takes_no_time() -> Result<()> {
    let began = std::time::Instant::now();
    let test = TestEnv::new().starting_at(1_000_000);
    let seen = sink::collect();
    test.env()
        .source("ticks", source::generator(Some(3_600), |n: u64| n).rate(1))
        .sink("seen", seen.clone());
    let result = test.execute("an hour")?;
    assert_eq!(seen.len(), 3_600);
    let hour = Duration::from_secs(3_600);
    assert!(result.runtime.abs_diff(hour) < Duration::from_secs(5), "{:?}", result.runtime);
    assert!(began.elapsed() < hour / 60);
    Ok(())
}

/// Counts, and remembers the greatest.
#[derive(Clone, Default)]
struct Counting(Vec<millstream::operator::accumulators::Accumulator>);

impl ProcessFunction<u64> for Counting {
    type State = ();
    type Out = u64;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        let all = &context.accumulators;
        self.0 = vec![all.counter("sum")?, all.maximum("most")?, all.average("mean")?];
        Ok(())
    }

    fn process(&mut self, n: u64, _ctx: &mut OperatorContext<'_, (), u64>) -> FunctionResult {
        self.0.iter().for_each(|one| one.add(n as i64));
        Ok(())
    }
}

#[test]
fn accumulators_of_all_subtasks_are_in_the_result() -> Result<()> {
    let count = |env: &Env| {
        env.source("numbers", source::collection(0..100_u64))
            .rebalance()
            .process(Counting::default())
            .set_parallelism(3)
            .name("counting")
            .sink("nothing", sink::collect());
        let accumulators = env.execute("counting")?.accumulators;
        let shown = ["sum", "most", "mean"].map(|name| accumulators[name].to_string());
        Ok::<_, millstream::api::Error>(shown)
    };
    let expected = ["4950", "99", "49.5"].map(str::to_owned);
    let test = TestEnv::new().checkpoint_every(30).crash_after(0);
    assert_eq!(count(test.env())?, expected);
    let embedded = Env::with_arguments(millstream::api::args::Args::default())?;
    assert_eq!(count(&embedded)?, expected);
    Ok(())
}

/// Has one metric of each kind.
#[derive(Clone, Default)]
struct Measuring(Option<(Counter, Gauge, Meter, Histogram)>);

impl ProcessFunction<u64> for Measuring {
    type State = ();
    type Out = u64;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        let (metrics, last) = (&context.metrics, context.metrics.add_group("last"));
        let seen = (metrics.counter("seen")?, last.gauge("value")?);
        self.0 = Some((seen.0, seen.1, metrics.meter("rate")?, metrics.histogram("values")?));
        Ok(())
    }

    fn process(&mut self, n: u64, _ctx: &mut OperatorContext<'_, (), u64>) -> FunctionResult {
        if let Some((seen, last, rate, values)) = &self.0 {
            seen.inc();
            last.set(n as f64);
            rate.mark();
            values.update(n as i64);
        }
        Ok(())
    }
}

#[test]
fn metrics_of_functions_are_shown_by_subtask_and_operator() -> Result<()> {
    let measured = |numbers: DataStream<u64>| {
        numbers.rebalance().process(Measuring::default()).name("to measure")
    };
    let mut harness = Harness::new(measured).with_parallelism(2);
    harness.push(1..=10)?;
    harness.advance_processing_time(10_000)?;
    for finished in [false, true] {
        let shown = harness.metrics()?;
        let both = |name: &str| {
            let metrics = (0..2).map(|subtask| &shown[&format!("{subtask}.to_measure.{name}")]);
            metrics.cloned().collect::<Vec<MetricValue>>()
        };
        let count = |values: Vec<MetricValue>| values.iter().filter_map(|v| v.count()).sum::<i64>();
        assert_eq!((count(both("seen")), count(both("values"))), (10, 10));
        assert!(both("last.value").iter().any(|value| value.to_string() == "10"));
        assert_eq!(both("rate").iter().map(|v| v.to_string()).collect::<Vec<_>>(), ["0.5"; 2]);
        if !finished {
            harness.end()?;
        }
    }
    Ok(())
}

/// Gives the text of a cached file.
#[derive(Clone)]
struct Reading(&'static str);

impl ProcessFunction<u64> for Reading {
    type State = ();
    type Out = Str;

    fn process(&mut self, _n: u64, _ctx: &mut OperatorContext<'_, (), Str>) -> FunctionResult {
        Ok(())
    }

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        let path = context.cached_file(self.0)?;
        assert_eq!(std::fs::read_to_string(path)?, "hello");
        Ok(())
    }
}

#[test]
fn cached_files_are_there_under_their_names_and_others_are_refused() -> Result<()> {
    let path = std::env::temp_dir().join(format!("millstream-greeting-{}", std::process::id()));
    std::fs::write(&path, "hello").expect("it is written");
    let read = |env: &Env, name| {
        env.source("numbers", source::collection(0..3_u64))
            .process(Reading(name))
            .name("read")
            .sink("nothing", sink::collect());
        env.execute("read").map(drop)
    };
    let told = |result: Result<()>| result.expect_err("it cannot be").to_string();
    let embedded = Env::with_arguments(millstream::api::args::Args::default())?;
    for env in [TestEnv::new().env(), &embedded] {
        env.register_cached_file(&path, "greeting")?;
        read(env, "greeting")?;
        let error = told(read(env, "greetings"));
        assert!(error.contains("`greetings`: there are `greeting`; register it"), "{error}");
        let other = told(env.register_cached_file("elsewhere", "greeting"));
        assert!(other.contains("two cached files have the name `greeting`"), "{other}");
    }
    std::fs::remove_file(&path).expect("it is there");
    for env in [TestEnv::new().env(), &embedded] {
        env.register_cached_file(&path, "greeting")?;
        let error = told(read(env, "greeting"));
        assert!(error.contains("cached file `greeting` cannot be read"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    Ok(())
}

#[test]
fn late_records_that_go_nowhere_are_counted() -> Result<()> {
    let test = TestEnv::new().with_parallelism(2);
    let (clicks, stream) = test.input::<u64>("clicks");
    let windows = TumblingEventTimeWindows::of(Duration::from_secs(1));
    let counts = stream.key_by(|n| n % 4).window(windows).count().name("counts");
    let counts = test.output(&counts.map(|counted| counted.value));
    let mut job = test.start("clicks")?;
    clicks.push_at((0..20).map(|n| (n, 100)));
    clicks.advance_watermark(5_000);
    clicks.push_at((0..7).map(|n| (n, 200)));
    clicks.end();
    let result = job.finish()?;
    assert_eq!(counts.take(), [5; 4]);
    assert_eq!(result.accumulators["numLateRecordsDropped"].number(), Some(7));
    let metrics = job.metrics();
    let dropped = |subtask| metrics[&format!("{subtask}.counts.numLateRecordsDropped")].count();
    assert_eq!(dropped(0).zip(dropped(1)).map(|(a, b)| a + b), Some(7));
    Ok(())
}

#[test]
fn arguments_are_the_test_s() -> Result<()> {
    let test = TestEnv::new().with_arguments(["--times", "3", "-D", "my.key=7"]);
    assert_eq!(test.env().arg_parsed::<u32>("times")?, Some(3));
    Ok(())
}
