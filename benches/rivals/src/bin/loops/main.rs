//! The jobs written by hand: what the machine can do when nothing is in the way.
//!
//! Std, one fast hash map and a memory-mapped file; no batching of lookups, no prefetching, no
//! table of our own. These are the loops that a programmer writes on the first morning.
//!
//! ```text
//! loops text               --out FILE [--mb 200] [--vocabulary 50000] [--seed 0]
//! loops wordcount          --input FILE [--answers FILE]
//! loops keyed_sum          [--records N] [--keys K] [--answers FILE]
//! loops keyed_sum_exchange [--records N] [--keys K] [--answers FILE]
//! loops nexmark            --query q0|q1|q2|q4|q5|q7|q8 [--events N] [--set big|development] [--answers FILE]
//! loops tcp                [--records N]
//! ```

mod exchange;
mod keyed_sum;
mod nexmark;
mod tcp;
mod text;
mod wordcount;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

fn main() -> Result<()> {
    let mut arguments = Arguments::of_process()?;
    match arguments.command().as_deref() {
        Some("text") => text::run(arguments),
        Some("wordcount") => wordcount::run(arguments),
        Some("keyed_sum") => keyed_sum::run(arguments),
        Some("keyed_sum_exchange") => exchange::run(arguments),
        Some("nexmark") => nexmark::run(arguments),
        Some("tcp") => tcp::run(arguments),
        Some("tcp_sender") => tcp::send(arguments),
        _ => Err("loops text|wordcount|keyed_sum|keyed_sum_exchange|nexmark|tcp".into()),
    }
}
