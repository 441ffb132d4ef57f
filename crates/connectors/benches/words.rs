//! What a word costs: `Line::words` and the text source against a plain loop over the same text.
//!
//! The rival is `split_ascii_whitespace` over a text in memory: it makes a `&str` of each word and
//! nothing else. Ours makes an owned `Str` of each word and puts it into a batch.
//! `cargo bench -p millstream-connectors --bench words`

mod measure;

use measure::{BATCH, Run, Temporary, compare, fixture, forget, poll_all};
use millstream_connectors::source::text_files;
use millstream_connectors::text::Line;
use millstream_core::Str;
use std::hint::black_box;

const COPIES: usize = 32;

fn main() {
    let text = fixture("wordcount/text.txt.gz").repeat(COPIES);
    let words = text.split_ascii_whitespace().count();
    let file = Temporary::write("words-bench", &text);
    let source = text_files(&file.0);
    let mut lines = Vec::new();
    poll_all(&source, |batch| lines.append(batch));
    compare(
        words,
        "word",
        vec![
            Run::new("split_ascii_whitespace, &str only", || plain(&text)),
            Run::new("split_ascii_whitespace, Str::new, into batches", || plain_str(&text)),
            Run::new("Line::words into batches, lines at hand", || words_of(&lines)),
            Run::new("text_files, lines only", || poll_all(&source, forget)),
            Run::new("text_files, Line::words into batches", || {
                let mut words = Words::new();
                poll_all(&source, |lines| lines.drain(..).for_each(|line| words.of(line)));
            }),
        ],
    );
    let text = cyrillic(&text);
    let file = Temporary::write("words-bench-cyrillic", &text);
    let mut lines = Vec::new();
    poll_all(&text_files(&file.0), |batch| lines.append(batch));
    compare(
        words,
        "Cyrillic word",
        vec![
            Run::new("split_whitespace, &str only", || plain_unicode(&text)),
            Run::new("Line::words into batches, lines at hand", || words_of(&lines)),
        ],
    );
}

/// The same words in letters of two bytes.
fn cyrillic(text: &str) -> String {
    let letter = |c: char| match c {
        'a'..='z' => char::from_u32('\u{430}' as u32 + c as u32 - 'a' as u32),
        _ => None,
    };
    text.chars().map(|c| letter(c).unwrap_or(c)).collect()
}

fn plain_unicode(text: &str) {
    for word in text.split_whitespace() {
        black_box(word);
    }
}

fn plain(text: &str) {
    for word in text.split_ascii_whitespace() {
        black_box(word);
    }
}

fn plain_str(text: &str) {
    let mut batch: Vec<Str> = Vec::with_capacity(BATCH);
    for word in text.split_ascii_whitespace() {
        batch.push(Str::new(word));
        if batch.len() == BATCH {
            forget(&mut batch);
        }
    }
}

fn words_of(lines: &[Line]) {
    let mut words = Words::new();
    for line in lines {
        words.of(line.clone());
    }
}

/// Words in batches.
struct Words(Vec<Str>);

impl Words {
    fn new() -> Self {
        Self(Vec::with_capacity(2 * BATCH))
    }

    fn of(&mut self, line: Line) {
        self.0.extend(line.words());
        if self.0.len() >= BATCH {
            forget(&mut self.0);
        }
    }
}
