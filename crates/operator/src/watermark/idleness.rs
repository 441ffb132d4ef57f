//! [`Idleness`]: how long nothing has come. Pure: time comes in.
//!
//! Time counts only while it is looked at: a task that is back-pressured looks at nothing, and what
//! could not come because of that has not been missing.

use millstream_core::time::Timestamp;

/// Says when a stream has been silent for so long that nobody should wait for it.
#[derive(Clone, Debug)]
pub struct Idleness {
    timeout_ms: i64,
    /// A pause between looks counts at most so much.
    pause_ms_max: i64,
    silent_ms: i64,
    looked_at: Timestamp,
}

impl Idleness {
    /// Silence begins now; there will be a look each `interval_ms`.
    pub fn new(timeout_ms: i64, interval_ms: i64, now: Timestamp) -> Self {
        let pause_ms_max = interval_ms.saturating_mul(2);
        Self { timeout_ms, pause_ms_max, silent_ms: 0, looked_at: now }
    }

    /// Something has come.
    pub fn on_activity(&mut self) {
        self.silent_ms = 0;
    }

    /// Looks without counting: nothing could come since the last look, or nobody waited for it.
    pub fn skip(&mut self, now: Timestamp) {
        self.looked_at = now;
    }

    /// Looks: whether nothing has come for as long as it takes.
    pub fn is_idle(&mut self, now: Timestamp) -> bool {
        let pause = now.saturating_sub(self.looked_at).clamp(0, self.pause_ms_max);
        self.silent_ms = self.silent_ms.saturating_add(pause);
        self.looked_at = now;
        self.silent_ms >= self.timeout_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_adds_up_and_ends_with_a_record() {
        let mut idleness = Idleness::new(1_000, 200, 0);
        assert!((1..5).all(|look| !idleness.is_idle(look * 200)));
        assert!(idleness.is_idle(1_000));
        idleness.on_activity();
        assert!((1..5).all(|look| !idleness.is_idle(1_000 + look * 200)));
        assert!(idleness.is_idle(2_000));
    }

    #[test]
    fn a_task_that_could_not_read_for_a_minute_does_not_call_its_input_silent() {
        let mut idleness = Idleness::new(1_000, 200, 0);
        assert!(!idleness.is_idle(60_000));
        // Nor does a clock that is set back.
        assert!(!idleness.is_idle(-60_000));
    }

    #[test]
    fn time_in_which_nobody_reads_does_not_count() {
        let mut idleness = Idleness::new(1_000, 200, 0);
        assert!((1..5).all(|look| !idleness.is_idle(look * 200)));
        (5..500).for_each(|look| idleness.skip(look * 200));
        assert!(idleness.is_idle(100_000), "what was missing before still is");
    }
}
