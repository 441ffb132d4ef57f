//! Which worker's slot is whose, and which job is short of slots. Pure, without time.
//!
//! The resource manager owns a [`SlotManager`], tells it what workers and job masters say, and
//! carries out the grants that come out. In reading order:
//! - [`slot`]: one slot and every move it may make;
//! - [`requirements`]: what a job asks for, against what it has;
//! - [`manager`]: all workers, all grants, all demands;
//! - [`matching`]: which free slot goes to whom;
//! - [`overview`]: how workers stand, in numbers;
//! - `invariants`: what holds after every step.

mod invariants;
pub mod manager;
pub mod matching;
pub mod overview;
pub mod requirements;
pub mod slot;

pub use manager::SlotManager;
pub use matching::{GrantedSlot, LoadBalanceMode};
pub use overview::SlotCounts;
pub use slot::{Grant, SlotState};

#[cfg(test)]
mod tests;
