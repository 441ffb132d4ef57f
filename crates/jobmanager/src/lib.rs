//! The deciding half of the JobManager: dispatcher, job masters, resource manager. Pure.

pub mod dispatcher;
pub mod execution_graph;
mod fence;
pub mod ha;
pub mod job_master;
pub mod mutant;
pub mod resource_manager;
pub mod scheduler;
pub mod slot_manager;
pub mod watermark_alignment;

#[cfg(test)]
mod test_driver;
