//! BATCH mode: a keyed operator gets its records sorted, and holds the state of a few keys.

use millstream_core::OperatorError;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::time::Timestamp;
use millstream_operator::batch::SortedInput;
use millstream_operator::context::TaskContext;
use millstream_operator::harness::OperatorHarness;
use millstream_operator::key::ByValue;
use millstream_operator::operator::Operator;
use millstream_operator::process::{
    FunctionResult, KeyedProcess, KeyedProcessFunction, ProcessContext, Timer,
};
use millstream_state::keyed_state::ListState;
use millstream_state::{KeyedState, ValueState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives all numbers of a key, and how often a timer fired, when time ends.
#[derive(Clone)]
struct Everything;

#[derive(KeyedState)]
struct Kept {
    numbers: ListState<u64>,
    fired: ValueState<u64>,
}

type Ctx<'a> = ProcessContext<'a, u64, Kept, (u64, Vec<u64>, u64)>;

impl KeyedProcessFunction<u64, u64> for Everything {
    type State = Kept;
    type Out = (u64, Vec<u64>, u64);

    fn process(&mut self, n: u64, ctx: &mut Ctx<'_>) -> FunctionResult {
        assert_eq!(ctx.current_watermark(), Timestamp::MIN, "time begins anew with each key");
        ctx.state.numbers.push(n);
        let time = ctx.timestamp().unwrap_or_default();
        ctx.register_event_timer(time + 1);
        ctx.register_event_timer(Timestamp::MAX);
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Ctx<'_>) -> FunctionResult {
        let fired = ctx.state.fired.get().copied().unwrap_or_default();
        if timer.time < Timestamp::MAX {
            ctx.state.fired.set(fired + 1);
            return Ok(());
        }
        let all = (*ctx.key(), ctx.state.numbers.iter().collect(), fired);
        ctx.emit(all);
        Ok(())
    }
}

type Sorted = SortedInput<u64, u64, KeyedProcess<u64, u64, Everything>>;

fn harness(modulus: u64, memory: &str) -> OperatorHarness<u64, (u64, Vec<u64>, u64), Sorted> {
    let memory = ("execution.sorted-inputs.memory".to_owned(), memory.to_owned());
    let context = TaskContext {
        mode: RuntimeMode::Batch,
        configuration: Arc::new(BTreeMap::from([memory])),
        ..TaskContext::alone()
    };
    let key = move |n: &u64| n % modulus;
    let within = KeyedProcess::new(Box::new(ByValue(key)), Everything, &context);
    let sorted =
        within.and_then(|within| SortedInput::new(within, Box::new(ByValue(key)), &context));
    OperatorHarness::with_room(sorted.expect("it opens"), 100)
}

#[test]
fn each_key_gets_its_records_by_time_and_then_its_end() -> Result<(), OperatorError> {
    for memory in ["128mb", "4kb"] {
        let mut harness = harness(3, memory);
        let records = (0..3_000_u64).map(|n| (n, 3_000 - n as i64));
        harness.push_keyed_at(records, |n| n % 3)?;
        assert!(harness.take_output().is_empty(), "everything has to be there first");
        harness.finish()?;
        let mut given = harness.take_output();
        given.sort_unstable();
        let of = |key: u64| (0..3_000).rev().filter(|n| n % 3 == key).collect::<Vec<_>>();
        assert_eq!(given, [0, 1, 2].map(|key| (key, of(key), 1_000)), "with {memory}");
    }
    Ok(())
}

#[test]
fn however_many_keys_there_are_the_state_is_that_of_a_few() -> Result<(), OperatorError> {
    let keys = 200_000_u64;
    let mut harness = harness(keys, "1mb");
    for first in (0..2 * keys).step_by(1_000) {
        harness.push_keyed(first..first + 1_000, |n| n % keys)?;
    }
    let (mut most, mut given) = (0, 0);
    let mut out = harness.operator().output();
    loop {
        let flow = harness.operator().finish(out.as_mut(), 100)?;
        given += out.len();
        out = out.fresh();
        most = most.max(harness.operator().operator().memory_bytes());
        if flow == millstream_operator::operator::Flow::Drained {
            break;
        }
    }
    assert_eq!(given, keys as usize);
    assert!(most < 16 << 20, "{most} bytes");
    Ok(())
}
