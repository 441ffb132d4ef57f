//! A user's function with state against the built-in aggregate that does the same.
//!
//! `cargo bench -p millstream-operator --bench keyed_process`: both sides in turn, five rounds,
//! medians. Each round starts with an empty state and makes, hashes and handles every record.

use millstream_core::Record;
use millstream_operator::aggregate::Fold;
use millstream_operator::context::TaskContext;
use millstream_operator::key::ByValue;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::process::{FunctionResult, KeyedProcess, KeyedProcessFunction};
use millstream_operator::process::{ProcessContext, Timer};
use millstream_shuffle::batch::{AnyBatch, Batch, cast};
use millstream_state::{KeyedState, MapState};
use std::time::Instant;

const BATCH: u64 = 1024;
const ROUNDS: usize = 5;

type Sale = (u64, i64);

fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(KeyedState)]
struct Sum {
    sum: i64,
}

#[derive(Clone)]
struct SumFunction;

impl KeyedProcessFunction<u64, Sale> for SumFunction {
    type State = Sum;
    type Out = Sale;

    #[inline]
    fn process(
        &mut self,
        (key, amount): Sale,
        ctx: &mut ProcessContext<'_, u64, Sum, Sale>,
    ) -> FunctionResult {
        ctx.state.sum += amount;
        let sum = ctx.state.sum;
        ctx.emit((key, sum));
        Ok(())
    }
}

#[derive(KeyedState)]
struct Sums {
    sums: MapState<u64, i64>,
}

/// The same, in a map with one entry per key.
#[derive(Clone)]
struct MapFunction;

impl KeyedProcessFunction<u64, Sale> for MapFunction {
    type State = Sums;
    type Out = Sale;

    fn process(
        &mut self,
        (key, amount): Sale,
        ctx: &mut ProcessContext<'_, u64, Sums, Sale>,
    ) -> FunctionResult {
        let mut sum = 0;
        ctx.state.sums.update(
            1,
            || 0,
            |stored| {
                *stored += amount;
                sum = *stored;
            },
        );
        ctx.emit((key, sum));
        Ok(())
    }
}

/// The same sum, and a timer per record.
#[derive(Clone)]
struct TimerFunction;

impl KeyedProcessFunction<u64, Sale> for TimerFunction {
    type State = Sum;
    type Out = Sale;

    fn process(
        &mut self,
        (key, amount): Sale,
        ctx: &mut ProcessContext<'_, u64, Sum, Sale>,
    ) -> FunctionResult {
        ctx.state.sum += amount;
        let sum = ctx.state.sum;
        ctx.register_event_timer(amount);
        ctx.emit((key, sum));
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        _ctx: &mut ProcessContext<'_, u64, Sum, Sale>,
    ) -> FunctionResult {
        Ok(())
    }
}

/// Nanoseconds per record, and all that was emitted, added up.
fn run(mut operator: impl Operator, keys: u64, records: u64, timers: bool) -> (f64, i64) {
    let mut input = Batch::<Sale>::new();
    let mut out = operator.output();
    let mut total = 0_i64;
    let begin = Instant::now();
    for start in (0..records).step_by(BATCH as usize) {
        input.items.extend((start..start + BATCH).map(|i| (splitmix64(i) % keys, i as i64)));
        input.hashes.extend(input.items.iter().map(|(key, _)| key.hash64()));
        let input: &mut dyn AnyBatch = &mut input;
        while operator.process(input, out.as_mut(), 2 * BATCH as usize).expect("no failure")
            == Flow::More
        {}
        let out = cast::<Sale>(out.as_mut());
        total = out.items.drain(..).fold(total, |total, (_, sum)| total.wrapping_add(sum));
        if timers && start % (64 * BATCH) == 0 {
            let mut out = Batch::<Sale>::new();
            while operator.advance_watermark(start as i64, &mut out, 1024).expect("no failure")
                == Flow::More
            {}
        }
    }
    (begin.elapsed().as_nanos() as f64 / records as f64, total)
}

fn fold(keys: u64, records: u64) -> (f64, i64) {
    let selector = Box::new(ByValue(|(key, _): &Sale| *key));
    let add = |sum: &mut i64, (_, amount): Sale| *sum += amount;
    run(Fold::new(selector, || 0, add, &TaskContext::alone()), keys, records, false)
}

fn function(
    function: impl KeyedProcessFunction<u64, Sale>,
    keys: u64,
    records: u64,
    timers: bool,
) -> (f64, i64) {
    let selector = Box::new(ByValue(|(key, _): &Sale| *key));
    let operator = KeyedProcess::new(selector, function, &TaskContext::alone());
    run(operator.expect("it opens"), keys, records, timers)
}

fn median(mut rounds: [f64; ROUNDS]) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn compare(name: &str, fold: impl Fn() -> (f64, i64), other: impl Fn() -> (f64, i64)) {
    let (mut fold_ns, mut other_ns, mut ratios) = ([0.0; ROUNDS], [0.0; ROUNDS], [0.0; ROUNDS]);
    for round in 0..ROUNDS {
        let (fold, other) = (fold(), other());
        assert_eq!(fold.1, other.1, "{name}: both sides emit the same");
        (fold_ns[round], other_ns[round]) = (fold.0, other.0);
        ratios[round] = other.0 / fold.0;
    }
    println!(
        "{name:<24} fold {:6.2} ns  function {:6.2} ns  ratio {:.2}",
        median(fold_ns),
        median(other_ns),
        median(ratios)
    );
}

fn main() {
    const M: u64 = 1 << 20;
    let f = fold;
    compare(
        "value, 1 M keys",
        || f(1_000_000, 20 * M),
        || function(SumFunction, 1_000_000, 20 * M, false),
    );
    compare("value, 1 k keys", || f(1_000, 20 * M), || function(SumFunction, 1_000, 20 * M, false));
    compare(
        "map entry, 1 M keys",
        || f(1_000_000, 8 * M),
        || function(MapFunction, 1_000_000, 8 * M, false),
    );
    compare(
        "value + timer, 1 M keys",
        || f(1_000_000, 8 * M),
        || function(TimerFunction, 1_000_000, 8 * M, true),
    );
}
