//! Where a task's records come from: a source, or the gates of its inputs.

use crate::failure::{TaskError, guard};
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::OperatorLabel;
use millstream_operator::source::{AnySource, Poll, SourceClock};
use millstream_rpc::protocol::deployment::InputChannelDescriptor;
use millstream_shuffle::batch::BoxBatch;
use millstream_shuffle::gate::{self, InputGate};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The origin of [`SourceClock`] in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The source clock at an instant.
pub fn source_clock(now: Instant) -> SourceClock {
    SourceClock { now_us: now.duration_since(*ORIGIN).as_micros() as u64 }
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// There may be more at once.
    More,
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
        /// A batch that was larger than the turn's room; what is left of it comes first.
        rest: BoxBatch,
    },
}

/// A gate and whether it has ended.
pub struct Gate {
    gate: InputGate,
    ended: bool,
}

impl Head {
    /// A head that reads gates; `rest` is an empty batch of their type.
    pub fn gates(gates: Vec<InputGate>, rest: BoxBatch) -> Self {
        let gates = gates.into_iter().map(|gate| Gate { gate, ended: false }).collect();
        Head::Gates { gates, rest }
    }

    /// A head that reads a source.
    pub fn source(label: OperatorLabel, source: Box<dyn AnySource>) -> Self {
        Head::Source { label, source, records: 0 }
    }

    /// Fills the buffer, which is empty, with up to about `room` records.
    pub(super) fn poll(
        &mut self,
        buffer: &mut BoxBatch,
        room: usize,
        now: Instant,
    ) -> Result<Polled, TaskError> {
        match self {
            Head::Source { label, source, records } => {
                let polled =
                    guard(label, || source.poll(buffer.as_mut(), room, source_clock(now)))?;
                *records += buffer.len() as u64;
                Ok(polled_source(polled))
            }
            Head::Gates { gates, rest } => {
                if rest.is_empty() {
                    match poll_gates(gates, buffer, now).map_err(TaskError::Partition)? {
                        gate::Polled::Batch => (),
                        gate::Polled::Control(..) => return Ok(Polled::More),
                        gate::Polled::Empty => return Ok(Polled::Idle(deadline(gates))),
                        gate::Polled::End => return Ok(Polled::End),
                    }
                    if buffer.len() <= room.saturating_mul(2) {
                        return Ok(Polled::More);
                    }
                    std::mem::swap(rest, buffer);
                }
                rest.take_front(room, buffer.as_mut());
                Ok(Polled::More)
            }
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

    pub(super) fn is_idle(&self) -> bool {
        match self {
            // A source is polled when its thread wakes; whoever wakes it says so by the wake itself.
            Head::Source { .. } => true,
            Head::Gates { gates, rest } => {
                rest.is_empty() && gates.iter().all(|gate| gate.ended || gate.gate.is_idle())
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
        Poll::WakeAt(us) => Polled::Idle(Some(*ORIGIN + Duration::from_micros(us))),
        Poll::NeedSplit => Polled::NeedSplit,
        Poll::End => Polled::End,
    }
}

fn poll_gates(
    gates: &mut [Gate],
    buffer: &mut BoxBatch,
    now: Instant,
) -> Result<gate::Polled, gate::PartitionUnavailable> {
    let mut alive = false;
    for gate in gates.iter_mut().filter(|gate| !gate.ended) {
        match gate.gate.poll(buffer, now)? {
            found @ (gate::Polled::Batch | gate::Polled::Control(..)) => return Ok(found),
            gate::Polled::Empty => alive = true,
            gate::Polled::End => gate.ended = true,
        }
    }
    Ok(if alive { gate::Polled::Empty } else { gate::Polled::End })
}

fn deadline(gates: &[Gate]) -> Option<Instant> {
    gates.iter().filter_map(|gate| gate.gate.deadline()).min()
}
