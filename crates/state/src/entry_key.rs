//! [`EntryKey`]: what names a row of a key, when a key has many rows: entries of maps and lists, timers.
//!
//! Its encoding is the key's followed by the entry's, as a snapshot wants it. Its hash has the high
//! half of the key's hash, so that the row is in the key group of its key, and a low half of both, so
//! that the rows of one key spread over the whole index.

use millstream_core::Record;
use millstream_core::record::{DecodeError, Input, Output, Schema};

/// A key and one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryKey<K, N> {
    /// The key of the stream.
    pub key: K,
    /// What tells this row from the others of the key.
    pub entry: N,
}

/// The hash of a row from those of its key and its entry.
#[inline]
pub(crate) fn entry_hash(key_hash: u64, entry_hash: u64) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (key_hash ^ entry_hash.rotate_left(32)).wrapping_mul(ODD);
    key_hash & 0xFFFF_FFFF_0000_0000 | mixed >> 32
}

impl<K: Record, N: Record> EntryKey<K, N> {
    /// The hash of a row, whose key has this hash.
    #[inline]
    pub fn hash_of(key_hash: u64, entry: &N) -> u64 {
        entry_hash(key_hash, entry.hash64())
    }
}

impl<K: Record, N: Record> Record for EntryKey<K, N> {
    const FIXED: Option<usize> = match (K::FIXED, N::FIXED) {
        (Some(key), Some(entry)) => Some(key + entry),
        _ => None,
    };
    const CANONICAL: bool = K::CANONICAL && N::CANONICAL;

    fn schema() -> Schema {
        Schema::Tuple(vec![K::schema(), N::schema()])
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        self.key.encode(out);
        self.entry.encode(out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { key: K::decode(input)?, entry: N::decode(input)? })
    }

    #[inline]
    fn hash64(&self) -> u64 {
        entry_hash(self.key.hash64(), self.entry.hash64())
    }

    fn hash_of_row(row: &[u8]) -> u64 {
        let mut input = Input::new(row);
        // Decoding tells where the key ends. The row was encoded by this type: it reads back.
        let end = match K::decode(&mut input) {
            Ok(_) => row.len() - input.rest().len(),
            Err(_) => row.len(),
        };
        let (key, entry) = row.split_at(end);
        entry_hash(K::hash_of_row(key), N::hash_of_row(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::{Key, KeyGroup, MaxParallelism, Str};

    #[test]
    fn the_hash_of_a_row_is_that_of_its_names() {
        fn check<K: Key, N: Key>(key: K, entry: N) {
            let name = EntryKey { key, entry };
            let mut row = Vec::new();
            name.encode(&mut row);
            assert_eq!(EntryKey::<K, N>::hash_of_row(&row), name.hash64());
        }
        check(7_u64, 8_u64);
        check(7_u32, 8_u32);
        check((), 8_u64);
        check(Str::new("a name"), ((), 8_i64));
        check("a name of more than a few bytes".to_owned(), Str::new("entry"));
        check((1_u8, "x".to_owned()), vec![1_u16, 2]);
    }

    #[test]
    fn every_row_is_in_the_key_group_of_its_key_and_the_rows_of_a_key_spread() {
        let max = MaxParallelism::new(32_768).expect("within bounds");
        for key in 0..50_u64 {
            let row = |entry: u64| EntryKey { key, entry }.hash64();
            let mut low: Vec<u32> = (0..1_000).map(|entry| row(entry) as u32).collect();
            for entry in 0..1_000 {
                let group = KeyGroup::of_hash(row(entry), max);
                assert_eq!(group, KeyGroup::of_hash(key.hash64(), max));
            }
            low.sort_unstable();
            low.dedup();
            assert!(low.len() > 990, "{} of 1,000 are different", low.len());
        }
    }
}
