//! What may flow and what may be a key: [`Record`], [`Key`], and the row codec they share.
//!
//! The same rows are the wire format between processes, the state and the snapshot. A row is the
//! concatenation of its fields in declared order, without names or tags; the [`Schema`] beside it
//! says what they are, so that a reader of another version can map one to the other. Formats:
//! - integers and floats: little-endian, fixed width; `bool`: one byte, 0 or 1;
//! - lengths and enum variants: LEB128, at most 10 bytes;
//! - strings: length, then UTF-8; vectors: length, then items; maps: length, then key, value, ...;
//! - options: one byte, 0 or 1, then the value; tuples and structs: their fields.
//!
//! Decoders check every length against what is left before they allocate.

mod codec;
mod collections;
mod evolution;
mod primitives;
mod schema;
mod serde_bridge;
mod str;

pub use codec::{DecodeError, Input, Output, SliceOutput};
pub use evolution::{FieldChange, Incompatible, RowReader};
pub use schema::{Field, Fingerprint, Schema, Variant};
pub use serde_bridge::Serde;
pub use str::Str;

pub use millstream_derive::Record;

/// A value that can flow between operators, be kept in state and cross processes.
///
/// Implemented for numbers, `bool`, `char`, [`String`], [`Str`], `Option`, `Vec`, maps, arrays and
/// tuples; `#[derive(Record)]` for a struct or enum of those; [`Serde`] for foreign types.
///
/// ```
/// use millstream_core::record::{Input, Record};
///
/// #[derive(Clone, Debug, PartialEq, Record)]
/// struct Bid { auction: u64, price: i64, channel: String }
///
/// let bid = Bid { auction: 7, price: 100, channel: "web".into() };
/// let mut row = Vec::new();
/// bid.encode(&mut row);
/// assert_eq!(Bid::decode(&mut Input::new(&row)), Ok(bid));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot flow in a stream: it does not implement `Record`",
    note = "derive it: `#[derive(Clone, Record)]`; for a type of another crate wrap it in `Serde<T>`"
)]
pub trait Record: Clone + Send + 'static {
    /// The size in bytes of every encoded value, if they all have the same.
    const FIXED: Option<usize>;

    /// Whether equal values always have equal encodings: no floats, no unordered maps, no foreign
    /// formats. Only such a type can be a key.
    const CANONICAL: bool;

    /// What the row holds.
    fn schema() -> Schema;

    /// Appends the row.
    fn encode<O: Output>(&self, out: &mut O);

    /// Takes one row off the front of the input.
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError>;

    /// Appends the rows of several values. Bytes override it with one copy.
    #[doc(hidden)]
    #[inline]
    fn encode_all<O: Output>(values: &[Self], out: &mut O) {
        for value in values {
            value.encode(out);
        }
    }

    /// Takes `n` rows, for which the caller has checked that there is input.
    #[doc(hidden)]
    #[inline]
    fn decode_list(n: usize, input: &mut Input<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut list = Vec::new();
        for _ in 0..n {
            list.push(Self::decode(input)?);
        }
        Ok(list)
    }

    /// Takes `N` rows.
    #[doc(hidden)]
    #[inline]
    fn decode_array<const N: usize>(input: &mut Input<'_>) -> Result<[Self; N], DecodeError> {
        let mut failure = None;
        let items: [Option<Self>; N] = std::array::from_fn(|_| match Self::decode(input) {
            Ok(item) => Some(item),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        });
        match failure {
            None => Ok(items.map(|item| item.expect("no item failed"))),
            Some(error) => Err(error),
        }
    }

    /// The hash of the canonical encoding. Override only with the same value, computed faster.
    #[inline]
    fn hash64(&self) -> u64 {
        match Self::FIXED {
            Some(size) if size <= 64 => {
                let mut row = [0_u8; 64];
                self.encode(&mut SliceOutput::new(&mut row));
                crate::hash::xxh3_64(&row[..size])
            }
            _ => {
                // Growing keys are hashed where the stream is keyed, once per record.
                let mut row = Vec::with_capacity(64);
                self.encode(&mut row);
                crate::hash::xxh3_64(&row)
            }
        }
    }

    /// What [`hash64`](Self::hash64) gives for the value whose row this is. Only the engine's own names
    /// of rows that share a key override it.
    #[doc(hidden)]
    #[inline]
    fn hash_of_row(row: &[u8]) -> u64 {
        match row.try_into() {
            Ok(word) => crate::hash::xxh3_64_of_u64(u64::from_le_bytes(word)),
            Err(_) => crate::hash::xxh3_64(row),
        }
    }

    /// For a type whose image in memory is its canonical encoding followed by zeros ([`Str`]): the
    /// image, if this value has one. State tables then copy and compare it as it is. The encoding is
    /// the first byte and as many bytes as that says.
    #[doc(hidden)]
    #[inline]
    fn inline_image(&self) -> Option<&[u8; 24]> {
        None
    }

    /// The value of which this is the image.
    #[doc(hidden)]
    #[inline]
    fn from_inline_image(_image: &[u8; 24]) -> Option<Self> {
        None
    }
}

/// A value that can key a stream: equal values have equal encodings in every process and version.
///
/// Every [`Record`] that is [`Eq`] is one, if its encoding is canonical; the engine checks that when
/// the program is compiled.
pub trait Key: Record + Eq {}

impl<T: Record + Eq> Key for T {}
