//! [`ProcessFunction`]: a function on records without a key, with state of the subtask and side outputs;
//! and [`Process`], the operator that runs it.

use super::function::FunctionResult;
use super::keyed_process::told;
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::flat_map::check_surplus;
use crate::inspect::{Inspect, WrongKey};
use crate::operator::{Flow, Operator};
use crate::side_output::{OutputTag, SideOutputs};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast, stamp};
use millstream_state::operator_state::{OperatorState, OperatorStateStore};
use std::any::Any;
use std::collections::VecDeque;

/// Handles the records of a stream one by one.
///
/// Each subtask has a clone of its own. State is what is declared in [`State`](Self::State), and
/// belongs to the subtask: fields of the function itself are not saved.
pub trait ProcessFunction<T: Record>: Clone + Send + 'static {
    /// What each subtask has: a struct with `#[derive(OperatorState)]`, or `()`.
    type State: OperatorState;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask, and before its state is there.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record has come.
    fn process(
        &mut self,
        record: T,
        ctx: &mut OperatorContext<'_, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// The input has ended: gives what is left.
    fn finish(&mut self, _ctx: &mut OperatorContext<'_, Self::State, Self::Out>) -> FunctionResult {
        Ok(())
    }

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// The state of a subtask, and what can be done there.
pub struct OperatorContext<'a, S, O> {
    /// The state of the subtask.
    pub state: &'a mut S,
    pub(super) sides: &'a mut SideOutputs,
    pub(super) out: &'a mut Vec<O>,
    pub(super) now: Timestamp,
    pub(super) timestamp: Option<Timestamp>,
}

impl<S, O> OperatorContext<'_, S, O> {
    /// Gives a record out.
    #[inline]
    pub fn emit(&mut self, record: O) {
        self.out.push(record);
    }

    /// Gives a record out under a tag: to whoever reads `stream.side_output(&tag)`.
    #[inline]
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, record);
    }

    /// The time of the record: what is given out in this call has it too. Nothing, if the stream has no
    /// event time.
    #[inline]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// The time of the machine: the same for all calls of one batch.
    #[inline]
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }
}

/// Runs a function on records without a key.
pub struct Process<T: Record, F: ProcessFunction<T>> {
    function: F,
    store: OperatorStateStore<F::State>,
    sides: SideOutputs,
    clock: ProcessingClock,
    /// Records that wait for their turn; its buffer is the input batch's, and goes back there.
    waiting: VecDeque<T>,
    /// Their times, and those of records of the same batch that have been handled.
    timestamps: Vec<Timestamp>,
    handled: usize,
    finished: bool,
}

impl<T: Record, F: ProcessFunction<T>> Process<T, F> {
    /// Opens the function.
    pub fn new(mut function: F, context: &TaskContext) -> Result<Self, OperatorError> {
        told(function.open(context))?;
        Ok(Self {
            function,
            store: OperatorStateStore::new(),
            sides: SideOutputs::new(),
            clock: context.clock.clone(),
            waiting: VecDeque::new(),
            timestamps: Vec::new(),
            handled: 0,
            finished: false,
        })
    }

    /// What state it has, as the job graph names it.
    pub fn states() -> Vec<DeclaredState> {
        OperatorStateStore::<F::State>::new().states()
    }

    /// Shows the state.
    pub fn state(&mut self) -> &mut F::State {
        &mut self.store.state
    }
}

impl<T: Record, F: ProcessFunction<T>> Operator for Process<T, F> {
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
        let Self { function, store, sides, clock, waiting, timestamps, handled, .. } = self;
        if waiting.is_empty() && !input.items.is_empty() {
            input.hashes.clear();
            let empty = Vec::from(std::mem::take(waiting));
            *waiting = VecDeque::from(std::mem::replace(&mut input.items, empty));
            timestamps.clear();
            std::mem::swap(timestamps, &mut input.timestamps);
            *handled = 0;
        }
        let now = clock.now();
        while out.len() < room && !sides.is_full() {
            let Some(record) = waiting.pop_front() else { return Ok(Flow::Drained) };
            let timestamp = timestamps.get(*handled).copied().filter(|time| *time != NO_TIMESTAMP);
            *handled += 1;
            sides.set_time(timestamp);
            let (first, state) = (out.len(), &mut store.state);
            let mut ctx = OperatorContext { state, sides, out, now, timestamp };
            told(function.process(record, &mut ctx))?;
            stamp(times, first..out.len(), timestamp);
            check_surplus::<F::Out>(out.len())?;
            sides.check()?;
        }
        Ok(if waiting.is_empty() { Flow::Drained } else { Flow::More })
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(Flow::Drained);
        }
        let Self { function, store, sides, clock, .. } = self;
        let Batch { items: out, timestamps: times, .. } = cast::<F::Out>(out);
        sides.set_time(None);
        let (first, state, now) = (out.len(), &mut store.state, clock.now());
        let mut ctx = OperatorContext { state, sides, out, now, timestamp: None };
        told(function.finish(&mut ctx))?;
        stamp(times, first..out.len(), None);
        check_surplus::<F::Out>(out.len())?;
        sides.check()?;
        Ok(Flow::Drained)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        Some(&mut self.sides)
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        snapshot: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.store.snapshot(snapshot);
        Ok(())
    }

    fn restore(&mut self, restored: RestoredOperator) -> Result<(), OperatorError> {
        self.store.restore(&restored).map_err(|error| OperatorError::from_error(&error))
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        Some(self)
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        if completed { told(self.function.close()) } else { Ok(()) }
    }
}

impl<T: Record, F: ProcessFunction<T>> Inspect for Process<T, F> {
    fn with_state(
        &mut self,
        key: &dyn Any,
        look: &mut dyn FnMut(&mut dyn Any),
    ) -> Result<(), WrongKey> {
        key.downcast_ref::<()>().ok_or_else(WrongKey::expected::<()>)?;
        look(&mut self.store.state);
        Ok(())
    }
}
