//! WordCount: a mapped file, split at white space, one map of running counts, one thread.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::black_box;

use memmap2::Mmap;
use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results;
use rustc_hash::FxHashMap;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let input = arguments.required("input")?;
    let answers = arguments.text("answers");
    arguments.finish()?;

    let clock = Clock::start();
    let file = File::open(input)?;
    // SAFETY: nobody writes to the input while we read it.
    let text = unsafe { Mmap::map(&file)? };
    let (counts, records) = count(std::str::from_utf8(&text)?);
    let cost = clock.stop();

    if let Some(path) = answers {
        results::write_answers(path.as_ref(), counts.iter())?;
    }
    Throughput::new(("wordcount", "loop", "plain"), 1, records, cost).print();
    Ok(())
}

fn count(text: &str) -> (FxHashMap<Box<str>, i64>, u64) {
    let mut counts: FxHashMap<Box<str>, i64> = FxHashMap::default();
    let mut records = 0;
    for word in text.split_ascii_whitespace() {
        let count = match counts.get_mut(word) {
            Some(count) => count,
            None => counts.entry(word.into()).or_insert(0),
        };
        *count += 1;
        black_box(*count);
        records += 1;
    }
    (counts, records)
}
