//! [`Either`]: a record of one of two streams.

use crate::key::KeySelector;
use millstream_core::Record;

/// A record of one of two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record)]
pub enum Either<L, R> {
    /// Of the first.
    Left(L),
    /// Of the second.
    Right(R),
}

/// Finds the key of either.
pub struct EitherKey<K, L, R> {
    left: Box<dyn KeySelector<K, L>>,
    right: Box<dyn KeySelector<K, R>>,
}

impl<K, L, R> EitherKey<K, L, R> {
    /// Each has its own way to the key.
    pub fn new(left: Box<dyn KeySelector<K, L>>, right: Box<dyn KeySelector<K, R>>) -> Self {
        Self { left, right }
    }
}

impl<K: 'static, L: Record, R: Record> KeySelector<K, Either<L, R>> for EitherKey<K, L, R> {
    fn keys(&self, records: &[Either<L, R>], out: &mut Vec<K>) {
        for record in records {
            match record {
                Either::Left(left) => self.left.keys(std::slice::from_ref(left), out),
                Either::Right(right) => self.right.keys(std::slice::from_ref(right), out),
            }
        }
    }

    fn hashes(&self, records: &[Either<L, R>], out: &mut Vec<u64>) {
        for record in records {
            match record {
                Either::Left(left) => self.left.hashes(std::slice::from_ref(left), out),
                Either::Right(right) => self.right.hashes(std::slice::from_ref(right), out),
            }
        }
    }

    fn boxed(&self) -> Box<dyn KeySelector<K, Either<L, R>>> {
        Box::new(Self { left: self.left.boxed(), right: self.right.boxed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ByValue;

    #[test]
    fn equal_keys_of_both_streams_have_equal_hashes() {
        let left: Box<dyn KeySelector<u64, (u64, u8)>> =
            Box::new(ByValue(|left: &(u64, u8)| left.0));
        let right: Box<dyn KeySelector<u64, u32>> = Box::new(ByValue(|n: &u32| u64::from(*n)));
        let key = EitherKey::new(left, right).boxed();
        let records = [Either::Left((7, 1)), Either::Right(8), Either::Right(7)];
        let (mut keys, mut hashes) = (Vec::new(), Vec::new());
        key.keys(&records, &mut keys);
        key.hashes(&records, &mut hashes);
        assert_eq!(keys, [7, 8, 7]);
        assert_eq!(hashes, keys.iter().map(Record::hash64).collect::<Vec<_>>());
    }
}
