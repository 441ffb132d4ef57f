//! How watermarks pass through a task: from its channels, or from an operator that makes them, down the
//! chain and into every output.
//!
//! A watermark lies behind the records that came before it and is taken a stage further when all buffers
//! are empty. Each operator fires what is due, as far as there is room, and gives way to a barrier that
//! waits; watermarks are no state, so what is left to fire is fired after a restore as well, when time
//! has come so far again.

use super::{Step, StreamTask};
use crate::failure::TaskError;
use millstream_operator::source::SplitChange;
use millstream_shuffle::element::Watermark;
use std::time::Instant;

impl StreamTask {
    /// A channel has said how far its time is.
    pub(super) fn on_watermark(&mut self, channel: usize, watermark: Watermark) {
        if let Some(joined) = self.valve.on_watermark(channel, watermark) {
            self.chain.put_watermark(joined);
        }
    }

    /// A channel has ended, and with it its time.
    pub(super) fn on_end_of_time(&mut self, channel: usize) {
        if let Some(joined) = self.valve.on_end(channel) {
            self.chain.put_watermark(joined);
        }
    }

    /// Tells the chain what has become of the source's splits with the poll that has just been made. That
    /// one has ended is told behind its last records.
    pub(super) fn split_changes(&mut self) -> Result<(), TaskError> {
        while let Some(change) = self.head.take_split_change()? {
            match change {
                SplitChange::Ended(split) => self.ended_splits.push(split),
                SplitChange::Opened(_) | SplitChange::Reading(_) => {
                    self.chain.split_changed(change);
                }
            }
        }
        Ok(())
    }

    /// The last records of these splits are through.
    pub(super) fn end_splits(&mut self) {
        for split in std::mem::take(&mut self.ended_splits) {
            self.chain.split_changed(SplitChange::Ended(split));
        }
    }

    /// Takes a watermark one stage further.
    pub(super) fn pass_watermark(&mut self, now: Instant) -> Result<Step, TaskError> {
        self.held_since.get_or_insert(now);
        if let Some(watermark) = self.chain.advance_watermark()? {
            if !self.flush_outputs() {
                return Ok(Step::NeedOutput);
            }
            self.watermark_out = watermark.time;
            self.outputs.push_watermark(watermark);
            self.chain.watermark_has_left();
        }
        Ok(Step::Progress)
    }
}
