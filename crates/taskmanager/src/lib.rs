//! The deciding half of the TaskManager: task executor, slot table, job table, child supervision. Pure.
