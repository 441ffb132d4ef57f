//! The jobs in Renoir, as its examples would have them.
//!
//! Batches are of 1,024 records, as in its own WordCount. Between two exchanges a thread per core
//! runs one block, so a keyed job at parallelism p has 2p threads.
//!
//! ```text
//! renoir_rivals wordcount --input FILE [--variant plain|combined] [--parallelism P] [--answers FILE]
//! renoir_rivals keyed_sum [--records N] [--keys K] [--parallelism P] [--answers FILE]
//! renoir_rivals shuffle   [--records N] [--pattern one-way|both-ways]
//! ```

mod keyed_sum;
mod shuffle;
mod wordcount;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use renoir::BatchMode;

fn main() -> Result<()> {
    let mut arguments = Arguments::of_process()?;
    match arguments.command().as_deref() {
        Some("wordcount") => wordcount::run(arguments),
        Some("keyed_sum") => keyed_sum::run(arguments),
        Some("shuffle") => shuffle::run(arguments),
        _ => Err("renoir_rivals wordcount|keyed_sum|shuffle".into()),
    }
}

fn batch_mode() -> BatchMode {
    BatchMode::fixed(1024)
}
