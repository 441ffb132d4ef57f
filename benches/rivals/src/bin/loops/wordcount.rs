//! WordCount: a mapped file, split at white space, one map of running counts, one thread.
#![allow(unsafe_code)]

use std::fs::File;

use memmap2::Mmap;
use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use rustc_hash::FxHashMap;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let input = arguments.required("input")?;
    let mut results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    let file = File::open(input)?;
    // SAFETY: nobody writes to the input while we read it.
    let text = unsafe { Mmap::map(&file)? };
    count(std::str::from_utf8(&text)?, &mut results);
    let cost = clock.stop();

    let records = results.close()?;
    Throughput::new(("wordcount", "loop", "plain"), 1, records, cost).print();
    Ok(())
}

fn count(text: &str, results: &mut Results<str>) {
    let mut counts: FxHashMap<Box<str>, i64> = FxHashMap::default();
    for word in text.split_ascii_whitespace() {
        let count = match counts.get_mut(word) {
            Some(count) => count,
            None => counts.entry(word.into()).or_insert(0),
        };
        *count += 1;
        results.accept(word, *count);
    }
}
