//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing.

pub use millstream_core::mutant::*;

/// Mutants of the coordinator, the registry and the reassignment.
pub const CHECKPOINT: &[&str] = &[
    "complete_before_metadata",
    "complete_without_all_acks",
    "ack_of_old_attempt_counts",
    "commit_before_complete",
    "delete_shared_too_early",
    "delete_on_unknown",
    "restore_older_checkpoint",
    "finished_task_not_carried",
    "aborted_checkpoint_completes",
    "end_without_final_checkpoint",
    "keygroup_off_by_one",
    "seen_splits_forgotten",
    "union_list_is_dealt",
    "dealt_item_is_lost",
    "orphans_stay",
    "sweep_takes_pending",
    "sweep_takes_retained",
];

/// Mutants of barriers that overtake data: here, and in the crates that carry out what is decided here.
pub const IN_FLIGHT: &[&str] = &[
    "overtaken_data_forgotten",
    "recorded_after_the_barrier",
    "replayed_after_new_input",
    "barrier_timeout_not_propagated",
    "begun_batch_not_recorded",
    "replay_not_recorded_again",
    "in_flight_not_filtered",
    "strict_channel_overtaken",
    "acknowledged_before_recorded",
    "barrier_waits_its_turn",
];

/// Every mutant of this crate.
pub fn all() -> impl Iterator<Item = &'static str> {
    CHECKPOINT.iter().chain(IN_FLIGHT).copied()
}
