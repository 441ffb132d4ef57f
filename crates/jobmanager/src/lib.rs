//! The deciding half of the JobManager: dispatcher, job masters, resource manager. Pure.
