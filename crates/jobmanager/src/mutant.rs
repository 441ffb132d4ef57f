//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing. Each half
//! of the crate keeps its own list, so that the lists grow apart.

pub use millstream_core::mutant::*;

/// Mutants of the resource manager, the slot manager and the dispatcher.
pub const CLUSTER: &[&str] = &[
    // resource_manager
    "skip_fencing_check_rm",
    "forget_stale_instance_check",
    "forget_job_master_check",
    "leak_slot_on_lost_ack",
    "freed_slot_is_not_rechecked",
    // slot_manager
    "double_grant_pending_slot",
    "old_report_frees_pending_slot",
    "stale_availability_frees_slot",
    // dispatcher
    "skip_fencing_check_dispatcher",
    "duplicate_submit_accepted",
    "start_before_persisted",
    "forget_remembered_cancel",
    "job_ends_twice",
    "forget_waiters_at_end",
];

/// Mutants of the job master, the scheduler and the execution graph.
pub const JOB: &[&str] = &[
    // job_master
    "skip_fencing_check_jm",
    "terminal_state_twice",
    "offer_accepted_twice_for_one_requirement",
    "reconcile_ignores_missing",
    // scheduler
    "accept_unknown_attempt_update",
    "restart_forgets_consumers",
    "stale_restart_timer_acts",
    // execution_graph
    "split_handed_twice",
];

/// Mutants whose effect is a job that stands still, loses records or works in vain: only the simulator
/// notices.
pub const STANDSTILL: &[&str] = &[
    // job_master
    "due_restart_timer_cleared",
    // execution_graph
    "splits_not_returned",
    // scheduler
    "reader_starts_early",
    "restart_takes_producers",
    "released_before_all_have_read",
];

/// Mutants of high availability: the election, the record, and what the dispatcher does with both.
pub const HA: &[&str] = &[
    // ha
    "ha_conflict_is_overwritten",
    "ha_unknown_is_failure",
    "ha_unknown_is_success",
    "ha_stale_change_accepted",
    "ha_epoch_not_raised",
    "ha_lease_is_not_watched",
    "ha_impatient_takeover",
    "ha_checkpoint_ids_from_one",
    "completed_before_recorded",
    "doubtful_is_not_recorded",
    "deleted_before_forgotten",
    "failed_forget_is_dropped",
    "deposed_works_on",
    // dispatcher
    "deposed_cleans_up",
    "suspended_counts_as_ended",
    "dirty_job_runs_again",
];

/// Every mutant of this crate.
pub fn all() -> impl Iterator<Item = &'static str> {
    CLUSTER.iter().chain(JOB).chain(STANDSTILL).chain(HA).copied()
}
