//! Windows, driven alone: records and watermarks are pushed, results are read, snapshots are restored.
//! Whoever includes this says where state is (`state_backend`) and how many cases are tried (`CASES`).

use super::{CASES, state_backend};
use millstream_core::key_group::MaxParallelism;
use millstream_core::{OperatorError, Record};
use millstream_operator::clock::ManualClock;
use millstream_operator::context::TaskContext;
use millstream_operator::harness::{HarnessSnapshot, OperatorHarness};
use millstream_operator::key::{ByValue, KeySelector};
use millstream_operator::operator::Operator;
use millstream_operator::process::TimeDomain;
use millstream_operator::side_output::OutputTag;
use millstream_operator::window::assigner::AnyAssigner;
use millstream_operator::window::evictor::AnyEvictor;
use millstream_operator::window::pane_operator::{Emit, Merge, PaneOperator, PaneWindows};
use millstream_operator::window::panes::Panes;
use millstream_operator::window::trigger::AnyTrigger;
use millstream_operator::window::window_operator::{Kept, WindowOperator, WindowSpec};
use millstream_operator::window::*;
use millstream_shuffle::batch::Batch;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A key and a number.
type Event = (u64, u64);

/// Key, begin of the window, value.
type Row = (u64, i64, u64);

fn max() -> MaxParallelism {
    TaskContext::alone().max_parallelism
}

fn selector() -> Box<dyn KeySelector<u64, Event>> {
    Box::new(ByValue(|event: &Event| event.0))
}

fn emit_row() -> Emit<u64, u64, Row> {
    Box::new(|key, window, value, out| {
        out.push((key, window.start, value));
        Ok(())
    })
}

fn late_tag() -> OutputTag<Event> {
    OutputTag::new("late")
}

/// Late records go to a side output that is read.
fn late() -> LateRecords<Event> {
    let mut late = LateRecords::new(Some(late_tag()));
    late.sides().attach("late".into(), Box::new(Batch::<Event>::new()));
    late
}

/// An operator with what belongs to it, so that tests of both kinds read alike.
struct Bench<O> {
    harness: OperatorHarness<Event, Row, O>,
    clock: ManualClock,
}

impl<O: Operator> Bench<O> {
    fn push(&mut self, events: impl IntoIterator<Item = (u64, u64, i64)>) {
        self.try_push(events).expect("nothing fails");
    }

    fn try_push(
        &mut self,
        events: impl IntoIterator<Item = (u64, u64, i64)>,
    ) -> Result<(), OperatorError> {
        let events = events.into_iter().map(|(key, value, time)| ((key, value), time));
        self.harness.push_keyed_at(events, |event| event.0)
    }

    fn watermark(&mut self, time: i64) -> Vec<Row> {
        self.harness.advance_watermark(time).expect("nothing fails");
        self.rows()
    }

    fn now(&mut self, now: i64) -> Vec<Row> {
        self.clock.set(now);
        self.harness.advance_time(now).expect("nothing fails");
        self.rows()
    }

    /// What has come out, in order of windows and keys.
    fn rows(&mut self) -> Vec<Row> {
        let mut rows = self.harness.take_output();
        rows.sort_by_key(|(key, start, _)| (*start, *key));
        rows
    }

    fn finish(&mut self) -> Vec<Row> {
        self.harness.finish().expect("nothing fails");
        self.rows()
    }

    /// The late records.
    fn late(&mut self) -> Vec<Event> {
        let sides = self.harness.operator().side_outputs();
        sides.expect("windows have side outputs").take_records(&late_tag())
    }

    fn snapshot(&mut self) -> HarnessSnapshot {
        self.harness.snapshot(max()).expect("nothing fails")
    }
}

type Sums = PaneOperator<u64, Event, u64, fn() -> u64, fn(&mut u64, Event), Row>;

/// Sums on a grid.
#[derive(Clone, Copy)]
struct Grid {
    size: i64,
    slide: i64,
    lateness: i64,
    joined: bool,
    domain: TimeDomain,
    room: usize,
    place: (u32, u32),
}

impl Grid {
    fn new(size: i64, slide: i64) -> Self {
        let (domain, place) = (TimeDomain::EventTime, (0, 1));
        Self { size, slide, lateness: 0, joined: true, domain, room: 1_000, place }
    }

    fn bench(self) -> Bench<Sums> {
        let clock = ManualClock::default();
        let (subtask, parallelism) = self.place;
        let state_backend = state_backend();
        let context = TaskContext {
            clock: clock.clock(),
            subtask,
            parallelism,
            state_backend,
            ..TaskContext::alone()
        };
        let merge: Merge<u64> = Box::new(|sum, later| *sum += later);
        let merge = self.joined.then_some(merge);
        let windows = PaneWindows {
            panes: Panes::new(self.size, self.slide),
            domain: self.domain,
            allowed_lateness: self.lateness,
        };
        let how = ((|| 0) as fn() -> u64, add as fn(&mut u64, Event), merge);
        let operator = PaneOperator::new(windows, selector(), how, emit_row(), late(), &context);
        Bench { harness: OperatorHarness::with_room(operator, self.room), clock }
    }
}

fn add(sum: &mut u64, event: Event) {
    *sum += event.1;
}

type Any = WindowOperator<u64, Event, u64, Row>;

/// Windows of any kind.
struct Spec {
    assigner: Box<dyn AnyAssigner<Event>>,
    trigger: Box<dyn AnyTrigger<Event>>,
    lateness: i64,
    /// Keep all records, and drop these.
    evictor: Option<Option<Box<dyn AnyEvictor<Event>>>>,
    room: usize,
    place: (u32, u32),
}

impl Spec {
    fn new(assigner: impl WindowAssigner<Event>, trigger: impl Trigger<Event>) -> Self {
        let (assigner, trigger) = (Box::new(assigner), Box::new(trigger));
        Self { assigner, trigger, lateness: 0, evictor: None, room: 1_000, place: (0, 1) }
    }

    fn sessions(gap: u64) -> Self {
        let assigner = EventTimeSessionWindows::with_gap(Duration::from_millis(gap));
        Self::new(assigner, TimeTrigger::event_time())
    }

    fn bench(self) -> Bench<Any> {
        let clock = ManualClock::default();
        let (subtask, parallelism) = self.place;
        let state_backend = state_backend();
        let context = TaskContext {
            clock: clock.clock(),
            subtask,
            parallelism,
            state_backend,
            ..TaskContext::alone()
        };
        let spec = WindowSpec {
            assigner: self.assigner,
            trigger: self.trigger,
            allowed_lateness: self.lateness,
        };
        let kept = match self.evictor {
            None => Kept::Sum {
                add: Box::new(|sum: Option<u64>, event: Event| sum.unwrap_or(0) + event.1),
                merge: Some(Box::new(|sum, other| sum + other)),
                emit: emit_row(),
            },
            Some(evictor) => Kept::All {
                evictor,
                emit: Box::new(|key, window, events: Vec<Event>, out| {
                    // The order of the records is in the result.
                    let digits = events.iter().fold(0, |number, event| number * 10 + event.1);
                    out.push((key, window.start, digits));
                    Ok(())
                }),
            },
        };
        let operator = WindowOperator::new(spec, kept, selector(), late(), &context);
        Bench { harness: OperatorHarness::with_room(operator, self.room), clock }
    }
}

#[test]
fn a_tumbling_window_fires_once_when_the_watermark_has_come_to_its_end() {
    let mut bench = Grid::new(10, 10).bench();
    bench.push([(1, 1, 0), (2, 10, 3), (1, 2, 9), (1, 4, 10), (2, 8, -1)]);
    assert_eq!(bench.watermark(-2), []);
    assert_eq!(bench.watermark(8), [(2, -10, 8)]);
    assert_eq!(bench.watermark(9), [(1, 0, 3), (2, 0, 10)]);
    assert_eq!(bench.watermark(18), []);
    assert_eq!(bench.finish(), [(1, 10, 4)]);
    assert_eq!(bench.harness.operator().values(), 0);
}

#[test]
fn results_have_the_time_of_the_last_millisecond_of_their_window() {
    let mut bench = Grid::new(10, 5).bench();
    bench.push([(1, 1, 7)]);
    bench.harness.advance_watermark(100).expect("nothing fails");
    assert_eq!(bench.harness.take_timed_output(), [((1, 0, 1), 9), ((1, 5, 1), 14)]);
}

#[test]
fn a_record_of_sliding_windows_is_kept_once_and_counts_in_each() {
    let mut bench = Grid::new(100, 10).bench();
    bench.push([(1, 1, 55)]);
    assert_eq!(bench.harness.operator().values(), 1);
    let rows = bench.watermark(1_000);
    let expected: Vec<Row> = (-4..=5).map(|n| (1, n * 10, 1)).collect();
    assert_eq!(rows, expected);
    assert_eq!(bench.harness.operator().values(), 0);
}

#[test]
fn a_late_record_is_diverted_and_an_early_one_is_not() {
    let mut bench = Grid::new(10, 10).bench();
    bench.watermark(9);
    bench.push([(1, 1, 9), (1, 2, 10), (2, 3, 4)]);
    assert_eq!(bench.late(), [(1, 1), (2, 3)]);
    assert_eq!(bench.watermark(19), [(1, 10, 2)]);
    // A sliding window is over before the next: the record counts where it can.
    let mut bench = Grid::new(10, 5).bench();
    bench.watermark(9);
    bench.push([(1, 1, 8), (1, 2, 4)]);
    assert_eq!(bench.late(), [(1, 2)]);
    assert_eq!(bench.watermark(30), [(1, 5, 1)]);
}

#[test]
fn within_the_allowed_lateness_a_window_fires_again() {
    let grid = Grid { lateness: 10, ..Grid::new(10, 10) };
    let mut bench = grid.bench();
    bench.push([(1, 1, 5), (2, 2, 5)]);
    assert_eq!(bench.watermark(9), [(1, 0, 1), (2, 0, 2)]);
    bench.push([(1, 4, 6), (1, 8, 7)]);
    assert_eq!(bench.harness.take_output(), [(1, 0, 5), (1, 0, 13)]);
    assert_eq!(bench.watermark(18), []);
    bench.push([(3, 5, 6)]);
    assert_eq!(bench.rows(), [(3, 0, 5)]);
    assert_eq!(bench.watermark(19), []);
    assert_eq!(bench.harness.operator().values(), 0, "it is forgotten");
    bench.push([(1, 1, 6)]);
    assert_eq!((bench.rows(), bench.late()), (vec![], vec![(1, 1)]));
    // Sliding: only windows that have fired fire again.
    let mut bench = Grid { lateness: 10, ..Grid::new(10, 5) }.bench();
    bench.push([(1, 1, 7)]);
    assert_eq!(bench.watermark(9), [(1, 0, 1)]);
    bench.push([(1, 2, 7)]);
    assert_eq!(bench.rows(), [(1, 0, 3)]);
    assert_eq!(bench.watermark(14), [(1, 5, 3)]);
}

#[test]
fn windows_in_processing_time_fire_by_the_clock_and_not_at_the_end() {
    let mut bench = Grid { domain: TimeDomain::ProcessingTime, ..Grid::new(10, 10) }.bench();
    bench.clock.set(5);
    bench.harness.push_keyed([(1, 1), (1, 2)], |event| event.0).expect("no times are needed");
    assert_eq!(bench.harness.operator().next_timer(), Some(10));
    assert_eq!(bench.now(9), []);
    assert_eq!(bench.now(10), [(1, 0, 3)]);
    // A clock that is set back opens nothing again.
    bench.clock.set(3);
    bench.harness.push_keyed([(1, 4)], |event| event.0).expect("nothing fails");
    assert_eq!(bench.now(20), [(1, 10, 4)]);
    bench.harness.push_keyed([(1, 8)], |event| event.0).expect("nothing fails");
    assert_eq!(bench.finish(), []);
}

#[test]
fn absurd_times_are_windows_like_others_or_an_error() {
    let day = 86_400_000;
    let mut bench = Grid::new(day, day).bench();
    let (year_1, year_9999) = (-62_135_596_800_000, 253_402_300_799_999);
    bench.push([(1, 1, year_1), (2, 2, year_9999), (3, 4, -1)]);
    let expected = [(1, year_1, 1), (3, -day, 4), (2, year_9999 - day + 1, 2)];
    assert_eq!(bench.finish(), expected);
    for (time, words) in [(i64::MAX, "which is in no window"), (i64::MIN, "have no time")] {
        let error = Grid::new(day, 1_000).bench().try_push([(1, 1, time)]).expect_err("refused");
        assert!(error.message.contains(words), "{}", error.message);
        let error = Spec::sessions(5).bench().try_push([(1, 1, time)]).expect_err("refused");
        assert!(error.message.contains(words), "{}", error.message);
    }
    let mut bench = Grid::new(day, day).bench();
    let error = bench.harness.push_keyed([(1, 1)], |event| event.0).expect_err("no times");
    assert!(error.message.contains("assign_timestamps_and_watermarks"), "{}", error.message);
}

#[test]
fn sessions_grow_meet_and_end() {
    for room in [1, 1_000] {
        let mut bench = Spec { room, ..Spec::sessions(10) }.bench();
        bench.push([(1, 1, 0), (1, 2, 8), (1, 4, 30), (2, 8, 0)]);
        assert_eq!(bench.watermark(9), [(2, 0, 8)]);
        // A record in between makes two sessions one.
        bench.push([(1, 16, 22), (1, 32, 17)]);
        assert_eq!(bench.watermark(38), []);
        assert_eq!(bench.watermark(39), [(1, 0, 55)]);
        assert_eq!(bench.harness.operator().sizes(), (0, 0, 0));
        bench.push([(1, 64, 25), (1, 128, 35)]);
        assert_eq!(bench.late(), [(1, 64)]);
        assert_eq!(bench.harness.operator().late().count(), 1);
        assert_eq!(bench.finish(), [(1, 35, 128)]);
    }
}

#[test]
fn a_session_that_keeps_all_records_has_them_in_order() {
    let mut bench = Spec { evictor: Some(None), ..Spec::sessions(10) }.bench();
    bench.push([(1, 1, 0), (1, 3, 18), (1, 2, 9), (1, 4, 20)]);
    assert_eq!(bench.watermark(100), [(1, 0, 1324)]);
    assert_eq!(bench.harness.operator().sizes(), (0, 0, 0));
}

#[test]
fn windows_of_a_count_fire_when_they_are_full() {
    let trigger = PurgingTrigger::of(CountTrigger::of(3));
    let mut bench = Spec::new(GlobalWindows, trigger).bench();
    bench.push((0..7).map(|value| (1, value, 0)).chain([(2, 100, 0)]));
    let rows = bench.harness.take_output();
    assert_eq!(rows, [(1, i64::MIN, 3), (1, i64::MIN, 12)]);
    assert_eq!(bench.finish(), []);
}

#[test]
fn a_sliding_count_keeps_the_newest_records() {
    let evictor: Box<dyn AnyEvictor<Event>> = Box::new(CountEvictor::of(3));
    let spec = Spec::new(GlobalWindows, CountTrigger::of(2));
    let mut bench = Spec { evictor: Some(Some(evictor)), ..spec }.bench();
    bench.push((1..8).map(|value| (1, value, 0)));
    let digits: Vec<u64> = bench.harness.take_output().into_iter().map(|row| row.2).collect();
    assert_eq!(digits, [12, 234, 456]);
    assert_eq!(bench.harness.operator().sizes().1, 4, "what was dropped is gone");
}

#[test]
fn a_time_evictor_looks_back_from_the_newest_record() {
    let evictor: Box<dyn AnyEvictor<Event>> = Box::new(TimeEvictor::of(Duration::from_millis(10)));
    let window = TumblingEventTimeWindows::of(Duration::from_millis(100));
    let spec = Spec::new(window, TimeTrigger::event_time());
    let mut bench = Spec { evictor: Some(Some(evictor)), ..spec }.bench();
    bench.push([(1, 1, 5), (1, 2, 40), (1, 3, 31), (1, 4, 30)]);
    assert_eq!(bench.watermark(99), [(1, 0, 23)]);
}

#[test]
fn a_continuous_trigger_fires_at_its_interval_and_at_the_end() {
    let window = TumblingEventTimeWindows::of(Duration::from_millis(100));
    let trigger = ContinuousTrigger::event_time(Duration::from_millis(30));
    let mut bench = Spec::new(window, trigger).bench();
    bench.push([(1, 1, 5)]);
    assert_eq!(bench.watermark(29), []);
    assert_eq!(bench.watermark(30), [(1, 0, 1)]);
    bench.push([(1, 2, 40)]);
    assert_eq!(bench.watermark(60), [(1, 0, 3)]);
    assert_eq!(bench.watermark(99), [(1, 0, 3), (1, 0, 3)]);
    assert_eq!(bench.harness.operator().sizes(), (0, 0, 0));
}

#[test]
fn a_trigger_of_the_users_remembers_what_it_wants() {
    /// Fires with each record that is larger than all before it.
    #[derive(Clone)]
    struct Records;
    impl Trigger<Event> for Records {
        fn on_element(
            &mut self,
            element: &Event,
            _time: i64,
            _window: TimeWindow,
            ctx: &mut TriggerContext<'_>,
        ) -> TriggerResult {
            if ctx.state.get::<u64>() >= element.1 {
                return TriggerResult::Continue;
            }
            ctx.state.set(&element.1);
            TriggerResult::FireAndPurge
        }
    }
    let mut bench = Spec::new(GlobalWindows, Records).bench();
    bench.push([(1, 5, 0), (1, 3, 0), (1, 7, 0), (2, 1, 0)]);
    let values: Vec<u64> = bench.harness.take_output().into_iter().map(|row| row.2).collect();
    assert_eq!(values, [5, 10, 1]);
}

#[test]
fn a_trigger_that_reads_what_another_one_wrote_fails_the_task_with_both_types() {
    let mut bench = Spec::new(GlobalWindows, CountTrigger::of(3)).bench();
    bench.push([(1, 5, 0)]);
    let snapshot = bench.snapshot();
    let same = Spec::new(GlobalWindows, PurgingTrigger::of(CountTrigger::of(2)));
    let mut same = same.bench();
    same.harness.restore(std::slice::from_ref(&snapshot), 0, 1).expect("nothing fails");
    same.push([(1, 5, 0)]);
    assert_eq!(same.harness.take_output(), [(1, i64::MIN, 10)], "the second record fires");
    let other = ContinuousTrigger::processing_time(Duration::from_secs(1));
    let mut other = Spec::new(GlobalWindows, other).bench();
    other.harness.restore(&[snapshot], 0, 1).expect("nothing fails");
    other.push([(2, 5, 0)]);
    let error = other.try_push([(1, 5, 0)]).expect_err("it was written by another trigger");
    assert!(error.message.contains("the state of the window's trigger"), "{error}");
    assert!(error.message.contains("written as u64"), "{error}");
    assert!(error.message.contains("reads option<i64>"), "{error}");
}

/// What windows hold, computed from all records at once.
fn expected(
    events: &[(u64, u64, i64)],
    windows_of: impl Fn(i64) -> Vec<i64>,
) -> BTreeMap<(u64, i64), u64> {
    let mut sums = BTreeMap::new();
    for (key, value, time) in events {
        for start in windows_of(*time) {
            *sums.entry((*key, start)).or_insert(0) += value;
        }
    }
    sums
}

fn sliding(size: i64, slide: i64) -> impl Fn(i64) -> Vec<i64> {
    move |time| {
        let starts = (-200..200).map(|n| n * slide);
        starts.filter(|start| *start <= time && time < start + size).collect()
    }
}

fn by_window(rows: impl IntoIterator<Item = Row>) -> BTreeMap<(u64, i64), u64> {
    let mut found = BTreeMap::new();
    for (key, start, value) in rows {
        let before = found.insert((key, start), value);
        assert_eq!(before, None, "window {start} of key {key} fired twice");
    }
    found
}

/// What happens to a window operator.
#[derive(Clone, Debug)]
enum Step {
    /// Records: key, value, and how long before the present of the stream.
    Push(Vec<(u64, u64, i64)>),
    /// The present goes on, and the watermark follows.
    Advance(i64),
    /// A crash: it goes on from a snapshot, in so many subtasks.
    Restore(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let event = (0_u64..6, 1_u64..100, 0_i64..20);
    prop_oneof![
        4 => prop::collection::vec(event, 1..12).prop_map(Step::Push),
        3 => (1_i64..25).prop_map(Step::Advance),
        2 => (1_u32..4).prop_map(Step::Restore),
    ]
}

/// Runs the steps in as many subtasks as there are, and gives all results. Nothing is late.
fn run<O: Operator>(steps: &[Step], make: impl Fn(u32, u32) -> Bench<O>) -> Vec<Row> {
    let mut benches = vec![make(0, 1)];
    let (mut present, mut rows) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Push(events) => {
                let parallelism = benches.len() as u32;
                for (key, value, age) in events {
                    let owner = owner(*key, parallelism);
                    benches[owner].push([(*key, *value, present - age)]);
                }
            }
            Step::Advance(by) => {
                present += by;
                for bench in &mut benches {
                    rows.extend(bench.watermark(present - 21));
                }
            }
            Step::Restore(parallelism) => {
                let snapshots: Vec<_> = benches.iter_mut().map(Bench::snapshot).collect();
                benches = (0..*parallelism).map(|subtask| make(subtask, *parallelism)).collect();
                for (subtask, bench) in (0..).zip(&mut benches) {
                    let restored = bench.harness.restore(&snapshots, subtask, *parallelism);
                    restored.expect("nothing fails");
                }
            }
        }
        for bench in &mut benches {
            rows.extend(bench.rows());
        }
    }
    benches.iter_mut().for_each(|bench| rows.extend(bench.finish()));
    rows
}

fn owner(key: u64, parallelism: u32) -> usize {
    millstream_core::key_group::subtask_of_hash(key.hash64(), max(), parallelism) as usize
}

/// The records of the steps with their times.
fn events_of(steps: &[Step]) -> Vec<(u64, u64, i64)> {
    let (mut present, mut events) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Push(pushed) => {
                events.extend(pushed.iter().map(|(key, value, age)| (*key, *value, present - age)));
            }
            Step::Advance(by) => present += by,
            Step::Restore(_) => (),
        }
    }
    events
}

/// Sessions of all records at once.
fn sessions(events: &[(u64, u64, i64)], gap: i64) -> BTreeMap<(u64, i64), u64> {
    let mut of_key: BTreeMap<u64, Vec<(i64, u64)>> = BTreeMap::new();
    for (key, value, time) in events {
        of_key.entry(*key).or_default().push((*time, *value));
    }
    let mut sums = BTreeMap::new();
    for (key, mut records) in of_key {
        records.sort_unstable();
        let (mut start, mut last) = (i64::MIN, i64::MIN);
        for (time, value) in records {
            if last == i64::MIN || time - last > gap {
                start = time;
            }
            last = time;
            *sums.entry((key, start)).or_insert(0) += value;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn windows_on_a_grid_give_each_result_once_whatever_crashes_in_between(
        steps in prop::collection::vec(any_step(), 1..30),
        (size, slide) in prop::sample::select(vec![(10, 10), (20, 5), (12, 8), (6, 10)]),
        joined in any::<bool>(),
        room in prop::sample::select(vec![1_usize, 3, 1_000]),
    ) {
        let grid = Grid { joined, room, ..Grid::new(size, slide) };
        let rows = run(&steps, |subtask, parallelism| {
            Grid { place: (subtask, parallelism), ..grid }.bench()
        });
        prop_assert_eq!(by_window(rows), expected(&events_of(&steps), sliding(size, slide)));
    }

    #[test]
    fn sessions_give_each_result_once_whatever_crashes_in_between(
        steps in prop::collection::vec(any_step(), 1..30),
        room in prop::sample::select(vec![1_usize, 1_000]),
    ) {
        let rows = run(&steps, |subtask, parallelism| {
            Spec { place: (subtask, parallelism), room, ..Spec::sessions(7) }.bench()
        });
        prop_assert_eq!(by_window(rows), sessions(&events_of(&steps), 7));
    }

    #[test]
    fn windows_of_one_key_at_a_time_agree_with_windows_on_a_grid(
        steps in prop::collection::vec(any_step(), 1..30),
    ) {
        let (size, slide) = (Duration::from_millis(20), Duration::from_millis(5));
        let assigner = SlidingEventTimeWindows::of(size, slide);
        let rows = run(&steps, |subtask, parallelism| {
            let spec = Spec::new(assigner, TimeTrigger::event_time());
            Spec { place: (subtask, parallelism), ..spec }.bench()
        });
        prop_assert_eq!(by_window(rows), expected(&events_of(&steps), sliding(20, 5)));
    }
}

#[test]
fn a_barrier_in_the_middle_of_a_firing_loses_and_doubles_nothing() {
    for (slide, lateness) in [(10, 0), (5, 0), (10, 50)] {
        let grid = Grid { lateness, room: 7, ..Grid::new(10, slide) };
        let mut bench = grid.bench();
        bench.push((0..100).map(|key| (key, key, 5)));
        // One call only: some results leave, and then the barrier comes.
        let mut out = bench.harness.operator().output();
        bench.harness.operator().advance_watermark(9, out.as_mut(), 7).expect("nothing fails");
        let out = millstream_shuffle::batch::cast::<Row>(out.as_mut());
        let mut rows = std::mem::take(&mut out.items);
        assert_eq!(rows.len(), 7);
        let snapshot = bench.snapshot();
        for subtask in 0..2 {
            let mut bench = Grid { place: (subtask, 2), ..grid }.bench();
            let snapshots = std::slice::from_ref(&snapshot);
            bench.harness.restore(snapshots, subtask, 2).expect("nothing fails");
            rows.extend(bench.watermark(9));
        }
        let first: BTreeSet<Row> = rows.iter().copied().collect();
        assert_eq!((first.len(), rows.len()), (100, 100), "slide {slide}, lateness {lateness}");
    }
}

#[test]
fn what_was_late_before_a_crash_is_late_after_it() {
    let mut bench = Grid::new(10, 10).bench();
    bench.push([(1, 1, 5)]);
    assert_eq!(bench.watermark(9), [(1, 0, 1)]);
    let snapshot = bench.snapshot();
    let mut bench = Grid::new(10, 10).bench();
    bench.harness.restore(&[snapshot], 0, 1).expect("nothing fails");
    bench.push([(1, 2, 6), (1, 4, 12)]);
    assert_eq!(bench.late(), [(1, 2)]);
    assert_eq!(bench.watermark(19), [(1, 10, 4)]);
}
