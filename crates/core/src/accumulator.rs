//! [`AccumulatorValue`]: what an accumulator of a user's function has come to, in one task or in all.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What an accumulator has come to. Values of several tasks join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccumulatorValue {
    /// A sum, of ones or of others.
    Counter(i64),
    /// The least.
    Minimum(i64),
    /// The greatest.
    Maximum(i64),
    /// A mean.
    Average {
        /// Of these numbers, added up.
        sum: i64,
        /// So many of them.
        count: u64,
    },
}

impl AccumulatorValue {
    /// Flink's word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "LongCounter",
            Self::Minimum(_) => "LongMinimum",
            Self::Maximum(_) => "LongMaximum",
            Self::Average { .. } => "AverageAccumulator",
        }
    }

    /// Joins the value of another task to it; false: that is of another kind, and nothing is changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.wrapping_add(*more),
            (Self::Minimum(least), Self::Minimum(other)) => *least = (*least).min(*other),
            (Self::Maximum(most), Self::Maximum(other)) => *most = (*most).max(*other),
            (Self::Average { sum, count }, Self::Average { sum: more, count: further }) => {
                *sum = sum.wrapping_add(*more);
                *count += further;
            }
            _ => return false,
        }
        true
    }

    /// The same kind, of no numbers.
    fn empty(&self) -> Self {
        match self {
            Self::Counter(_) => Self::Counter(0),
            Self::Minimum(_) => Self::Minimum(i64::MAX),
            Self::Maximum(_) => Self::Maximum(i64::MIN),
            Self::Average { .. } => Self::Average { sum: 0, count: 0 },
        }
    }

    /// The mean of an average; nothing of no numbers, and of other kinds.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Self::Average { sum, count } if *count > 0 => Some(*sum as f64 / *count as f64),
            _ => None,
        }
    }

    /// The number of a counter, a minimum or a maximum.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Counter(number) | Self::Minimum(number) | Self::Maximum(number) => Some(*number),
            Self::Average { .. } => None,
        }
    }
}

/// What the accumulators of several tasks come to together. Where one name stands for several kinds, each
/// has its kind behind the name but the first.
pub fn join<'a>(
    tasks: impl IntoIterator<Item = &'a BTreeMap<String, AccumulatorValue>>,
) -> BTreeMap<String, AccumulatorValue> {
    let mut joined = BTreeMap::<String, AccumulatorValue>::new();
    for (name, value) in tasks.into_iter().flatten() {
        let known = joined.entry(name.clone()).or_insert(value.empty());
        if !known.merge(value) {
            let other = format!("{name} ({})", value.kind());
            let known = joined.entry(other).or_insert(value.empty());
            known.merge(value);
        }
    }
    joined
}

impl fmt::Display for AccumulatorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number(), self.mean()) {
            (Some(number), _) => write!(f, "{number}"),
            (None, Some(mean)) => write!(f, "{mean}"),
            (None, None) => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AccumulatorValue::{Average, Counter, Maximum, Minimum};
    use super::join;
    use std::collections::BTreeMap;

    #[test]
    fn values_of_several_tasks_join_by_their_kinds() {
        for (mut value, other, expected) in [
            (Counter(3), Counter(-1), "2"),
            (Minimum(3), Minimum(-1), "-1"),
            (Maximum(3), Maximum(-1), "3"),
            (Average { sum: 3, count: 1 }, Average { sum: 4, count: 1 }, "3.5"),
        ] {
            assert!(value.merge(&other));
            assert_eq!(value.to_string(), expected);
        }
        let mut value = Counter(3);
        assert!(!value.merge(&Maximum(7)));
        assert_eq!(value, Counter(3));
        assert_eq!(Average { sum: 0, count: 0 }.to_string(), "none");
    }

    #[test]
    fn one_name_for_two_kinds_is_two_values() {
        let task = |value| BTreeMap::from([("n".to_owned(), value)]);
        let tasks = [task(Counter(1)), task(Maximum(7)), task(Counter(2)), task(Maximum(5))];
        let expected = [("n".to_owned(), Counter(3)), ("n (LongMaximum)".to_owned(), Maximum(7))];
        assert_eq!(join(&tasks), BTreeMap::from(expected));
    }
}
