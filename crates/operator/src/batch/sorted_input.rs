//! [`SortedInput`]: a keyed operator whose records come sorted by keys, in BATCH mode.
//!
//! It takes all records first, and gives them on when the input has ended: key by key, and those of a key
//! by their times. After every few thousand records, when a key is complete, the operator within gives what
//! is left of the keys so far and forgets them ([`Operator::end_keys`]). So its state is that of a few keys,
//! and no record is ever late: time ends for each key behind its last record.

use super::sorter::{SortedRows, Sorter};
use crate::context::TaskContext;
use crate::inspect::Inspect;
use crate::key::{KeySelector, find_keys};
use crate::operator::{Flow, Operator};
use crate::side_output::SideOutputs;
use millstream_core::config::{Configuration, catalog};
use millstream_core::job_graph::RuntimeMode;
use millstream_core::record::Input;
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::element::Watermark;
use std::path::PathBuf;

/// When a key is complete and at least so many records have come, the operator within forgets.
const RECORDS_BETWEEN: usize = 8_192;

/// A keyed operator whose records come sorted by keys.
pub struct SortedInput<K, T, O> {
    operator: O,
    selector: Box<dyn KeySelector<K, T>>,
    stage: Stage,
    /// What the operator within gets next.
    batch: Batch<T>,
    /// It has not taken all of it.
    has_more: bool,
    /// Records that it has been given since it has forgotten.
    given: usize,
    /// The key of the last record that was read.
    key: Vec<u8>,
    /// The first record of another key: the keys before it are complete, and are to be forgotten.
    first_of_next: Option<(u64, Timestamp, T)>,
    /// The keys of the batch that is being taken in; kept for its memory.
    keys: Vec<K>,
}

enum Stage {
    /// Records come.
    Sorting(Sorter),
    /// They are given on.
    Giving(SortedRows),
    /// The last keys are complete.
    Ending,
    /// All is done.
    Done,
}

/// Whether a task's keyed operators get their records sorted.
pub fn is_sorted(context: &TaskContext) -> Result<bool, OperatorError> {
    if context.mode != RuntimeMode::Batch {
        return Ok(false);
    }
    let configuration = Configuration(context.configuration.as_ref().clone());
    let enabled = configuration.get(&catalog::SORTED_INPUTS);
    enabled.map_err(|error| OperatorError::from_error(&error))
}

impl<K: Key, T: Record, O: Operator> SortedInput<K, T, O> {
    /// Sorts what comes for the operator by these keys.
    pub fn new(
        operator: O,
        selector: Box<dyn KeySelector<K, T>>,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        let configuration = Configuration(context.configuration.as_ref().clone());
        let told = |error| OperatorError::from_error(&error);
        let memory = configuration.get(&catalog::SORTED_INPUTS_MEMORY).map_err(told)?;
        let directories = configuration.get(&catalog::TMP_DIRS).map_err(told)?;
        let directory = directories.first().map_or_else(std::env::temp_dir, PathBuf::from);
        let sorter = Sorter::new(usize::try_from(memory).unwrap_or(usize::MAX), directory);
        Ok(Self {
            operator,
            selector,
            stage: Stage::Sorting(sorter),
            batch: Batch::new(),
            has_more: false,
            given: 0,
            key: Vec::new(),
            first_of_next: None,
            keys: Vec::new(),
        })
    }

    /// The operator within.
    pub fn operator(&mut self) -> &mut O {
        &mut self.operator
    }

    /// Fills the batch with the next records, up to the end of a key if it is time to forget.
    fn fill(&mut self) -> Result<(), OperatorError> {
        if let Some((hash, time, record)) = self.first_of_next.take() {
            self.add(hash, time, record);
        }
        while self.batch.items.len() < Batch::<T>::target() {
            let Stage::Giving(rows) = &mut self.stage else { return Ok(()) };
            let Some(row) = rows.next()? else {
                self.stage = Stage::Ending;
                return Ok(());
            };
            let (hash, time, record) = (row.hash, row.time, decode::<T>(row.record)?);
            if self.key != row.key {
                self.key.clear();
                self.key.extend_from_slice(row.key);
                if self.given >= RECORDS_BETWEEN {
                    self.first_of_next = Some((hash, time, record));
                    return Ok(());
                }
            }
            self.add(hash, time, record);
        }
        Ok(())
    }

    fn add(&mut self, hash: u64, time: Timestamp, record: T) {
        let batch = &mut self.batch;
        batch.items.push(record);
        batch.hashes.push(hash);
        batch.stamp(batch.items.len() - 1, Some(time).filter(|time| *time != NO_TIMESTAMP));
        self.given += 1;
    }

    /// One step of giving on; whether there is room for another.
    fn give(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        if self.has_more || !self.batch.items.is_empty() {
            let flow = self.operator.process(&mut self.batch, out, room)?;
            self.has_more = flow == Flow::More;
            return Ok(flow);
        }
        let is_last = matches!(self.stage, Stage::Ending);
        if is_last || (self.first_of_next.is_some() && self.given > 0) {
            let flow = self.operator.end_keys(out, room)?;
            if flow == Flow::Drained {
                self.given = 0;
                if is_last {
                    self.stage = Stage::Done;
                }
            }
            return Ok(flow);
        }
        self.fill().map(|()| Flow::Drained)
    }
}

fn decode<T: Record>(row: &[u8]) -> Result<T, OperatorError> {
    T::decode(&mut Input::new(row)).map_err(|error| {
        OperatorError::new(format!("a sorted record cannot be read back: {error}"))
    })
}

impl<K: Key, T: Record, O: Operator> Operator for SortedInput<K, T, O> {
    fn output(&self) -> BoxBatch {
        self.operator.output()
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<T>(input);
        let Stage::Sorting(sorter) = &mut self.stage else {
            return Err(OperatorError::new("a record came after the end of the input"));
        };
        find_keys(self.selector.as_ref(), input, &mut self.keys)?;
        for (at, (record, key)) in input.items.drain(..).zip(&self.keys).enumerate() {
            let time = input.timestamps.get(at).copied().unwrap_or(NO_TIMESTAMP);
            let hash = input.hashes[at];
            sorter.push(hash, time, |out| key.encode(out), |out| record.encode(out))?;
        }
        input.hashes.clear();
        input.timestamps.clear();
        Ok(Flow::Drained)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        if matches!(self.stage, Stage::Sorting(_))
            && let Stage::Sorting(sorter) = std::mem::replace(&mut self.stage, Stage::Done)
        {
            self.stage = Stage::Giving(sorter.sorted()?);
        }
        while !matches!(self.stage, Stage::Done) {
            if out.len() >= room || self.give(out, room)? != Flow::Drained {
                return Ok(Flow::More);
            }
            if self.operator.side_outputs().is_some_and(|sides| sides.has_pending()) {
                return Ok(Flow::More);
            }
        }
        Ok(Flow::Drained)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        self.operator.side_outputs()
    }

    /// Time ends with each key, and for those behind with the input.
    fn pass_watermark(&mut self, _watermark: Watermark) -> Option<Watermark> {
        None
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        self.operator.inspect()
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        self.operator.close(completed)
    }
}
