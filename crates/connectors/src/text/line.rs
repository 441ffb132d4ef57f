//! [`Line`]: a line of text without its end, a slice of a block that it shares with its neighbours.

use super::block::Block;
use super::words::Words;
use millstream_core::DecodeError;
use millstream_core::hash::xxh3_64;
use millstream_core::record::{Input, Output, Record, Schema, SliceOutput};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A line of text, without its end. Reads like a `str`, is 16 bytes, and costs no allocation.
///
/// It keeps alive the block in which it was read (256 KiB). To keep a few lines for long, make a
/// `String` or a [`Str`](millstream_core::Str) of each.
///
/// ```
/// use millstream_connectors::text::Line;
///
/// let line = Line::from("to be or not");
/// assert!(line.starts_with("to"));
/// let words: Vec<_> = line.words().collect();
/// assert_eq!(words, ["to", "be", "or", "not"]);
/// ```
#[derive(Clone)]
pub struct Line {
    block: Arc<Block>,
    /// Where it begins in the block; a block is never 4 GiB long.
    start: u32,
    /// Its length in bytes.
    len: u32,
}

impl Line {
    /// A slice of the block. It has to lie on the borders of characters.
    #[inline]
    pub(crate) fn new(block: Arc<Block>, start: usize, end: usize) -> Self {
        Self { block, start: start as u32, len: (end - start) as u32 }
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        let start = self.start as usize;
        &self.block.text[start..start + self.len as usize]
    }

    /// The maximal runs of what is not white space, as [`str::split_whitespace`] gives them, but
    /// owned: `flat_map(|line: Line| line.words())`.
    #[inline]
    pub fn words(self) -> Words {
        Words::new(self)
    }

    /// The block, and where in it the line begins and ends.
    #[inline]
    pub(super) fn into_parts(self) -> (Arc<Block>, u32, u32) {
        (self.block, self.start, self.start + self.len)
    }
}

impl Record for Line {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("string")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(u64::from(self.len));
        out.put(self.as_bytes());
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        String::decode(input).map(Line::from)
    }

    /// Without an allocation for a line of ordinary length.
    #[inline]
    fn hash64(&self) -> u64 {
        const SHORT: usize = 127;
        let mut row = [0; 1 + SHORT];
        if self.len() <= SHORT {
            self.encode(&mut SliceOutput::new(&mut row));
            xxh3_64(&row[..1 + self.len()])
        } else {
            let mut row = Vec::with_capacity(self.len() + 4);
            self.encode(&mut row);
            xxh3_64(&row)
        }
    }
}

impl Deref for Line {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Line {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Line::new(Block::of(text), 0, text.len())
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        let len = text.len();
        Line::new(Block::of(text), 0, len)
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.as_str().to_owned()
    }
}

impl Default for Line {
    fn default() -> Self {
        Line::from("")
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Line {}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Line {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl serde::Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Line {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Line::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_sixteen_bytes_and_so_is_an_optional_one() {
        assert_eq!(size_of::<Line>(), 16);
        assert_eq!(size_of::<Option<Line>>(), 16);
    }

    #[test]
    fn the_row_of_a_line_is_that_of_the_same_string() {
        let texts = [126, 127, 128, 300].map(|len| "x".repeat(len));
        for text in ["", "short", "caf\u{e9}"].into_iter().chain(texts.iter().map(String::as_str)) {
            let (mut row, mut expected) = (Vec::new(), Vec::new());
            let line = Line::new(Block::of(format!("x{text}y")), 1, 1 + text.len());
            line.encode(&mut row);
            text.to_owned().encode(&mut expected);
            assert_eq!(row, expected);
            assert_eq!(line.hash64(), text.to_owned().hash64());
            assert_eq!(Line::decode(&mut Input::new(&row)), Ok(line));
        }
    }
}
