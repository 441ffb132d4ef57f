//! The scenario families, one a file; each has a test file of the same name.

pub mod batch_stages;
pub mod cancellation;
pub mod checkpoints;
pub mod crash_io;
pub mod every_event;
pub mod ha;
pub mod heartbeat;
pub mod in_flight;
pub mod jobs;
pub mod region_failover;
pub mod registration;
pub mod slots_conserved;
pub mod stale_messages;
pub mod store_history;
pub mod submission;

use crate::family::Family;

pub use batch_stages::BATCH_STAGES;
pub use cancellation::CANCELLATION;
pub use checkpoints::{
    BOUNDED_TAIL, CHECKPOINT_ALIGNED, LEADER_TAKEOVER, NO_DANGLING_REFERENCE, RECOVERY,
};
pub use crash_io::{CRASH_AT_EVERY_IO, RESCALE};
pub use every_event::EVERY_EVENT;
pub use ha::{
    AMBIGUOUS_PUT, COMPLETION_AFTER_REVOKE, LEADER_CHANGE, SUSPEND_ANYWHERE, TWO_LEADERS,
};
pub use heartbeat::HEARTBEAT;
pub use in_flight::{CHECKPOINT_UNALIGNED, OVERTAKING_UNDER_PRESSURE};
pub use region_failover::REGION_FAILOVER;
pub use registration::REGISTRATION;
pub use slots_conserved::SLOTS_CONSERVED;
pub use stale_messages::STALE_MESSAGES;
pub use store_history::STORE_HISTORY;
pub use submission::SUBMISSION;

/// All of them.
pub const ALL: [&Family; 24] = [
    &AMBIGUOUS_PUT,
    &COMPLETION_AFTER_REVOKE,
    &LEADER_CHANGE,
    &LEADER_TAKEOVER,
    &SUSPEND_ANYWHERE,
    &TWO_LEADERS,
    &BATCH_STAGES,
    &BOUNDED_TAIL,
    &CANCELLATION,
    &CHECKPOINT_ALIGNED,
    &CRASH_AT_EVERY_IO,
    &CHECKPOINT_UNALIGNED,
    &EVERY_EVENT,
    &HEARTBEAT,
    &NO_DANGLING_REFERENCE,
    &OVERTAKING_UNDER_PRESSURE,
    &RECOVERY,
    &REGION_FAILOVER,
    &REGISTRATION,
    &RESCALE,
    &SLOTS_CONSERVED,
    &STALE_MESSAGES,
    &STORE_HISTORY,
    &SUBMISSION,
];
