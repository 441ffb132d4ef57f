//! The broadcast pattern: one stream is handled with the help of another one that every subtask sees in
//! whole. What is kept of that is broadcast state: changed by the records of the broadcast stream only,
//! in every subtask in the same way, and read by the others.
//!
//! [`BroadcastProcessFunction`] is for streams without a key, [`KeyedBroadcastProcessFunction`] for
//! keyed ones; [`KeyedBroadcastProcess`] is the operator of the latter.

use super::context::ProcessContext;
use super::function::{FunctionResult, KeyedProcessFunction, Timer};
use super::keyed_process::{KeyedProcess, told};
use super::operator_process::{OperatorContext, ProcessFunction};
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::either::Either;
use crate::flat_map::check_surplus;
use crate::inspect::Inspect;
use crate::key::KeySelector;
use crate::operator::{Flow, Operator};
use crate::side_output::SideOutputs;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast, stamp};
use millstream_state::KeyedState;
use millstream_state::operator_state::{OperatorState, OperatorStateStore};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// Handles the records of a stream with the help of a broadcast one.
pub trait BroadcastProcessFunction<T: Record, B: Record>: Clone + Send + 'static {
    /// What is kept of the broadcast stream: a struct with `#[derive(OperatorState)]`.
    type Broadcast: OperatorState;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record has come.
    fn process(
        &mut self,
        record: T,
        broadcast: &Self::Broadcast,
        ctx: &mut OperatorContext<'_, (), Self::Out>,
    ) -> FunctionResult;

    /// A record of the broadcast stream has come: `ctx.state` is the broadcast state. Every subtask
    /// must change it in the same way.
    fn process_broadcast(
        &mut self,
        record: B,
        ctx: &mut OperatorContext<'_, Self::Broadcast, Self::Out>,
    ) -> FunctionResult;

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// Handles the records of a keyed stream, with state and timers per key, with the help of a broadcast
/// stream.
pub trait KeyedBroadcastProcessFunction<K: Key, T: Record, B: Record>:
    Clone + Send + 'static
{
    /// What each key has: a struct with `#[derive(KeyedState)]`, or `()`.
    type State: KeyedState;

    /// What is kept of the broadcast stream: a struct with `#[derive(OperatorState)]`.
    type Broadcast: OperatorState + Send;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record of the keyed stream has come.
    fn process(
        &mut self,
        record: T,
        broadcast: &Self::Broadcast,
        ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// A record of the broadcast stream has come: `ctx.state` is the broadcast state. Every subtask
    /// must change it in the same way.
    fn process_broadcast(
        &mut self,
        record: B,
        ctx: &mut OperatorContext<'_, Self::Broadcast, Self::Out>,
    ) -> FunctionResult;

    /// The time of a timer has come. `ctx` is of the key for which it was registered.
    fn on_timer(
        &mut self,
        _timer: Timer,
        _broadcast: &Self::Broadcast,
        _ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult {
        Ok(())
    }

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// A broadcast function without a key, as one of marked records.
#[derive(Clone)]
pub struct OfBroadcast<F>(pub F);

impl<T: Record, B: Record, F: BroadcastProcessFunction<T, B>> ProcessFunction<Either<T, B>>
    for OfBroadcast<F>
{
    type State = F::Broadcast;
    type Out = F::Out;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        self.0.open(context)
    }

    #[inline]
    fn process(
        &mut self,
        record: Either<T, B>,
        ctx: &mut OperatorContext<'_, F::Broadcast, F::Out>,
    ) -> FunctionResult {
        match record {
            Either::First(record) => {
                let (now, timestamp) = (ctx.now, ctx.timestamp);
                let (sides, out) = (&mut *ctx.sides, &mut *ctx.out);
                let mut bare = OperatorContext { state: &mut (), sides, out, now, timestamp };
                self.0.process(record, ctx.state, &mut bare)
            }
            Either::Second(record) => self.0.process_broadcast(record, ctx),
        }
    }

    fn close(&mut self) -> FunctionResult {
        self.0.close()
    }
}

/// The keyed half of a broadcast function, with the state that it only reads. `B` says what is
/// broadcast.
struct KeyedHalf<B, F, S> {
    function: F,
    broadcast: OperatorStateStore<S>,
    _broadcast: PhantomData<fn(B)>,
}

impl<B, F, S: OperatorState> KeyedHalf<B, F, S> {
    fn new(function: F) -> Self {
        Self { function, broadcast: OperatorStateStore::new(), _broadcast: PhantomData }
    }
}

impl<B, F: Clone, S: OperatorState> Clone for KeyedHalf<B, F, S> {
    /// A function for another subtask.
    fn clone(&self) -> Self {
        Self::new(self.function.clone())
    }
}

impl<K, T, B, F> KeyedProcessFunction<K, T> for KeyedHalf<B, F, F::Broadcast>
where
    K: Key,
    T: Record,
    B: Record,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    type State = F::State;
    type Out = F::Out;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        self.function.open(context)
    }

    #[inline]
    fn process(
        &mut self,
        record: T,
        ctx: &mut ProcessContext<'_, K, F::State, F::Out>,
    ) -> FunctionResult {
        self.function.process(record, &self.broadcast.state, ctx)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        ctx: &mut ProcessContext<'_, K, F::State, F::Out>,
    ) -> FunctionResult {
        self.function.on_timer(timer, &self.broadcast.state, ctx)
    }

    fn close(&mut self) -> FunctionResult {
        self.function.close()
    }
}

/// Runs a [`KeyedBroadcastProcessFunction`]: the keyed half in a [`KeyedProcess`], and before the next
/// batch of that whatever has been broadcast.
pub struct KeyedBroadcastProcess<K, T, B, F>
where
    K: Key,
    T: Record,
    B: Record,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    keyed: KeyedProcess<K, T, KeyedHalf<B, F, F::Broadcast>>,
    /// The batch at hand if it is of the keyed stream; its buffers are used again.
    records: Batch<T>,
    /// The batch at hand if it was broadcast, with the times of its records.
    broadcast: VecDeque<(B, Option<Timestamp>)>,
    clock: ProcessingClock,
}

impl<K, T, B, F> KeyedBroadcastProcess<K, T, B, F>
where
    K: Key,
    T: Record,
    B: Record,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    /// Opens the function.
    pub fn new(
        selector: Box<dyn KeySelector<K, T>>,
        function: F,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        let keyed = KeyedProcess::new(selector, KeyedHalf::new(function), context)?;
        let (records, broadcast) = (Batch::new(), VecDeque::new());
        Ok(Self { keyed, records, broadcast, clock: context.clock.clone() })
    }

    /// What state it has, as the job graph names it.
    pub fn states() -> Vec<DeclaredState> {
        let mut states = KeyedProcess::<K, T, KeyedHalf<B, F, F::Broadcast>>::states();
        states.extend(OperatorStateStore::<F::Broadcast>::new().states());
        states
    }

    /// Takes a batch over: all of it is of one input.
    fn take(&mut self, input: &mut Batch<Either<T, B>>) {
        let hashed = !input.hashes.is_empty();
        let times = input.timestamps.iter().copied();
        let times = times.map(|time| Some(time).filter(|time| *time != NO_TIMESTAMP));
        let times = times.chain(std::iter::repeat(None));
        for (record, time) in input.items.drain(..).zip(times) {
            match record {
                Either::First(record) => self.records.items.push(record),
                Either::Second(record) => self.broadcast.push_back((record, time)),
            }
        }
        assert!(
            self.records.items.is_empty() || self.broadcast.is_empty() && hashed,
            "a batch is of one input, and that of the keyed stream carries its hashes"
        );
        if self.broadcast.is_empty() {
            self.records.hashes.append(&mut input.hashes);
            self.records.take_timestamps(input);
        }
        input.hashes.clear();
        input.timestamps.clear();
    }

    fn process_broadcast(
        &mut self,
        batch: &mut Batch<F::Out>,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let Batch { items: out, timestamps: times, .. } = batch;
        let now = self.clock.now();
        let (half, sides) = self.keyed.function_and_sides();
        while out.len() < room && !sides.is_full() {
            let Some((record, timestamp)) = self.broadcast.pop_front() else {
                return Ok(Flow::Drained);
            };
            sides.set_time(timestamp);
            let (first, state) = (out.len(), &mut half.broadcast.state);
            let mut ctx = OperatorContext { state, sides, out, now, timestamp };
            told(half.function.process_broadcast(record, &mut ctx))?;
            stamp(times, first..out.len(), timestamp);
            check_surplus::<F::Out>(out.len())?;
            sides.check()?;
        }
        Ok(if self.broadcast.is_empty() { Flow::Drained } else { Flow::More })
    }
}

impl<K, T, B, F> Operator for KeyedBroadcastProcess<K, T, B, F>
where
    K: Key,
    T: Record,
    B: Record,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    fn output(&self) -> BoxBatch {
        self.keyed.output()
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        if !input.is_empty() {
            self.take(cast::<Either<T, B>>(input));
        }
        if !self.broadcast.is_empty() {
            return self.process_broadcast(cast::<F::Out>(out), room);
        }
        self.keyed.process(&mut self.records, out, room)
    }

    fn flush(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.keyed.flush(out, room)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.keyed.finish(out, room)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.keyed.next_timer()
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.keyed.advance_time(now, out, room)
    }

    fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.keyed.advance_watermark(watermark, out, room)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        self.keyed.side_outputs()
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        let (half, _) = self.keyed.function_and_sides();
        let restored = half.broadcast.restore(&state);
        restored.map_err(|error| OperatorError::from_error(&error))?;
        self.keyed.restore(state)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.keyed.function_and_sides().0.broadcast.snapshot(state);
        self.keyed.snapshot(barrier, state)
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        self.keyed.inspect()
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        self.keyed.close(completed)
    }
}
