//! Counts words: `wordcount --input FILE|DIR [--output DIR] [--combine true]`.
//!
//! A word is a maximal run of non-whitespace. Every word gives a line `word,count` with its count
//! so far; with `-D execution.runtime-mode=BATCH` each word gives its final count once. Without
//! `--output` the counts go into a blackhole.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let input = env.arg("input")?;
    let combine = env.arg_parsed::<bool>("combine")?.unwrap_or(false);

    let words = env.source("text", source::text_files(input)).flat_map(|line| line.words());
    let by_word = words.name("split").key_by_ref(|word| word);
    let counts = if combine { by_word.combine().count() } else { by_word.count() };
    let counts = counts.name("count");

    match env.arg_opt("output") {
        Some(directory) => counts.sink("counts", sink::csv(directory)),
        None => counts.sink("counts", sink::blackhole()),
    };
    env.execute("wordcount")?;
    Ok(())
}
