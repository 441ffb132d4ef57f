//! Functions with state and timers, driven alone.

use millstream_core::{KeyGroup, MaxParallelism, Record};
use millstream_operator::process::{
    FunctionResult, KeyedProcessFunction, KeyedProcessHarness, ProcessContext, TimeDomain, Timer,
};
use millstream_state::{KeyedState, MapState};
use std::collections::BTreeMap;

/// What a record asks the function to do for its key.
#[derive(Clone, Copy, Debug, PartialEq, Record)]
enum Ask {
    Count,
    Emit(u32),
    EventTimer(i64),
    ProcessingTimer(i64),
    DeleteEventTimer(i64),
    Clear,
    Fail,
}

#[derive(KeyedState)]
struct Counts {
    count: u64,
    fired: MapState<i64, u64>,
}

/// Does what it is asked. A timer tells its time; one at a multiple of 100 registers another, 7 later,
/// and one at 13 withdraws the one at 14.
#[derive(Clone)]
struct Obedient;

type Ctx<'a> = ProcessContext<'a, u64, Counts, (u64, i64)>;

impl KeyedProcessFunction<u64, (u64, Ask)> for Obedient {
    type State = Counts;
    type Out = (u64, i64);

    fn process(&mut self, (key, ask): (u64, Ask), ctx: &mut Ctx<'_>) -> FunctionResult {
        assert_eq!(*ctx.key(), key);
        match ask {
            Ask::Count => ctx.state.count += 1,
            Ask::Emit(n) => (0..n).for_each(|i| ctx.emit((key, i64::from(i)))),
            Ask::EventTimer(time) => ctx.register_event_timer(time),
            Ask::ProcessingTimer(time) => ctx.register_processing_timer(time),
            Ask::DeleteEventTimer(time) => {
                let was_there = ctx.delete_event_timer(time);
                ctx.emit((key, i64::from(was_there)));
            }
            Ask::Clear => ctx.clear_state(),
            Ask::Fail => return Err("as asked".into()),
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Ctx<'_>) -> FunctionResult {
        match timer.domain {
            TimeDomain::EventTime => assert!(ctx.current_watermark() >= timer.time),
            TimeDomain::ProcessingTime => assert!(ctx.processing_time() >= timer.time),
        }
        ctx.state.fired.update(timer.time, || 0, |n| *n += 1);
        let key = *ctx.key();
        ctx.emit((key, timer.time));
        if timer.time % 100 == 0 {
            ctx.register_event_timer(timer.time + 7);
        }
        if timer.time == 13 {
            ctx.delete_event_timer(14);
        }
        Ok(())
    }
}

type Harness = KeyedProcessHarness<u64, (u64, Ask), Obedient>;

fn harness(room: usize) -> Harness {
    Harness::with_room(Obedient, |(key, _)| *key, room).expect("it opens")
}

#[test]
fn a_function_that_emits_much_is_interrupted_between_records_and_loses_none() {
    for room in [1, 3, 1_000] {
        let mut harness = harness(room);
        let asks = (0..200).map(|i| (i, Ask::Emit((i % 5) as u32)));
        harness.push(asks.chain((0..200).map(|i| (i, Ask::Count)))).expect("nothing fails");
        let expected: Vec<_> =
            (0..200).flat_map(|i| (0..i as i64 % 5).map(move |n| (i, n))).collect();
        assert_eq!(harness.take_output(), expected);
        for key in 0..200 {
            assert_eq!(harness.with_state(&key, |state| state.count), 1);
        }
    }
}

#[test]
fn an_error_is_told_with_its_cause() {
    let mut harness = harness(10);
    let error = harness.push([(1, Ask::Fail)]).expect_err("it fails");
    assert_eq!(error.message, "as asked");
}

#[test]
fn timers_fire_once_in_order_of_time_for_their_own_key() {
    for room in [1, 2, 1_000] {
        let mut harness = harness(room);
        let asks = [(1, 30), (2, 10), (1, 20), (2, 10), (3, 40), (1, 10)];
        harness.push(asks.map(|(key, time)| (key, Ask::EventTimer(time)))).expect("nothing fails");
        assert_eq!(harness.operator().timers(), (5, 0));
        harness.advance_watermark(9).expect("nothing fails");
        assert_eq!(harness.take_output(), []);
        harness.advance_watermark(30).expect("nothing fails");
        let mut fired = harness.take_output();
        fired.sort_by_key(|(key, time)| (*time, *key));
        assert_eq!(fired, [(1, 10), (2, 10), (1, 20), (1, 30)]);
        harness.advance_watermark(20).expect("a watermark never goes back");
        harness.finish().expect("nothing fails");
        assert_eq!(harness.take_output(), [(3, 40)]);
        assert_eq!(harness.with_state(&2, |state| state.fired.get(&10)), Some(1));
        assert_eq!(harness.operator().timers(), (0, 0));
    }
}

#[test]
fn what_a_timer_registers_or_withdraws_counts_for_the_next() {
    let mut harness = harness(1_000);
    let times = [100, 110, 105, 13, 14];
    harness.push(times.map(|time| (1, Ask::EventTimer(time)))).expect("nothing fails");
    harness.advance_watermark(1_000).expect("nothing fails");
    let fired: Vec<i64> = harness.take_output().into_iter().map(|(_, time)| time).collect();
    assert_eq!(fired, [13, 100, 105, 107, 110]);
}

#[test]
fn a_withdrawn_timer_does_not_fire_and_can_be_registered_anew() {
    let mut harness = harness(1_000);
    let asks = [Ask::EventTimer(5), Ask::DeleteEventTimer(5), Ask::DeleteEventTimer(5)];
    harness.push(asks.map(|ask| (1, ask))).expect("nothing fails");
    assert_eq!(harness.take_output(), [(1, 1), (1, 0)]);
    harness.advance_watermark(5).expect("nothing fails");
    assert_eq!(harness.take_output(), []);
    harness.push([(1, Ask::EventTimer(6)), (2, Ask::EventTimer(5))]).expect("nothing fails");
    harness.advance_watermark(6).expect("nothing fails");
    assert_eq!(harness.take_output(), [(2, 5), (1, 6)]);
}

#[test]
fn processing_timers_follow_the_clock_and_are_dropped_at_the_end() {
    let mut harness = harness(1_000);
    let asks = [(1, 50), (2, 60), (3, 70)];
    harness.push(asks.map(|(key, time)| (key, Ask::ProcessingTimer(time)))).expect("no failure");
    harness.advance_watermark(1_000).expect("nothing fails");
    assert_eq!(harness.take_output(), []);
    harness.advance_processing_time(60).expect("nothing fails");
    assert_eq!(harness.take_output(), [(1, 50), (2, 60)]);
    harness.finish().expect("nothing fails");
    assert_eq!(harness.take_output(), []);
}

#[test]
fn clearing_the_state_of_a_key_keeps_its_timers() {
    let mut harness = harness(1_000);
    let asks = [Ask::Count, Ask::EventTimer(5), Ask::Clear];
    harness.push(asks.map(|ask| (1, ask))).expect("nothing fails");
    assert_eq!(harness.with_state(&1, |state| state.count), 0);
    harness.advance_watermark(5).expect("nothing fails");
    assert_eq!(harness.take_output(), [(1, 5)]);
}

#[test]
fn a_pending_timer_takes_less_than_a_hundred_bytes() {
    const TIMERS: u64 = 1_000_000;
    let mut harness = harness(1_000);
    for start in (0..TIMERS).step_by(10_000) {
        let asks = (start..start + 10_000).map(|i| (i % 100_000, Ask::ProcessingTimer(i as i64)));
        harness.push(asks).expect("nothing fails");
    }
    assert_eq!(harness.operator().timers(), (0, TIMERS as usize));
    let bytes = harness.operator().memory_bytes() as u64 / TIMERS;
    assert!(bytes < 100, "{bytes} bytes per timer");
}

/// Which of so many subtasks gets the records of a key.
fn subtask_of(key: u64, parallelism: u32) -> u32 {
    let max = MaxParallelism::default_for(1);
    KeyGroup::of_hash(key.hash64(), max).owner(max, parallelism)
}

/// Sends each record to the subtask of its key.
fn push(subtasks: &mut [Harness], asks: impl IntoIterator<Item = (u64, Ask)>) {
    let parallelism = subtasks.len() as u32;
    for ask in asks {
        let subtask = &mut subtasks[subtask_of(ask.0, parallelism) as usize];
        subtask.push([ask]).expect("nothing fails");
    }
}

#[test]
fn state_and_timers_go_on_from_snapshots_in_any_number_of_subtasks() {
    const KEYS: u64 = 300;
    let time = |round: u64, key: u64| (round * 1_000 + key) as i64 * 1_000 + 1;
    let mut subtasks = vec![harness(1_000)];
    let mut expected = BTreeMap::<u64, u64>::new();
    for (round, parallelism) in [3_u32, 1, 4, 2].into_iter().enumerate() {
        let round = round as u64 + 1;
        // Two snapshots, the second with changes only; what comes after it is lost.
        for keys in [0..KEYS, 7..20] {
            for key in keys.clone() {
                *expected.entry(key).or_default() += 1;
            }
            push(&mut subtasks, keys.clone().map(|key| (key, Ask::Count)));
            push(&mut subtasks, keys.map(|key| (key, Ask::EventTimer(time(round, key)))));
            for subtask in &mut subtasks {
                subtask.snapshot().expect("written");
            }
        }
        let snapshots: Vec<_> =
            subtasks.iter_mut().map(|subtask| subtask.snapshot().expect("written")).collect();
        push(&mut subtasks, (0..KEYS).map(|key| (key, Ask::Count)));
        for subtask in &mut subtasks {
            subtask.advance_watermark(i64::MAX).expect("nothing fails");
        }

        subtasks = (0..parallelism).map(|_| harness(1_000)).collect();
        let mut fired = Vec::new();
        for (at, subtask) in subtasks.iter_mut().enumerate() {
            subtask.restore(&snapshots, at as u32, parallelism).expect("restored");
            subtask.advance_watermark(time(round, KEYS / 2)).expect("nothing fails");
            fired.extend(subtask.take_output());
        }
        fired.sort_unstable();
        let mut due: Vec<_> = (0..=KEYS / 2).map(|key| (key, time(round, key))).collect();
        if round > 1 {
            due.extend((KEYS / 2 + 1..KEYS).map(|key| (key, time(round - 1, key))));
        }
        due.sort_unstable();
        assert_eq!(fired, due, "round {round}");
        for key in 0..KEYS {
            let subtask = &mut subtasks[subtask_of(key, parallelism) as usize];
            let count = subtask.with_state(&key, |state| state.count);
            assert_eq!(count, expected[&key], "key {key} in round {round}");
            let fired = subtask.with_state(&key, |state| state.fired.len() as u64);
            assert_eq!(fired, if key <= KEYS / 2 { round } else { round - 1 });
        }
    }
}

#[test]
fn states_have_the_names_of_their_fields() {
    let mut harness = harness(1_000);
    harness.push([(1, Ask::Count), (1, Ask::EventTimer(1))]).expect("nothing fails");
    let snapshot = harness.snapshot().expect("written");
    let tables = snapshot.state().tables.iter();
    let shown: Vec<String> = tables
        .map(|t| {
            format!("{}: {} {} -> {}", t.name, t.schema.key, t.schema.namespace, t.schema.value)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "value-fields: u64 () -> Counts { count: u64 }",
            "fired: u64 i64 -> entry { value: u64 }",
            "timers-event: u64 ((), i64) -> ()",
            "timers-processing: u64 ((), i64) -> ()",
        ]
    );
}

/// An older and a newer version of a function that counts per key.
mod versions {
    use super::*;
    use millstream_core::Str;
    use millstream_state::{ListState, ValueState};

    #[derive(KeyedState)]
    pub(super) struct Old {
        count: u32,
        gone: String,
        pages: MapState<u64, u16>,
        items: ListState<u64>,
        last: ValueState<Str>,
    }

    #[derive(KeyedState)]
    pub(super) struct New {
        #[state(default = 7)]
        added: i64,
        #[state(ttl = "1 h")]
        last: ValueState<Str>,
        #[state(alias = "count")]
        visits: u64,
        #[state(ttl = "1 h", alias = "pages")]
        sites: MapState<u64, u32>,
        items: ListState<u64>,
        new_map: MapState<Str, u64>,
    }

    #[derive(Clone)]
    pub(super) struct First;

    impl KeyedProcessFunction<u64, u64> for First {
        type State = Old;
        type Out = String;

        fn process(
            &mut self,
            key: u64,
            ctx: &mut ProcessContext<'_, u64, Old, String>,
        ) -> FunctionResult {
            ctx.state.count += 1;
            ctx.state.gone.push('x');
            ctx.state.pages.insert(key * 2, 3);
            ctx.state.items.extend([key, key + 1, key + 2]);
            ctx.state.last.set(Str::new("before"));
            ctx.register_processing_timer(5);
            Ok(())
        }
    }

    #[derive(Clone)]
    pub(super) struct Second;

    impl KeyedProcessFunction<u64, u64> for Second {
        type State = New;
        type Out = String;

        fn process(
            &mut self,
            key: u64,
            ctx: &mut ProcessContext<'_, u64, New, String>,
        ) -> FunctionResult {
            let state = &mut *ctx.state;
            let (items, sites) =
                (state.items.iter().collect::<Vec<_>>(), state.sites.get(&(key * 2)));
            let line = format!(
                "{} {} {:?} {:?} {:?} {}",
                state.added,
                state.visits,
                state.last.get(),
                sites,
                items,
                state.new_map.len()
            );
            state.added += 1;
            ctx.emit(line);
            Ok(())
        }

        fn on_timer(
            &mut self,
            timer: Timer,
            ctx: &mut ProcessContext<'_, u64, New, String>,
        ) -> FunctionResult {
            let line = format!("timer {} of {}", timer.time, ctx.key());
            ctx.emit(line);
            Ok(())
        }
    }
}

#[test]
fn a_newer_program_goes_on_with_the_fields_of_the_older_one() {
    const HOUR: i64 = 3_600_000;
    let mut old = KeyedProcessHarness::new(versions::First, |key: &u64| *key).expect("it opens");
    old.push([1, 2]).expect("nothing fails");
    let snapshot = old.snapshot().expect("written");
    let mut new = KeyedProcessHarness::new(versions::Second, |key: &u64| *key).expect("it opens");
    new.restore(&[snapshot], 0, 1).expect("compatible");
    new.push([1, 3]).expect("nothing fails");
    let expected = ["7 1 Some(\"before\") Some(3) [1, 2, 3] 0", "7 0 None None [] 0"];
    assert_eq!(new.take_output(), expected);
    new.advance_processing_time(5).expect("nothing fails");
    assert_eq!(new.take_output().len(), 2);
    // What has just begun to expire counts from when somebody first comes by.
    new.advance_processing_time(HOUR - 1).expect("nothing fails");
    new.push([1]).expect("nothing fails");
    assert_eq!(new.take_output(), ["8 1 Some(\"before\") Some(3) [1, 2, 3] 0"]);
    new.advance_processing_time(2 * HOUR - 1).expect("nothing fails");
    new.push([1]).expect("nothing fails");
    assert_eq!(new.take_output(), ["9 1 None None [1, 2, 3] 0"]);
}
