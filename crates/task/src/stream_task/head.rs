//! Where a task's records come from: a source, or the gates of its inputs.

use super::clock::{instant_of, source_clock};
use super::in_flight::{GateRecords, Replay, RestoredInFlight};
use crate::failure::{TaskError, guard};
use millstream_checkpoint::handle::ListMode;
use millstream_checkpoint::mutant;
use millstream_checkpoint::snapshot::{
    InFlightSnapshot, ListSnapshot, OperatorSnapshot, RestoredOperator,
};
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::OperatorId;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::OperatorLabel;
use millstream_operator::either::Lift;
use millstream_operator::source::{AnySource, Poll, SplitChange};
use millstream_rpc::protocol::deployment::InputChannelDescriptor;
use millstream_shuffle::batch::BoxBatch;
use millstream_shuffle::element::{Ahead, Control};
use millstream_shuffle::gate::{self, InputGate, PartitionUnavailable};
use std::time::Instant;

/// The list in which a source keeps what is left to read.
pub const SPLITS: &str = "splits";

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// There may be more at once.
    More,
    /// The engine says something on the channel with this number, counted over all gates.
    Control(usize, Control),
    /// Nothing (more) now; perhaps at this time.
    Idle(Option<Instant>),
    /// The next split is wanted.
    NeedSplit,
    /// Nothing will ever come.
    End,
}

/// Where a task's records come from.
pub enum Head {
    /// A source.
    Source {
        /// Its state's name.
        id: OperatorId,
        /// Its name.
        label: OperatorLabel,
        /// Reads.
        source: Box<dyn AnySource>,
        /// Records read so far.
        records: u64,
    },
    /// Other tasks, one gate per edge.
    Gates {
        /// All of the same type.
        gates: Vec<Gate>,
        /// Where the next poll begins: after the gate that gave something last.
        next: usize,
        /// A batch that was larger than the turn's room; what is left of it comes first. Empty where
        /// records are marked.
        rest: BoxBatch,
        /// The gate that gave it.
        rest_from: usize,
        /// What comes before anything that the gates give.
        replay: Replay,
    },
}

/// A gate and whether it has ended.
pub struct Gate {
    gate: InputGate,
    /// The number of its first channel, counted over all gates.
    first: usize,
    ended: bool,
    /// Marks its records, in a task with two inputs.
    marking: Option<Marking>,
}

/// How the records of a gate become records of the head.
struct Marking {
    lift: Lift,
    /// The gate's batch: of its own type, and empty between two polls.
    batch: BoxBatch,
}

impl Gate {
    fn poll(
        &mut self,
        buffer: &mut BoxBatch,
        now: Instant,
    ) -> Result<gate::Polled, PartitionUnavailable> {
        let Self { gate, marking, .. } = self;
        mark(marking, buffer, |batch| gate.poll(batch, now))
    }

    /// Fills the buffer with something else that came through this gate.
    pub(super) fn fill<R, E>(
        &mut self,
        buffer: &mut BoxBatch,
        fill: impl FnOnce(&mut BoxBatch) -> Result<R, E>,
    ) -> Result<R, E> {
        mark(&mut self.marking, buffer, fill)
    }
}

/// Fills a batch of the gate's type, and from it the buffer of the head, if those are two.
fn mark<R, E>(
    marking: &mut Option<Marking>,
    buffer: &mut BoxBatch,
    fill: impl FnOnce(&mut BoxBatch) -> Result<R, E>,
) -> Result<R, E> {
    let Some(Marking { lift, batch }) = marking else { return fill(buffer) };
    let filled = fill(batch)?;
    (lift.into)(batch.as_mut(), buffer.as_mut());
    Ok(filled)
}

impl Head {
    /// A head that reads gates; `rest` is an empty batch of their type.
    pub fn gates(gates: Vec<InputGate>, rest: BoxBatch) -> Self {
        let mut first = 0;
        let number = |gate: InputGate| {
            let numbered = Gate { first, ended: false, marking: None, gate };
            first += numbered.gate.len();
            numbered
        };
        let gates = gates.into_iter().map(number).collect();
        Head::Gates { gates, next: 0, rest, rest_from: 0, replay: Replay::default() }
    }

    /// The same head, with the records of its gates marked where there are two inputs.
    pub fn marking(mut self, lifts: &[Option<Lift>]) -> Self {
        if let Head::Gates { gates, .. } = &mut self {
            for (gate, lift) in gates.iter_mut().zip(lifts) {
                let mark = |lift: &Lift| Marking { lift: lift.clone(), batch: lift.of.make() };
                gate.marking = lift.as_ref().map(mark);
            }
        }
        self
    }

    /// A head that reads a source.
    pub fn source(id: OperatorId, label: OperatorLabel, source: Box<dyn AnySource>) -> Self {
        Head::Source { id, label, source, records: 0 }
    }

    /// How many channels all gates have.
    pub(super) fn channels(&self) -> usize {
        match self {
            Head::Source { .. } => 0,
            Head::Gates { gates, .. } => gates.iter().map(|gate| gate.gate.len()).sum(),
        }
    }

    /// Fills the buffer, which is empty, with up to about `room` records.
    pub(super) fn poll(
        &mut self,
        buffer: &mut BoxBatch,
        room: usize,
        now: Instant,
    ) -> Result<Polled, TaskError> {
        match self {
            Head::Source { label, source, records, .. } => {
                let polled =
                    guard(label, || source.poll(buffer.as_mut(), room, source_clock(now)))?;
                *records += buffer.len() as u64;
                Ok(polled_source(polled))
            }
            Head::Gates { gates, next, rest, rest_from, replay } => {
                if rest.is_empty() {
                    match poll_input(gates, next, rest_from, replay, buffer, now)? {
                        gate::Polled::Batch => (),
                        gate::Polled::Control(channel, control) => {
                            return Ok(Polled::Control(channel, control));
                        }
                        gate::Polled::Empty => return Ok(Polled::Idle(deadline(gates))),
                        gate::Polled::End => return Ok(Polled::End),
                    }
                    // What is left over has to be of its gate's type, to be recorded: marked batches are
                    // taken whole.
                    let marked = || gates.iter().any(|gate| gate.marking.is_some());
                    if buffer.len() <= room.saturating_mul(2) || marked() {
                        return Ok(Polled::More);
                    }
                    std::mem::swap(rest, buffer);
                }
                rest.take_front(room, buffer.as_mut());
                Ok(Polled::More)
            }
        }
    }

    /// What has become of a source's splits with the last poll.
    #[inline]
    pub(super) fn take_split_change(&mut self) -> Result<Option<SplitChange>, TaskError> {
        match self {
            Head::Source { label, source, .. } => guard(label, || Ok(source.take_split_change())),
            Head::Gates { .. } => Ok(None),
        }
    }

    pub(super) fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), TaskError> {
        match self {
            Head::Source { label, source, .. } => guard(label, || source.add_split(split)),
            Head::Gates { .. } => {
                let error = OperatorError::new("a split came for a task without a source");
                Err(TaskError::Operator { label: None, error })
            }
        }
    }

    /// A producer has got a (new) place.
    pub fn update_channel(&mut self, gate: usize, channel: usize, found: InputChannelDescriptor) {
        if let Head::Gates { gates, .. } = self
            && let Some(Gate { gate, .. }) = gates.get_mut(gate)
        {
            gate.update_channel(channel, found, Instant::now());
        }
    }

    /// Reads from this channel, counted over all gates, or does not for a while.
    pub(super) fn set_blocked(&mut self, channel: usize, blocked: bool) {
        if let Head::Gates { gates, .. } = self
            && let Some(gate) = gates.iter_mut().rfind(|gate| gate.first <= channel)
        {
            gate.gate.set_blocked(channel - gate.first, blocked);
        }
    }

    /// Whether something has come that cannot wait for its turn.
    #[inline]
    pub(super) fn take_urgency(&self) -> bool {
        match self {
            Head::Source { .. } => false,
            // All are asked: each is through with it then.
            Head::Gates { gates, .. } => {
                let urged = gates.iter().filter(|gate| gate.gate.take_urgency());
                urged.count() > 0
            }
        }
    }

    /// Whether barriers do not overtake data, channel by channel.
    pub(super) fn strict_channels(&self) -> Vec<bool> {
        let Head::Gates { gates, .. } = self else { return Vec::new() };
        let strict = |gate: &Gate| {
            std::iter::repeat_n(!gate.gate.edge().ship.may_be_overtaken(), gate.gate.len())
        };
        gates.iter().flat_map(strict).collect()
    }

    /// What waits behind the data of a channel, counted over all gates.
    pub(super) fn look_ahead(&self, channel: usize) -> Ahead {
        let Head::Gates { gates, .. } = self else { return Ahead::default() };
        let gate = gates.iter().rfind(|gate| gate.first <= channel);
        gate.map_or(Ahead::default(), |gate| gate.gate.look_ahead(channel - gate.first))
    }

    /// Takes the checkpoint's barrier out of a channel and records what is before it, or before the end;
    /// whether there was either.
    pub(super) fn overtake(&mut self, channel: usize, checkpoint: CheckpointId) -> bool {
        let Some(Gate { gate, first, .. }) = self.gate_of(channel) else { return false };
        let overtaken = gate.overtake(channel - *first, checkpoint);
        if mutant::on("overtaken_data_forgotten") {
            drop(gate.take_recorded());
        }
        overtaken
    }

    /// Records what is read from this channel, counted over all gates, or does not.
    pub(super) fn set_recorded(&mut self, channel: usize, recorded: bool) {
        if let Some(Gate { gate, first, .. }) = self.gate_of(channel) {
            gate.set_recorded(channel - *first, recorded);
        }
    }

    fn gate_of(&mut self, channel: usize) -> Option<&mut Gate> {
        let Head::Gates { gates, .. } = self else { return None };
        gates.iter_mut().rfind(|gate| gate.first <= channel)
    }

    fn records(&mut self) -> Option<GateRecords<'_>> {
        let Head::Gates { gates, rest, rest_from, replay, .. } = self else { return None };
        let rest = &*rest;
        let gates = gates.iter_mut().map(|Gate { gate, marking, .. }| {
            (gate, marking.as_ref().map_or(rest, |marking| &marking.batch))
        });
        Some(GateRecords { gates: gates.collect(), rest: (rest, *rest_from), replay })
    }

    /// Records what has been read and not processed.
    pub(super) fn record_begun(&mut self) -> Result<(), TaskError> {
        self.records().map_or(Ok(()), GateRecords::record_begun)
    }

    /// Everything that was recorded.
    pub(super) fn take_recorded(&mut self) -> Vec<InFlightSnapshot> {
        self.records().map_or_else(Vec::new, GateRecords::take)
    }

    /// Processes these records before any that comes.
    pub(super) fn restore_in_flight(
        &mut self,
        restored: Vec<RestoredInFlight>,
    ) -> Result<(), TaskError> {
        self.records().map_or(Ok(()), |records| records.restore(restored))
    }

    /// What is left to read of what a source has been given.
    pub(super) fn snapshot(
        &mut self,
        to: &mut Vec<(OperatorId, OperatorSnapshot)>,
    ) -> Result<(), TaskError> {
        let Head::Source { id, label, source, .. } = self else { return Ok(()) };
        let items = guard(label, || source.snapshot())?;
        let (name, mode, schema) = (SPLITS.to_owned(), ListMode::Split, None);
        let lists = vec![ListSnapshot { name, mode, schema, items }];
        to.push((*id, OperatorSnapshot { lists, ..OperatorSnapshot::default() }));
        Ok(())
    }

    /// The operator whose state a source has.
    pub(super) fn id(&self) -> Option<OperatorId> {
        match self {
            Head::Source { id, .. } => Some(*id),
            Head::Gates { .. } => None,
        }
    }

    /// Goes on where the snapshots were taken that this state comes from.
    pub(super) fn restore(&mut self, state: &RestoredOperator) -> Result<(), TaskError> {
        match self {
            Head::Source { label, source, .. } => {
                guard(label, || source.restore(state.items(SPLITS)))
            }
            Head::Gates { .. } => Ok(()),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        match self {
            // A source is polled when its thread wakes; whoever wakes it says so by the wake itself.
            Head::Source { .. } => true,
            Head::Gates { gates, rest, replay, .. } => {
                rest.is_empty()
                    && replay.is_empty()
                    && gates.iter().all(|gate| gate.ended || gate.gate.is_idle())
            }
        }
    }

    /// Records read, and bytes that came from other processes.
    pub(super) fn counts(&self) -> (u64, u64) {
        match self {
            Head::Source { records, .. } => (*records, 0),
            Head::Gates { gates, .. } => gates.iter().fold((0, 0), |(records, bytes), gate| {
                (records + gate.gate.records(), bytes + gate.gate.remote_bytes())
            }),
        }
    }
}

fn polled_source(poll: Poll) -> Polled {
    match poll {
        Poll::More => Polled::More,
        Poll::Idle => Polled::Idle(None),
        Poll::WakeAt(us) => Polled::Idle(Some(instant_of(us))),
        Poll::NeedSplit => Polled::NeedSplit,
        Poll::End => Polled::End,
    }
}

/// What comes next: what was under way when the checkpoint was taken, then what the gates give. Says
/// which gate a batch came through.
fn poll_input(
    gates: &mut [Gate],
    next: &mut usize,
    from: &mut usize,
    replay: &mut Replay,
    buffer: &mut BoxBatch,
    now: Instant,
) -> Result<gate::Polled, TaskError> {
    let late = mutant::on("replayed_after_new_input");
    if !late && let Some(gate) = replay.next(gates, buffer)? {
        *from = gate;
        return Ok(gate::Polled::Batch);
    }
    let polled = poll_gates(gates, next, buffer, now).map_err(TaskError::Partition)?;
    *from = next.checked_sub(1).unwrap_or(gates.len().saturating_sub(1));
    let nothing = matches!(polled, gate::Polled::Empty | gate::Polled::End);
    if late && nothing && replay.next(gates, buffer)?.is_some() {
        return Ok(gate::Polled::Batch);
    }
    Ok(polled)
}

/// Polls the gates in turn, so that none waits for ever while another has something.
fn poll_gates(
    gates: &mut [Gate],
    next: &mut usize,
    buffer: &mut BoxBatch,
    now: Instant,
) -> Result<gate::Polled, PartitionUnavailable> {
    let mut alive = false;
    for _ in 0..gates.len() {
        let at = *next;
        *next = if at + 1 == gates.len() { 0 } else { at + 1 };
        let gate = &mut gates[at];
        if gate.ended {
            continue;
        }
        match gate.poll(buffer, now)? {
            gate::Polled::Batch => return Ok(gate::Polled::Batch),
            gate::Polled::Control(channel, control) => {
                return Ok(gate::Polled::Control(gate.first + channel, control));
            }
            gate::Polled::Empty => alive = true,
            gate::Polled::End => gate.ended = true,
        }
    }
    Ok(if alive { gate::Polled::Empty } else { gate::Polled::End })
}

fn deadline(gates: &[Gate]) -> Option<Instant> {
    gates.iter().filter_map(|gate| gate.gate.deadline()).min()
}
