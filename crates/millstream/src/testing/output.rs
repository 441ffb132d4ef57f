//! [`TestOutput`]: what a stream gives, for a test to read.

use millstream_api::DataStream;
use millstream_connectors::sink::{self, Collector};
use millstream_core::Record;
use millstream_core::time::Timestamp;
use millstream_operator::process::{FunctionResult, OperatorContext, ProcessFunction};

/// What a stream gives, with its times. Cheap to clone.
///
/// What is taken is gone from here. After a crash, records that were given since the checkpoint vanish and
/// come again: so at the end each is there once, unless it was taken before.
pub struct TestOutput<T>(Collector<(T, Option<Timestamp>)>);

impl<T> Clone for TestOutput<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Record> TestOutput<T> {
    /// Reads a stream.
    #[track_caller]
    pub(super) fn of(stream: &DataStream<T>, name: &str) -> Self {
        let collector = sink::collect();
        stream.process(WithTime).sink(name, collector.clone());
        Self(collector)
    }

    /// Takes the records that are there: by subtask, and from each in the order in which it gave them.
    pub fn take(&self) -> Vec<T> {
        self.0.take().into_iter().map(|(record, _)| record).collect()
    }

    /// Takes the records that are there, each with its time if it has one.
    pub fn take_timed(&self) -> Vec<(T, Option<Timestamp>)> {
        self.0.take()
    }

    /// How many records are there.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No records are there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts the time of a record beside it, for sinks do not see it.
#[derive(Clone)]
struct WithTime;

impl<T: Record> ProcessFunction<T> for WithTime {
    type State = ();
    type Out = (T, Option<Timestamp>);

    fn process(
        &mut self,
        record: T,
        ctx: &mut OperatorContext<'_, (), (T, Option<Timestamp>)>,
    ) -> FunctionResult {
        let time = ctx.timestamp();
        ctx.emit((record, time));
        Ok(())
    }
}
