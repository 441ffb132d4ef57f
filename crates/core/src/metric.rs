//! [`MetricValue`]: what a metric of a user's function shows at a moment, and how people read it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a metric of one task shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricValue {
    /// What was counted.
    Counter(i64),
    /// What was set last.
    Gauge(Reading),
    /// Events, and how many of them a second.
    Meter {
        /// All that were marked.
        count: u64,
        /// Events a second, over the last minute.
        rate: Reading,
    },
    /// How values spread.
    Histogram(Box<Spread>),
}

/// A number that was read. Two are equal if they are so bit by bit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Reading(pub f64);

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Reading {}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the recent values of a histogram spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// So many values have come in all.
    pub count: u64,
    /// The least of the recent ones.
    pub min: i64,
    /// Their greatest.
    pub max: i64,
    /// Their mean.
    pub mean: Reading,
    /// Their standard deviation.
    pub deviation: Reading,
    /// Half of them are at most this.
    pub median: i64,
    /// 75 % of them are at most this.
    pub p75: i64,
    /// 90 %.
    pub p90: i64,
    /// 95 %.
    pub p95: i64,
    /// 98 %.
    pub p98: i64,
    /// 99 %.
    pub p99: i64,
    /// 99.9 %.
    pub p999: i64,
}

impl Spread {
    /// That of `recent` values, of `count` that have come.
    pub fn of(mut recent: Vec<i64>, count: u64) -> Self {
        recent.sort_unstable();
        let (Some(min), Some(max)) = (recent.first().copied(), recent.last().copied()) else {
            return Self { count, ..Self::default() };
        };
        let size = recent.len() as f64;
        let mean = recent.iter().map(|value| *value as f64).sum::<f64>() / size;
        let squares = recent.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>();
        // The least value that so many thousandths of all are not above.
        let rank = |mille: usize| recent[(recent.len() * mille).div_ceil(1_000).max(1) - 1];
        Self {
            count,
            min,
            max,
            mean: Reading(mean),
            deviation: Reading((squares / size).sqrt()),
            median: rank(500),
            p75: rank(750),
            p90: rank(900),
            p95: rank(950),
            p98: rank(980),
            p99: rank(990),
            p999: rank(999),
        }
    }
}

impl MetricValue {
    /// What was counted, marked or put in; nothing for a gauge.
    pub fn count(&self) -> Option<i64> {
        match self {
            Self::Counter(count) => Some(*count),
            Self::Meter { count, .. } => Some(*count as i64),
            Self::Histogram(spread) => Some(spread.count as i64),
            Self::Gauge(_) => None,
        }
    }

    /// The lines in which REST shows the metric `name`: one, or, as in Flink, several of a histogram.
    pub fn lines(&self, name: &str) -> Vec<(String, String)> {
        match self {
            Self::Histogram(spread) => spread.lines(name),
            one => vec![(name.to_owned(), one.to_string())],
        }
    }
}

impl Spread {
    fn lines(&self, name: &str) -> Vec<(String, String)> {
        let whole = [
            ("min", self.min),
            ("max", self.max),
            ("median", self.median),
            ("p75", self.p75),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p98", self.p98),
            ("p99", self.p99),
            ("p999", self.p999),
        ];
        let whole = whole.map(|(what, value)| (what, value.to_string()));
        let broken = [("mean", self.mean), ("stddev", self.deviation)];
        let broken = broken.map(|(what, value)| (what, value.to_string()));
        let all = whole.into_iter().chain(broken);
        all.map(|(what, value)| (format!("{name}_{what}"), value)).collect()
    }
}

/// A name as it is part of a metric's id: Flink's query service writes `_` for what separates ids.
pub fn plain_name(name: &str) -> String {
    name.replace([' ', '.', ':', ','], "_")
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(count) => count.fmt(f),
            Self::Gauge(value) => value.fmt(f),
            Self::Meter { rate, .. } => rate.fmt(f),
            Self::Histogram(spread) => {
                let Spread { count, min, median, p99, max, .. } = &**spread;
                write!(f, "{count} values, from {min} to {max}, half up to {median}, 99 % to {p99}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_the_ranks_of_its_values() {
        let spread = Spread::of((1..=1_000).rev().collect(), 5_000);
        assert_eq!((spread.count, spread.min, spread.max), (5_000, 1, 1_000));
        assert_eq!((spread.median, spread.p75, spread.p90, spread.p95), (500, 750, 900, 950));
        assert_eq!((spread.p98, spread.p99, spread.p999), (980, 990, 999));
        assert_eq!(spread.mean, Reading(500.5));
        assert!((spread.deviation.0 - 288.67).abs() < 0.01, "{}", spread.deviation);
        let one = Spread::of(vec![-7], 1);
        assert_eq!((one.min, one.median, one.p999, one.max), (-7, -7, -7, -7));
        assert_eq!(Spread::of(Vec::new(), 0), Spread::default());
    }

    #[test]
    fn what_is_shown_is_one_line_or_that_of_each_rank() {
        let check = |value: MetricValue, expected: &str| {
            assert_eq!(value.lines("x"), [("x".to_owned(), expected.to_owned())]);
        };
        check(MetricValue::Counter(-3), "-3");
        check(MetricValue::Gauge(Reading(3.0)), "3");
        check(MetricValue::Meter { count: 9, rate: Reading(0.5) }, "0.5");
        let lines = MetricValue::Histogram(Box::new(Spread::of(vec![1, 2], 2))).lines("x");
        let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "x_min");
        assert!(names.contains(&"x_p999") && lines.contains(&("x_mean".into(), "1.5".into())));
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn names_lose_what_separates_ids() {
        assert_eq!(plain_name("Map: a, b.c"), "Map__a__b_c");
    }
}
