//! What the rival programs share: arguments, inputs, the clock, the line that each prints.
//!
//! The rivals themselves are under `src/bin/`, one folder per library: `loops` (by hand),
//! `timely_rivals`, `renoir_rivals`. `compare` runs them beside our own programs.
//! Nothing here takes part in the work that is measured, apart from [`keys`] and [`lines`], which
//! make its input, [`nexmark_state`], which loops and timely share, and [`results`], which is where
//! results are dropped.

pub mod arguments;
pub mod corpus;
pub mod keys;
pub mod lines;
pub mod nexmark_events;
pub mod nexmark_state;
pub mod peer;
pub mod report;
pub mod results;
pub mod usage;
pub mod wide;

/// These programs report a failure and stop; nobody handles it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
