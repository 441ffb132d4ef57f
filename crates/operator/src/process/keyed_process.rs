//! [`KeyedProcess`]: the operator that runs a [`KeyedProcessFunction`].
//!
//! Records of a batch are handled in order, each with the state of its key in the function's hands; the
//! operator looks for room between them, and keeps the rest for the next call. Timers fire one by one in
//! the order of their times, so that what one of them registers or withdraws counts for the next; a call
//! fires a limited number, so that a barrier need not wait for all of them.

use super::context::ProcessContext;
use super::function::{FunctionResult, KeyedProcessFunction, TimeDomain, Timer};
use super::timer_service::TimerService;
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::flat_map::check_surplus;
use crate::inspect::{Inspect, PendingTimers, WrongKey};
use crate::key::{KeySelector, find_keys};
use crate::operator::{Flow, Operator};
use crate::side_output::SideOutputs;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::{MAX_WATERMARK, NO_TIMESTAMP, Timestamp};
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast, stamp};
use millstream_state::keyed_state::KeyedStateStore;
use std::any::Any;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// A call fires at most so many timers before it gives the task a chance to do something else.
const FIRED_MAX: usize = 1_024;

/// With each batch so many rows are looked at for expired state, and two more for each record: rows do
/// not come faster than that unless a record puts several entries.
const SWEPT_MIN: usize = 64;

/// Runs a function with state and timers per key.
pub struct KeyedProcess<K: Key, T: Record, F: KeyedProcessFunction<K, T>> {
    selector: Box<dyn KeySelector<K, T>>,
    function: F,
    state: KeyedStateStore<K, F::State>,
    timers: TimerService<K>,
    /// Whether the state is there.
    on_heap: bool,
    clock: ProcessingClock,
    max_parallelism: MaxParallelism,
    sides: SideOutputs,
    waiting: Waiting<K, T>,
}

/// The batch that is being handled: its buffers are those of the input, and go back there.
struct Waiting<K, T> {
    records: VecDeque<T>,
    keys: VecDeque<K>,
    hashes: Vec<u64>,
    timestamps: Vec<Timestamp>,
    /// So many hashes are those of records that have been handled.
    handled: usize,
}

impl<K: Key, T: Record> Waiting<K, T> {
    fn new() -> Self {
        let (records, keys) = (VecDeque::new(), VecDeque::new());
        Self { records, keys, hashes: Vec::new(), timestamps: Vec::new(), handled: 0 }
    }

    /// Takes a batch over, if there is none at hand.
    fn take(
        &mut self,
        input: &mut Batch<T>,
        selector: &dyn KeySelector<K, T>,
    ) -> Result<(), OperatorError> {
        if !self.records.is_empty() || input.items.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::from(std::mem::take(&mut self.keys));
        find_keys(selector, input, &mut keys)?;
        self.keys = VecDeque::from(keys);
        self.hashes.clear();
        std::mem::swap(&mut self.hashes, &mut input.hashes);
        self.timestamps.clear();
        std::mem::swap(&mut self.timestamps, &mut input.timestamps);
        let empty = Vec::from(std::mem::take(&mut self.records));
        self.records = VecDeque::from(std::mem::replace(&mut input.items, empty));
        self.handled = 0;
        Ok(())
    }
}

impl<K: Key, T: Record, F: KeyedProcessFunction<K, T>> KeyedProcess<K, T, F> {
    /// Opens the function.
    pub fn new(
        selector: Box<dyn KeySelector<K, T>>,
        mut function: F,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        told(function.open(context))?;
        Ok(Self {
            selector,
            function,
            state: KeyedStateStore::open(context.backing()),
            timers: TimerService::open(context.backing().as_ref()),
            on_heap: context.state_backend.is_none(),
            clock: context.clock.clone(),
            max_parallelism: context.max_parallelism,
            sides: SideOutputs::new(),
            waiting: Waiting::new(),
        })
    }

    /// The function, and where its side outputs go.
    pub(super) fn function_and_sides(&mut self) -> (&mut F, &mut SideOutputs) {
        (&mut self.function, &mut self.sides)
    }

    /// What state it has, as the job graph names it.
    pub fn states() -> Vec<DeclaredState> {
        let mut states = KeyedStateStore::<K, F::State>::new().states();
        states.extend(TimerService::<K>::states());
        states
    }

    /// What state and timers take.
    pub fn memory_bytes(&mut self) -> usize {
        self.state.memory_bytes() + self.timers.memory_bytes()
    }

    /// How many timers are pending in event time and in processing time.
    pub fn timers(&mut self) -> (usize, usize) {
        (self.timers.event.len(), self.timers.processing.len())
    }

    /// Shows the state of a key.
    pub fn with_state<R>(&mut self, key: &K, look: impl FnOnce(&mut F::State) -> R) -> R {
        self.state.one(key.hash64(), key, self.clock.now(), |state, _| look(state))
    }

    /// Fires timers that are due.
    fn fire(
        &mut self,
        domain: TimeDomain,
        batch: &mut Batch<F::Out>,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        for _ in 0..FIRED_MAX {
            if batch.items.len() >= room || self.sides.is_full() {
                break;
            }
            let Some(due) = self.timers.pop(domain) else { return Ok(Flow::Drained) };
            let Self { function, state, timers, sides, .. } = self;
            let timer = Timer { time: due.time, domain };
            let (hash, key) = (due.hash, &due.key);
            let now = timers.now;
            let timestamp = (domain == TimeDomain::EventTime).then_some(due.time);
            let first = batch.items.len();
            let Batch { items: out, timestamps: times, .. } = &mut *batch;
            told(state.one(hash, key, now, |state, cleared| {
                sides.set_time(timestamp);
                let mut ctx = ProcessContext {
                    state,
                    cleared,
                    hash,
                    key,
                    timestamp,
                    timers,
                    sides,
                    out,
                    times,
                    first,
                };
                function.on_timer(timer, &mut ctx)
            }))?;
            batch.stamp(first, timestamp);
            check_surplus::<F::Out>(batch.items.len())?;
            self.sides.check()?;
        }
        Ok(if self.timers.is_due(domain) { Flow::More } else { Flow::Drained })
    }
}

pub(super) fn told(result: FunctionResult) -> Result<(), OperatorError> {
    result.map_err(|error| OperatorError::from_error(error.as_ref()))
}

impl<K: Key, T: Record, F: KeyedProcessFunction<K, T>> Operator for KeyedProcess<K, T, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<F::Out>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, Batch { items: out, timestamps: times, .. }) =
            (cast::<T>(input), cast::<F::Out>(out));
        self.waiting.take(input, self.selector.as_ref())?;
        let Self { function, state, timers, sides, waiting, clock, .. } = self;
        let Waiting { records, keys, hashes, timestamps, handled } = waiting;
        let now = clock.now();
        timers.now = now;
        let mut failure = None;
        let hashes = &hashes[*handled..];
        let timestamps = timestamps.get(*handled..).unwrap_or_default();
        let done = state.each(
            hashes,
            |i| &keys[i],
            now,
            |i, key, state, cleared| {
                let record = records.pop_front().expect("a record per hash");
                let hash = hashes[i];
                let timestamp = timestamps.get(i).copied().filter(|time| *time != NO_TIMESTAMP);
                let first = out.len();
                sides.set_time(timestamp);
                let mut ctx = ProcessContext {
                    state,
                    cleared,
                    hash,
                    key,
                    timestamp,
                    timers,
                    sides,
                    out,
                    times,
                    first,
                };
                let result = function.process(record, &mut ctx);
                stamp(times, first..out.len(), timestamp);
                match result {
                    Ok(()) if out.len() < room && !sides.is_full() => ControlFlow::Continue(()),
                    Ok(()) => ControlFlow::Break(()),
                    Err(error) => {
                        failure = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        );
        *handled += done;
        keys.drain(..done);
        told(failure.map_or(Ok(()), Err))?;
        check_surplus::<F::Out>(out.len())?;
        sides.check()?;
        state.sweep(now, SWEPT_MIN + 2 * done);
        Ok(if waiting.records.is_empty() { Flow::Drained } else { Flow::More })
    }

    fn flush(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.state.sweep(self.clock.now(), SWEPT_MIN);
        Ok(Flow::Drained)
    }

    /// The end of the input is the end of event time. Timers in processing time that are still pending
    /// never fire.
    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.advance_watermark(MAX_WATERMARK, out, room)
    }

    fn end_keys(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let flow = self.finish(out, room)?;
        if flow == Flow::Drained {
            self.timers.begin_anew();
            // What lies on disk is in nobody's way.
            if self.on_heap {
                self.state = KeyedStateStore::new();
            }
        }
        Ok(flow)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.timers.processing.next()
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.timers.now = now;
        self.fire(TimeDomain::ProcessingTime, cast::<F::Out>(out), room)
    }

    fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.timers.watermark = self.timers.watermark.max(watermark);
        self.timers.now = self.clock.now();
        self.fire(TimeDomain::EventTime, cast::<F::Out>(out), room)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        Some(&mut self.sides)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        snapshot: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let base = !barrier.kind.is_savepoint();
        self.state.snapshot(self.max_parallelism, base, snapshot);
        self.timers.snapshot(self.max_parallelism, base, snapshot);
        Ok(())
    }

    fn restore(&mut self, mut restored: RestoredOperator) -> Result<(), OperatorError> {
        let max = self.max_parallelism;
        let result = self.state.restore(max, &mut restored);
        let result = result.and_then(|()| self.timers.restore(max, &mut restored));
        result.map_err(|error| OperatorError::from_error(&error))
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        Some(self)
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        if completed { told(self.function.close()) } else { Ok(()) }
    }
}

impl<K: Key, T: Record, F: KeyedProcessFunction<K, T>> Inspect for KeyedProcess<K, T, F> {
    fn with_state(
        &mut self,
        key: &dyn Any,
        look: &mut dyn FnMut(&mut dyn Any),
    ) -> Result<(), WrongKey> {
        let key = key.downcast_ref::<K>().ok_or_else(WrongKey::expected::<K>)?;
        KeyedProcess::with_state(self, key, |state| look(state));
        Ok(())
    }

    fn timers(&mut self) -> PendingTimers {
        let (event, processing) = KeyedProcess::timers(self);
        PendingTimers { event, processing }
    }
}
