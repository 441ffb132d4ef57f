//! A sink into a vector of this process: for tests and for programs that run embedded.

use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More records than this are an error, unless the user says otherwise.
const RECORDS_MAX: usize = 10_000_000;

/// Collects records, and gives them to whoever has a clone. Made by [`collect`].
#[derive(Debug)]
pub struct Collector<T> {
    records_max: usize,
    parts: Arc<Mutex<BTreeMap<u32, Vec<T>>>>,
}

/// Collects records in memory: give a clone to the job, and take the records from the other.
///
/// Records are there as soon as they are written. When a task fails, its records vanish, and the
/// task's next attempt writes them again. Only in embedded mode: in a cluster records arrive in the
/// process that runs the task.
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Vec<T>>> {
        // A user's `Clone` may have panicked in `to_vec`: that leaves the records as they are.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Collector<T> {
    fn clone(&self) -> Self {
        Self { records_max: self.records_max, parts: Arc::clone(&self.parts) }
    }
}

impl<T: Send + 'static> Sink<T> for Collector<T> {
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
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
        parts.entry(self.subtask).or_default().append(records);
        Ok(())
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        if !completed {
            self.collector.lock().remove(&self.subtask);
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
    fn a_record_too_many_is_an_error() {
        let collected = collect().records_max(3);
        assert_eq!(write_all(&collected, 0..3), Ok(()));
        let mut writer = collected.writer(&context(1, 2)).expect("nothing can fail");
        let error = writer.write(&mut vec![3]).expect_err("there is no room");
        assert!(error.message.contains("3 have been collected"), "{error}");
        assert_eq!(collected.take(), [0, 1, 2]);
    }
}
