//! The record, and how its store behaves: every operation takes effect at one moment, or never, and
//! what its caller is told comes before or after that and may say nothing.

use super::plan::Plan;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_rpc::machine::Rng;

/// The record.
#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    bytes: Vec<u8>,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When it takes effect, in microseconds from now; nothing: never.
    pub effect_us: Option<u64>,
    /// When its writer is told, in microseconds from now.
    pub told_us: u64,
    /// Its writer is not told what happened.
    pub unknown: bool,
}

impl Store {
    /// The newest version.
    pub fn read(&self) -> Option<(Version, Vec<u8>)> {
        (self.version > 0).then(|| (Version(self.version.to_string()), self.bytes.clone()))
    }

    /// Compare and set.
    pub fn put_if(&mut self, bytes: &[u8], expected: Option<&Version>) -> Put {
        let newest = (self.version > 0).then(|| Version(self.version.to_string()));
        if newest.as_ref() != expected {
            return Put::Conflict;
        }
        self.version += 1;
        self.bytes = bytes.to_vec();
        Put::Written(Version(self.version.to_string()))
    }
}

/// What becomes of a write that begins now.
pub fn draw_fate(rng: &mut Rng, plan: &Plan, healed: bool) -> Fate {
    let prompt = |rng: &mut Rng| 100 + rng.below(3_000);
    let (effect, told) = (prompt(rng), prompt(rng));
    let good = Fate { effect_us: Some(effect), told_us: effect + told, unknown: false };
    if healed {
        return good;
    }
    let emphasis = &plan.emphasis;
    if rng.one_in_thousand(emphasis.failed) {
        return Fate { effect_us: None, told_us: told, unknown: false };
    }
    let lease_us = plan.lease_ms * 1000;
    if rng.one_in_thousand(emphasis.unknown) {
        let effect_us = match rng.below(3) {
            0 => None,
            1 => Some(effect),
            // The writer has long been told that nobody knows.
            _ => Some(told + rng.below(2 * lease_us)),
        };
        let told_us = told + effect_us.filter(|at| *at == effect).unwrap_or(0);
        return Fate { effect_us, told_us, unknown: true };
    }
    if rng.one_in_thousand(emphasis.slow) {
        let (effect, told) = (rng.below(lease_us), rng.below(lease_us));
        return Fate { effect_us: Some(effect), told_us: effect + told, unknown: false };
    }
    good
}

/// The store has no answer.
pub fn ill(unknown: bool) -> StorageError {
    let text = str::to_owned;
    StorageError {
        attempt: text("write"),
        path: text("sim"),
        cause: text("the store is ill"),
        unknown,
    }
}
