//! [`Ttl`]: how long state lives, and the time that is kept beside what may expire.

use millstream_core::Record;
use millstream_core::record::{DecodeError, Field, Input, Output, Schema};
use millstream_core::time::Timestamp;

/// How long the values of a field live, in processing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// So many milliseconds.
    pub millis: i64,
    /// What makes a value live anew.
    pub update: TtlUpdate,
    /// Whether an expired value is still shown until it is gone.
    pub visibility: TtlVisibility,
}

/// What makes a value live anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUpdate {
    /// Writing it.
    Write,
    /// Writing it or looking at it.
    ReadWrite,
}

/// Whether an expired value is still shown until it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlVisibility {
    /// It never is.
    NeverReturnExpired,
    /// It may be: nobody has come by to remove it yet.
    ReturnExpiredIfNotCleanedUp,
}

/// The time of a value that has none yet: it was written before its field began to expire. It counts
/// from when somebody first comes by.
pub(crate) const UNKNOWN: Timestamp = Timestamp::MIN;

impl Ttl {
    /// Whether a value of that time has expired.
    #[inline]
    pub(crate) fn is_over(&self, written_at: Timestamp, now: Timestamp) -> bool {
        written_at != UNKNOWN && now.saturating_sub(written_at) >= self.millis
    }

    /// Whether a value of that time is not to be seen.
    #[inline]
    pub(crate) fn hides(&self, written_at: Timestamp, now: Timestamp) -> bool {
        self.visibility == TtlVisibility::NeverReturnExpired && self.is_over(written_at, now)
    }
}

/// A value of a map or list as it is stored: with its time where the field expires. The same named
/// fields either way, so that a field may begin and cease to expire.
pub(crate) trait Stored<V>: Record {
    /// Written now.
    fn new(value: V, now: Timestamp) -> Self;
    /// When it was written.
    fn written_at(&self) -> Timestamp;
    /// Lives anew.
    fn touch(&mut self, now: Timestamp);
    /// The value.
    fn into_value(self) -> V;
}

/// A value that does not expire.
#[derive(Clone)]
pub(crate) struct Lasting<V>(V);

/// A value with the time from which it counts.
#[derive(Clone)]
pub(crate) struct Expiring<V> {
    value: V,
    written_at: Timestamp,
}

fn field(name: &str, schema: Schema, default: Option<Vec<u8>>) -> Field {
    Field { name: name.to_owned(), aliases: Vec::new(), schema, default }
}

impl<V: Record> Record for Lasting<V> {
    const FIXED: Option<usize> = V::FIXED;
    const CANONICAL: bool = V::CANONICAL;

    fn schema() -> Schema {
        Schema::Struct { name: "entry".to_owned(), fields: vec![field("value", V::schema(), None)] }
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        self.0.encode(out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        V::decode(input).map(Self)
    }
}

impl<V: Record> Record for Expiring<V> {
    const FIXED: Option<usize> = match V::FIXED {
        Some(size) => Some(size + size_of::<Timestamp>()),
        None => None,
    };
    const CANONICAL: bool = V::CANONICAL;

    fn schema() -> Schema {
        let mut unknown = Vec::new();
        UNKNOWN.encode(&mut unknown);
        let fields = vec![
            field("value", V::schema(), None),
            field("written_at", Timestamp::schema(), Some(unknown)),
        ];
        Schema::Struct { name: "entry".to_owned(), fields }
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        self.value.encode(out);
        self.written_at.encode(out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { value: V::decode(input)?, written_at: Timestamp::decode(input)? })
    }
}

impl<V: Record> Stored<V> for Lasting<V> {
    #[inline]
    fn new(value: V, _now: Timestamp) -> Self {
        Self(value)
    }

    #[inline]
    fn written_at(&self) -> Timestamp {
        UNKNOWN
    }

    #[inline]
    fn touch(&mut self, _now: Timestamp) {}

    #[inline]
    fn into_value(self) -> V {
        self.0
    }
}

impl<V: Record> Stored<V> for Expiring<V> {
    #[inline]
    fn new(value: V, now: Timestamp) -> Self {
        Self { value, written_at: now }
    }

    #[inline]
    fn written_at(&self) -> Timestamp {
        self.written_at
    }

    #[inline]
    fn touch(&mut self, now: Timestamp) {
        self.written_at = now;
    }

    #[inline]
    fn into_value(self) -> V {
        self.value
    }
}
