//! [`Results`]: where a window that fires gives its results, and what is known there.

use super::time_window::TimeWindow;
use crate::clock::ProcessingClock;
use crate::side_output::{OutputTag, SideOutputs};
use millstream_core::Record;
use millstream_core::time::Timestamp;

/// Takes the results of a window.
pub struct Results<'a, O> {
    out: &'a mut Vec<O>,
    sides: &'a mut SideOutputs,
    watermark: Timestamp,
    clock: &'a ProcessingClock,
}

impl<'a, O> Results<'a, O> {
    /// Results of this window; those that go aside have its time too.
    pub fn of(
        window: TimeWindow,
        out: &'a mut Vec<O>,
        sides: &'a mut SideOutputs,
        watermark: Timestamp,
        clock: &'a ProcessingClock,
    ) -> Self {
        sides.set_time((!window.is_global()).then(|| window.max_timestamp()));
        Self { out, sides, watermark, clock }
    }

    /// The same, for a call.
    pub fn again(&mut self) -> Results<'_, O> {
        let Self { out, sides, watermark, clock } = self;
        Results { out, sides, watermark: *watermark, clock }
    }

    /// Takes one.
    #[inline]
    pub fn push(&mut self, result: O) {
        self.out.push(result);
    }

    /// Takes one for a side output.
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, record);
    }

    /// How far event time is.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of the machine.
    pub fn processing_time(&self) -> Timestamp {
        self.clock.now()
    }
}

impl<O> Extend<O> for Results<'_, O> {
    fn extend<I: IntoIterator<Item = O>>(&mut self, results: I) {
        self.out.extend(results);
    }
}
