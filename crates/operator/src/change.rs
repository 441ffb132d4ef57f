//! [`Change`]: a result that is corrected while records come, as rows under keys.

use millstream_core::Record;

/// What becomes of the row of a key.
///
/// A result that changes (the ten best so far, the last of each) is a stream of these. Each says how its
/// key stands from now on, so that only the last of a key counts.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub enum Change<K, R> {
    /// It is this one, whether there was one before or not.
    Upsert(K, R),
    /// There is none any more.
    Delete(K),
}

impl<K, R> Change<K, R> {
    /// Whose row it is.
    #[inline]
    pub fn key(&self) -> &K {
        match self {
            Self::Upsert(key, _) | Self::Delete(key) => key,
        }
    }

    /// The row as it is from now on.
    #[inline]
    pub fn into_row(self) -> Option<R> {
        match self {
            Self::Upsert(_, row) => Some(row),
            Self::Delete(_) => None,
        }
    }

    /// The same change of a row that is made of this one and its key.
    ///
    /// ```
    /// use millstream_operator::change::Change;
    ///
    /// let second: Change<(&str, u64), &str> = Change::Upsert(("oslo", 2), "ann");
    /// let row = second.map(|(city, rank), name| format!("{rank} in {city}: {name}"));
    /// assert_eq!(row.into_row().as_deref(), Some("2 in oslo: ann"));
    /// ```
    #[inline]
    pub fn map<S>(self, row: impl FnOnce(&K, R) -> S) -> Change<K, S> {
        match self {
            Self::Upsert(key, former) => {
                let row = row(&key, former);
                Change::Upsert(key, row)
            }
            Self::Delete(key) => Change::Delete(key),
        }
    }
}
