//! A source of records that the program holds.

use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};

/// Records that the program holds. Made by [`collection`].
#[derive(Clone, Debug)]
pub struct Collection<T> {
    items: Vec<T>,
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
    Collection { items: items.into_iter().collect() }
}

impl<T: Clone + Send + 'static> Source<T> for Collection<T> {
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let (subtask, parallelism) = (context.subtask as usize, context.parallelism as usize);
        let share: Vec<T> = self.items.iter().skip(subtask).step_by(parallelism).cloned().collect();
        Ok(Box::new(Reader { left: share.into_iter() }))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

struct Reader<T> {
    left: std::vec::IntoIter<T>,
}

impl<T> SourceReader<T> for Reader<T> {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        out.extend(self.left.by_ref().take(room));
        Ok(if self.left.len() > 0 { Poll::More } else { Poll::End })
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
