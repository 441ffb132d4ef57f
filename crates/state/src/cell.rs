//! How a record lies in its cell of a row.
//!
//! A record of fixed size is its encoding. Any other one has 24 bytes, and the first says which:
//!
//! | first byte | the rest |
//! |---|---|
//! | below 0x80 | with it, the value's image ([`Record::inline_image`]): encoding, then zeros |
//! | 0x80 + n, n ≤ 23 | n bytes of encoding, then zeros |
//! | 0xFF | length (bytes 4 to 8) and slot (8 to 12) of the encoding in the [`Slabs`] |
//!
//! A value always takes the first of these that can hold it. Keys are compared by what is stored:
//! fixed ones as values, images as three words, others by encoding them against the stored bytes.

use crate::slabs::{Place, Slabs};
use millstream_core::record::{DecodeError, Input, Key, Output, Record, SliceOutput};

/// The size of a cell for records that vary in size.
const VARIABLE: usize = 24;

/// The first byte of a short encoding, less its length.
const SHORT: u8 = 0x80;

/// The most bytes of a short encoding.
const SHORT_MAX: usize = VARIABLE - 1;

/// The first byte of a cell whose encoding is in the slabs.
const IN_SLAB: u8 = 0xFF;

/// The most bytes that the spill keeps for the next long encoding.
const SPILL_KEPT_MAX: usize = 1 << 20;

/// The size of a cell for records of this type.
pub(crate) const fn size<T: Record>() -> usize {
    match T::FIXED {
        Some(size) => size,
        None => VARIABLE,
    }
}

/// The image of the value, if it has one that the first byte lets us tell from the rest.
#[inline(always)]
fn image<T: Record>(value: &T) -> Option<&[u8; VARIABLE]> {
    value.inline_image().filter(|image| image[0] < SHORT)
}

/// Whether the cell holds this key.
#[inline(always)]
pub(crate) fn holds<K: Key>(cell: &[u8], key: &K, slabs: &Slabs) -> bool {
    if K::FIXED.is_some() {
        decode::<K>(cell) == *key
    } else if let Some(image) = image(key) {
        cell == image
    } else {
        holds_encoding(cell, key, slabs)
    }
}

fn holds_encoding<K: Key>(cell: &[u8], key: &K, slabs: &Slabs) -> bool {
    let Some(stored) = encoding(cell, slabs) else {
        return false;
    };
    let mut comparison = Comparison { rest: stored, equal: true };
    key.encode(&mut comparison);
    comparison.equal && comparison.rest.is_empty()
}

/// Whether the cell holds this entry of this key.
#[inline]
pub(crate) fn holds_entry<K: Key, N: Key>(cell: &[u8], key: &K, entry: &N, slabs: &Slabs) -> bool {
    if let (Some(size), Some(_)) = (K::FIXED, N::FIXED) {
        let (key_part, entry_part) = cell.split_at(size);
        return decode::<K>(key_part) == *key && decode::<N>(entry_part) == *entry;
    }
    let Some(stored) = encoding(cell, slabs) else {
        return false;
    };
    let mut comparison = Comparison { rest: stored, equal: true };
    key.encode(&mut comparison);
    entry.encode(&mut comparison);
    comparison.equal && comparison.rest.is_empty()
}

/// The value in the cell.
#[inline(always)]
pub(crate) fn load<T: Record>(cell: &[u8], slabs: &Slabs) -> T {
    if T::FIXED.is_some() { decode(cell) } else { load_variable(cell, slabs) }
}

#[inline]
fn load_variable<T: Record>(cell: &[u8], slabs: &Slabs) -> T {
    match encoding(cell, slabs) {
        Some(encoding) => decode(encoding),
        None => {
            let image = cell.first_chunk().expect("the cell of a variable record");
            T::from_inline_image(image).unwrap_or_else(|| unreadable::<T>(None))
        }
    }
}

/// The hash of the key in the cell.
#[inline]
pub(crate) fn hash<K: Key>(cell: &[u8], key: &K, slabs: &Slabs) -> u64 {
    // A stored encoding is hashed as it lies there; hashing the key would encode it once more.
    match K::FIXED.is_none().then(|| encoding(cell, slabs)).flatten() {
        Some(encoding) => K::hash_of_row(encoding),
        None => key.hash64(),
    }
}

/// Puts the value into a cell that was loaded from or prepared with [`clear`].
#[inline(always)]
pub(crate) fn store<T: Record>(value: &T, cell: &mut [u8], slabs: &mut Slabs, spill: &mut Vec<u8>) {
    if T::FIXED.is_some() {
        value.encode(&mut SliceOutput::new(cell));
    } else {
        store_variable(value, cell, slabs, spill);
    }
}

#[inline]
fn store_variable<T: Record>(value: &T, cell: &mut [u8], slabs: &mut Slabs, spill: &mut Vec<u8>) {
    if let Some(image) = image(value) {
        put_short(cell, image, slabs);
        return;
    }
    let mut short = ShortOutput::new(spill);
    value.encode(&mut short);
    match short.finish() {
        Some(image) => put_short(cell, &image, slabs),
        None => {
            put_long(cell, spill, slabs);
            // One giant must not keep its size occupied for good.
            spill.shrink_to(SPILL_KEPT_MAX);
        }
    }
}

/// Makes a cell ready for its first value, whatever a freed row left in it.
#[inline(always)]
pub(crate) fn clear<T: Record>(cell: &mut [u8]) {
    if T::FIXED.is_none() {
        cell[0] = 0;
    }
}

/// Gives back what the value of the cell has outside of it.
#[inline(always)]
pub(crate) fn release<T: Record>(cell: &[u8], slabs: &mut Slabs) {
    if T::FIXED.is_none()
        && let Some(place) = place(cell)
    {
        slabs.free(place);
    }
}

#[inline(always)]
fn put_short(cell: &mut [u8], image: &[u8; VARIABLE], slabs: &mut Slabs) {
    if let Some(old) = place(cell) {
        slabs.free(old);
    }
    cell.copy_from_slice(image);
}

#[cold]
fn put_long(cell: &mut [u8], encoding: &[u8], slabs: &mut Slabs) {
    let place = match place(cell) {
        Some(old) => slabs.replace(old, encoding),
        None => slabs.put(encoding),
    };
    let mut image = [0; VARIABLE];
    image[0] = IN_SLAB;
    image[4..8].copy_from_slice(&place.len.to_le_bytes());
    image[8..12].copy_from_slice(&place.slot.to_le_bytes());
    cell.copy_from_slice(&image);
}

/// Where the canonical encoding is of what a variable cell holds.
pub(crate) enum Stored<'a> {
    /// In the cell.
    Here(&'a [u8]),
    /// In the slabs.
    At(Place),
}

/// Finds the encoding in a cell without knowing the type: `fixed` is what [`size`] has from it.
pub(crate) fn stored(cell: &[u8], fixed: bool) -> Stored<'_> {
    if fixed {
        return Stored::Here(cell);
    }
    match place(cell) {
        Some(place) => Stored::At(place),
        None if cell[0] >= SHORT => Stored::Here(&cell[1..][..usize::from(cell[0] - SHORT)]),
        // An image begins with the number of the bytes that follow.
        None => Stored::Here(&cell[..=usize::from(cell[0])]),
    }
}

/// Where the encoding is, if it is in the slabs.
#[inline(always)]
fn place(cell: &[u8]) -> Option<Place> {
    (cell[0] == IN_SLAB).then(|| {
        let word =
            |at: usize| u32::from_le_bytes([cell[at], cell[at + 1], cell[at + 2], cell[at + 3]]);
        Place { len: word(4), slot: word(8) }
    })
}

/// The stored encoding, unless the cell is an image.
#[inline]
fn encoding<'a>(cell: &'a [u8], slabs: &'a Slabs) -> Option<&'a [u8]> {
    match place(cell) {
        Some(place) => Some(slabs.get(place)),
        None if cell[0] >= SHORT => cell[1..].get(..usize::from(cell[0] - SHORT)),
        None => None,
    }
}

#[inline(always)]
fn decode<T: Record>(encoding: &[u8]) -> T {
    match T::decode(&mut Input::new(encoding)) {
        Ok(value) => value,
        Err(error) => unreadable::<T>(Some(error)),
    }
}

/// What was encoded cannot be decoded: the type's codec contradicts itself.
#[cold]
#[inline(never)]
fn unreadable<T>(error: Option<DecodeError>) -> ! {
    let cause = error.map_or_else(|| "not an image of it".to_owned(), |error| error.to_string());
    let name = std::any::type_name::<T>();
    panic!("state of type {name} does not read back what it wrote: {cause}")
}

/// Compares what is encoded into it with stored bytes.
struct Comparison<'a> {
    rest: &'a [u8],
    equal: bool,
}

impl Output for Comparison<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match self.rest.split_at_checked(bytes.len()) {
            Some((head, rest)) if head == bytes => self.rest = rest,
            _ => self.equal = false,
        }
    }
}

/// Builds the cell of a short encoding, and turns to the spill when it is not short.
struct ShortOutput<'a> {
    image: [u8; VARIABLE],
    len: usize,
    spill: &'a mut Vec<u8>,
}

impl<'a> ShortOutput<'a> {
    #[inline]
    fn new(spill: &'a mut Vec<u8>) -> Self {
        spill.clear();
        Self { image: [0; VARIABLE], len: 0, spill }
    }

    /// The cell; nothing if the encoding is in the spill.
    #[inline]
    fn finish(mut self) -> Option<[u8; VARIABLE]> {
        self.image[0] = SHORT + self.len as u8;
        (self.len <= SHORT_MAX).then_some(self.image)
    }

    #[cold]
    fn put_spill(&mut self, bytes: &[u8]) {
        if self.len <= SHORT_MAX {
            self.spill.extend_from_slice(&self.image[1..=self.len]);
            self.len = SHORT_MAX + 1;
        }
        self.spill.extend_from_slice(bytes);
    }
}

impl Output for ShortOutput<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match self.image[1..].get_mut(self.len..self.len + bytes.len()) {
            Some(target) => {
                target.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.put_spill(bytes),
        }
    }
}
