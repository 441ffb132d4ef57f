//! Counts the words that come over a socket: `socket_wordcount --host HOST --port PORT`.
//!
//! Start something that sends lines first, `nc -lk 9999` for instance.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let host = env.arg_opt("host").unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = env.arg_parsed::<u16>("port")?.unwrap_or(9999);

    env.source("socket", source::socket_text(format!("{host}:{port}")))
        .flat_map(|line| line.words())
        .name("split")
        .key_by_ref(|word| word)
        .count()
        .name("count")
        .sink("counts", sink::print());
    env.execute("socket_wordcount")?;
    Ok(())
}
