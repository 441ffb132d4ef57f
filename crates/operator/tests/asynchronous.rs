//! Asynchronous calls: order, watermarks, capacity, timeouts, retries, and what a checkpoint holds of
//! them. Answers come when a test gives them.

use millstream_core::OperatorError;
use millstream_core::checkpoint::SnapshotKind;
use millstream_core::key_group::MaxParallelism;
use millstream_operator::asynchronous::{
    AsyncFn, AsyncFunction, AsyncOptions, AsyncResult, AsyncRetry, AsyncRuntime, AsyncWait,
    LocalRuntime,
};
use millstream_operator::clock::ManualClock;
use millstream_operator::context::TaskContext;
use millstream_operator::harness::{HarnessSnapshot, OperatorHarness};
use millstream_operator::operator::Operator;
use millstream_shuffle::element::Watermark;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Somebody outside who answers when the test says so.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<BTreeMap<u64, Question>>>);

#[derive(Default)]
struct Question {
    answer: Option<Result<u64, String>>,
    waker: Option<Waker>,
    /// Calls that are waiting.
    open: u32,
}

/// A call that waits at the desk.
struct Waiting(Desk, u64);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().get_mut(&self.1).expect("it has asked").open -= 1;
    }
}

impl Desk {
    fn ask(&self, n: u64) -> impl Future<Output = Result<u64, String>> + Send + use<> {
        self.0.lock().unwrap().entry(n).or_default().open += 1;
        let waiting = Waiting(self.clone(), n);
        std::future::poll_fn(move |context| {
            let mut desk = waiting.0.0.lock().unwrap();
            let question = desk.get_mut(&waiting.1).expect("it has asked");
            question.waker = Some(context.waker().clone());
            question.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn answer(&self, n: u64, answer: Result<u64, &str>) {
        let mut desk = self.0.lock().unwrap();
        let question = desk.get_mut(&n).expect("somebody asks");
        question.answer = Some(answer.map_err(str::to_owned));
        if let Some(waker) = &question.waker {
            waker.wake_by_ref();
        }
    }

    /// Questions that wait for an answer.
    fn open(&self) -> Vec<u64> {
        let desk = self.0.lock().unwrap();
        let open =
            desk.iter().filter(|(_, question)| question.open > 0 && question.answer.is_none());
        open.map(|(n, _)| *n).collect()
    }
}

/// The operator, alone.
struct Bench<F: AsyncFunction<u64, Out = u64>> {
    harness: OperatorHarness<u64, u64, AsyncWait<u64, F>>,
    runtime: LocalRuntime,
    clock: ManualClock,
    now: i64,
}

impl<F: AsyncFunction<u64, Out = u64>> Bench<F> {
    fn of(function: F, options: AsyncOptions) -> Self {
        let (runtime, clock) = (LocalRuntime::new(), ManualClock::default());
        let context = TaskContext {
            async_runtime: AsyncRuntime::new(runtime.clone()),
            clock: clock.clock(),
            ..TaskContext::alone()
        };
        let operator = AsyncWait::new(function, options, &context).expect("it opens");
        Self { harness: OperatorHarness::new(operator), runtime, clock, now: 0 }
    }

    /// Lets calls and answers come as far as they can.
    fn settle(&mut self) -> Result<(), OperatorError> {
        loop {
            let ran = self.runtime.run();
            let due = self.harness.operator().next_timer().is_some_and(|at| at <= self.now);
            if due {
                self.harness.advance_time(self.now)?;
            }
            if !ran && !due {
                return Ok(());
            }
        }
    }

    fn push(&mut self, records: impl IntoIterator<Item = (u64, i64)>) {
        self.harness.push_at(records).expect("nothing fails");
        self.settle().expect("nothing fails");
    }

    fn pass_time(&mut self, millis: i64) -> Result<(), OperatorError> {
        self.now += millis;
        self.clock.set(self.now);
        self.settle()
    }

    fn watermark(&mut self, time: i64) -> Option<Watermark> {
        self.harness.advance_watermark(time).expect("nothing fails");
        self.harness.operator().pass_watermark(Watermark::active(time))
    }

    fn snapshot(&mut self) -> HarnessSnapshot {
        self.harness.snapshot(MaxParallelism::default_for(1)).expect("it can be written")
    }
}

fn asking(desk: &Desk, options: AsyncOptions) -> Bench<impl AsyncFunction<u64, Out = u64> + use<>> {
    let desk = desk.clone();
    Bench::of(AsyncFn(move |n: u64| desk.ask(n)), options)
}

#[test]
fn in_order_the_first_answer_waits_for_those_before_it() {
    let desk = Desk::default();
    let mut bench = asking(&desk, AsyncOptions::ordered());
    bench.push([(1, 10), (2, 20), (3, 30)]);
    desk.answer(3, Ok(30));
    desk.answer(2, Ok(20));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_timed_output(), []);
    desk.answer(1, Ok(10));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_timed_output(), [(10, 10), (20, 20), (30, 30)]);
}

#[test]
fn out_of_order_answers_leave_at_once_but_not_across_a_watermark() {
    let desk = Desk::default();
    let mut bench = asking(&desk, AsyncOptions::unordered());
    bench.push([(1, 10), (2, 20)]);
    assert_eq!(bench.watermark(20), None);
    bench.push([(3, 30)]);
    desk.answer(3, Ok(30));
    desk.answer(2, Ok(20));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_output(), [20], "3 is behind the watermark");
    assert_eq!(bench.harness.operator().take_watermark(), None);
    desk.answer(1, Ok(10));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_output(), [10, 30]);
    assert_eq!(bench.harness.operator().take_watermark(), Some(Watermark::active(20)));
    assert_eq!(bench.watermark(99), Some(Watermark::active(99)), "nothing holds it up");
}

#[test]
fn no_more_calls_than_the_capacity_are_under_way_and_no_further_batch_is_taken() {
    let desk = Desk::default();
    let mut bench = asking(&desk, AsyncOptions::ordered().capacity(2));
    assert!(bench.harness.operator().accepts());
    bench.push((0..5).map(|n| (n, 0)));
    assert_eq!(desk.open(), [0, 1]);
    assert!(!bench.harness.operator().accepts());
    assert_eq!(bench.harness.operator().under_way(), (2, 3));
    for n in 0..5 {
        desk.answer(n, Ok(n));
        bench.settle().unwrap();
    }
    assert_eq!(bench.harness.take_output(), [0, 1, 2, 3, 4]);
    assert!(bench.harness.operator().accepts() && bench.runtime.is_empty());
}

#[test]
fn a_call_that_never_answers_fails_with_the_time_that_was_waited() {
    let desk = Desk::default();
    let mut bench = asking(&desk, AsyncOptions::ordered().timeout(500 * MS));
    bench.push([(1, 0)]);
    bench.pass_time(499).unwrap();
    let error = bench.pass_time(1).expect_err("time is up").message;
    assert!(error.contains("was not answered within 500ms (1 tried)"), "{error}");
    assert!(error.contains("AsyncFunction::on_timeout"), "{error}");
    assert!(desk.open().is_empty(), "the call is cancelled");
}

/// Gives 0 when no answer comes.
#[derive(Clone)]
struct OrZero(Desk);

impl AsyncFunction<u64> for OrZero {
    type Out = u64;

    fn call(&mut self, n: u64) -> impl Future<Output = AsyncResult<u64>> + Send + 'static {
        let answer = self.0.ask(n);
        async move { Ok(answer.await?) }
    }

    fn on_timeout(&mut self, _n: u64) -> AsyncResult<u64> {
        Ok(0)
    }
}

#[test]
fn what_is_given_instead_of_an_answer_keeps_its_place_and_a_late_answer_is_not_given_too() {
    let desk = Desk::default();
    let mut bench = Bench::of(OrZero(desk.clone()), AsyncOptions::ordered().timeout(100 * MS));
    bench.push([(1, 10)]);
    bench.pass_time(50).unwrap();
    bench.push([(2, 20)]);
    desk.answer(2, Ok(20));
    bench.pass_time(50).unwrap();
    assert_eq!(bench.harness.take_timed_output(), [(0, 10), (20, 20)]);
    bench.pass_time(1_000).unwrap();
    assert!(bench.harness.take_output().is_empty());
    assert!(bench.runtime.is_empty());
}

#[test]
fn a_failed_call_is_made_again_after_pauses_and_the_last_failure_is_told() {
    let desk = Desk::default();
    let retry = AsyncRetry::exponential(3, 10 * MS, 1_000 * MS);
    let mut bench = asking(&desk, AsyncOptions::ordered().retry(retry));
    bench.push([(1, 0), (2, 0)]);
    desk.answer(1, Err("busy"));
    bench.settle().unwrap();
    assert_eq!(desk.open(), [2], "it pauses");
    bench.pass_time(10).unwrap();
    assert_eq!(desk.open(), [1, 2]);
    desk.answer(1, Ok(100));
    desk.answer(2, Ok(200));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_output(), [100, 200]);

    bench.push([(3, 0)]);
    for pause in [10, 20] {
        desk.answer(3, Err("busy"));
        bench.settle().unwrap();
        bench.pass_time(pause).unwrap();
    }
    desk.answer(3, Err("out of service"));
    let error = bench.settle().expect_err("three calls are enough").message;
    assert_eq!(error, "an asynchronous call failed, the last of 3: out of service");
}

#[test]
fn retries_count_against_the_timeout() {
    let desk = Desk::default();
    let retry = AsyncRetry::fixed(u32::MAX, 30 * MS);
    let options = AsyncOptions::ordered().timeout(100 * MS).retry(retry);
    let mut bench = Bench::of(OrZero(desk.clone()), options);
    bench.push([(1, 0)]);
    for _ in 0..3 {
        desk.answer(1, Err("busy"));
        bench.pass_time(30).unwrap();
    }
    desk.answer(1, Err("busy"));
    bench.pass_time(10).unwrap();
    assert_eq!(bench.harness.take_output(), [0]);
    bench.pass_time(1_000).unwrap();
    assert!(desk.open().is_empty() && bench.runtime.is_empty(), "nobody asks any more");
}

#[test]
fn a_call_that_panics_fails_with_its_message() {
    let function = AsyncFn(|n: u64| async move {
        assert!(n != 7, "no sevens");
        Ok::<u64, String>(n)
    });
    let mut bench = Bench::of(function, AsyncOptions::ordered());
    bench.push([(6, 0)]);
    bench.harness.push([7]).unwrap();
    let error = bench.settle().expect_err("it panicked").message;
    assert!(error.contains("panic: no sevens"), "{error}");
    assert_eq!(bench.harness.take_output(), [6]);
}

#[test]
fn records_under_way_are_asked_about_again_with_another_parallelism() {
    let desk = Desk::default();
    let options = || AsyncOptions::ordered().capacity(3);
    let mut bench = asking(&desk, options());
    bench.push((0..5).map(|n| (n, n as i64)));
    desk.answer(0, Ok(0));
    desk.answer(1, Ok(10));
    bench.settle().unwrap();
    desk.answer(3, Ok(30));
    bench.settle().unwrap();
    assert_eq!(bench.harness.take_output(), [0, 10]);
    let snapshot = bench.snapshot();
    bench.harness.operator().close(false).unwrap();
    assert!(desk.open().is_empty(), "calls of the former task are cancelled");

    let mut given = Vec::new();
    for subtask in 0..2 {
        let desk = Desk::default();
        let mut bench = asking(&desk, options());
        bench.harness.restore(std::slice::from_ref(&snapshot), subtask, 2).unwrap();
        bench.settle().unwrap();
        let open = desk.open();
        open.iter().for_each(|n| desk.answer(*n, Ok(n * 10)));
        bench.harness.finish().unwrap();
        bench.settle().unwrap();
        given.extend(bench.harness.take_timed_output());
    }
    given.sort_unstable();
    assert_eq!(given, [(20, 2), (30, 3), (40, 4)]);
}

#[test]
fn a_savepoint_says_what_is_under_way() {
    let mut bench = asking(&Desk::default(), AsyncOptions::ordered());
    bench.push([(1, 10), (2, 20)]);
    let state = bench.harness.hand_over(SnapshotKind::Savepoint).unwrap();
    let lists: Vec<_> = state.lists.iter().map(|l| (l.name.as_str(), l.items.len())).collect();
    assert_eq!(lists, [("in-flight", 2)]);
}

#[test]
fn an_operator_without_capacity_is_refused() {
    let options = AsyncOptions::ordered().capacity(0);
    let function = AsyncFn(|n: u64| async move { Ok::<u64, String>(n) });
    let refused = AsyncWait::new(function, options, &TaskContext::alone());
    assert!(refused.is_err_and(|error| error.message.contains("capacity 0")));
}

#[derive(Clone, Debug)]
enum Event {
    Push(u8),
    Watermark,
    Answer(prop::sample::Index),
    Restore,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (1..6_u8).prop_map(Event::Push),
        2 => Just(Event::Watermark),
        8 => any::<prop::sample::Index>().prop_map(Event::Answer),
        1 => Just(Event::Restore),
    ];
    prop::collection::vec(event, 1..80)
}

/// Records are numbered; the watermark after records below `n` is `n`.
fn check(events: Vec<Event>, options: AsyncOptions, ordered: bool) -> Result<(), TestCaseError> {
    let mut desk = Desk::default();
    let mut bench = asking(&desk, options.clone());
    let (mut next, mut given, mut passed) = (0_u64, Vec::new(), 0_i64);
    for event in events {
        match event {
            Event::Push(count) if bench.harness.operator().accepts() => {
                bench.push((next..next + u64::from(count)).map(|n| (n, n as i64)));
                next += u64::from(count);
            }
            Event::Watermark if bench.harness.operator().accepts() => {
                if let Some(watermark) = bench.watermark(next as i64) {
                    passed = watermark.time;
                }
            }
            Event::Push(_) | Event::Watermark => (),
            Event::Answer(index) => {
                let open = desk.open();
                if !open.is_empty() {
                    let n = *index.get(&open);
                    desk.answer(n, Ok(n));
                    bench.settle().expect("nothing fails");
                }
            }
            Event::Restore => {
                let snapshot = bench.snapshot();
                given.extend(bench.harness.take_output());
                desk = Desk::default();
                bench = asking(&desk, options.clone());
                bench.harness.restore(&[snapshot], 0, 1).expect("it can be read");
                bench.settle().expect("nothing fails");
            }
        }
        let before = passed;
        if let Some(watermark) = bench.harness.operator().take_watermark() {
            prop_assert!(watermark.time >= passed);
            passed = watermark.time;
        }
        let new = bench.harness.take_output();
        for n in &new {
            prop_assert!(*n as i64 >= before, "{n} is late behind {before}");
        }
        given.extend(new);
        prop_assert!((0..passed as u64).all(|n| given.contains(&n)), "{passed} overtook a record");
    }
    while !desk.open().is_empty() {
        desk.open().into_iter().for_each(|n| desk.answer(n, Ok(n)));
        bench.settle().expect("nothing fails");
    }
    bench.harness.finish().expect("nothing fails");
    given.extend(bench.harness.take_output());
    if !ordered {
        given.sort_unstable();
    }
    prop_assert_eq!(given, (0..next).collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn whatever_answers_first_results_in_order_are_in_order(events in events()) {
        check(events, AsyncOptions::ordered().capacity(4), true)?;
    }

    #[test]
    fn whatever_answers_first_no_result_crosses_a_watermark(events in events()) {
        check(events, AsyncOptions::unordered().capacity(4), false)?;
    }
}
