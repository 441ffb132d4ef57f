//! The contract of a source: polled, never blocking for long, told its splits one by one.

use crate::context::TaskContext;
use millstream_core::job_graph::SourceSplit;
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};

/// What a poll of a source left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// There may be more at once.
    More,
    /// Nothing now; the task's [`Wake`](millstream_shuffle::wake::Wake) is woken when there is.
    Idle,
    /// Nothing before this time, on the clock of [`SourceClock`].
    WakeAt(u64),
    /// The next split is wanted. The source is polled again when it has come.
    NeedSplit,
    /// Nothing will ever come.
    End,
}

/// A split that a reader has open. The number is the reader's own: no two splits that are open at once
/// have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitNumber(pub u64);

/// What a reader says of its splits, so that event time is kept for each of them. It is told after a
/// poll, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitChange {
    /// Records of it are to come: event time waits for it.
    Opened(SplitNumber),
    /// The records of this poll are from it, and those of the next ones until another is named. Opens it,
    /// if it is not open.
    Reading(SplitNumber),
    /// Nothing is to come from it behind the records of this poll: event time does not wait for it.
    Ended(SplitNumber),
}

/// The time that a source may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceClock {
    /// Microseconds since an origin that is the same for all polls of a process.
    pub now_us: u64,
}

/// Reads records for one subtask.
pub trait SourceReader<T> {
    /// Appends up to about `room` records.
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError>;

    /// The split that [`Poll::NeedSplit`] asked for; nothing: there is none left.
    fn add_split(&mut self, _split: Option<SourceSplit>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// What has become of its splits with the last poll; asked until it says nothing. A reader that tells
    /// it gives with each poll records of one split only, and several splits in turn. One that does not
    /// is, as a whole, like one split.
    fn take_split_change(&mut self) -> Option<SplitChange> {
        None
    }

    /// What is left to read of what this subtask has been given, as items that any subtask can go on
    /// with: a split and the position in it, a range. Nothing is left: no items.
    /// See [`item`](crate::item) for how to write them.
    ///
    /// A source that cannot read anything twice gives no items, and says in its documentation that
    /// records are missing after a failure.
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError>;

    /// Goes on with these items instead of what the subtask would begin with, and only then with
    /// further splits. Called before the first poll; items of any number of former subtasks, perhaps
    /// none.
    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError>;
}

/// Where records come from: makes a reader for each subtask.
pub trait Source<T>: Send + 'static {
    /// The reader of one subtask.
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError>;

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;

    /// Whether it can read again what it has read: from the position in a snapshot. Of a source that
    /// cannot, records are missing after a failure, and whoever plans the job says so.
    fn can_replay(&self) -> bool {
        true
    }

    /// Its input in parts, if subtasks are to ask for them one by one. Called once, where the job
    /// is planned.
    fn splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        Ok(Vec::new())
    }

    /// At most so many subtasks can read it; nothing: any number.
    fn parallelism_max(&self) -> Option<u32> {
        None
    }
}

/// A source as a task runs it: erased.
pub trait AnySource {
    /// An empty batch of what it gives.
    fn output(&self) -> BoxBatch;

    /// Appends up to about `room` records to `out`.
    fn poll(
        &mut self,
        out: &mut dyn AnyBatch,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError>;

    /// See [`SourceReader::add_split`].
    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError>;

    /// See [`SourceReader::take_split_change`].
    fn take_split_change(&mut self) -> Option<SplitChange>;

    /// See [`SourceReader::snapshot`].
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError>;

    /// See [`SourceReader::restore`].
    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError>;
}

/// Erases a reader.
pub struct ReaderSource<T>(pub Box<dyn SourceReader<T>>);

impl<T: Record> AnySource for ReaderSource<T> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<T>::new())
    }

    fn poll(
        &mut self,
        out: &mut dyn AnyBatch,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        self.0.poll(&mut cast::<T>(out).items, room, clock)
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        self.0.add_split(split)
    }

    fn take_split_change(&mut self) -> Option<SplitChange> {
        self.0.take_split_change()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        self.0.snapshot()
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.0.restore(items)
    }
}
