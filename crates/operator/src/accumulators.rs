//! [`Accumulators`]: numbers that a user's functions add up while they work, for people and for who started
//! the job: joined over all subtasks they are in the job's result and in REST.
//!
//! They are no state: a task that begins anew begins with none, and after a restore records that came since
//! the checkpoint count once, as those before it do not count any more. For numbers that have to be right,
//! give records.

use millstream_core::OperatorError;
use millstream_core::accumulator::AccumulatorValue;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many accumulators a task may have; they travel with its counters, each second.
const ACCUMULATORS_MAX: usize = 64;

/// So many bytes their names may have.
const NAME_BYTES_MAX: usize = 256;

/// The accumulators of one task. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Accumulators(Arc<Mutex<BTreeMap<String, Accumulator>>>);

/// A number that is added up. Functions make theirs in `open`, and keep them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accumulator {
    kind: Kind,
    number: Arc<AtomicI64>,
    count: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Minimum,
    Maximum,
    Average,
}

impl Accumulator {
    fn new(kind: Kind) -> Self {
        let first = match kind {
            Kind::Counter | Kind::Average => 0,
            Kind::Minimum => i64::MAX,
            Kind::Maximum => i64::MIN,
        };
        Self { kind, number: Arc::new(AtomicI64::new(first)), count: Arc::default() }
    }

    /// Adds a number.
    #[inline]
    pub fn add(&self, number: i64) {
        match self.kind {
            Kind::Counter | Kind::Average => self.number.fetch_add(number, Ordering::Relaxed),
            Kind::Minimum => self.number.fetch_min(number, Ordering::Relaxed),
            Kind::Maximum => self.number.fetch_max(number, Ordering::Relaxed),
        };
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// What it has come to in this task; nothing, if that takes a number and none has come.
    pub fn value(&self) -> Option<AccumulatorValue> {
        let (count, number) =
            (self.count.load(Ordering::Relaxed), self.number.load(Ordering::Relaxed));
        match self.kind {
            Kind::Counter => Some(AccumulatorValue::Counter(number)),
            _ if count == 0 => None,
            Kind::Minimum => Some(AccumulatorValue::Minimum(number)),
            Kind::Maximum => Some(AccumulatorValue::Maximum(number)),
            Kind::Average => Some(AccumulatorValue::Average { sum: number, count }),
        }
    }
}

impl Accumulators {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sum of what is added, in all subtasks.
    ///
    /// ```
    /// use millstream_operator::context::TaskContext;
    ///
    /// let context = TaskContext::alone();
    /// let lines = context.accumulators.counter("lines").unwrap();
    /// lines.add(1);
    /// lines.add(1);
    /// assert_eq!(context.accumulators.values()["lines"].to_string(), "2");
    /// ```
    pub fn counter(&self, name: &str) -> Result<Accumulator, OperatorError> {
        self.of(name, Kind::Counter)
    }

    /// The least of what is added, in all subtasks.
    pub fn minimum(&self, name: &str) -> Result<Accumulator, OperatorError> {
        self.of(name, Kind::Minimum)
    }

    /// The greatest of what is added, in all subtasks.
    pub fn maximum(&self, name: &str) -> Result<Accumulator, OperatorError> {
        self.of(name, Kind::Maximum)
    }

    /// The mean of what is added, in all subtasks.
    pub fn average(&self, name: &str) -> Result<Accumulator, OperatorError> {
        self.of(name, Kind::Average)
    }

    fn of(&self, name: &str, kind: Kind) -> Result<Accumulator, OperatorError> {
        let mut all = self.lock();
        if let Some(known) = all.get(name) {
            if known.kind == kind {
                return Ok(known.clone());
            }
            let known = known.kind;
            let why = format!(
                "accumulator `{name}` is a {known:?} already, and cannot be a {kind:?} too"
            );
            return Err(OperatorError::new(why));
        }
        if all.len() == ACCUMULATORS_MAX || name.len() > NAME_BYTES_MAX {
            return Err(OperatorError::new(format!(
                "accumulator `{name}` is one too many or has too long a name: a task has at most \
                 {ACCUMULATORS_MAX}, with names of at most {NAME_BYTES_MAX} bytes"
            )));
        }
        let new = Accumulator::new(kind);
        all.insert(name.to_owned(), new.clone());
        Ok(new)
    }

    /// What all have come to in this task.
    pub fn values(&self) -> BTreeMap<String, AccumulatorValue> {
        let all = self.lock();
        let value = |(name, accumulator): (&String, &Accumulator)| {
            Some((name.clone(), accumulator.value()?))
        };
        all.iter().filter_map(value).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Accumulator>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_task_share_an_accumulator_of_one_name_and_kind() {
        let all = Accumulators::new();
        let (a, b) = (all.counter("n").expect("new"), all.counter("n").expect("known"));
        a.add(2);
        b.add(3);
        assert_eq!(all.values()["n"], AccumulatorValue::Counter(5));
        let error = all.maximum("n").expect_err("it is a counter").message;
        assert!(error.contains("`n` is a Counter already"), "{error}");
    }

    #[test]
    fn what_has_no_number_yet_has_no_value() {
        let all = Accumulators::new();
        let most = all.maximum("most").expect("new");
        all.average("mean").expect("new");
        assert!(all.values().is_empty());
        most.add(-7);
        assert_eq!(all.values()["most"], AccumulatorValue::Maximum(-7));
    }

    #[test]
    fn a_task_has_not_any_number_of_them() {
        let all = Accumulators::new();
        for n in 0..ACCUMULATORS_MAX {
            all.counter(&n.to_string()).expect("there is room");
        }
        assert!(all.counter("one more").is_err() && all.counter("0").is_ok());
        assert!(Accumulators::new().counter(&"x".repeat(257)).is_err());
    }
}
