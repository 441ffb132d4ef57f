//! Drives a user's function alone: records, time and the end of the input by hand.

use super::function::KeyedProcessFunction;
use super::keyed_process::KeyedProcess;
use crate::clock::ManualClock;
use crate::context::TaskContext;
use crate::harness::{HarnessSnapshot, OperatorHarness};
use crate::key::{ByValue, KeySelector};
use millstream_core::time::Timestamp;
use millstream_core::{Key, OperatorError, Record};

/// A [`KeyedProcessFunction`] with records that are pushed, clocks that are set, and output, state
/// and timers that are looked at.
pub struct KeyedProcessHarness<K: Key, T: Record, F: KeyedProcessFunction<K, T>> {
    harness: OperatorHarness<T, F::Out, KeyedProcess<K, T, F>>,
    selector: Box<dyn KeySelector<K, T>>,
    clock: ManualClock,
}

impl<K: Key, T: Record, F: KeyedProcessFunction<K, T>> KeyedProcessHarness<K, T, F> {
    /// Opens the function; its clock is at 0.
    pub fn new(
        function: F,
        key: impl Fn(&T) -> K + Clone + Send + 'static,
    ) -> Result<Self, OperatorError> {
        Self::with_room(function, key, millstream_shuffle::batch::Batch::<F::Out>::target())
    }

    /// Opens the function and gives it room for so many records at a time.
    pub fn with_room(
        function: F,
        key: impl Fn(&T) -> K + Clone + Send + 'static,
        room: usize,
    ) -> Result<Self, OperatorError> {
        let clock = ManualClock::default();
        let context = TaskContext { clock: clock.clock(), ..TaskContext::alone() };
        let selector: Box<dyn KeySelector<K, T>> = Box::new(ByValue(key));
        let operator = KeyedProcess::new(selector.boxed(), function, &context)?;
        Ok(Self { harness: OperatorHarness::with_room(operator, room), selector, clock })
    }

    /// Sends the records as one batch.
    pub fn push(&mut self, records: impl IntoIterator<Item = T>) -> Result<(), OperatorError> {
        let selector = &self.selector;
        self.harness.push_keyed(records, |record| {
            let mut keys = Vec::with_capacity(1);
            selector.keys(std::slice::from_ref(record), &mut keys);
            keys.remove(0)
        })
    }

    /// Sends the records as one batch, with their times.
    pub fn push_at(
        &mut self,
        records: impl IntoIterator<Item = (T, Timestamp)>,
    ) -> Result<(), OperatorError> {
        let selector = &self.selector;
        self.harness.push_keyed_at(records, |record| {
            let mut keys = Vec::with_capacity(1);
            selector.keys(std::slice::from_ref(record), &mut keys);
            keys.remove(0)
        })
    }

    /// Sets the machine's clock and fires the timers that are due.
    pub fn advance_processing_time(&mut self, now: Timestamp) -> Result<(), OperatorError> {
        self.clock.set(now);
        self.harness.advance_time(now)
    }

    /// Lets the watermark reach this time and fires the timers that are due.
    pub fn advance_watermark(&mut self, watermark: Timestamp) -> Result<(), OperatorError> {
        self.harness.advance_watermark(watermark)
    }

    /// Ends the input.
    pub fn finish(&mut self) -> Result<(), OperatorError> {
        self.harness.finish()
    }

    /// Lets a barrier pass and writes state and timers; after the first time, changes only.
    pub fn snapshot(&mut self) -> Result<HarnessSnapshot, OperatorError> {
        self.harness.snapshot(TaskContext::alone().max_parallelism)
    }

    /// Goes on from snapshots of all former subtasks, as one of `parallelism`. Before the first
    /// record.
    pub fn restore(
        &mut self,
        snapshots: &[HarnessSnapshot],
        subtask: u32,
        parallelism: u32,
    ) -> Result<(), OperatorError> {
        self.harness.restore(snapshots, subtask, parallelism)
    }

    /// What has come out since the last call.
    pub fn take_output(&mut self) -> Vec<F::Out> {
        self.harness.take_output()
    }

    /// What has come out since the last call, with its times; `NO_TIMESTAMP` for none.
    pub fn take_timed_output(&mut self) -> Vec<(F::Out, Timestamp)> {
        self.harness.take_timed_output()
    }

    /// Shows the state of a key.
    pub fn with_state<R>(&mut self, key: &K, look: impl FnOnce(&mut F::State) -> R) -> R {
        self.harness.operator().with_state(key, look)
    }

    /// The operator: how many timers there are, what memory it takes.
    pub fn operator(&mut self) -> &mut KeyedProcess<K, T, F> {
        self.harness.operator()
    }
}
