//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing.

pub use millstream_core::mutant::*;

/// Mutants of the slot table, of attempts and of job processes.
pub const WORKER: &[&str] = &[
    "skip_resource_manager_id_check",
    "stale_slot_ticket_acts",
    "slot_occupied_overwritten",
    "late_offer_answer_counts",
    "old_incarnation_event_accepted",
    "reuse_child_after_kill",
    "leak_slot_when_tasks_end",
    "job_master_id_not_checked",
    "blind_split_retry",
    "linger_after_the_end",
    "memory_is_not_watched",
];

/// Every mutant of this crate.
pub fn all() -> impl Iterator<Item = &'static str> {
    WORKER.iter().copied()
}
