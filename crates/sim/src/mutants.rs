//! Planted bugs: which there are, in which crate, and which family must find each.

use crate::families::{
    AMBIGUOUS_PUT, BATCH_STAGES, BOUNDED_TAIL, CANCELLATION, CHECKPOINT_ALIGNED,
    CHECKPOINT_UNALIGNED, COMPLETION_AFTER_REVOKE, CRASH_AT_EVERY_IO, EVERY_EVENT, LEADER_CHANGE,
    LEADER_TAKEOVER, NO_DANGLING_REFERENCE, OVERTAKING_UNDER_PRESSURE, RECOVERY, REGION_FAILOVER,
    REGISTRATION, RESCALE, SLOTS_CONSERVED, STALE_MESSAGES, STORE_HISTORY, SUBMISSION,
    SUSPEND_ANYWHERE, TWO_LEADERS,
};
use crate::family::Family;

/// Which family must find which mutant.
pub const REGISTRY: &[(&str, &Family)] = &[
    // millstream-taskmanager
    ("skip_resource_manager_id_check", &STALE_MESSAGES),
    ("stale_slot_ticket_acts", &STALE_MESSAGES),
    ("slot_occupied_overwritten", &SLOTS_CONSERVED),
    ("late_offer_answer_counts", &SLOTS_CONSERVED),
    ("old_incarnation_event_accepted", &CANCELLATION),
    ("reuse_child_after_kill", &CANCELLATION),
    ("leak_slot_when_tasks_end", &CANCELLATION),
    ("job_master_id_not_checked", &EVERY_EVENT),
    ("blind_split_retry", &REGION_FAILOVER),
    ("linger_after_the_end", &SUBMISSION),
    ("memory_is_not_watched", &EVERY_EVENT),
    // millstream-jobmanager: resource manager, slot manager
    ("skip_fencing_check_rm", &STALE_MESSAGES),
    ("forget_stale_instance_check", &REGISTRATION),
    ("forget_job_master_check", &EVERY_EVENT),
    ("leak_slot_on_lost_ack", &SLOTS_CONSERVED),
    ("freed_slot_is_not_rechecked", &SLOTS_CONSERVED),
    ("double_grant_pending_slot", &SLOTS_CONSERVED),
    ("old_report_frees_pending_slot", &SLOTS_CONSERVED),
    ("stale_availability_frees_slot", &EVERY_EVENT),
    // millstream-jobmanager: dispatcher
    ("skip_fencing_check_dispatcher", &SUBMISSION),
    ("duplicate_submit_accepted", &SUBMISSION),
    ("start_before_persisted", &SUBMISSION),
    ("forget_remembered_cancel", &CANCELLATION),
    ("job_ends_twice", &EVERY_EVENT),
    ("forget_waiters_at_end", &SUBMISSION),
    // millstream-jobmanager: job master, scheduler, execution graph
    ("skip_fencing_check_jm", &STALE_MESSAGES),
    ("terminal_state_twice", &SUBMISSION),
    ("offer_accepted_twice_for_one_requirement", &SLOTS_CONSERVED),
    ("reconcile_ignores_missing", &EVERY_EVENT),
    ("due_restart_timer_cleared", &REGION_FAILOVER),
    ("accept_unknown_attempt_update", &STALE_MESSAGES),
    ("restart_forgets_consumers", &REGION_FAILOVER),
    ("stale_restart_timer_acts", &REGION_FAILOVER),
    ("reader_starts_early", &BATCH_STAGES),
    ("restart_takes_producers", &BATCH_STAGES),
    ("released_before_all_have_read", &BATCH_STAGES),
    ("split_handed_twice", &REGION_FAILOVER),
    // millstream-jobmanager: high availability
    ("ha_conflict_is_overwritten", &TWO_LEADERS),
    ("ha_unknown_is_failure", &AMBIGUOUS_PUT),
    ("ha_unknown_is_success", &AMBIGUOUS_PUT),
    ("ha_stale_change_accepted", &COMPLETION_AFTER_REVOKE),
    ("ha_epoch_not_raised", &LEADER_CHANGE),
    ("ha_lease_is_not_watched", &TWO_LEADERS),
    ("ha_impatient_takeover", &LEADER_CHANGE),
    ("ha_checkpoint_ids_from_one", &LEADER_CHANGE),
    ("deposed_cleans_up", &TWO_LEADERS),
    ("suspended_counts_as_ended", &SUSPEND_ANYWHERE),
    ("dirty_job_runs_again", &LEADER_CHANGE),
    ("splits_not_returned", &RECOVERY),
    // millstream-checkpoint
    ("complete_before_metadata", &CHECKPOINT_ALIGNED),
    ("complete_without_all_acks", &CHECKPOINT_ALIGNED),
    ("ack_of_old_attempt_counts", &CHECKPOINT_ALIGNED),
    ("commit_before_complete", &CHECKPOINT_ALIGNED),
    ("delete_shared_too_early", &NO_DANGLING_REFERENCE),
    ("delete_on_unknown", &NO_DANGLING_REFERENCE),
    ("restore_older_checkpoint", &RECOVERY),
    ("aborted_checkpoint_completes", &RECOVERY),
    ("finished_task_not_carried", &BOUNDED_TAIL),
    ("end_without_final_checkpoint", &BOUNDED_TAIL),
    ("keygroup_off_by_one", &RESCALE),
    ("seen_splits_forgotten", &RESCALE),
    ("union_list_is_dealt", &RESCALE),
    ("dealt_item_is_lost", &RESCALE),
    ("orphans_stay", &LEADER_TAKEOVER),
    ("sweep_takes_pending", &LEADER_TAKEOVER),
    ("sweep_takes_retained", &LEADER_TAKEOVER),
    // millstream-jobmanager: the record of checkpoints
    ("completed_before_recorded", &LEADER_TAKEOVER),
    ("doubtful_is_not_recorded", &LEADER_TAKEOVER),
    ("deleted_before_forgotten", &LEADER_TAKEOVER),
    ("deposed_works_on", &LEADER_TAKEOVER),
    ("failed_forget_is_dropped", &LEADER_TAKEOVER),
    // millstream-host
    ("file_is_not_synced", &CRASH_AT_EVERY_IO),
    ("name_is_not_synced", &CRASH_AT_EVERY_IO),
    ("visible_counts_as_durable", &CRASH_AT_EVERY_IO),
    ("directory_is_not_synced", &CRASH_AT_EVERY_IO),
    ("failed_sync_is_ignored", &CRASH_AT_EVERY_IO),
    ("link_is_not_synced", &CRASH_AT_EVERY_IO),
    ("record_is_not_synced", &CRASH_AT_EVERY_IO),
    // millstream-checkpoint: barriers that overtake
    ("overtaken_data_forgotten", &CHECKPOINT_UNALIGNED),
    ("recorded_after_the_barrier", &CHECKPOINT_UNALIGNED),
    ("replayed_after_new_input", &CHECKPOINT_UNALIGNED),
    ("begun_batch_not_recorded", &OVERTAKING_UNDER_PRESSURE),
    ("replay_not_recorded_again", &CHECKPOINT_UNALIGNED),
    ("in_flight_not_filtered", &CHECKPOINT_UNALIGNED),
    ("strict_channel_overtaken", &CHECKPOINT_UNALIGNED),
    ("acknowledged_before_recorded", &CHECKPOINT_UNALIGNED),
    ("barrier_timeout_not_propagated", &OVERTAKING_UNDER_PRESSURE),
    ("barrier_waits_its_turn", &OVERTAKING_UNDER_PRESSURE),
    ("version_is_replaced", &STORE_HISTORY),
    ("doubtful_link_has_failed", &STORE_HISTORY),
    ("read_is_not_synced", &STORE_HISTORY),
];

/// Mutants that exist in their crate and that no family has to find.
pub fn unregistered() -> Vec<&'static str> {
    let masters = millstream_jobmanager::mutant::all();
    let workers = millstream_taskmanager::mutant::all();
    let checkpoints = millstream_checkpoint::mutant::all();
    let disks = millstream_host::mutant::all();
    let all = masters.chain(workers).chain(checkpoints).chain(disks);
    all.filter(|name| !REGISTRY.iter().any(|(registered, _)| registered == name)).collect()
}
