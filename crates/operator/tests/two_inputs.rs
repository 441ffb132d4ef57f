//! Functions of two inputs and broadcast functions, driven alone: what they share, and what of it
//! survives a restore in other numbers of subtasks.

use millstream_operator::context::TaskContext;
use millstream_operator::either::{Either, Lift};
use millstream_operator::harness::{HarnessSnapshot, OperatorHarness};
use millstream_operator::key::ByValue;
use millstream_operator::process::{
    BroadcastProcessFunction, CoProcessFunction, EitherSelector, FunctionResult,
    KeyedBroadcastProcess, KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedProcess,
    OfBroadcast, OfEither, OperatorContext, Process, ProcessContext, Timer,
};
use millstream_shuffle::batch::{AnyBatch, Batch};
use millstream_state::operator_state::{BroadcastState, SplitListState, UnionListState};
use millstream_state::{KeyedState, OperatorState};

#[derive(KeyedState)]
struct Both {
    orders: u64,
    payments: u64,
}

/// Says when a customer has paid for all orders, and a second later how it stands.
#[derive(Clone)]
struct Settle;

type SettleContext<'a> = ProcessContext<'a, u64, Both, (u64, u64, u64)>;

impl KeyedCoProcessFunction<u64, (u64, u8), u64> for Settle {
    type State = Both;
    type Out = (u64, u64, u64);

    fn process_first(&mut self, _order: (u64, u8), ctx: &mut SettleContext<'_>) -> FunctionResult {
        ctx.state.orders += 1;
        ctx.register_event_timer(1_000);
        Ok(())
    }

    fn process_second(&mut self, _customer: u64, ctx: &mut SettleContext<'_>) -> FunctionResult {
        ctx.state.payments += 1;
        Ok(())
    }

    fn on_timer(&mut self, _timer: Timer, ctx: &mut SettleContext<'_>) -> FunctionResult {
        let line = (*ctx.key(), ctx.state.orders, ctx.state.payments);
        ctx.emit(line);
        Ok(())
    }
}

#[test]
fn both_inputs_share_the_state_and_the_timers_of_a_key() {
    let selector = EitherSelector::<u64, (u64, u8), u64> {
        first: Box::new(ByValue(|order: &(u64, u8)| order.0)),
        second: Box::new(ByValue(|customer: &u64| *customer)),
    };
    let operator = KeyedProcess::<u64, Either<(u64, u8), u64>, _>::new(
        Box::new(selector),
        OfEither(Settle),
        &TaskContext::alone(),
    );
    let mut harness =
        OperatorHarness::<_, (u64, u64, u64), _>::with_room(operator.expect("it opens"), 1);
    let key = |record: &Either<(u64, u8), u64>| match record {
        Either::First((customer, _)) | Either::Second(customer) => *customer,
    };
    harness.push_keyed([(1, 0), (2, 0), (1, 1)].map(Either::First), key).expect("orders");
    harness.push_keyed([1, 1, 2].map(Either::Second), key).expect("payments");
    harness.advance_watermark(1_000).expect("timers");
    let mut out = harness.take_output();
    out.sort_unstable();
    assert_eq!(out, [(1, 2, 2), (2, 1, 1)]);
}

#[test]
fn a_gate_marks_its_records_and_keeps_their_hashes() {
    let mut from = Batch { items: vec![7_u64, 8], hashes: vec![70, 80], ..Batch::new() };
    let mut to = Batch::<Either<String, u64>>::new();
    let lift = Lift::second::<String, u64>();
    (lift.into)(&mut from, &mut to);
    assert_eq!(to.items, [Either::Second(7), Either::Second(8)]);
    assert_eq!((to.hashes, from.len(), from.hashes.len()), (vec![70, 80], 0, 0));
    assert_eq!(lift.of.make().target(), Batch::<u64>::target());
}

#[derive(OperatorState)]
struct Notes {
    waiting: SplitListState<u64>,
    #[state(alias = "peers")]
    seen: UnionListState<(u32, u64)>,
    rules: BroadcastState<String, u64>,
}

/// The first input is kept until the second asks for it.
#[derive(Clone)]
struct Keep(u32);

impl CoProcessFunction<u64, String> for Keep {
    type State = Notes;
    type Out = u64;

    fn process_first(
        &mut self,
        record: u64,
        ctx: &mut OperatorContext<'_, Notes, u64>,
    ) -> FunctionResult {
        ctx.state.waiting.push(record);
        ctx.state.seen.push((self.0, record));
        Ok(())
    }

    fn process_second(
        &mut self,
        record: String,
        ctx: &mut OperatorContext<'_, Notes, u64>,
    ) -> FunctionResult {
        if record == "give" {
            let waiting: Vec<u64> = ctx.state.waiting.drain(..).collect();
            waiting.into_iter().for_each(|record| ctx.emit(record));
        } else {
            let n = ctx.state.rules.get(&record).copied().unwrap_or(0);
            ctx.state.rules.insert(record, n + 1);
        }
        Ok(())
    }
}

type KeepHarness =
    OperatorHarness<Either<u64, String>, u64, Process<Either<u64, String>, OfEither<Keep>>>;

fn keep(subtask: u32) -> KeepHarness {
    let operator = Process::new(OfEither(Keep(subtask)), &TaskContext::alone());
    OperatorHarness::new(operator.expect("it opens"))
}

/// Two subtasks with some state.
fn written() -> Vec<HarnessSnapshot> {
    let max = TaskContext::alone().max_parallelism;
    let subtask = |subtask: u32| {
        let mut harness = keep(subtask);
        let first = u64::from(subtask) * 100;
        harness.push((first..first + 5).map(Either::First)).expect("records");
        let rules = ["a", "b", "a"].map(|rule| Either::Second(rule.to_owned()));
        harness.push(rules).expect("rules");
        harness.snapshot(max).expect("a snapshot")
    };
    (0..2).map(subtask).collect()
}

#[test]
fn operator_state_is_dealt_out_copied_or_given_to_all_with_any_parallelism() {
    let snapshots = written();
    for parallelism in 1..5 {
        let mut dealt = Vec::new();
        for subtask in 0..parallelism {
            let mut harness = keep(subtask);
            harness.restore(&snapshots, subtask, parallelism).expect("it reads its state");
            let state = harness.operator().state();
            assert_eq!(state.seen.len(), 10, "a union list is everybody's");
            let rules: Vec<_> = state.rules.iter().map(|(k, v)| (k.as_str(), *v)).collect();
            assert_eq!(rules, [("a", 2), ("b", 1)], "one copy of what is broadcast");
            harness.push([Either::Second("give".to_owned())]).expect("given");
            dealt.extend(harness.take_output());
        }
        dealt.sort_unstable();
        assert_eq!(dealt, [0, 1, 2, 3, 4, 100, 101, 102, 103, 104], "each item is somebody's");
    }
}

/// What another version of the program makes of it.
#[derive(OperatorState)]
struct LaterNotes {
    peers: UnionListState<(u64, u64)>,
    #[state(alias = "waiting")]
    kept: SplitListState<u128>,
    new: SplitListState<String>,
}

/// What no version can read.
#[derive(OperatorState)]
struct OtherNotes {
    waiting: SplitListState<String>,
}

#[test]
fn items_evolve_as_rows_of_keyed_state_do() {
    use millstream_state::operator_state::OperatorStateStore;
    let snapshots = written();
    let restored = HarnessSnapshot::restored(&snapshots, 0, 1).expect("read");
    let mut later = OperatorStateStore::<LaterNotes>::new();
    later.restore(&restored).expect("widened and renamed");
    assert_eq!(later.state.kept.iter().sum::<u128>(), 520);
    assert!(later.state.new.is_empty());
    // A name that is gone is left behind: `seen` is no alias of `peers`.
    assert!(later.state.peers.is_empty());
    let mut other = OperatorStateStore::<OtherNotes>::new();
    let error = other.restore(&restored).expect_err("refused").to_string();
    let expected =
        "could not restore state `waiting`: its items: the value: written as u64, now string";
    assert!(error.starts_with(expected), "{error}");
}

#[derive(OperatorState)]
struct Limits {
    limits: BroadcastState<String, u64>,
}

/// Passes what is below the limit that was broadcast last.
#[derive(Clone)]
struct Below;

impl BroadcastProcessFunction<u64, u64> for Below {
    type Broadcast = Limits;
    type Out = u64;

    fn process(
        &mut self,
        record: u64,
        broadcast: &Limits,
        ctx: &mut OperatorContext<'_, (), u64>,
    ) -> FunctionResult {
        if Some(&record) < broadcast.limits.get(&"limit".to_owned()) {
            ctx.emit(record);
        }
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        limit: u64,
        ctx: &mut OperatorContext<'_, Limits, u64>,
    ) -> FunctionResult {
        ctx.state.limits.insert("limit".to_owned(), limit);
        Ok(())
    }
}

#[derive(KeyedState)]
struct Passed {
    passed: u64,
}

impl KeyedBroadcastProcessFunction<u64, u64, u64> for Below {
    type State = Passed;
    type Broadcast = Limits;
    type Out = u64;

    fn process(
        &mut self,
        record: u64,
        broadcast: &Limits,
        ctx: &mut ProcessContext<'_, u64, Passed, u64>,
    ) -> FunctionResult {
        ctx.state.passed += 1;
        if Some(&ctx.state.passed) <= broadcast.limits.get(&"limit".to_owned()) {
            ctx.emit(record);
        }
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        limit: u64,
        ctx: &mut OperatorContext<'_, Limits, u64>,
    ) -> FunctionResult {
        ctx.state.limits.insert("limit".to_owned(), limit);
        ctx.emit(1_000 + limit);
        Ok(())
    }
}

#[test]
fn what_is_broadcast_is_read_by_the_records_that_come_after_it() {
    let operator = Process::new(OfBroadcast(Below), &TaskContext::alone()).expect("it opens");
    let mut harness = OperatorHarness::<Either<u64, u64>, u64, _>::new(operator);
    harness.push([1, 2].map(Either::First)).expect("records");
    harness.push([Either::Second(5)]).expect("a limit");
    harness.push([3, 7, 4].map(Either::First)).expect("records");
    assert_eq!(harness.take_output(), [3, 4]);
}

fn keyed_below()
-> OperatorHarness<Either<u64, u64>, u64, KeyedBroadcastProcess<u64, u64, u64, Below>> {
    let selector = Box::new(ByValue(|n: &u64| n % 2));
    let operator = KeyedBroadcastProcess::new(selector, Below, &TaskContext::alone());
    OperatorHarness::with_room(operator.expect("it opens"), 2)
}

#[test]
fn a_keyed_stream_has_state_per_key_and_reads_what_is_broadcast_before_and_after_a_restore() {
    let key = |record: &Either<u64, u64>| match record {
        Either::First(n) => n % 2,
        Either::Second(_) => unreachable!("not keyed"),
    };
    let mut harness = keyed_below();
    harness.push([2, 2].map(Either::Second)).expect("limits");
    harness.push_keyed([1, 3, 5, 2].map(Either::First), key).expect("records");
    assert_eq!(harness.take_output(), [1_002, 1_002, 1, 3, 2]);
    let snapshot = harness.snapshot(TaskContext::alone().max_parallelism).expect("a snapshot");
    let mut again = keyed_below();
    again.restore(&[snapshot], 0, 1).expect("it reads its state");
    again.push_keyed([7, 4, 6].map(Either::First), key).expect("records");
    assert_eq!(again.take_output(), [4], "three odd ones and two even ones have passed");
    let names: Vec<String> = KeyedBroadcastProcess::<u64, u64, u64, Below>::states()
        .into_iter()
        .map(|state| state.name)
        .collect();
    assert_eq!(names, ["value-fields", "timers-event", "timers-processing", "limits"]);
}
