//! A source of records that the program holds.

use super::indices::{Indices, Taken};
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records that the program holds. Made by [`collection`].
#[derive(Clone, Debug)]
pub struct Collection<T> {
    /// Behind a lock, which is held for a copy at a time, because records need not be `Sync`.
    items: Arc<Mutex<Vec<T>>>,
}

/// Gives these records, and ends. Of `p` subtasks, subtask `i` gives the records `i`, `i + p`,
/// `i + 2p`, ... in order.
///
/// ```
/// use millstream_connectors::harness::read_all;
/// use millstream_connectors::source::collection;
///
/// let words = collection(vec!["to", "be", "or"]);
/// assert_eq!(read_all(&words, 1).unwrap(), ["to", "be", "or"]);
/// ```
pub fn collection<T>(items: impl IntoIterator<Item = T>) -> Collection<T> {
    Collection { items: Arc::new(Mutex::new(items.into_iter().collect())) }
}

impl<T: Clone + Send + 'static> Source<T> for Collection<T> {
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let items = Arc::clone(&self.items);
        let count = lock(&items).len() as u64;
        Ok(Box::new(Reader { items, indices: Indices::of(context, Some(count)) }))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

fn lock<T>(items: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // Nobody changes them, so a record that panicked when it was cloned leaves nothing half done.
    items.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader<T> {
    items: Arc<Mutex<Vec<T>>>,
    indices: Indices,
}

impl<T: Clone> SourceReader<T> for Reader<T> {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let Taken { first, count, stride } = self.indices.take(room, u64::MAX);
        let items = lock(&self.items);
        let taken = items.iter().skip(first as usize).step_by(stride as usize).take(count);
        out.extend(taken.cloned());
        Ok(if self.indices.next().is_some() { Poll::More } else { Poll::End })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(self.indices.snapshot())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.indices.restore(&items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;

    #[test]
    fn every_parallelism_gives_each_record_once() {
        let source = collection(0..100);
        for parallelism in [1, 2, 3, 7, 101] {
            let mut records = read_all(&source, parallelism).expect("nothing can fail");
            records.sort_unstable();
            assert!(records.iter().copied().eq(0..100), "parallelism {parallelism}");
        }
    }

    #[test]
    fn no_records_end_at_once() {
        assert_eq!(read_all(&collection(Vec::<u64>::new()), 2), Ok(vec![]));
    }
}
