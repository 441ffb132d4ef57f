//! What the endpoints do: parse, ask, convert. One file per noun.

pub(crate) mod cluster;
pub(crate) mod jars;
pub(crate) mod job;
pub(crate) mod job_manager;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod snapshots;
pub(crate) mod task_managers;
pub(crate) mod vertex;
