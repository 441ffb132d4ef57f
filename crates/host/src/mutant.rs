//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing.

/// Mutants of the files of checkpoints and records.
pub const DISK: &[&str] = &[
    "file_is_not_synced",
    "name_is_not_synced",
    "visible_counts_as_durable",
    "directory_is_not_synced",
    "failed_sync_is_ignored",
    "link_is_not_synced",
    "record_is_not_synced",
    "version_is_replaced",
    "doubtful_link_has_failed",
    "read_is_not_synced",
];

/// Every mutant of this crate.
pub fn all() -> impl Iterator<Item = &'static str> {
    DISK.iter().copied()
}

/// Whether the planted bug of this name is active.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn on(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Whether the planted bug of this name is active on this thread.
#[cfg(feature = "mutants")]
pub(crate) fn on(name: &'static str) -> bool {
    debug_assert!(all().any(|known| known == name), "unknown mutant {name}");
    ACTIVE.get() == Some(name)
}

/// Activates one planted bug on this thread, or none.
#[cfg(feature = "mutants")]
pub fn set(name: Option<&'static str>) {
    ACTIVE.set(name);
}
