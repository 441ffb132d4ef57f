//! Text as records: lines that share blocks, the words of a line, and files read in splits.
//!
//! In reading order: `line`, a slice of a shared block; `words`, what a line falls into, and
//! `blanks`, where; `block`, what lines share, and how it is used again; `lines_of_block`, which cuts
//! it; `split`, a range of a file, and how paths become ranges; `lines_of_split`, the whole lines of
//! one range, as bytes.

mod blanks;
pub(crate) mod block;
mod line;
pub(crate) mod lines_of_block;
pub(crate) mod lines_of_split;
pub(crate) mod split;
mod words;

pub use line::Line;
pub use words::Words;
