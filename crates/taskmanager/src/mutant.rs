//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing.

/// Every mutant of this crate.
pub const ALL: [&str; 11] = [
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

/// Whether the planted bug of this name is active.
#[cfg(not(feature = "mutants"))]
#[inline]
pub fn on(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Whether the planted bug of this name is active on this thread.
#[cfg(feature = "mutants")]
pub fn on(name: &'static str) -> bool {
    debug_assert!(ALL.contains(&name), "unknown mutant {name}");
    ACTIVE.get() == Some(name)
}

/// Activates one planted bug on this thread, or none.
#[cfg(feature = "mutants")]
pub fn set(name: Option<&'static str>) {
    ACTIVE.set(name);
}
