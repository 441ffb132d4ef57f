//! The DataStream API: stream graph and its translation to a job graph.
