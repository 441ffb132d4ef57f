//! Cuts a block into lines.

use super::block::Block;
use super::line::Line;
use memchr::{memchr, memchr_iter};
use std::sync::Arc;

/// The lines of a block that have not been given out.
pub(crate) struct LinesOfBlock {
    block: Arc<Block>,
    /// Where the next line begins.
    next: usize,
    /// How many lines have been given out.
    given: u64,
}

impl LinesOfBlock {
    pub(crate) fn new(block: Arc<Block>) -> Self {
        Self { block, next: 0, given: 0 }
    }

    /// The block; lines of it may be anywhere.
    pub(crate) fn into_block(self) -> Arc<Block> {
        self.block
    }

    /// How many lines have been given out; nothing if all of them have.
    pub(crate) fn given(&self) -> Option<u64> {
        (self.next < self.block.text.len()).then_some(self.given)
    }

    /// Leaves out up to so many lines; gives their number.
    pub(crate) fn skip(&mut self, count_max: u64) -> u64 {
        let before = self.given;
        while self.given - before < count_max && self.next < self.block.text.len() {
            let rest = &self.block.text.as_bytes()[self.next..];
            self.next += memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            self.given += 1;
        }
        self.given - before
    }

    /// Appends up to so many lines; gives their number.
    pub(crate) fn take(&mut self, out: &mut Vec<Line>, count_max: usize) -> usize {
        let (text, from) = (self.block.text.as_bytes(), self.next);
        let before = out.len();
        for newline in memchr_iter(b'\n', &text[from..]).take(count_max) {
            let end = from + newline;
            let returns = usize::from(end > self.next && text[end - 1] == b'\r');
            out.push(Line::new(Arc::clone(&self.block), self.next, end - returns));
            self.next = end + 1;
        }
        if out.len() - before < count_max && self.next < text.len() {
            out.push(Line::new(Arc::clone(&self.block), self.next, text.len()));
            self.next = text.len();
        }
        self.given += (out.len() - before) as u64;
        out.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        for count_max in 1..=expected.len() + 1 {
            let mut rest = LinesOfBlock::new(Block::of(text));
            let mut lines = Vec::new();
            while rest.take(&mut lines, count_max) == count_max {}
            assert_eq!(lines, expected, "{count_max} at a time");
        }
    }

    #[test]
    fn lines_that_are_left_out_are_those_that_would_have_been_given() {
        let text = "a\n\nbb\r\nc";
        for count in 0..6 {
            let mut lines = LinesOfBlock::new(Block::of(text));
            assert_eq!(lines.skip(count), count.min(4));
            let mut rest = Vec::new();
            lines.take(&mut rest, 10);
            let expected: Vec<&str> =
                ["a", "", "bb", "c"].into_iter().skip(count as usize).collect();
            assert_eq!(rest, expected);
            assert_eq!(lines.given(), None);
        }
    }

    #[test]
    fn lines_are_without_their_ends_however_many_are_taken_at_a_time() {
        check("", &[]);
        check("\n", &[""]);
        check("a", &["a"]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\r\n\n b \nc\rd\r\n", &["a", "", "", " b ", "c\rd"]);
        check("last\r", &["last\r"]);
    }
}
