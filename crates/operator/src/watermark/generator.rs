//! [`WatermarkGenerator`]: decides from the records that have come how far event time is.

use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_shuffle::element::Watermark;
use std::marker::PhantomData;

/// Decides how far event time is. Each subtask has a clone of its own; it is not saved: after a failure
/// watermarks begin anew, from the records that come again.
///
/// ```
/// use millstream_operator::watermark::{WatermarkGenerator, WatermarkOutput};
///
/// /// Some records say themselves how far time is.
/// #[derive(Clone)]
/// struct Marked;
///
/// impl WatermarkGenerator<(i64, bool)> for Marked {
///     fn on_event(&mut self, event: &(i64, bool), time: i64, output: &mut WatermarkOutput) {
///         if event.1 {
///             output.emit_watermark(time);
///         }
///     }
/// }
///
/// let mut output = WatermarkOutput::new();
/// Marked.on_event(&(7, true), 7, &mut output);
/// assert_eq!(output.current().time, 7);
/// ```
pub trait WatermarkGenerator<T>: Clone + Send + 'static {
    /// A record has come. What is emitted here leaves behind the batch of the record.
    fn on_event(&mut self, event: &T, timestamp: Timestamp, output: &mut WatermarkOutput);

    /// Called each `pipeline.auto-watermark-interval`, whether records have come or not, unless the
    /// stream is idle.
    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}
}

/// Takes what a generator decides. Watermarks never go back.
#[derive(Clone, Copy, Debug)]
pub struct WatermarkOutput(Watermark);

impl Default for WatermarkOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl WatermarkOutput {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self(Watermark::active(MIN_WATERMARK))
    }

    /// No record at or before this time is to come. The stream counts as active.
    pub fn emit_watermark(&mut self, time: Timestamp) {
        self.0 = Watermark::active(self.0.time.max(time));
    }

    /// Nothing is to be waited for until something comes.
    pub fn mark_idle(&mut self) {
        self.0 = Watermark::idle(self.0.time);
    }

    /// The stream is to be waited for.
    pub fn mark_active(&mut self) {
        self.0 = Watermark::active(self.0.time);
    }

    /// What has been decided so far.
    pub fn current(&self) -> Watermark {
        self.0
    }
}

/// A generator as the operator drives it: by the batch.
pub(super) trait BatchGenerator<T>: Send {
    fn on_batch(&mut self, records: &[T], times: &[Timestamp], output: &mut WatermarkOutput);

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput);

    /// How far time is by what has come, if that is known before it is asked for a watermark.
    fn reached(&self) -> Option<Timestamp> {
        None
    }

    fn boxed(&self) -> Box<dyn BatchGenerator<T>>;
}

/// A user's generator.
pub(super) struct Custom<T, G>(G, PhantomData<fn(T)>);

impl<T, G> Custom<T, G> {
    pub(super) fn new(generator: G) -> Self {
        Self(generator, PhantomData)
    }
}

impl<T: 'static, G: WatermarkGenerator<T>> BatchGenerator<T> for Custom<T, G> {
    fn on_batch(&mut self, records: &[T], times: &[Timestamp], output: &mut WatermarkOutput) {
        for (record, time) in records.iter().zip(times) {
            self.0.on_event(record, *time, output);
        }
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        self.0.on_periodic_emit(output);
    }

    fn boxed(&self) -> Box<dyn BatchGenerator<T>> {
        Box::new(Self::new(self.0.clone()))
    }
}

/// Records are at most so much older than the newest before them.
#[derive(Clone, Copy)]
pub(super) struct BoundedOutOfOrderness {
    delay_ms: i64,
    newest: Timestamp,
}

impl BoundedOutOfOrderness {
    pub(super) fn new(delay_ms: i64) -> Self {
        Self { delay_ms, newest: MIN_WATERMARK }
    }
}

impl<T> BatchGenerator<T> for BoundedOutOfOrderness {
    fn on_batch(&mut self, _records: &[T], times: &[Timestamp], _output: &mut WatermarkOutput) {
        self.newest = times.iter().copied().fold(self.newest, Timestamp::max);
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        if let Some(reached) = BatchGenerator::<T>::reached(self) {
            output.emit_watermark(reached);
        }
    }

    fn reached(&self) -> Option<Timestamp> {
        // One less: another record of the same time may come.
        let behind = || self.newest.saturating_sub(self.delay_ms).saturating_sub(1);
        (self.newest != MIN_WATERMARK).then(behind)
    }

    fn boxed(&self) -> Box<dyn BatchGenerator<T>> {
        Box::new(*self)
    }
}

/// Time does not advance before the end of the input.
pub(super) struct NoWatermarks;

impl<T> BatchGenerator<T> for NoWatermarks {
    fn on_batch(&mut self, _records: &[T], _times: &[Timestamp], _output: &mut WatermarkOutput) {}

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}

    fn boxed(&self) -> Box<dyn BatchGenerator<T>> {
        Box::new(NoWatermarks)
    }
}
