//! What is asked of us, beside whom.

use crate::row::Row;

/// One figure of one contestant is to be so good.
pub(crate) struct Bound {
    /// Whose figure.
    pub(crate) of: &'static str,
    pub(crate) asked: Asked,
}

/// How good.
pub(crate) enum Asked {
    /// At least so many times the records per second of another contestant.
    PerSecond(f64, &'static str),
    /// The same per CPU second.
    PerCpuSecond(f64, &'static str),
    /// A median latency of at most so many microseconds.
    P50(f64),
}

impl Bound {
    /// What is asked, what was measured, and whether it is enough; nothing for other contestants.
    pub(crate) fn judge(&self, rows: &[(String, Row)]) -> Option<String> {
        let find = |name: &str| rows.iter().find(|(of, _)| of == name).map(|(_, row)| row);
        let ours = find(self.of)?;
        let (asked, measured, enough) = match self.asked {
            Asked::PerSecond(factor, beside) => {
                let asked = format!("≥ {factor} × {beside}");
                let measured = find(beside).map(|row| ours.per_second() / row.per_second());
                (asked, measured, measured.is_some_and(|measured| measured >= factor))
            }
            Asked::PerCpuSecond(factor, beside) => {
                let asked = format!("≥ {factor} × {beside} per CPU s");
                let measured = find(beside).map(|row| ours.per_cpu_second() / row.per_cpu_second());
                (asked, measured, measured.is_some_and(|measured| measured >= factor))
            }
            Asked::P50(micros) => {
                (format!("p50 ≤ {micros} µs"), Some(ours.p50_us), ours.p50_us <= micros)
            }
        };
        Some(match (measured, enough) {
            (None, _) => format!("{asked}: nothing to compare with"),
            (Some(measured), true) => format!("{asked}: yes, {measured:.2}"),
            (Some(measured), false) => format!("{asked}: NO, {measured:.2}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_judged_beside_the_one_that_it_names() {
        let row = |seconds: f64| Row { records: 10.0, seconds, ..Row::default() };
        let rows = [("loop".to_owned(), row(1.0)), ("ours".to_owned(), row(2.0))];
        let asked = |factor| Bound { of: "ours", asked: Asked::PerSecond(factor, "loop") };
        assert_eq!(asked(0.4).judge(&rows).unwrap(), "≥ 0.4 × loop: yes, 0.50");
        assert_eq!(asked(0.7).judge(&rows).unwrap(), "≥ 0.7 × loop: NO, 0.50");
    }
}
