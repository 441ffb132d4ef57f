//! How a job is tested, and what it may be started from.

use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::time::Timestamp;

/// Sources give so few records per turn, unless the test says otherwise: so that a crash finds records
/// everywhere on their way.
const TURN_RECORDS: usize = 16;

/// How a job is tested.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) parallelism: u32,
    pub(super) start_time: Timestamp,
    pub(super) turn_records: usize,
    pub(super) checkpoint_every: Option<u64>,
    pub(super) crash_after: Option<u64>,
    pub(super) restarts: u32,
    pub(super) seed: Option<u64>,
    pub(super) unaligned: bool,
    pub(super) restore: Option<Snapshot>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallelism: 1,
            start_time: 0,
            turn_records: TURN_RECORDS,
            checkpoint_every: None,
            crash_after: None,
            restarts: 0,
            seed: None,
            unaligned: false,
            restore: None,
        }
    }
}

/// The state of a job at one moment, in memory: what another one can be started from.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) storage: MemoryStorage,
    pub(super) path: String,
}
