//! The contract of a sink, and what it takes to write exactly once.
//!
//! A sink that can take back what it has not committed writes in two steps. When a barrier passes,
//! [`SinkWriter::prepare_commit`] makes all that was written before it durable but not visible, and
//! describes it in [`Committable`]s, which become part of the checkpoint. When the checkpoint is
//! complete, [`SinkWriter::commit`] makes it visible. If the job fails in between, it goes on from the
//! checkpoint and commits what that holds, perhaps for the second time. Where there are no
//! checkpoints, both happen once, at the end.
//!
//! A sink that leaves both methods as they are gives what it was given by then to the world with
//! [`SinkWriter::flush`]: after a failure records come again.

use crate::context::TaskContext;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;

pub use crate::pre_commit::MakeDurable;
pub use millstream_checkpoint::handle::ListMode;
pub use millstream_checkpoint::snapshot::{
    ListSnapshot, OperatorSnapshot, RestoredList, RestoredOperator,
};

/// Where records go: makes a writer for each subtask.
pub trait Sink<T>: Send + 'static {
    /// The writer of one subtask.
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError>;

    /// At most so many subtasks can write; nothing: any number.
    fn parallelism_max(&self) -> Option<u32> {
        None
    }
}

/// Something that is durable and waits to be made visible, as the sink describes it to itself: the
/// name of a file, the number of a transaction. Any subtask may be asked to commit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committable(pub Vec<u8>);

/// What was written for a checkpoint.
#[derive(Default)]
pub struct Prepared {
    /// What is to be made visible when the checkpoint is complete.
    pub committables: Vec<Committable>,
    /// What has to be done first for it to be durable, if that takes its time. It is done beside the
    /// task, which goes on, before the checkpoint can be complete; if that one is given up first, with
    /// the next one. A failure fails the task.
    pub durable: Option<MakeDurable>,
}

impl From<Vec<Committable>> for Prepared {
    fn from(committables: Vec<Committable>) -> Self {
        Self { committables, durable: None }
    }
}

/// Writes the records of one subtask.
pub trait SinkWriter<T> {
    /// Takes all the records. The vector keeps its memory.
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError>;

    /// The input is idle: what was written should become visible where that is cheap, and where the
    /// sink does not wait for checkpoints.
    fn flush(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// All records have been written. A last [`SinkWriter::prepare_commit`] follows.
    fn finish(&mut self) -> Result<(), OperatorError> {
        self.flush()
    }

    /// Makes durable what was written since the last call, or says how, but not visible. The number of a
    /// checkpoint is never used twice; it is 0 at the end of a job that takes none.
    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> Result<Prepared, OperatorError> {
        self.flush().map(|()| Prepared::default())
    }

    /// Makes these visible, in order, and takes away those that are. Each may have been committed
    /// before, by whomever. After an error it is called again with those that are left, up to
    /// `sink.committer.retries` times; then the task fails.
    fn commit(&mut self, committables: &mut Vec<Committable>) -> Result<(), OperatorError> {
        committables.clear();
        Ok(())
    }

    /// Adds what the writer itself has to know after a restore. Lists may have any name but
    /// `committables`.
    fn snapshot(&mut self, _state: &mut OperatorSnapshot) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Before the first record of a task that goes on from a checkpoint, and before anything is
    /// committed. There may be nothing for this writer in it.
    fn restore(&mut self, _state: &RestoredOperator) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The task ends; without `completed` what was not prepared has to vanish.
    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        Ok(())
    }
}
