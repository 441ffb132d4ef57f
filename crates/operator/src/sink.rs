//! The contract of a sink, and the operator that stands at the end of a chain for it.

use crate::context::TaskContext;
use crate::operator::{Flow, Operator};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};

/// Where records go: makes a writer for each subtask.
pub trait Sink<T>: Send + 'static {
    /// The writer of one subtask.
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError>;

    /// At most so many subtasks can write; nothing: any number.
    fn parallelism_max(&self) -> Option<u32> {
        None
    }
}

/// Writes the records of one subtask.
pub trait SinkWriter<T> {
    /// Takes all the records. The vector keeps its memory.
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError>;

    /// The input is idle: what was written should become visible where that is cheap.
    fn flush(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// All records have been written: makes them final.
    fn finish(&mut self) -> Result<(), OperatorError> {
        self.flush()
    }

    /// The task ends; without `completed` what is not final has to vanish.
    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// A writer as the last operator of a chain.
pub struct SinkOperator<T>(pub Box<dyn SinkWriter<T>>);

impl<T: Record> Operator for SinkOperator<T> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<()>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let batch = cast::<T>(input);
        self.0.write(&mut batch.items)?;
        batch.items.clear();
        batch.hashes.clear();
        Ok(Flow::Drained)
    }

    fn flush(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.0.flush().map(|()| Flow::Drained)
    }

    fn finish(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.0.finish().map(|()| Flow::Drained)
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        self.0.close(completed)
    }
}
