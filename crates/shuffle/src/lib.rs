//! How batches move between tasks: elements, channels, partitions, gates, credit and the wire.
