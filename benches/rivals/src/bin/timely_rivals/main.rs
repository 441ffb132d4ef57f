//! The jobs in timely dataflow, as its examples would have them.
//!
//! An operator is a closure over its own map, an exchange routes by key, and every worker thread
//! runs the whole dataflow. Everything happens at one timestamp, but for Nexmark's windows.
//!
//! ```text
//! timely_rivals wordcount --input FILE [--parallelism P] [--answers FILE]
//! timely_rivals keyed_sum [--records N] [--keys K] [--parallelism P] [--answers FILE]
//! timely_rivals nexmark   --query q0|q1|q2|q4|q5|q7|q8 [--events N] [--parallelism P]
//!                         [--set big|development] [--answers FILE]
//! timely_rivals shuffle   [--records N] [--pattern one-way|both-ways]
//! timely_rivals latency   [--rate R] [--seconds S] [--warmup S] [--parallelism P]
//!                         [--processes 1|2] [--wait park|spin]
//! ```

mod auctions;
mod cluster;
mod keyed_sum;
mod latency;
mod nexmark;
mod shuffle;
mod wordcount;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

fn main() -> Result<()> {
    let mut arguments = Arguments::of_process()?;
    match arguments.command().as_deref() {
        Some("wordcount") => wordcount::run(arguments),
        Some("keyed_sum") => keyed_sum::run(arguments),
        Some("nexmark") => nexmark::run(arguments),
        Some("shuffle") => shuffle::run(arguments),
        Some("latency") => latency::run(arguments),
        _ => Err("timely_rivals wordcount|keyed_sum|nexmark|shuffle|latency".into()),
    }
}
