//! The job process: slot threads, stream tasks, operator chains.
