//! High availability: who leads, and what outlives whoever leads.
//!
//! One record in a [store of pointers](millstream_checkpoint::pointer) holds all of it: the epoch, the
//! leader, the jobs with their completed checkpoints, the results of those that ended. Every change
//! is a compare-and-set of the whole record, so:
//! - a takeover, which raises the epoch, fences everything that the former leader may still want to
//!   write, whatever it is and however late it comes;
//! - a leader that succeeds in writing led at that moment, and everything that it believed about the
//!   record was true.
//!
//! What is large (plans, programs) is in files that are written before the record refers to them and
//! deleted after it no longer does.
//!
//! Two protections stand beside the fence, and nothing depends on them: a leader renews its lease by
//! writing, and stops acting when it could not for three quarters of it; a contender waits until the
//! record has not changed for a whole lease of its own clock, or until the leader's process is known
//! to be gone.
//!
//! In reading order:
//! - [`record`]: the record, and how it is written down;
//! - [`change`]: what a leader may change in it;
//! - [`recorder`]: what is in the record of a job's checkpoints, and when;
//! - [`config`]: the lease and what follows from it;
//! - [`work`]: what the shell does for the election, and tells it;
//! - [`election`]: the machine: its state, what reaches it;
//! - `following`: a contender that waits for its turn;
//! - `leading`: a leader that writes;
//! - `invariants`: what holds after every step.

pub mod change;
pub mod config;
pub mod election;
mod following;
mod invariants;
mod leading;
pub mod record;
pub mod recorder;
pub mod work;

#[cfg(test)]
mod tests;

pub use change::{Change, ChangeEnd, ChangeId};
pub use config::HaConfig;
pub use election::{HaTimer, LeaderElection};
pub use record::{
    CheckpointRecord, HaRecord, JobRecord, LeaderRecord, Published, RecordError, ResultRecord,
};
pub use recorder::{CheckpointRecorder, RecorderStep};
pub use work::{Grant, HaDone, HaOp, Presence, UNSOLICITED};
