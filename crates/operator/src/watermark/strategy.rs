//! [`WatermarkStrategy`]: where the time of a record is found, how far time is, and when a silent
//! stream is no longer waited for.

use super::alignment::AlignmentOptions;
use super::generator::{
    BatchGenerator, BoundedOutOfOrderness, Custom, NoWatermarks, WatermarkGenerator,
};
use millstream_core::time::Timestamp;
use std::time::Duration;

/// A stream that has been silent for so long counts as idle, unless the strategy says otherwise.
pub const IDLE_AFTER: Duration = Duration::from_secs(60);

/// The kind of a strategy without watermarks.
const NO_WATERMARKS: &str = "none";

/// Where the time of a record is found, how far time is, and when a silent stream is no longer waited
/// for.
///
/// ```
/// use millstream_operator::watermark::WatermarkStrategy;
/// use std::time::Duration;
///
/// struct Click {
///     at_ms: i64,
/// }
///
/// let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5))
///     .with_timestamp_assigner(|click: &Click| click.at_ms)
///     .with_idleness(Duration::from_secs(30));
/// # let _ = strategy;
/// ```
pub struct WatermarkStrategy<T> {
    /// Nothing: records keep the time that they have.
    pub(super) assigner: Option<Box<dyn TimestampAssigner<T>>>,
    pub(super) generator: Box<dyn BatchGenerator<T>>,
    pub(super) idle_after: Option<Duration>,
    pub(super) alignment: Option<AlignmentOptions>,
    kind: String,
}

impl<T: 'static> WatermarkStrategy<T> {
    fn new(generator: Box<dyn BatchGenerator<T>>, kind: impl Into<String>) -> Self {
        let kind = kind.into();
        Self { assigner: None, generator, idle_after: Some(IDLE_AFTER), alignment: None, kind }
    }

    /// For times that never go back.
    pub fn for_monotonous_timestamps() -> Self {
        Self::for_bounded_out_of_orderness(Duration::ZERO)
    }

    /// For records that are at most so much older than the newest before them. Those that are still
    /// older are late.
    pub fn for_bounded_out_of_orderness(bound: Duration) -> Self {
        let delay_ms = millis(bound);
        Self::new(Box::new(BoundedOutOfOrderness::new(delay_ms)), format!("bounded {delay_ms}"))
    }

    /// Times without watermarks: nothing is due before the input ends.
    pub fn no_watermarks() -> Self {
        Self::new(Box::new(NoWatermarks), NO_WATERMARKS)
    }

    /// Watermarks of a generator of your own.
    pub fn for_generator(generator: impl WatermarkGenerator<T>) -> Self {
        Self::new(Box::new(Custom::new(generator)), "custom")
    }

    /// Finds the time of a record: milliseconds since 1970-01-01 UTC. Without this, records keep the
    /// time that they have.
    pub fn with_timestamp_assigner(
        mut self,
        assigner: impl Fn(&T) -> Timestamp + Clone + Send + 'static,
    ) -> Self {
        self.assigner = Some(Box::new(assigner));
        self
    }

    /// After so long without a record the stream holds back nobody's time, until one comes. Without
    /// this it is a minute.
    pub fn with_idleness(mut self, after: Duration) -> Self {
        self.idle_after = Some(after);
        self
    }

    /// However long nothing comes, it is waited for.
    pub fn without_idleness(mut self) -> Self {
        self.idle_after = None;
        self
    }

    /// Sources of one group are about equally far in event time: a subtask that is more than `max_drift`
    /// ahead of the least of the group reads nothing until the others have caught up. So a join does not
    /// have to keep what the faster side has read ahead. Each tells how far it is every `update_interval`;
    /// a second does for most.
    ///
    /// The strategy has to be assigned where the source is read: right behind it, with its parallelism. Who
    /// is idle or has ended holds nobody back. In BATCH mode it has no effect.
    ///
    /// ```
    /// use millstream_operator::watermark::WatermarkStrategy;
    /// use std::time::Duration;
    ///
    /// let strategy = WatermarkStrategy::for_monotonous_timestamps()
    ///     .with_timestamp_assigner(|time: &i64| *time)
    ///     .with_watermark_alignment("orders", Duration::from_secs(60), Duration::from_secs(1));
    /// # let _ = strategy;
    /// ```
    pub fn with_watermark_alignment(
        mut self,
        group: &str,
        max_drift: Duration,
        update_interval: Duration,
    ) -> Self {
        self.alignment = Some(AlignmentOptions::new(group, max_drift, update_interval));
        self
    }

    /// Whether it says how far time is before the end of the input.
    pub(super) fn has_watermarks(&self) -> bool {
        self.kind != NO_WATERMARKS
    }

    /// What tells it from others in the plan of a job.
    pub fn signature(&self) -> String {
        let idle = self.idle_after.map_or("never".to_owned(), |after| millis(after).to_string());
        let aligned = self.alignment.as_ref().map_or(String::new(), |alignment| {
            let AlignmentOptions { group, drift_ms, interval_ms } = alignment;
            format!(", aligned in `{group}` within {drift_ms} each {interval_ms}")
        });
        format!("{}, idle after {idle}{aligned}", self.kind)
    }
}

impl<T> Clone for WatermarkStrategy<T> {
    fn clone(&self) -> Self {
        Self {
            assigner: self.assigner.as_ref().map(|assigner| assigner.boxed()),
            generator: self.generator.boxed(),
            idle_after: self.idle_after,
            alignment: self.alignment.clone(),
            kind: self.kind.clone(),
        }
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Finds the times of records. Erased per batch, so that the type of a strategy stays nameable.
pub(super) trait TimestampAssigner<T>: Send {
    /// Replaces the times by those of the records.
    fn assign(&self, records: &[T], times: &mut Vec<Timestamp>);

    fn boxed(&self) -> Box<dyn TimestampAssigner<T>>;
}

impl<T, F: Fn(&T) -> Timestamp + Clone + Send + 'static> TimestampAssigner<T> for F {
    fn assign(&self, records: &[T], times: &mut Vec<Timestamp>) {
        times.clear();
        times.extend(records.iter().map(self));
    }

    fn boxed(&self) -> Box<dyn TimestampAssigner<T>> {
        Box::new(self.clone())
    }
}
