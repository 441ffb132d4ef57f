//! Metrics of a user's functions: [`Counter`], [`Gauge`], [`Meter`], [`Histogram`], made in `open` and shown
//! by subtask, in REST, while the job runs. What is to be in the job's result is an accumulator.
//!
//! They are no state: a task that begins anew begins at nothing.

mod counter;
mod histogram;
mod meter;

pub use counter::{Counter, Gauge};
pub use histogram::Histogram;
pub use meter::Meter;

use crate::clock::ProcessingClock;
use millstream_core::OperatorError;
use millstream_core::metric::{MetricValue, Reading, plain_name};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many metrics a task may have; they travel with its counters, each second.
const METRICS_MAX: usize = 256;

/// So many bytes their names may have, with those of their groups.
const NAME_BYTES_MAX: usize = 256;

/// The metrics of an operator, or a part of them. Cheap to clone.
///
/// A name that is asked for again gives the metric that there is. So operators that have one name in one
/// chain share theirs: give them names.
///
/// ```
/// use millstream_operator::context::TaskContext;
///
/// let context = TaskContext::alone();
/// let requests = context.metrics.add_group("cache").counter("misses")?;
/// requests.inc();
/// assert_eq!(context.metrics.values()["cache.misses"].to_string(), "1");
/// # Ok::<(), millstream_core::OperatorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricGroup {
    task: Arc<TaskMetricSet>,
    /// What the names of its metrics begin with, the dot included.
    prefix: Arc<str>,
}

/// All metrics of a task.
#[derive(Debug)]
struct TaskMetricSet {
    clock: ProcessingClock,
    metrics: Mutex<BTreeMap<String, Metric>>,
}

#[derive(Clone, Debug)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Meter(Meter),
    Histogram(Histogram),
}

impl MetricGroup {
    /// No metrics yet, of a task whose operators have this clock.
    pub fn of_task(clock: ProcessingClock) -> Self {
        let task = Arc::new(TaskMetricSet { clock, metrics: Mutex::default() });
        Self { task, prefix: "".into() }
    }

    /// A group in this one: its metrics have its name before theirs.
    pub fn add_group(&self, name: &str) -> Self {
        let prefix = format!("{}{}.", self.prefix, plain_name(name));
        Self { task: self.task.clone(), prefix: prefix.into() }
    }

    /// A group for one of several alike: `partition.3`.
    pub fn add_group_of(&self, key: &str, value: &str) -> Self {
        self.add_group(key).add_group(value)
    }

    /// Counts.
    ///
    /// ```
    /// # let context = millstream_operator::context::TaskContext::alone();
    /// let dropped = context.metrics.counter("dropped")?;
    /// dropped.inc();
    /// dropped.inc_by(2);
    /// assert_eq!(dropped.count(), 3);
    /// # Ok::<(), millstream_core::OperatorError>(())
    /// ```
    pub fn counter(&self, name: &str) -> Result<Counter, OperatorError> {
        let made = || Metric::Counter(Counter::default());
        self.of(name, "counter", made, |known| match known {
            Metric::Counter(counter) => Some(counter.clone()),
            _ => None,
        })
    }

    /// Shows what it was set to last.
    ///
    /// ```
    /// # let context = millstream_operator::context::TaskContext::alone();
    /// let temperature = context.metrics.gauge("temperature")?;
    /// temperature.set(36.6);
    /// assert_eq!(context.metrics.values()["temperature"].to_string(), "36.6");
    /// # Ok::<(), millstream_core::OperatorError>(())
    /// ```
    pub fn gauge(&self, name: &str) -> Result<Gauge, OperatorError> {
        let made = || Metric::Gauge(Gauge::default());
        self.of(name, "gauge", made, |known| match known {
            Metric::Gauge(gauge) => Some(gauge.clone()),
            _ => None,
        })
    }

    /// Measures events a second.
    ///
    /// ```
    /// # let context = millstream_operator::context::TaskContext::alone();
    /// let requests = context.metrics.meter("requests")?;
    /// requests.mark();
    /// assert_eq!(requests.count(), 1);
    /// # Ok::<(), millstream_core::OperatorError>(())
    /// ```
    pub fn meter(&self, name: &str) -> Result<Meter, OperatorError> {
        let made = || Metric::Meter(Meter::new(self.task.clock.clone()));
        self.of(name, "meter", made, |known| match known {
            Metric::Meter(meter) => Some(meter.clone()),
            _ => None,
        })
    }

    /// Shows how values spread.
    ///
    /// ```
    /// # let context = millstream_operator::context::TaskContext::alone();
    /// let sizes = context.metrics.histogram("sizes")?;
    /// [3, 5, 90].iter().for_each(|size| sizes.update(*size));
    /// assert_eq!(sizes.spread().median, 5);
    /// # Ok::<(), millstream_core::OperatorError>(())
    /// ```
    pub fn histogram(&self, name: &str) -> Result<Histogram, OperatorError> {
        let made = || Metric::Histogram(Histogram::new());
        self.of(name, "histogram", made, |known| match known {
            Metric::Histogram(histogram) => Some(histogram.clone()),
            _ => None,
        })
    }

    fn of<M>(
        &self,
        name: &str,
        kind: &str,
        make: impl FnOnce() -> Metric,
        as_kind: impl FnOnce(&Metric) -> Option<M>,
    ) -> Result<M, OperatorError> {
        let id = format!("{}{}", self.prefix, plain_name(name));
        let mut all = self.lock();
        if !all.contains_key(&id) && (all.len() == METRICS_MAX || id.len() > NAME_BYTES_MAX) {
            return Err(OperatorError::new(format!(
                "metric `{id}` is one too many or has too long a name: a task has at most \
                 {METRICS_MAX}, with names of at most {NAME_BYTES_MAX} bytes"
            )));
        }
        let metric = all.entry(id).or_insert_with_key(|_| make());
        let known = metric.kind();
        as_kind(metric).ok_or_else(|| {
            let id = format!("{}{}", self.prefix, plain_name(name));
            let why = format!(
                "metric `{id}` is a {known} already, and cannot be a {kind} too: give one of them \
                 another name, or the operators names of their own"
            );
            OperatorError::new(why)
        })
    }

    /// What all metrics of the task show, by their names: `operator.group.metric`.
    pub fn values(&self) -> BTreeMap<String, MetricValue> {
        self.lock().iter().map(|(name, metric)| (name.clone(), metric.value())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Metric>> {
        self.task.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metric {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Meter(_) => "meter",
            Self::Histogram(_) => "histogram",
        }
    }

    fn value(&self) -> MetricValue {
        match self {
            Self::Counter(counter) => MetricValue::Counter(counter.count()),
            Self::Gauge(gauge) => MetricValue::Gauge(Reading(gauge.value())),
            Self::Meter(meter) => {
                MetricValue::Meter { count: meter.count(), rate: Reading(meter.rate()) }
            }
            Self::Histogram(histogram) => MetricValue::Histogram(Box::new(histogram.spread())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> MetricGroup {
        MetricGroup::of_task(ProcessingClock::system())
    }

    #[test]
    fn names_are_those_of_operator_groups_and_metric() {
        let operator = task().add_group("Map: a.b");
        operator.counter("n").expect("new").inc();
        operator.add_group_of("partition", "3").gauge("lag").expect("new").set(1.5);
        let shown: Vec<_> =
            operator.values().iter().map(|(id, value)| format!("{id}={value}")).collect();
        assert_eq!(shown, ["Map__a_b.n=1", "Map__a_b.partition.3.lag=1.5"]);
    }

    #[test]
    fn a_name_that_is_known_gives_the_metric_that_there_is() {
        let group = task();
        group.counter("n").expect("new").inc_by(2);
        group.counter("n").expect("known").dec();
        assert_eq!(group.values()["n"], MetricValue::Counter(1));
        let error = group.meter("n").expect_err("it is a counter").message;
        assert!(error.contains("metric `n` is a counter already"), "{error}");
    }

    #[test]
    fn a_task_has_not_any_number_of_them() {
        let group = task();
        for n in 0..METRICS_MAX {
            group.counter(&n.to_string()).expect("there is room");
        }
        assert!(group.counter("one more").is_err() && group.counter("0").is_ok());
        assert!(task().gauge(&"x".repeat(257)).is_err());
    }
}
