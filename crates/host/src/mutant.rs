//! Planted bugs. Each takes one protection away; the simulator must notice within 500 seeds.
//!
//! Without the feature `mutants` the question is a constant `false` and costs nothing.

pub use millstream_core::mutant::*;

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
