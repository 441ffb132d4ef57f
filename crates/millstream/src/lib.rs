//! Millstream: stateful stream processing in Rust, embedded or on a cluster.
