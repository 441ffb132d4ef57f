//! The resource manager: knows all workers and all job masters, and brings slots to jobs.
//!
//! Task executors register and report their slots; job masters register and declare what they
//! need; the [slot manager](crate::slot_manager) matches; the resource manager asks the workers.
//! Slots themselves are offered by the worker to the job master: what is decided here is who may
//! have what, and the worker has the last word. When the resource manager is lost, running tasks
//! go on, and a new one learns all this again from registrations and reports.
//!
//! In reading order:
//! - [`config`]: what can be configured, its timers;
//! - [`machine`]: the endpoint: its state, what reaches it, the door;
//! - `known`: what is remembered of workers, jobs and open requests;
//! - `task_executors`: registration, slot reports, the loss of a worker;
//! - `job_masters`: registration, declared needs, the loss of a job master;
//! - `slot_requests`: grants and what comes of them, telling jobs that they are short;
//! - `pacing`: how often needs and slots are compared;
//! - `heartbeats`: who is still there;
//! - `queries`: what people ask;
//! - `invariants`: what holds after every step.

pub mod config;
mod heartbeats;
mod invariants;
mod job_masters;
mod known;
pub mod machine;
mod pacing;
mod queries;
mod slot_requests;
mod task_executors;

pub use config::{ResourceManagerConfig, ResourceManagerTimer};
pub use machine::{Counters, ResourceManager};

#[cfg(test)]
mod convergence_test;
#[cfg(test)]
mod tests;
