//! Counts the words that come over a socket:
//! `socket_wordcount [--host HOST] [--port PORT] [--output DIR]`.
//!
//! Start something that sends lines first, `nc -lk 9999` for instance. Without `--output` the counts
//! are printed.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let host = env.arg_opt("host").unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = env.arg_parsed::<u16>("port")?.unwrap_or(9999);

    let counts = env
        .source("socket", source::socket_text(format!("{host}:{port}")))
        .flat_map(|line| line.words())
        .name("split")
        .key_by_ref(|word| word)
        .count()
        .name("count");
    match env.arg_opt("output") {
        Some(directory) => counts.sink("counts", sink::csv(directory)),
        None => counts.sink("counts", sink::print()),
    };
    env.execute("socket_wordcount")?;
    Ok(())
}
