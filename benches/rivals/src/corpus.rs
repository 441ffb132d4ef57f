//! Text for WordCount: lines of ten words, the word of rank r drawn with a probability of about 1/r.
//!
//! Deterministic: the same arguments give the same bytes on every machine, and a seed gives other
//! words. The default arguments of `loops text` give the file that Flink's figures were taken with.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const WORDS_PER_LINE: usize = 10;

/// Writes lines until `bytes_min` bytes are written.
pub fn write(path: &Path, bytes_min: usize, vocabulary: usize, seed: usize) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let words: Vec<String> =
        (0..vocabulary).map(|rank| word(rank, rank + seed * vocabulary)).collect();
    let mut ranks = Ranks::new(vocabulary, seed);
    let mut written = 0;
    while written < bytes_min {
        for position in 1..=WORDS_PER_LINE {
            let word = &words[ranks.draw()];
            let end = if position == WORDS_PER_LINE { b"\n" } else { b" " };
            out.write_all(word.as_bytes())?;
            out.write_all(end)?;
            written += word.len() + 1;
        }
    }
    out.flush()
}

/// Three to eight letters and a digit, scattered so that neighbouring ranks look unlike.
fn word(rank: usize, number: usize) -> String {
    const LETTERS: u64 = 26;
    let mut rest = number as u64 * 2_654_435_761 % LETTERS.pow(6);
    let mut word = String::new();
    for _ in 0..3 + rank % 6 {
        word.push(char::from(b'a' + (rest % LETTERS) as u8));
        rest /= LETTERS;
    }
    word + &(rank % 10).to_string()
}

/// Draws ranks with Zipf's law, exponent 1.
struct Ranks {
    /// Sum of 1/r up to each rank.
    cumulated: Vec<f64>,
    /// State of a xorshift generator.
    state: u64,
}

impl Ranks {
    fn new(vocabulary: usize, seed: usize) -> Self {
        let cumulated = (1..=vocabulary)
            .scan(0.0, |sum, rank| {
                *sum += 1.0 / rank as f64;
                Some(*sum)
            })
            .collect();
        Self { cumulated, state: 0x9e37_79b9_7f4a_7c15 ^ seed as u64 }
    }

    fn draw(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let fraction = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        let last = self.cumulated.len() - 1;
        let drawn = fraction * self.cumulated[last];
        self.cumulated.partition_point(|sum| *sum < drawn).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_never_change() {
        assert_eq!(word(0, 0), "aaa0");
        assert_eq!(word(1, 1), "ddes1");
    }
}
