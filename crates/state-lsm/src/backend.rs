//! [`LsmBackend`]: keyed state in databases on local disk.

use crate::config::LsmConfig;
use crate::shared::{NAME, Shared};
use crate::store::LsmStore;
use millstream_state::backend::{RowStore, StateBackend, StoreSpec};
use rocksdb::Options;
use std::sync::Arc;

/// The state backend of a process.
pub struct LsmBackend(Arc<Shared>);

impl LsmBackend {
    /// A backend with nothing in it; takes no disk before it is used.
    pub fn new(config: &LsmConfig) -> Self {
        Self(Arc::new(Shared::new(config)))
    }

    /// How its databases are opened: for benchmarks, which compare with one.
    #[doc(hidden)]
    pub fn database_options(&self) -> Options {
        self.0.options()
    }

    /// What all tables have in memory, by RocksDB's own account.
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

impl StateBackend for LsmBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn table(&self, spec: &StoreSpec) -> Box<dyn RowStore> {
        Box::new(LsmStore::new(self.0.clone(), spec.clone()))
    }
}
