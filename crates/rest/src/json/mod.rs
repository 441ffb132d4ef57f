//! Flink's messages, one file per message, made from what the endpoints tell.
//!
//! Conventions: times are milliseconds UTC; 0 for a state that was never entered, -1 for a time or
//! duration that is not known yet. Where a number has no counterpart here, Flink's neutral value
//! stands for it.
//!
//! In reading order:
//! - small words: [`error`], [`states`], [`summary`], [`io_metrics`];
//! - the cluster: [`overview`], [`dashboard`], [`job_manager`], [`task_manager`];
//! - jobs: [`jobs`], [`job`], [`plan`], [`job_config`], [`exceptions`], [`execution_result`],
//!   [`accumulators`];
//! - vertices: [`vertex_view`], [`task_group`], [`attempt`], [`vertex`], [`subtask_times`],
//!   [`vertex_task_managers`], [`watermarks`], [`metrics`];
//! - checkpoints and savepoints: [`checkpoints`], [`triggered`];
//! - programs: [`jars`].

pub(crate) mod accumulators;
pub(crate) mod attempt;
pub(crate) mod checkpoints;
pub(crate) mod dashboard;
pub(crate) mod error;
pub(crate) mod exceptions;
pub(crate) mod execution_result;
pub(crate) mod io_metrics;
pub(crate) mod jars;
pub(crate) mod job;
pub(crate) mod job_config;
pub(crate) mod job_manager;
pub(crate) mod jobs;
pub(crate) mod metrics;
pub(crate) mod overview;
pub(crate) mod plan;
pub(crate) mod states;
pub(crate) mod subtask_times;
pub(crate) mod summary;
pub(crate) mod task_group;
pub(crate) mod task_manager;
pub(crate) mod triggered;
pub(crate) mod vertex;
pub(crate) mod vertex_task_managers;
pub(crate) mod vertex_view;
pub(crate) mod watermarks;
