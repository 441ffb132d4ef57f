//! [`LateRecords`]: what becomes of records that come too late for all of their windows.

use crate::accumulators::Accumulator;
use crate::context::TaskContext;
use crate::metrics::Counter;
use crate::side_output::{OutputTag, SideOutputs};
use millstream_core::time::Timestamp;
use millstream_core::{OperatorError, Record};

/// The metric, and the accumulator, that count late records that went nowhere: Flink's name of it.
pub const LATE_RECORDS_DROPPED: &str = "numLateRecordsDropped";

/// Late records go to a side output, if one is named, and are counted.
pub struct LateRecords<T> {
    tag: Option<OutputTag<T>>,
    sides: SideOutputs,
    count: u64,
    /// Counts those that go nowhere, for people.
    dropped: Option<(Accumulator, Counter)>,
}

impl<T: Record> LateRecords<T> {
    /// They go there, or nowhere.
    pub fn new(tag: Option<OutputTag<T>>) -> Self {
        Self { tag, sides: SideOutputs::new(), count: 0, dropped: None }
    }

    /// The same; those that go nowhere are counted where people see it.
    pub fn of_task(
        tag: Option<OutputTag<T>>,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        let in_all = context.accumulators.counter(LATE_RECORDS_DROPPED)?;
        let here = context.metrics.counter(LATE_RECORDS_DROPPED)?;
        Ok(Self { dropped: Some((in_all, here)), ..Self::new(tag) })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Where they go.
    pub fn sides(&mut self) -> &mut SideOutputs {
        &mut self.sides
    }

    /// A record has come too late.
    pub(super) fn take(&mut self, record: T, time: Timestamp) -> Result<(), OperatorError> {
        self.count += 1;
        if let Some(tag) = &self.tag {
            self.sides.set_time(Some(time));
            self.sides.emit(tag, record);
            self.sides.check()?;
        } else if let Some((in_all, here)) = &self.dropped {
            in_all.add(1);
            here.inc();
        }
        Ok(())
    }
}
