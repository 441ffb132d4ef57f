//! One slot of a worker as the resource manager sees it, and every move it may make.
//!
//! The worker has the last word on its slots; what is kept here is the newest belief. Reports and
//! answers travel on their own and may be older than what we have asked since, so each move names
//! its cause, and `SlotState::may_become` says which cause may move a slot where. It is asserted
//! at the one place where a slot changes: the conditions in front of that place and this table
//! were written apart, and both have to fail before a slot is granted twice.

use millstream_core::ids::{AllocationId, JobId};
use millstream_rpc::protocol::resource::ResourceProfile;

/// A slot given to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grant's own name; never used twice.
    pub allocation: AllocationId,
    /// Who has it.
    pub job: JobId,
}

/// Who has a slot, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nobody.
    Free,
    /// The worker has been asked to hold it for the job and has not answered.
    Pending(Grant),
    /// The worker was asked and nobody knows what came of it. The slot is neither given to anyone
    /// nor counted for the job until the worker says how it stands.
    Unconfirmed(Grant),
    /// The worker holds it for the job.
    Allocated(Grant),
}

/// Why a slot changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A job is short of slots: the worker is asked.
    Granted,
    /// The worker does as asked.
    Acknowledged,
    /// The worker does not do as asked.
    Refused,
    /// The ask brought no answer: whether it was carried out is unknown.
    OutcomeUnknown,
    /// The worker holds the slot for somebody else.
    Occupied,
    /// A slot report says so. It may have been written before the worker got our last ask.
    Reported,
    /// The worker says that this grant is over.
    Available(AllocationId),
    /// The slot's grant has turned up in another slot.
    Displaced,
}

/// A slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// What it has; as last reported.
    pub(super) profile: ResourceProfile,
    /// Who has it; changed by `SlotManager::change` only.
    pub(super) state: SlotState,
    /// Refusals since the worker last did as asked: such a slot is tried after all others, so that
    /// a broken worker does not keep a job from healthy ones.
    pub(super) refusals: u32,
}

impl Slot {
    /// A slot that nobody has.
    pub(super) fn free(profile: ResourceProfile) -> Self {
        Self { profile, state: SlotState::Free, refusals: 0 }
    }
}

impl SlotState {
    /// The grant, if somebody has the slot or may have it.
    pub fn grant(&self) -> Option<Grant> {
        match self {
            Self::Free => None,
            Self::Pending(grant) | Self::Unconfirmed(grant) | Self::Allocated(grant) => {
                Some(*grant)
            }
        }
    }

    /// Whether the job can count on the slot.
    pub fn counts_for_job(&self) -> bool {
        matches!(self, Self::Pending(_) | Self::Allocated(_))
    }

    /// Every legal move.
    pub(super) fn may_become(&self, next: &SlotState, cause: Cause) -> bool {
        use SlotState::{Allocated, Free, Pending, Unconfirmed};
        match (cause, self, next) {
            (Cause::Granted, Free, Pending(_)) => true,
            (Cause::Acknowledged, Pending(asked), Allocated(held)) => asked == held,
            (Cause::Refused, Pending(_), Free) => true,
            (Cause::OutcomeUnknown, Pending(asked), Unconfirmed(kept)) => asked == kept,
            (Cause::Occupied, Pending(_), Allocated(_)) => true,
            (Cause::Reported, _, Allocated(_)) => true,
            // A report that calls a pending slot free was written before the ask arrived.
            (Cause::Reported, Unconfirmed(_) | Allocated(_), Free) => true,
            (Cause::Available(ended), held, Free) => {
                held.grant().is_some_and(|grant| grant.allocation == ended)
            }
            (Cause::Displaced, held, Free) => held.grant().is_some(),
            _ => false,
        }
    }
}
