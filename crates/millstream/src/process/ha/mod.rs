//! High availability, the half that acts: the record and the files beside it in a directory or bucket
//! that all processes share. Who decides is `jobmanager::ha`.
//!
//! In reading order:
//! - [`settings`]: what the configuration says;
//! - [`handle`]: how the parts of a leader change the record, and learn that they must not any more;
//! - [`job_files`]: plans and programs of jobs, beside the record;
//! - [`election_work`]: what the election wants done;
//! - [`leader`]: what belongs to a leader, made for each term and stopped after it;
//! - [`retrieval`]: who leads, for those who want to find out.

pub mod election_work;
pub mod handle;
pub mod job_files;
pub mod leader;
pub mod retrieval;
pub mod settings;

/// The record's key in its directory.
pub const RECORD: &str = "leader";
