//! The words of a line: maximal runs of what is not white space.
//!
//! 64 bytes are looked at together: a bit per byte says where white space is, and where the bit
//! changes a word begins or ends. So the loop over words takes bits, and neither its branches nor
//! its time depend on how long words are.

use super::blanks::{Masks, WINDOW, masks, wide_blanks};
use super::block::Block;
use super::line::Line;
use millstream_core::Str;
use std::sync::Arc;

/// The words of a [`Line`], which it owns. Made by [`Line::words`].
#[derive(Clone, Debug)]
pub struct Words {
    block: Arc<Block>,
    /// Where in the block the next window begins.
    next: u32,
    /// Where in the block the line ends.
    end: u32,
    /// In the window before `next`: the first bytes of words and the first bytes after words that
    /// have not been given out. Between calls the lowest is the beginning of a word.
    edges: u64,
    /// The last byte of the window before `next` is part of a word.
    in_word: bool,
    /// White space that reaches from the window before `next` into the one after it.
    spill: u8,
}

impl Words {
    pub(super) fn new(line: Line) -> Self {
        let (block, start, end) = line.into_parts();
        Self { block, next: start, end, edges: 0, in_word: false, spill: 0 }
    }

    /// Looks at the next window. No: there is none.
    #[inline]
    fn scan(&mut self) -> bool {
        let left = self.end.saturating_sub(self.next) as usize;
        if left == 0 && !self.in_word {
            return false;
        }
        let text = &self.block.text.as_bytes()[self.next as usize..];
        let line = if left < WINDOW { (1 << left) - 1 } else { u64::MAX };
        // The bytes after the line belong to the next one: they are masked out below.
        let Masks { mut blank, wide } = match text.first_chunk() {
            Some(window) => masks(window),
            None => masks(&last_window(text)),
        };
        blank |= u64::from(self.spill);
        self.spill = 0;
        if wide & line != 0 {
            let blanks = wide_blanks(text, line);
            blank |= blanks as u64;
            self.spill = (blanks >> WINDOW) as u8;
        }
        let words = line & !blank;
        self.edges = words ^ (words << 1 | u64::from(self.in_word));
        self.in_word = words >> (WINDOW - 1) == 1;
        self.next += WINDOW as u32;
        true
    }

    /// The end of a word that began in a window before.
    #[cold]
    fn end_of_open_word(&mut self) -> u32 {
        loop {
            let scanned = self.scan();
            assert!(scanned, "a word ends at the latest where its line does");
            if self.edges != 0 {
                let end = self.window() + self.edges.trailing_zeros();
                self.edges &= self.edges - 1;
                return end;
            }
        }
    }

    /// Where in the block the window of `edges` begins.
    #[inline]
    fn window(&self) -> u32 {
        self.next - WINDOW as u32
    }
}

/// Less than a window is left of the block: the rest is filled with zeros.
#[cold]
fn last_window(text: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window[..text.len()].copy_from_slice(text);
    window
}

impl Iterator for Words {
    type Item = Str;

    #[inline]
    fn next(&mut self) -> Option<Str> {
        while self.edges == 0 {
            if !self.scan() {
                return None;
            }
        }
        let window = self.window();
        let start = window + self.edges.trailing_zeros();
        self.edges &= self.edges - 1;
        let end = if self.edges == 0 {
            self.end_of_open_word()
        } else {
            let end = window + self.edges.trailing_zeros();
            self.edges &= self.edges - 1;
            end
        };
        Some(Str::prefix(&self.block.text[start as usize..], (end - start) as usize))
    }
}

impl std::iter::FusedIterator for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let words: Vec<Str> = Line::from(text).words().collect();
        let expected: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, expected, "{text:?}");
    }

    #[test]
    fn the_words_are_those_of_split_whitespace() {
        for text in ["", " ", "a", " a", "a ", "to be  or\tnot\u{b}to\r\nbe ", "\u{1c}a\u{1f}b"] {
            check(text);
        }
        check(&"word ".repeat(100));
        check(&"x".repeat(1000));
        check(&" ".repeat(1000));
    }

    #[test]
    fn a_word_may_begin_and_end_at_every_place_of_a_window() {
        for start in 0..2 * WINDOW {
            for len in 1..2 * WINDOW {
                let (before, word) = (" ".repeat(start), "x".repeat(len));
                check(&format!("{before}{word}"));
                check(&format!("{before}{word} y"));
            }
        }
    }

    #[test]
    fn white_space_beyond_ascii_separates_at_every_place_of_a_window() {
        for blank in ["\u{85}", "\u{a0}", "\u{1680}", "\u{2003}", "\u{3000}", "\u{2028}"] {
            for before in 0..2 * WINDOW {
                let text = "x".repeat(before) + blank;
                check(&text);
                check(&format!("{text}y"));
                check(&format!("{text}{blank}\u{e9}t\u{e9} {text}"));
            }
        }
        check("na\u{ef}ve caf\u{e9} \u{43c}\u{438}\u{440} \u{65e5}\u{672c}\u{3000}\u{8a9e}");
    }

    #[test]
    fn what_follows_the_line_in_its_block_is_no_part_of_it() {
        let block = Block::of("one two\nthree \u{a0}four five six seven eight nine ten eleven");
        let words: Vec<Str> = Line::new(block, 0, 7).words().collect();
        assert_eq!(words, ["one", "two"]);
    }

    #[test]
    fn random_texts_fall_into_the_words_of_split_whitespace() {
        let alphabet = ["a", "bc", " ", " ", "\t", "\u{e9}", "\u{a0}", "\u{2009}", "\u{1f600}"];
        let mut state = 7_u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..state % 200 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text += alphabet[(state >> 33) as usize % alphabet.len()];
            }
            check(&text);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
    }
}
