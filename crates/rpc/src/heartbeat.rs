//! Who is still there: one monitor for all targets of an endpoint. Pure.
//!
//! Both sides of a relation run one. Every message of a target re-arms its timeout; a target that
//! is silent for the timeout, or whose calls failed as unreachable so many times in a row, is
//! lost. A loss is told once, then the target is forgotten.

use millstream_core::time::Mono;
use std::collections::BTreeMap;

/// Flink's `heartbeat.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// `heartbeat.interval`: how often the active side asks, in milliseconds.
    pub interval_ms: u64,
    /// `heartbeat.timeout`: how long silence is borne, in milliseconds.
    pub timeout_ms: u64,
    /// `heartbeat.rpc-failure-threshold`: unreachable calls in a row that mean lost; nothing: never.
    pub failures_max: Option<u32>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { interval_ms: 10_000, timeout_ms: 50_000, failures_max: Some(2) }
    }
}

/// The targets of one endpoint that are thought to be alive.
#[derive(Clone, Debug)]
pub struct Heartbeats<T> {
    config: HeartbeatConfig,
    targets: BTreeMap<T, Target>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    /// Lost if nothing is heard until then.
    deadline: Mono,
    /// Unreachable calls since something was heard.
    failures: u32,
}

impl<T: Ord + Clone> Heartbeats<T> {
    /// Watches nobody.
    pub fn new(config: HeartbeatConfig) -> Self {
        Self { config, targets: BTreeMap::new() }
    }

    /// The intervals and bounds in force.
    pub fn config(&self) -> HeartbeatConfig {
        self.config
    }

    /// Begins to watch a target, as if it had just been heard.
    pub fn monitor(&mut self, target: T, now: Mono) {
        let deadline = now + self.config.timeout_ms;
        self.targets.insert(target, Target { deadline, failures: 0 });
    }

    /// Watches the target no more; whether it was watched.
    pub fn unmonitor(&mut self, target: &T) -> bool {
        self.targets.remove(target).is_some()
    }

    /// The target was heard; whether it is watched. Others are ignored.
    pub fn heard(&mut self, target: &T, now: Mono) -> bool {
        let deadline = now + self.config.timeout_ms;
        match self.targets.get_mut(target) {
            Some(known) => {
                *known = Target { deadline, failures: 0 };
                true
            }
            None => false,
        }
    }

    /// A call to the target found nobody; whether it is now lost (and forgotten).
    pub fn unreachable(&mut self, target: &T) -> bool {
        let Some(known) = self.targets.get_mut(target) else {
            return false;
        };
        known.failures += 1;
        let lost = self.config.failures_max.is_some_and(|max| known.failures >= max);
        if lost {
            self.targets.remove(target);
        }
        lost
    }

    /// Takes out the targets that were silent for too long.
    pub fn take_expired(&mut self, now: Mono) -> Vec<T> {
        let expired: Vec<T> = self
            .targets
            .iter()
            .filter(|(_, target)| target.deadline <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &expired {
            self.targets.remove(name);
        }
        expired
    }

    /// When [`Heartbeats::take_expired`] may have something to give.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.targets.values().map(|target| target.deadline).min()
    }

    /// Everybody who is watched.
    pub fn targets(&self) -> impl Iterator<Item = &T> {
        self.targets.keys()
    }

    /// Whether the target is watched.
    pub fn watches(&self, target: &T) -> bool {
        self.targets.contains_key(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching(name: &'static str) -> Heartbeats<&'static str> {
        let mut heartbeats = Heartbeats::new(HeartbeatConfig::default());
        heartbeats.monitor(name, Mono(0));
        heartbeats
    }

    #[test]
    fn silence_is_told_once() {
        let mut heartbeats = watching("worker");
        assert!(heartbeats.take_expired(Mono(49_999)).is_empty());
        assert!(heartbeats.heard(&"worker", Mono(40_000)));
        assert!(heartbeats.take_expired(Mono(89_999)).is_empty());
        assert_eq!(heartbeats.take_expired(Mono(90_000)), ["worker"]);
        assert!(heartbeats.take_expired(Mono(900_000)).is_empty());
    }

    #[test]
    fn two_unreachable_calls_in_a_row_mean_lost() {
        let mut heartbeats = watching("worker");
        assert!(!heartbeats.unreachable(&"worker"));
        heartbeats.heard(&"worker", Mono(1));
        assert!(!heartbeats.unreachable(&"worker"));
        assert!(heartbeats.unreachable(&"worker"));
        assert!(!heartbeats.unreachable(&"worker"));
    }

    #[test]
    fn a_stranger_is_ignored() {
        assert!(!watching("worker").heard(&"stranger", Mono(1)));
    }
}
