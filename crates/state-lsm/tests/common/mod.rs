//! A backend in a directory that goes with it.

use millstream_core::key_group::MaxParallelism;
use millstream_state::Backing;
use millstream_state_lsm::{LsmBackend, LsmConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// Where backends of tests have their directories.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join("millstream-state-lsm-tests")
}

/// A small one.
pub(crate) fn config() -> LsmConfig {
    LsmConfig { memory: 8 << 20, write_buffer_ratio: 0.5, directory: directory() }
}

/// For tables of 128 key groups.
pub(crate) fn backing() -> Option<Backing> {
    let max = MaxParallelism::new(128).expect("within bounds");
    Some(Backing { backend: Arc::new(LsmBackend::new(&config())), max })
}
