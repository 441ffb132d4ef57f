//! Leader election and what outlives a leader, simulated: contenders with the shipped election and
//! the shipped dispatcher, over a store that delays, refuses, fails, and does not say what it did.
//!
//! What is left out are the workers: a job master here ends its job after a while and completes
//! checkpoints until then. The other families have the rest.
//!
//! In reading order:
//! - [`plan`]: what goes wrong, drawn from the seed;
//! - [`store`]: the record, and how its store behaves;
//! - [`judge`]: sees everything, and knows what must hold;
//! - [`process`]: a contender: the election and, in a term, what belongs to a leader;
//! - [`shell`]: what the shell of a process does, simulated;
//! - [`world`]: the event queue, clients, faults.

pub mod judge;
pub mod plan;
pub mod process;
pub mod shell;
pub mod store;
pub mod world;
