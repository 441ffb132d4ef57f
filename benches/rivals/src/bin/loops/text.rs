//! Makes the input of WordCount.

use std::path::PathBuf;

use millstream_rivals::arguments::Arguments;
use millstream_rivals::{Result, corpus};

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let out = PathBuf::from(arguments.required("out")?);
    let mb: usize = arguments.value("mb", 200)?;
    let vocabulary = arguments.value("vocabulary", 50_000)?;
    let seed = arguments.value("seed", 0)?;
    arguments.finish()?;

    Ok(corpus::write(&out, mb << 20, vocabulary, seed)?)
}
