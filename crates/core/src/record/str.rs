//! [`Str`]: an immutable string of 24 bytes that keeps up to 23 bytes of text in itself.
//!
//! The image in memory of a short one is its canonical encoding (one length byte, then UTF-8)
//! followed by zeros. So hashing, comparing and storing a short key touch three words and nothing else.
//! A longer text lives on the heap; its image starts with [`ON_HEAP`], which no short length reaches.
//!
//! This file is on the list of files that may hold `unsafe`; its tests run every length across the border.
#![allow(unsafe_code)]

use super::primitives::text;
use super::{DecodeError, Input, Output, Record, Schema};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The most bytes of text that are kept without an allocation.
const INLINE_MAX: usize = 23;

/// The first byte of the image of a text on the heap.
const ON_HEAP: u8 = 0xFF;

/// An immutable string, made for words and short keys: no allocation up to 23 bytes.
///
/// ```
/// use millstream_core::Str;
///
/// let word = Str::new("stream");
/// assert_eq!(word, "stream");
/// assert_eq!(word.len(), 6);
/// ```
#[repr(C)]
pub union Str {
    inline: [u8; 24],
    words: [u64; 3],
    heap: Heap,
}

/// Fields without padding, so that each byte of the image is initialised in both shapes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Heap {
    /// [`ON_HEAP`] and seven zeros. One word: were it a byte and seven bytes, compilers would move
    /// strings in those pieces, and stall on reading pieces of a word just written.
    tag: u64,
    start: *mut u8,
    len: usize,
}

// SAFETY: a `Str` owns its text alone, like a `Box<str>`, and gives out shared references only.
unsafe impl Send for Str {}
// SAFETY: as above: nothing is changed through a shared reference.
unsafe impl Sync for Str {}

impl Str {
    /// Copies the text.
    #[inline]
    pub fn new(text: &str) -> Self {
        if text.len() <= INLINE_MAX { Self::inline(text.as_bytes()) } else { Self::on_heap(text) }
    }

    /// Copies the first `len` bytes of the text: as `Str::new(&text[..len])`, but without a branch
    /// on the length if the text goes on for 23 bytes. For words cut out of a longer text.
    #[inline]
    pub fn prefix(text: &str, len: usize) -> Self {
        let head = &text[..len];
        match text.as_bytes().first_chunk::<INLINE_MAX>() {
            Some(window) if len <= INLINE_MAX => Self::inline_prefix(window, len),
            _ => Self::new(head),
        }
    }

    /// Loads the three words of the image, shifted by the length byte, and masks what is too much.
    #[inline]
    fn inline_prefix(window: &[u8; INLINE_MAX], len: usize) -> Self {
        let word = |at: usize| {
            let bytes = window[at..].first_chunk::<8>().expect("the places below have eight bytes");
            u64::from_le_bytes(*bytes)
        };
        let keep = &PREFIX_MASKS[len];
        let image = [len as u64 | word(0) << 8 & keep[0], word(7) & keep[1], word(15) & keep[2]];
        Self { words: image.map(u64::to_le) }
    }

    /// The empty text.
    pub const fn empty() -> Self {
        Self { words: [0; 3] }
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes were copied from a `str`: by `inline` behind the length byte, by
        // `on_heap` into an allocation of `len` bytes that lives as long as `self`.
        unsafe {
            let bytes = if self.is_inline() {
                self.inline.get_unchecked(1..1 + usize::from(self.words[0].to_le() as u8))
            } else {
                std::slice::from_raw_parts(self.heap.start, self.heap.len)
            };
            std::str::from_utf8_unchecked(bytes)
        }
    }

    #[inline]
    fn is_inline(&self) -> bool {
        // SAFETY: all bytes of the image are initialised in every shape.
        unsafe { self.words[0].to_le() as u8 != ON_HEAP }
    }

    /// Puts at most 23 bytes behind their number: the image is built in three registers.
    #[inline]
    fn inline(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= INLINE_MAX);
        let (a, b, c) = match bytes.split_first_chunk::<8>() {
            None => (fewer_than_eight(bytes), 0, 0),
            Some((first, rest)) => match rest.split_first_chunk::<8>() {
                None => (u64::from_le_bytes(*first), fewer_than_eight(rest), 0),
                Some((second, rest)) => {
                    let (a, b) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
                    (a, b, fewer_than_eight(rest))
                }
            },
        };
        let image = [bytes.len() as u64 | a << 8, a >> 56 | b << 8, b >> 56 | c << 8];
        Self { words: image.map(u64::to_le) }
    }

    #[cold]
    fn on_heap(text: &str) -> Self {
        let owned: Box<str> = text.into();
        let len = owned.len();
        let start = Box::into_raw(owned).cast::<u8>();
        Self { heap: Heap { tag: u64::from(ON_HEAP).to_le(), start, len } }
    }
}

/// By length: which bits of the image are text.
static PREFIX_MASKS: [[u64; 3]; INLINE_MAX + 1] = {
    let mut masks = [[0; 3]; INLINE_MAX + 1];
    let mut len = 1;
    while len <= INLINE_MAX {
        masks[len] = masks[len - 1];
        masks[len][len / 8] |= 0xFF << (len % 8 * 8);
        len += 1;
    }
    masks
};

/// Up to seven bytes as the low bytes of a word, with at most three loads.
#[inline]
fn fewer_than_eight(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
        u64::from(low) | u64::from(high) << ((n - 4) * 8)
    } else if n > 0 {
        let at = |i: usize| u64::from(bytes[i]) << (i * 8);
        at(0) | at(n / 2) | at(n - 1)
    } else {
        0
    }
}

impl Drop for Str {
    #[inline]
    fn drop(&mut self) {
        if !self.is_inline() {
            // SAFETY: `on_heap` took the allocation apart into `start` and `len`; it is put
            // together and freed here, once, because `Str` is not `Copy`.
            unsafe {
                let bytes = std::ptr::slice_from_raw_parts_mut(self.heap.start, self.heap.len);
                drop(Box::from_raw(bytes as *mut str));
            }
        }
    }
}

impl Clone for Str {
    #[inline]
    fn clone(&self) -> Self {
        if self.is_inline() {
            // SAFETY: all bytes of the image are initialised in every shape.
            let words = unsafe { self.words };
            Self { words }
        } else {
            Self::on_heap(self.as_str())
        }
    }
}

impl PartialEq for Str {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        if self.is_inline() && other.is_inline() {
            // SAFETY: all bytes of the image are initialised in every shape.
            unsafe { self.words == other.words }
        } else {
            self.as_str() == other.as_str()
        }
    }
}

impl Eq for Str {}

impl Record for Str {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("string")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        let text = self.as_str();
        out.put_len(text.len() as u64);
        out.put(text.as_bytes());
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        text(input).map(Str::new)
    }

    #[inline]
    fn hash64(&self) -> u64 {
        match self.inline_image() {
            Some(image) => crate::hash::xxh3_64(&image[..=usize::from(image[0])]),
            None => {
                let mut row = Vec::with_capacity(self.len() + 2);
                self.encode(&mut row);
                crate::hash::xxh3_64(&row)
            }
        }
    }

    #[inline]
    fn inline_image(&self) -> Option<&[u8; 24]> {
        // SAFETY: all bytes of the image are initialised in every shape.
        let image = unsafe { &self.inline };
        self.is_inline().then_some(image)
    }

    #[inline]
    fn from_inline_image(image: &[u8; 24]) -> Option<Self> {
        let text = image.get(1..1 + usize::from(image[0]))?;
        std::str::from_utf8(text).ok().map(Str::new)
    }
}

impl Default for Str {
    fn default() -> Self {
        Self::empty()
    }
}

impl Deref for Str {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl serde::Serialize for Str {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Str {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Str;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Str, E> {
                Ok(Str::new(text))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_across_the_border_reads_back_compares_and_hashes_as_its_row() {
        assert_eq!(size_of::<Str>(), 24);
        for n in 0..60 {
            let text: String = (0..n).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
            let string = Str::new(&text);
            assert_eq!(string, text.as_str());
            assert_eq!(string.clone(), string);
            assert_eq!(string.inline_image().is_some(), n <= INLINE_MAX);
            let mut row = Vec::new();
            string.encode(&mut row);
            assert_eq!(string.hash64(), crate::hash::xxh3_64(&row));
            assert_eq!(text.hash64(), string.hash64());
            if let Some(image) = string.inline_image() {
                assert_eq!(image[..row.len()], row);
                assert!(image[row.len()..].iter().all(|byte| *byte == 0));
                assert_eq!(Str::from_inline_image(image), Some(string.clone()));
            }
            assert_eq!(Str::decode(&mut Input::new(&row)), Ok(string));
        }
    }

    #[test]
    fn a_prefix_is_the_string_of_the_same_bytes() {
        let text: String = (0..60).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        for start in 0..60 {
            for len in 0..=60 - start {
                let prefix = Str::prefix(&text[start..], len);
                assert_eq!(prefix, Str::new(&text[start..start + len]));
                assert_eq!(prefix.hash64(), text[start..start + len].to_owned().hash64());
            }
        }
    }

    #[test]
    fn texts_that_differ_in_one_byte_differ() {
        for n in 1..40 {
            let text = "x".repeat(n);
            for at in 0..n {
                let mut other = text.clone().into_bytes();
                other[at] = b'y';
                assert_ne!(Str::new(&text), Str::new(std::str::from_utf8(&other).expect("ASCII")));
            }
        }
    }
}
