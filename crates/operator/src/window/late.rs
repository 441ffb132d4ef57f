//! [`LateRecords`]: what becomes of records that come too late for all of their windows.

use crate::side_output::{OutputTag, SideOutputs};
use millstream_core::time::Timestamp;
use millstream_core::{OperatorError, Record};

/// Late records go to a side output, if one is named, and are counted.
pub struct LateRecords<T> {
    tag: Option<OutputTag<T>>,
    sides: SideOutputs,
    count: u64,
}

impl<T: Record> LateRecords<T> {
    /// They go there, or nowhere.
    pub fn new(tag: Option<OutputTag<T>>) -> Self {
        Self { tag, sides: SideOutputs::new(), count: 0 }
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
        }
        Ok(())
    }
}
