//! Planted bugs: which there are, in which crate, and which family must find each.

use crate::families::{
    AMBIGUOUS_PUT, BOUNDED_TAIL, CANCELLATION, CHECKPOINT_ALIGNED, CHECKPOINT_UNALIGNED,
    COMPLETION_AFTER_REVOKE, CRASH_AT_EVERY_IO, EVERY_EVENT, LEADER_CHANGE, LEADER_TAKEOVER,
    NO_DANGLING_REFERENCE, OVERTAKING_UNDER_PRESSURE, RECOVERY, REGION_FAILOVER, REGISTRATION,
    RESCALE, SLOTS_CONSERVED, STALE_MESSAGES, STORE_HISTORY, SUBMISSION, SUSPEND_ANYWHERE,
    TWO_LEADERS,
};
use crate::family::Family;

/// A crate that has planted bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// `millstream-checkpoint`.
    Checkpoint,
    /// `millstream-host`.
    Host,
    /// `millstream-jobmanager`.
    JobManager,
    /// `millstream-taskmanager`.
    TaskManager,
}

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name in its crate.
    pub name: &'static str,
    /// Its crate.
    pub home: Home,
}

thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// The one that is active on this thread.
pub fn active() -> Option<Mutant> {
    ACTIVE.get()
}

/// Activates one on this thread, or none.
pub fn activate(mutant: Option<Mutant>) {
    let name_in = |home| mutant.filter(|mutant| mutant.home == home).map(|mutant| mutant.name);
    millstream_checkpoint::mutant::set(name_in(Home::Checkpoint));
    millstream_host::mutant::set(name_in(Home::Host));
    millstream_jobmanager::mutant::set(name_in(Home::JobManager));
    millstream_taskmanager::mutant::set(name_in(Home::TaskManager));
    ACTIVE.set(mutant);
}

/// Which family must find which mutant.
pub const REGISTRY: &[(Mutant, &Family)] = &[
    // millstream-taskmanager
    (worker("skip_resource_manager_id_check"), &STALE_MESSAGES),
    (worker("stale_slot_ticket_acts"), &STALE_MESSAGES),
    (worker("slot_occupied_overwritten"), &SLOTS_CONSERVED),
    (worker("late_offer_answer_counts"), &SLOTS_CONSERVED),
    (worker("old_incarnation_event_accepted"), &CANCELLATION),
    (worker("reuse_child_after_kill"), &CANCELLATION),
    (worker("leak_slot_when_tasks_end"), &CANCELLATION),
    (worker("job_master_id_not_checked"), &EVERY_EVENT),
    (worker("blind_split_retry"), &REGION_FAILOVER),
    (worker("linger_after_the_end"), &SUBMISSION),
    (worker("memory_is_not_watched"), &EVERY_EVENT),
    // millstream-jobmanager: resource manager, slot manager
    (master("skip_fencing_check_rm"), &STALE_MESSAGES),
    (master("forget_stale_instance_check"), &REGISTRATION),
    (master("forget_job_master_check"), &EVERY_EVENT),
    (master("leak_slot_on_lost_ack"), &SLOTS_CONSERVED),
    (master("freed_slot_is_not_rechecked"), &SLOTS_CONSERVED),
    (master("double_grant_pending_slot"), &SLOTS_CONSERVED),
    (master("old_report_frees_pending_slot"), &SLOTS_CONSERVED),
    (master("stale_availability_frees_slot"), &EVERY_EVENT),
    // millstream-jobmanager: dispatcher
    (master("skip_fencing_check_dispatcher"), &SUBMISSION),
    (master("duplicate_submit_accepted"), &SUBMISSION),
    (master("start_before_persisted"), &SUBMISSION),
    (master("forget_remembered_cancel"), &CANCELLATION),
    (master("job_ends_twice"), &EVERY_EVENT),
    (master("forget_waiters_at_end"), &SUBMISSION),
    // millstream-jobmanager: job master, scheduler, execution graph
    (master("skip_fencing_check_jm"), &STALE_MESSAGES),
    (master("terminal_state_twice"), &SUBMISSION),
    (master("offer_accepted_twice_for_one_requirement"), &SLOTS_CONSERVED),
    (master("reconcile_ignores_missing"), &EVERY_EVENT),
    (master("due_restart_timer_cleared"), &REGION_FAILOVER),
    (master("accept_unknown_attempt_update"), &STALE_MESSAGES),
    (master("restart_forgets_consumers"), &REGION_FAILOVER),
    (master("stale_restart_timer_acts"), &REGION_FAILOVER),
    (master("split_handed_twice"), &REGION_FAILOVER),
    // millstream-jobmanager: high availability
    (master("ha_conflict_is_overwritten"), &TWO_LEADERS),
    (master("ha_unknown_is_failure"), &AMBIGUOUS_PUT),
    (master("ha_unknown_is_success"), &AMBIGUOUS_PUT),
    (master("ha_stale_change_accepted"), &COMPLETION_AFTER_REVOKE),
    (master("ha_epoch_not_raised"), &LEADER_CHANGE),
    (master("ha_lease_is_not_watched"), &TWO_LEADERS),
    (master("ha_impatient_takeover"), &LEADER_CHANGE),
    (master("ha_checkpoint_ids_from_one"), &LEADER_CHANGE),
    (master("deposed_cleans_up"), &TWO_LEADERS),
    (master("suspended_counts_as_ended"), &SUSPEND_ANYWHERE),
    (master("dirty_job_runs_again"), &LEADER_CHANGE),
    (master("splits_not_returned"), &RECOVERY),
    // millstream-checkpoint
    (checkpoint("complete_before_metadata"), &CHECKPOINT_ALIGNED),
    (checkpoint("complete_without_all_acks"), &CHECKPOINT_ALIGNED),
    (checkpoint("ack_of_old_attempt_counts"), &CHECKPOINT_ALIGNED),
    (checkpoint("commit_before_complete"), &CHECKPOINT_ALIGNED),
    (checkpoint("delete_shared_too_early"), &NO_DANGLING_REFERENCE),
    (checkpoint("delete_on_unknown"), &NO_DANGLING_REFERENCE),
    (checkpoint("restore_older_checkpoint"), &RECOVERY),
    (checkpoint("aborted_checkpoint_completes"), &RECOVERY),
    (checkpoint("finished_task_not_carried"), &BOUNDED_TAIL),
    (checkpoint("end_without_final_checkpoint"), &BOUNDED_TAIL),
    (checkpoint("keygroup_off_by_one"), &RESCALE),
    (checkpoint("seen_splits_forgotten"), &RESCALE),
    (checkpoint("union_list_is_dealt"), &RESCALE),
    (checkpoint("dealt_item_is_lost"), &RESCALE),
    // millstream-jobmanager: the record of checkpoints
    (master("completed_before_recorded"), &LEADER_TAKEOVER),
    (master("doubtful_is_not_recorded"), &LEADER_TAKEOVER),
    (master("deleted_before_forgotten"), &LEADER_TAKEOVER),
    (master("deposed_works_on"), &LEADER_TAKEOVER),
    (master("failed_forget_is_dropped"), &LEADER_TAKEOVER),
    // millstream-host
    (host("file_is_not_synced"), &CRASH_AT_EVERY_IO),
    (host("name_is_not_synced"), &CRASH_AT_EVERY_IO),
    (host("visible_counts_as_durable"), &CRASH_AT_EVERY_IO),
    (host("directory_is_not_synced"), &CRASH_AT_EVERY_IO),
    (host("failed_sync_is_ignored"), &CRASH_AT_EVERY_IO),
    (host("link_is_not_synced"), &CRASH_AT_EVERY_IO),
    (host("record_is_not_synced"), &CRASH_AT_EVERY_IO),
    // millstream-checkpoint: barriers that overtake
    (checkpoint("overtaken_data_forgotten"), &CHECKPOINT_UNALIGNED),
    (checkpoint("recorded_after_the_barrier"), &CHECKPOINT_UNALIGNED),
    (checkpoint("replayed_after_new_input"), &CHECKPOINT_UNALIGNED),
    (checkpoint("begun_batch_not_recorded"), &OVERTAKING_UNDER_PRESSURE),
    (checkpoint("replay_not_recorded_again"), &CHECKPOINT_UNALIGNED),
    (checkpoint("in_flight_not_filtered"), &CHECKPOINT_UNALIGNED),
    (checkpoint("strict_channel_overtaken"), &CHECKPOINT_UNALIGNED),
    (checkpoint("acknowledged_before_recorded"), &CHECKPOINT_UNALIGNED),
    (checkpoint("barrier_timeout_not_propagated"), &OVERTAKING_UNDER_PRESSURE),
    (checkpoint("barrier_waits_its_turn"), &OVERTAKING_UNDER_PRESSURE),
    (host("version_is_replaced"), &STORE_HISTORY),
    (host("doubtful_link_has_failed"), &STORE_HISTORY),
    (host("read_is_not_synced"), &STORE_HISTORY),
];

const fn worker(name: &'static str) -> Mutant {
    let home = Home::TaskManager;
    Mutant { name, home }
}

const fn master(name: &'static str) -> Mutant {
    let home = Home::JobManager;
    Mutant { name, home }
}

const fn checkpoint(name: &'static str) -> Mutant {
    let home = Home::Checkpoint;
    Mutant { name, home }
}

const fn host(name: &'static str) -> Mutant {
    let home = Home::Host;
    Mutant { name, home }
}

/// Mutants that exist in their crate and that no family has to find.
pub fn unregistered() -> Vec<&'static str> {
    let there = millstream_jobmanager::mutant::all().map(master);
    let here = millstream_taskmanager::mutant::ALL.into_iter().map(worker);
    let checkpoints = millstream_checkpoint::mutant::all().map(checkpoint);
    let known = |mutant: &Mutant| REGISTRY.iter().any(|(registered, _)| registered == mutant);
    let disks = millstream_host::mutant::all().map(host);
    let all = there.chain(here).chain(checkpoints).chain(disks);
    let missing = all.filter(|mutant| !known(mutant));
    missing.map(|mutant| mutant.name).collect()
}
