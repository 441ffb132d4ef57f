//! [`BroadcastState`]: a map that is the same in all subtasks.

use super::OperatorField;
use millstream_core::job_state::ListMode;
use millstream_core::record::{Input, Schema};
use millstream_core::{DecodeError, Key, Record};
use std::collections::BTreeMap;

/// A map that is the same in all subtasks, because all of them change it in the same way, with the
/// records of a stream that is broadcast. Entries are iterated by their keys.
///
/// ```
/// use millstream_state::operator_state::BroadcastState;
///
/// let mut rules = BroadcastState::default();
/// rules.insert(7_u64, "seven".to_owned());
/// assert_eq!(rules.get(&7).map(String::as_str), Some("seven"));
/// assert_eq!(rules.remove(&7), Some("seven".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastState<K, V> {
    /// By the encoding of the key: the order is the same in every process.
    entries: BTreeMap<Vec<u8>, (K, V)>,
}

impl<K, V> Default for BroadcastState<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<K: Key, V: Record> BroadcastState<K, V> {
    /// The value of an entry.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(&encoded(key)).map(|(_, value)| value)
    }

    /// The value of an entry, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(&encoded(key)).map(|(_, value)| value)
    }

    /// Whether there is such an entry.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(&encoded(key))
    }

    /// Puts an entry, and gives what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.entries.insert(encoded(&key), (key, value)).map(|(_, value)| value)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(&encoded(key)).map(|(_, value)| value)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.values().map(|(key, value)| (key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

fn encoded<T: Record>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

impl<K: Key, V: Record> OperatorField for BroadcastState<K, V> {
    fn mode(&self) -> ListMode {
        ListMode::Broadcast
    }

    fn schema(&self) -> Schema {
        <(K, V)>::schema()
    }

    fn rows(&self) -> Vec<Vec<u8>> {
        let row = |(key, (_, value)): (&Vec<u8>, &(K, V))| {
            let mut row = key.clone();
            value.encode(&mut row);
            row
        };
        self.entries.iter().map(row).collect()
    }

    fn add_row(&mut self, row: &mut Input<'_>) -> Result<(), DecodeError> {
        let (key, value) = <(K, V)>::decode(row)?;
        self.insert(key, value);
        Ok(())
    }
}
