//! [`TestInput`]: a source that a test fills by hand.

use millstream_api::{DataStream, StreamExecutionEnvironment};
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{OperatorError, Record};
use millstream_operator::context::TaskContext;
use millstream_operator::item;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream_operator::watermark::{WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A record and its time, or a watermark: the time alone.
type Element<T> = (Option<T>, Timestamp);

/// A source that a test fills by hand: records, watermarks, the end. It remembers everything, so that
/// after a crash records come again from where the checkpoint was. Cheap to clone.
pub struct TestInput<T>(Arc<Mutex<Content<T>>>);

struct Content<T> {
    /// Tells it from inputs of other jobs.
    id: u64,
    elements: Vec<Element<T>>,
    ended: bool,
}

impl<T> Clone for TestInput<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Record> TestInput<T> {
    pub(super) fn new() -> Self {
        static INPUTS: AtomicU64 = AtomicU64::new(0);
        let id = INPUTS.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Mutex::new(Content { id, elements: Vec::new(), ended: false })))
    }

    /// Adds records without a time.
    pub fn push(&self, records: impl IntoIterator<Item = T>) {
        self.push_at(records.into_iter().map(|record| (record, NO_TIMESTAMP)));
    }

    /// Adds records with their times.
    pub fn push_at(&self, records: impl IntoIterator<Item = (T, Timestamp)>) {
        let records = records.into_iter().map(|(record, time)| (Some(record), time));
        self.lock().elements.extend(records);
    }

    /// Says, behind all records so far, that none at or before this time is to come.
    pub fn advance_watermark(&self, watermark: Timestamp) {
        self.lock().elements.push((None, watermark));
    }

    /// Ends it, and with it event time.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        // A user's `Clone` may have panicked: that leaves the elements as they are.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream of its records, with their times and its watermarks.
    #[track_caller]
    pub(super) fn stream(&self, env: &StreamExecutionEnvironment, name: &str) -> DataStream<T> {
        let strategy = WatermarkStrategy::for_generator(Told)
            .with_timestamp_assigner(|element: &Element<T>| match element {
                (Some(_), time) => *time,
                (None, _) => NO_TIMESTAMP,
            })
            .without_idleness();
        env.source(name, self.clone())
            .assign_timestamps_and_watermarks(strategy)
            .set_parallelism(1)
            .filter_map(|(record, _)| record)
            .set_parallelism(1)
    }
}

impl<T: Record> Source<Element<T>> for TestInput<T> {
    fn reader(
        &self,
        _context: &TaskContext,
    ) -> Result<Box<dyn SourceReader<Element<T>>>, OperatorError> {
        Ok(Box::new(Reader { input: self.clone(), next: 0 }))
    }

    /// It ends when the test says so.
    fn is_bounded(&self) -> bool {
        true
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

struct Reader<T> {
    input: TestInput<T>,
    next: usize,
}

impl<T: Record> SourceReader<Element<T>> for Reader<T> {
    fn poll(
        &mut self,
        out: &mut Vec<Element<T>>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let content = self.input.lock();
        let rest = &content.elements[self.next.min(content.elements.len())..];
        // A watermark leaves behind the batch in which it is, so it is the last of one.
        let run = rest.iter().take(room).position(|(record, _)| record.is_none());
        let count = run.map_or(rest.len().min(room), |at| at + 1);
        out.extend_from_slice(&rest[..count]);
        self.next += count;
        Ok(match count {
            0 if content.ended => Poll::End,
            0 => Poll::Idle,
            _ => Poll::More,
        })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let id = self.input.lock().id;
        Ok(vec![item::encode(&(id, self.next as u64))])
    }

    /// The input of another job is another one, and begins at its own beginning.
    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        for item in items {
            let (id, next) = item::decode::<(u64, u64)>("the position of a test input", &item)?;
            if id == self.input.lock().id {
                self.next = next as usize;
            }
        }
        Ok(())
    }
}

/// Watermarks are what the test says.
#[derive(Clone)]
struct Told;

impl<T: Record> WatermarkGenerator<Element<T>> for Told {
    fn on_event(&mut self, element: &Element<T>, _time: Timestamp, output: &mut WatermarkOutput) {
        if let (None, watermark) = element {
            output.emit_watermark(*watermark);
        }
    }
}
