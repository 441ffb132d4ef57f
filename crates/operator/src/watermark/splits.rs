//! [`SplitTimes`]: a generator for each split that a source has open, and one watermark out of theirs. Pure:
//! time comes in.
//!
//! The rules are Flink's (`WatermarkOutputMultiplexer`):
//! - time is the least of all splits that are open and not idle, and never goes back: it stands while a
//!   split that has just been opened is behind;
//! - a split that has ended is not waited for, nor is one on which nothing has come for as long as the
//!   strategy says;
//! - when all splits are idle, so is the stream, and time goes to the most that any of them has told.
//!
//! While no split is open, or where the source says nothing of splits, the stream as a whole is like one.

use super::generator::{BatchGenerator, WatermarkOutput};
use super::idleness::Idleness;
use crate::source::{SplitChange, SplitNumber};
use millstream_core::time::Timestamp;
use millstream_shuffle::element::Watermark;
use std::collections::BTreeMap;

/// A generator for each split, and the watermark of all.
pub(super) struct SplitTimes<T> {
    /// What a split begins with.
    fresh: SplitTime<T>,
    /// The time of records that are of no split.
    whole: SplitTime<T>,
    splits: BTreeMap<SplitNumber, SplitTime<T>>,
    /// The split whose records come.
    reading: Option<SplitNumber>,
    told: Watermark,
}

/// How far the time of one split is.
struct SplitTime<T> {
    generator: Box<dyn BatchGenerator<T>>,
    output: WatermarkOutput,
    idleness: Option<Idleness>,
}

impl<T> SplitTimes<T> {
    /// No split is open; `idleness` begins with the silence.
    pub(super) fn new(generator: Box<dyn BatchGenerator<T>>, idleness: Option<Idleness>) -> Self {
        let fresh = SplitTime { generator, output: WatermarkOutput::new(), idleness };
        let (whole, told) = (fresh.another(), fresh.output.current());
        Self { fresh, whole, splits: BTreeMap::new(), reading: None, told }
    }

    /// The watermark of all.
    pub(super) fn current(&self) -> Watermark {
        self.told
    }

    /// How far all are by what has come: as far as the next watermark will be, or less.
    pub(super) fn reached(&self) -> Watermark {
        let splits = self.splits.values().chain(self.splits.is_empty().then_some(&self.whole));
        let active = splits.filter(|split| !split.output.current().is_idle());
        let reached = active.map(|split| {
            let told = split.output.current().time;
            split.generator.reached().map_or(told, |reached| reached.max(told))
        });
        reached.min().map_or(self.told, |least| Watermark::active(least.max(self.told.time)))
    }

    /// The source says something of a split.
    pub(super) fn on_change(&mut self, change: SplitChange) {
        match change {
            SplitChange::Opened(split) => self.open(split),
            SplitChange::Reading(split) => {
                self.open(split);
                self.reading = Some(split);
            }
            SplitChange::Ended(split) => {
                self.splits.remove(&split);
                self.reading = self.reading.filter(|reading| *reading != split);
                if self.splits.is_empty() {
                    // The silence before the next split begins here.
                    self.whole = self.fresh.another();
                }
            }
        }
        self.tell();
    }

    fn open(&mut self, split: SplitNumber) {
        self.splits.entry(split).or_insert_with(|| self.fresh.another());
    }

    /// Records have come, of the split that is being read.
    pub(super) fn on_batch(&mut self, records: &[T], times: &[Timestamp]) {
        let split = self.reading.and_then(|reading| self.splits.get_mut(&reading));
        let split = split.unwrap_or(&mut self.whole);
        let before = split.output.current();
        split.on_batch(records, times);
        if split.output.current() != before {
            self.tell();
        }
    }

    /// The time for watermarks has come: asks all generators, and looks who has fallen silent, unless the
    /// source was not read.
    pub(super) fn on_periodic_emit(&mut self, now: Timestamp, was_read: bool) {
        // A split that is opened later has not been silent before.
        self.fresh.skip(now);
        let whole = self.splits.is_empty().then_some(&mut self.whole);
        for split in self.splits.values_mut().chain(whole) {
            split.on_periodic_emit(now, was_read);
        }
        self.tell();
    }

    fn tell(&mut self) {
        let told = self.told.time;
        let whole = self.splits.is_empty().then_some(&self.whole);
        let all = || self.splits.values().chain(whole).map(|split| split.output.current());
        let active = all().filter(|split| !split.is_idle());
        self.told = match active.map(|split| split.time).min() {
            Some(least) => Watermark::active(told.max(least)),
            None => Watermark::idle(all().map(|split| split.time).fold(told, Timestamp::max)),
        };
    }
}

impl<T> SplitTime<T> {
    /// Another one that knows nothing yet.
    fn another(&self) -> Self {
        let (generator, idleness) = (self.generator.boxed(), self.idleness.clone());
        Self { generator, output: WatermarkOutput::new(), idleness }
    }

    /// Nothing could come since the last look.
    fn skip(&mut self, now: Timestamp) {
        if let Some(idleness) = &mut self.idleness {
            idleness.skip(now);
        }
    }

    fn on_batch(&mut self, records: &[T], times: &[Timestamp]) {
        if let Some(idleness) = &mut self.idleness {
            idleness.on_activity();
        }
        if self.output.current().is_idle() {
            self.output.mark_active();
        }
        self.generator.on_batch(records, times, &mut self.output);
    }

    fn on_periodic_emit(&mut self, now: Timestamp, was_read: bool) {
        if self.output.current().is_idle() {
            return;
        }
        self.generator.on_periodic_emit(&mut self.output);
        if !was_read {
            self.skip(now);
        } else if self.idleness.as_mut().is_some_and(|idleness| idleness.is_idle(now)) {
            self.output.mark_idle();
        }
    }
}

#[cfg(test)]
#[path = "splits_test.rs"]
mod tests;
