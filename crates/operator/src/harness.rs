//! Drives one operator alone: push records, let time pass, take snapshots, read what comes out.

mod snapshot;

pub use snapshot::HarnessSnapshot;

use crate::operator::{Flow, Operator};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};

/// One operator between an input that is pushed and an output that is read.
///
/// ```
/// use millstream_operator::harness::OperatorHarness;
/// use millstream_operator::map::Map;
///
/// let mut harness = OperatorHarness::<u64, u64, _>::new(Map::new(|n: u64| n * 2));
/// harness.push([1, 2, 3]).unwrap();
/// assert_eq!(harness.take_output(), [2, 4, 6]);
/// ```
pub struct OperatorHarness<A, B, O> {
    operator: O,
    input: BoxBatch,
    out: BoxBatch,
    collected: Vec<B>,
    /// The times of what was collected.
    times: Vec<Timestamp>,
    room: usize,
    snapshots: snapshot::Snapshots,
    _types: std::marker::PhantomData<fn(A)>,
}

impl<A: Record, B: Record, O: Operator> OperatorHarness<A, B, O> {
    /// Gives the operator room for a full batch at a time.
    pub fn new(operator: O) -> Self {
        Self::with_room(operator, Batch::<B>::target())
    }

    /// Gives the operator room for so many records at a time.
    pub fn with_room(operator: O, room: usize) -> Self {
        let out = operator.output();
        let input = Box::new(Batch::<A>::new());
        let snapshots = snapshot::Snapshots::default();
        let (collected, times) = (Vec::new(), Vec::new());
        let _types = std::marker::PhantomData;
        Self { operator, input, out, collected, times, room, snapshots, _types }
    }

    /// Sends the records as one batch and lets the operator run until it has taken them all.
    pub fn push(&mut self, records: impl IntoIterator<Item = A>) -> Result<(), OperatorError> {
        cast::<A>(self.input.as_mut()).items.extend(records);
        self.run(O::process)
    }

    /// Sends records with their times.
    pub fn push_at(
        &mut self,
        records: impl IntoIterator<Item = (A, Timestamp)>,
    ) -> Result<(), OperatorError> {
        self.fill(records);
        self.run(O::process)
    }

    /// Sends records of a keyed stream with their times.
    pub fn push_keyed_at<K: Record>(
        &mut self,
        records: impl IntoIterator<Item = (A, Timestamp)>,
        key: impl Fn(&A) -> K,
    ) -> Result<(), OperatorError> {
        let batch = self.fill(records);
        batch.hashes.extend(batch.items.iter().map(|record| key(record).hash64()));
        self.run(O::process)
    }

    fn fill(&mut self, records: impl IntoIterator<Item = (A, Timestamp)>) -> &mut Batch<A> {
        let batch = cast::<A>(self.input.as_mut());
        for (record, time) in records {
            batch.items.push(record);
            batch.timestamps.push(time);
        }
        batch
    }

    /// Sends records of a keyed stream: with the hashes of their keys.
    pub fn push_keyed<K: Record>(
        &mut self,
        records: impl IntoIterator<Item = A>,
        key: impl Fn(&A) -> K,
    ) -> Result<(), OperatorError> {
        let batch = cast::<A>(self.input.as_mut());
        batch.items.extend(records);
        batch.hashes.extend(batch.items.iter().map(|record| key(record).hash64()));
        self.run(O::process)
    }

    /// Asks for what the operator holds back.
    pub fn flush(&mut self) -> Result<(), OperatorError> {
        self.run(|operator, _, out, room| operator.flush(out, room))
    }

    /// What the operator hands over at a barrier of this kind; what is held back leaves first.
    pub fn hand_over(&mut self, kind: SnapshotKind) -> Result<OperatorSnapshot, OperatorError> {
        self.flush()?;
        let mut state = OperatorSnapshot::default();
        let barrier = Barrier {
            checkpoint: CheckpointId(1),
            timestamp: 0,
            kind,
            alignment: Alignment::Aligned,
        };
        self.operator.snapshot(&barrier, &mut state)?;
        Ok(state)
    }

    /// Gives the operator the state that it begins with.
    pub fn take_over(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        self.operator.restore(state)
    }

    /// Ends the input.
    pub fn finish(&mut self) -> Result<(), OperatorError> {
        self.run(|operator, _, out, room| operator.finish(out, room))
    }

    /// Lets the machine's clock reach this time.
    pub fn advance_time(&mut self, now: Timestamp) -> Result<(), OperatorError> {
        self.run(|operator, _, out, room| operator.advance_time(now, out, room))
    }

    /// Lets the watermark reach this time.
    pub fn advance_watermark(&mut self, watermark: Timestamp) -> Result<(), OperatorError> {
        self.run(|operator, _, out, room| operator.advance_watermark(watermark, out, room))
    }

    /// The operator itself.
    pub fn operator(&mut self) -> &mut O {
        &mut self.operator
    }

    fn run(
        &mut self,
        mut call: impl FnMut(
            &mut O,
            &mut dyn AnyBatch,
            &mut dyn AnyBatch,
            usize,
        ) -> Result<Flow, OperatorError>,
    ) -> Result<(), OperatorError> {
        loop {
            let (input, out) = (self.input.as_mut(), self.out.as_mut());
            let flow = call(&mut self.operator, input, out, self.room)?;
            let out = cast::<B>(self.out.as_mut());
            out.timestamps.resize(out.items.len(), NO_TIMESTAMP);
            self.times.append(&mut out.timestamps);
            self.collected.append(&mut out.items);
            out.hashes.clear();
            if flow != Flow::More {
                return Ok(());
            }
        }
    }

    /// What has come out since the last call.
    pub fn take_output(&mut self) -> Vec<B> {
        self.times.clear();
        std::mem::take(&mut self.collected)
    }

    /// What has come out since the last call, with its times; [`NO_TIMESTAMP`] for none.
    pub fn take_timed_output(&mut self) -> Vec<(B, Timestamp)> {
        let times = std::mem::take(&mut self.times);
        std::mem::take(&mut self.collected).into_iter().zip(times).collect()
    }
}
