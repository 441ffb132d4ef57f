//! State files that a worker keeps for itself (`execution.state-recovery.from-local`).
//!
//! In reading order:
//! - [`places`]: the directories of one worker, which the next one of its name finds again;
//! - [`copies`]: the copies of one job in them;
//! - `copy`: one copy, as it is written and as it is read;
//! - `mirrored`: the storage of checkpoints, with copies beside it.

pub mod copies;
mod copy;
mod mirrored;
pub mod places;
#[cfg(test)]
mod tests;

pub use copies::Copies;
pub use places::LocalPlaces;
