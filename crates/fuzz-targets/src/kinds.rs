//! Rows of many types: the codec of records.

use crate::limits::{PLAIN, TYPED, within};
use millstream_core::hash::xxh3_64;
use millstream_core::record::{Input, Record, Schema, Serde};
use millstream_core::{DecodeError, Str};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// A type of rows.
pub(crate) struct Kind {
    pub(crate) schema: fn() -> Schema,
    /// Reads a row off the front, and checks all that must hold; how many bytes it had.
    pub(crate) read: fn(&[u8]) -> Result<usize, DecodeError>,
    /// The schema says all about the bytes: no foreign formats.
    pub(crate) described: bool,
}

#[derive(Clone, Record)]
struct Everything {
    word: Str,
    number: Option<i32>,
    shapes: Vec<Shape>,
    counts: BTreeMap<String, u64>,
    pairs: BTreeMap<u8, char>,
    fixed: [u16; 2],
    tuple: (bool, f32),
    nothing: Vec<()>,
}

#[derive(Clone, Record)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Pair(u8, i128),
}

/// A type of which there is one way to write a value, or several: maps and sets are written in order, and
/// read in any.
const fn kind<T: Record, const ONE: bool, const PER_BYTE: usize>() -> Kind {
    Kind { schema: T::schema, read: read::<T, PER_BYTE, ONE>, described: true }
}

/// The types; their numbers are in the corpus, so new ones go to the end.
pub(crate) const KINDS: &[Kind] = &[
    kind::<u8, true, PLAIN>(),
    kind::<u16, true, PLAIN>(),
    kind::<u32, true, PLAIN>(),
    kind::<u64, true, PLAIN>(),
    kind::<u128, true, PLAIN>(),
    kind::<i64, true, PLAIN>(),
    kind::<f64, true, PLAIN>(),
    kind::<bool, true, PLAIN>(),
    kind::<char, true, PLAIN>(),
    kind::<(), true, PLAIN>(),
    kind::<String, true, PLAIN>(),
    kind::<Str, true, PLAIN>(),
    kind::<Box<str>, true, PLAIN>(),
    kind::<Option<Str>, true, PLAIN>(),
    kind::<Vec<u8>, true, PLAIN>(),
    kind::<Vec<u64>, true, PLAIN>(),
    kind::<Vec<Str>, true, TYPED>(),
    kind::<Vec<()>, true, PLAIN>(),
    kind::<Vec<Vec<()>>, true, TYPED>(),
    kind::<VecDeque<Vec<u8>>, true, TYPED>(),
    kind::<BTreeSet<u16>, false, TYPED>(),
    kind::<BTreeMap<Str, Vec<u64>>, false, TYPED>(),
    kind::<BTreeMap<(), ()>, false, PLAIN>(),
    kind::<[Str; 3], true, PLAIN>(),
    kind::<[u16; 40], true, PLAIN>(),
    kind::<(u8, Str, Option<Box<u64>>), true, PLAIN>(),
    kind::<Shape, true, PLAIN>(),
    kind::<Vec<Shape>, true, TYPED>(),
    kind::<Everything, false, TYPED>(),
    Kind { described: false, ..kind::<Serde<IpAddr>, false, PLAIN>() },
    Kind { described: false, ..kind::<Vec<Serde<Vec<String>>>, false, TYPED>() },
];

/// The kind with this number, and the bytes that follow it.
pub(crate) fn chosen(bytes: &[u8]) -> Option<(&'static Kind, &[u8])> {
    let (number, row) = bytes.split_first()?;
    Some((&KINDS[usize::from(*number) % KINDS.len()], row))
}

/// The codec of records: the first byte chooses a type, the others are a row.
pub fn record(bytes: &[u8]) -> bool {
    chosen(bytes).is_some_and(|(kind, row)| (kind.read)(row).is_ok())
}

fn read<T: Record, const PER_BYTE: usize, const ONE: bool>(
    bytes: &[u8],
) -> Result<usize, DecodeError> {
    let mut input = Input::new(bytes);
    let value = within(bytes.len(), PER_BYTE, || T::decode(&mut input))?;
    let (row, _) = bytes.split_at(bytes.len() - input.rest().len());
    let mut written = Vec::new();
    value.encode(&mut written);
    if ONE {
        assert_eq!(written, row, "there is one way to write a value");
    }
    if let Some(size) = T::FIXED {
        assert_eq!(written.len(), size);
    }
    if T::CANONICAL {
        assert_eq!(value.hash64(), xxh3_64(&written));
        assert_eq!(T::hash_of_row(&written), xxh3_64(&written));
    }
    let mut again = Vec::new();
    let mut rest = Input::new(&written);
    T::decode(&mut rest).expect("what was written is read").encode(&mut again);
    assert!(rest.rest().is_empty());
    assert_eq!(again, written);
    Ok(row.len())
}
