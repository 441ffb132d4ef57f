//! The price of query 1: `0.908 * price` as DECIMAL(23,3), which is exact.

use millstream_core::Record;
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A decimal number with three digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Record)]
pub struct Decimal3 {
    /// The number times 1,000.
    pub thousandths: i128,
}

/// `0.908 * price`.
///
/// ```
/// use millstream_connectors::nexmark::euros;
///
/// assert_eq!(euros(1000).to_string(), "908.000");
/// assert_eq!(euros(-1).to_string(), "-0.908");
/// ```
pub fn euros(price: i64) -> Decimal3 {
    Decimal3 { thousandths: i128::from(price) * 908 }
}

impl fmt::Display for Decimal3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.thousandths < 0 { "-" } else { "" };
        let thousandths = self.thousandths.unsigned_abs();
        match u64::try_from(thousandths) {
            Ok(few) => write!(f, "{sign}{}.{:03}", few / 1000, few % 1000),
            Err(_) => write!(f, "{sign}{}.{:03}", thousandths / 1000, thousandths % 1000),
        }
    }
}

impl Serialize for Decimal3 {
    /// As text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_has_exactly_three_digits_after_the_point() {
        for (price, expected) in [
            (0, "0.000"),
            (1, "0.908"),
            (22_625, "20543.500"),
            (i64::MAX, "8374821809464136432.756"),
            (i64::MIN, "-8374821809464136433.664"),
        ] {
            assert_eq!(euros(price).to_string(), expected);
        }
    }
}
