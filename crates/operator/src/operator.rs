//! The contract of an operator: batches in, batches out, never blocking.
//!
//! An operator sees one batch at a time and casts it to what it is. Engine-owned fan-out is
//! resumable: an operator that has more to give than there is room returns [`Flow::More`] and is
//! called again, with what is left of its input, when its output has been taken.

use crate::inspect::Inspect;
use crate::side_output::SideOutputs;
use crate::source::SplitChange;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::OperatorError;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::time::Timestamp;
use millstream_shuffle::batch::{AnyBatch, BoxBatch};
use millstream_shuffle::element::Watermark;

/// Whether an operator is through with what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// All of it has been dealt with; the input batch is empty.
    Drained,
    /// There is more: call again when the output has been taken.
    More,
    /// There is more, but it comes from outside: call again when the task's thread has been woken, or
    /// when [`Operator::next_timer`] is due. Only from [`Operator::finish`].
    Waiting,
}

/// One step of a chain.
pub trait Operator {
    /// An empty batch of what it gives.
    fn output(&self) -> BoxBatch;

    /// Takes records from `input` and appends to `out`, which has room for about `room` records.
    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError>;

    /// Whether it takes a further batch; not while it holds as many records as it may of those that wait
    /// for something outside. Asked of the first operator of a chain only, before its input is read.
    fn accepts(&self) -> bool {
        true
    }

    /// The input is idle, or results have waited long enough: gives what it holds back.
    fn flush(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        Ok(Flow::Drained)
    }

    /// The input has ended, and with it event time: gives what is left. Called again until it is
    /// drained.
    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.flush(out, room)
    }

    /// In BATCH mode, where records come sorted by keys ([`crate::batch`]): no record of the keys so far is
    /// to come. Gives what is left of them, as at the end of the input, and forgets them; time begins anew.
    /// Called with an empty input, again until it is drained.
    fn end_keys(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.finish(out, room)
    }

    /// When it next wants to be called through [`advance_time`](Self::advance_time): the first of its
    /// timers in processing time.
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    /// The machine's clock has reached this time: fires the timers that are due, as far as there is
    /// room. Called with an empty input, between batches; again until it is drained, but a barrier may
    /// come in between.
    fn advance_time(
        &mut self,
        _now: Timestamp,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        Ok(Flow::Drained)
    }

    /// No record at or before this time is to come: fires the timers that are due, as far as there is
    /// room. Called as [`advance_time`](Self::advance_time) is; when it is drained,
    /// [`pass_watermark`](Self::pass_watermark) says what goes on downstream.
    fn advance_watermark(
        &mut self,
        _watermark: Timestamp,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        Ok(Flow::Drained)
    }

    /// Its side outputs, if it can have any. The task attaches those that are read, and takes what is
    /// in them after each call.
    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        None
    }

    /// What goes on downstream of a watermark that has been dealt with: itself, unless the operator
    /// makes watermarks of its own.
    fn pass_watermark(&mut self, watermark: Watermark) -> Option<Watermark> {
        Some(watermark)
    }

    /// A watermark that the operator has made of its records or of the time that passed, behind all
    /// that it has given so far. Asked for after each call.
    fn take_watermark(&mut self) -> Option<Watermark> {
        None
    }

    /// The source of its task, from which its records come without an exchange, says something of its
    /// splits: before the records of a poll of which it is true, and after them that a split has ended.
    fn split_changed(&mut self, _change: SplitChange) {}

    /// Before the first record of a task that goes on from a checkpoint: takes its state over.
    fn restore(&mut self, _state: RestoredOperator) -> Result<(), OperatorError> {
        Ok(())
    }

    /// A barrier has come and all records before it are through: hands over the state as it is now.
    /// Holds up the task, so what is large is frozen and not copied.
    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        _state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The checkpoint is complete, and with it all before it: what was waiting for it may be made
    /// visible to the world. May come late, or for a later checkpoint only, and after a restore
    /// again.
    fn checkpoint_completed(&mut self, _checkpoint: CheckpointId) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The checkpoint will never be complete. May never come.
    fn checkpoint_aborted(&mut self, _checkpoint: CheckpointId) -> Result<(), OperatorError> {
        Ok(())
    }

    /// What tests may see of it.
    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        None
    }

    /// The task has done all its work, or not (`completed` is false): lets go of what it holds.
    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        Ok(())
    }
}
