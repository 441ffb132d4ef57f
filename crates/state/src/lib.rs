//! Keyed state: the heap backend.
