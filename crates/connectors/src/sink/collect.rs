//! A sink into a vector of this process: for tests and for programs that run embedded.

use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Prepared, Sink, SinkWriter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More records than this are an error, unless the user says otherwise.
const RECORDS_MAX: usize = 10_000_000;

/// Collects records, and gives them to whoever has a clone. Made by [`collect`].
#[derive(Debug)]
pub struct Collector<T> {
    records_max: usize,
    parts: Arc<Mutex<Parts<T>>>,
}

/// Records by subtask, and those of each by the checkpoint before which they were written.
type Parts<T> = BTreeMap<(u32, CheckpointId), Vec<T>>;

/// Stands for the checkpoint that comes next.
const OPEN: CheckpointId = CheckpointId(u64::MAX);

/// Collects records in memory: give a clone to the job, and take the records from the other.
///
/// Records are there as soon as they are written. When a task fails, what it wrote since the checkpoint
/// from which the job goes on vanishes, and is written again: so at the end each record is there exactly
/// once, but whoever takes records while the job runs may get some again. Only in embedded mode: in a
/// cluster records arrive in the process that runs the task.
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink::collect;
///
/// let collected = collect();
/// write_all(&collected.clone(), ["a", "b"]).unwrap();
/// assert_eq!(collected.take(), ["a", "b"]);
/// ```
pub fn collect<T>() -> Collector<T> {
    Collector { records_max: RECORDS_MAX, parts: Arc::default() }
}

impl<T> Collector<T> {
    /// More records than this are an error; without this, more than 10 million.
    pub fn records_max(self, records_max: usize) -> Self {
        Self { records_max, ..self }
    }

    /// Takes what is there: by subtask, and from each in the order in which it wrote.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock()).into_values().flatten().collect()
    }

    /// A copy of what is there, in the same order.
    pub fn to_vec(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.lock().values().flatten().cloned().collect()
    }

    /// How many records are there.
    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// No records are there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Parts<T>> {
        // A user's `Clone` may have panicked in `to_vec`: that leaves the records as they are.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Collector<T> {
    /// Removes what former attempts at this subtask wrote and this one will write again. The first
    /// subtask answers for those that there are no more.
    fn forget_what_comes_again(&self, context: &TaskContext) {
        self.lock().retain(|(subtask, checkpoint), _| {
            let is_mine = *subtask == context.subtask
                || (*subtask >= context.parallelism && context.subtask == 0);
            let is_kept = context.restored.is_some_and(|restored| *checkpoint <= restored);
            !is_mine || is_kept
        });
    }
}

impl<T> Clone for Collector<T> {
    fn clone(&self) -> Self {
        Self { records_max: self.records_max, parts: Arc::clone(&self.parts) }
    }
}

impl<T: Send + 'static> Sink<T> for Collector<T> {
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        if context.attempt > 0 {
            self.forget_what_comes_again(context);
        }
        Ok(Box::new(Writer { collector: self.clone(), subtask: context.subtask }))
    }
}

struct Writer<T> {
    collector: Collector<T>,
    subtask: u32,
}

impl<T> SinkWriter<T> for Writer<T> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        let mut parts = self.collector.lock();
        let there: usize = parts.values().map(Vec::len).sum();
        let records_max = self.collector.records_max;
        if there + records.len() > records_max {
            return Err(failure(
                "collect another record",
                format_args!("{records_max} have been collected, and no more are allowed"),
                "filter or aggregate first, write to files, or raise `records_max`",
            ));
        }
        parts.entry((self.subtask, OPEN)).or_default().append(records);
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Prepared, OperatorError> {
        let mut parts = self.collector.lock();
        if let Some(mut records) = parts.remove(&(self.subtask, OPEN)) {
            parts.entry((self.subtask, checkpoint)).or_default().append(&mut records);
        }
        Ok(Prepared::default())
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        if !completed {
            self.collector.lock().remove(&(self.subtask, OPEN));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{context, write_all};

    #[test]
    fn records_are_there_by_subtask_as_soon_as_they_are_written() {
        let collected = collect();
        let mut writers: Vec<_> = (0..2)
            .map(|subtask| collected.writer(&context(subtask, 2)).expect("nothing can fail"))
            .collect();
        for (i, batch) in [(1, vec![10, 11]), (0, vec![1]), (1, vec![12])] {
            let mut batch = batch;
            writers[i].write(&mut batch).expect("there is room");
            assert!(batch.is_empty());
        }
        assert_eq!(collected.len(), 4);
        assert_eq!(collected.to_vec(), [1, 10, 11, 12]);
        assert_eq!(collected.take(), [1, 10, 11, 12]);
        assert!(collected.is_empty());
    }

    #[test]
    fn the_records_of_a_failed_attempt_vanish() {
        let collected = collect();
        let mut writer = collected.writer(&context(0, 1)).expect("nothing can fail");
        writer.write(&mut vec![1, 2]).expect("there is room");
        writer.close(false).expect("nothing can fail");
        write_all(&collected, [1, 2, 3]).expect("there is room");
        assert_eq!(collected.take(), [1, 2, 3]);
    }

    #[test]
    fn an_attempt_that_goes_on_from_a_checkpoint_keeps_what_was_written_before_it() {
        let collected = collect();
        let write = |context: &TaskContext, checkpoints: &[(u64, i32)]| {
            let mut writer = collected.writer(context).expect("nothing can fail");
            for (checkpoint, record) in checkpoints {
                writer.write(&mut vec![*record]).expect("there is room");
                writer.prepare_commit(CheckpointId(*checkpoint)).expect("nothing can fail");
            }
            writer.write(&mut vec![99]).expect("there is room");
            writer.close(false).expect("nothing can fail");
        };
        write(&context(0, 2), &[(1, 10), (2, 20), (3, 30)]);
        write(&context(1, 2), &[(1, 11), (2, 21), (3, 31)]);
        assert_eq!(collected.to_vec(), [10, 20, 30, 11, 21, 31]);
        let restored = Some(CheckpointId(2));
        write(&TaskContext { attempt: 1, restored, ..context(0, 1) }, &[(4, 31)]);
        assert_eq!(collected.to_vec(), [10, 20, 31, 11, 21]);
        write(&TaskContext { attempt: 2, ..context(0, 1) }, &[(5, 10)]);
        assert_eq!(collected.take(), [10]);
    }

    #[test]
    fn a_record_too_many_is_an_error() {
        let collected = collect().records_max(3);
        assert_eq!(write_all(&collected, 0..3), Ok(()));
        let mut writer = collected.writer(&context(1, 2)).expect("nothing can fail");
        let error = writer.write(&mut vec![3]).expect_err("there is no room");
        assert!(error.message.contains("3 have been collected"), "{error}");
        assert_eq!(collected.take(), [0, 1, 2]);
    }
}
