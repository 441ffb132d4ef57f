//! A function that is called for each record: for embedded programs that take results themselves.

use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};

/// Calls a function for each record. See [`for_each`].
#[derive(Clone)]
pub struct ForEach<F>(F);

/// Calls `function` for each record, on the thread of the subtask. After a failure it is called again
/// for records that came after the checkpoint from which the job goes on.
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// static SUM: AtomicU64 = AtomicU64::new(0);
/// let sum = sink::for_each(|n: u64| drop(SUM.fetch_add(n, Ordering::Relaxed)));
/// write_all(&sum, vec![1, 2, 3])?;
/// assert_eq!(SUM.load(Ordering::Relaxed), 6);
/// # Ok::<(), millstream_core::OperatorError>(())
/// ```
pub fn for_each<F>(function: F) -> ForEach<F> {
    ForEach(function)
}

impl<T: 'static, F: Fn(T) + Clone + Send + 'static> Sink<T> for ForEach<F> {
    fn writer(&self, _context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        Ok(Box::new(self.clone()))
    }
}

impl<T, F: Fn(T)> SinkWriter<T> for ForEach<F> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        records.drain(..).for_each(&self.0);
        Ok(())
    }
}
