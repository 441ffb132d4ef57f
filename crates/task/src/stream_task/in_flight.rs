//! Barriers that overtake data: seeing them before they are read, taking the task's part at once, and
//! keeping what they overtook.
//!
//! The story of one. It is pushed behind the data of a channel, and the task is urged. In its next turn
//! the task looks into its channels, finds it, and is due when the alignment says so
//! (`checkpoint::alignment`). It takes nothing more from its head; what its chain holds goes out,
//! beyond the bound of the queues if need be; the barrier goes out behind that, and the operators hand
//! over their state. What then waits in the channels before the barrier is recorded as rows, and stays
//! there to be processed. Channels whose barrier has not come are read like the others, and recorded
//! until it is there. On the way out the barrier passes the frames that wait for credit, which are
//! recorded too. When both sides are settled the snapshot is complete, and is reported.
//!
//! A task that goes on from such a checkpoint processes those rows before anything else ([`Replay`]).
//! Another checkpoint that comes meanwhile has what is left of them.

use super::clock::{instant_at, mono};
use super::head::Gate;
use super::{Phase, StreamTask, TaskReport, TaskSnapshot};
use crate::failure::TaskError;
use millstream_checkpoint::alignment::Aligned;
use millstream_checkpoint::handle::InFlightPlace;
use millstream_checkpoint::mutant;
use millstream_checkpoint::snapshot::InFlightSnapshot;
use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId};
use millstream_core::record::Schema;
use millstream_core::time::Mono;
use millstream_shuffle::batch::BoxBatch;
use millstream_shuffle::edge::Edge;
use millstream_shuffle::gate::InputGate;
use millstream_shuffle::in_flight::{InFlightRows, OwnKeys, encode_batch};
use millstream_shuffle::partition::OvertakenOutput;
use millstream_shuffle::subpartition::OVERDRAFT_BATCHES;
use std::collections::VecDeque;
use std::time::Instant;

/// A snapshot that has been taken and lacks what its barrier overtakes.
pub(super) struct Taken {
    snapshot: Box<TaskSnapshot>,
    /// Channels still lack the barrier.
    recording: bool,
    /// The barrier still waits in some output.
    leaving: bool,
    outputs: Vec<OvertakenOutput>,
}

impl Taken {
    pub(super) fn checkpoint(&self) -> CheckpointId {
        self.snapshot.barrier.checkpoint
    }
}

/// Records that a barrier overtook, read from a checkpoint.
pub struct RestoredInFlight {
    /// The task's how many-th input they came through.
    pub gate: usize,
    /// Only these keys are the task's.
    pub own: Option<OwnKeys>,
    /// What a record was.
    pub schema: Option<Schema>,
    /// Runs of rows.
    pub items: Vec<Vec<u8>>,
}

/// What is to be processed before anything that comes through the gates.
#[derive(Default)]
pub struct Replay {
    runs: VecDeque<Run>,
}

struct Run {
    gate: usize,
    own: Option<OwnKeys>,
    rows: InFlightRows,
}

impl Replay {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds rows that have been read.
    fn push(&mut self, restored: RestoredInFlight) -> Result<(), TaskError> {
        for item in restored.items {
            let rows = InFlightRows::of_item(&item).map_err(|error| unreadable(&error))?;
            self.runs.push_back(Run { gate: restored.gate, own: restored.own.clone(), rows });
        }
        Ok(())
    }

    /// Fills the buffer, which is empty, with the next run; gives the gate that it came through.
    pub(super) fn next(
        &mut self,
        gates: &mut [Gate],
        buffer: &mut BoxBatch,
    ) -> Result<Option<usize>, TaskError> {
        while let Some(run) = self.runs.pop_front() {
            gates[run.gate].fill(buffer, |batch| run.decode(batch))?;
            if !buffer.is_empty() {
                return Ok(Some(run.gate));
            }
        }
        Ok(None)
    }

    /// Rows of all that is left, with the gates that they came through. Of runs that others read too,
    /// only what is the task's own. `types`: a batch of the type of each gate.
    fn left(&self, types: &[&BoxBatch]) -> Result<Vec<(usize, Vec<InFlightRows>)>, TaskError> {
        let left = self.runs.iter().map(|run| {
            if run.own.is_none() {
                return Ok((run.gate, vec![run.rows.clone()]));
            }
            let (mut batch, mut rows) = (types[run.gate].fresh(), Vec::new());
            run.decode(&mut batch)?;
            encode_batch(batch.as_ref(), &mut rows);
            Ok((run.gate, rows))
        });
        left.collect()
    }
}

impl Run {
    fn decode(&self, buffer: &mut BoxBatch) -> Result<(), TaskError> {
        self.rows.decode(self.own.as_ref(), buffer).map_err(|error| unreadable(&error))
    }
}

/// The gates' side of it.
pub(super) struct GateRecords<'a> {
    /// Each with a batch of its type.
    pub(super) gates: Vec<(&'a mut InputGate, &'a BoxBatch)>,
    /// Records that were read and not processed, and the gate that they came through.
    pub(super) rest: (&'a BoxBatch, usize),
    pub(super) replay: &'a mut Replay,
}

impl GateRecords<'_> {
    /// Takes rows over that were read from a checkpoint.
    pub(super) fn restore(self, restored: Vec<RestoredInFlight>) -> Result<(), TaskError> {
        for one in restored {
            let gate = one.gate;
            if gate >= self.gates.len() {
                return Err(refuse(format!(
                    "records were under way to its input {gate}, and it has {}",
                    self.gates.len()
                )));
            }
            let here = self.gates[gate].1.schema();
            let then = one.schema.as_ref().map(Schema::fingerprint);
            if then.is_some_and(|then| then != here.fingerprint()) {
                return Err(refuse(
                    "records were under way to it that are of another type now: let the former \
                     program go on from the checkpoint and take a savepoint, which holds none"
                        .to_owned(),
                ));
            }
            self.replay.push(one)?;
        }
        Ok(())
    }

    /// Records what has been read and not processed, oldest first.
    pub(super) fn record_begun(self) -> Result<(), TaskError> {
        let Self { mut gates, rest: (rest, from), replay } = self;
        let mut rows = Vec::new();
        if !mutant::on("begun_batch_not_recorded") {
            encode_batch(rest.as_ref(), &mut rows);
        }
        if let Some((gate, _)) = gates.get_mut(from) {
            gate.record(rows);
        }
        if mutant::on("replay_not_recorded_again") {
            return Ok(());
        }
        let types: Vec<&BoxBatch> = gates.iter().map(|(_, of)| *of).collect();
        for (gate, rows) in replay.left(&types)? {
            gates[gate].0.record(rows);
        }
        Ok(())
    }

    /// Everything that was recorded.
    pub(super) fn take(self) -> Vec<InFlightSnapshot> {
        let of_gate = |(gate, of): (&mut InputGate, &BoxBatch)| {
            let rows = gate.take_recorded();
            let (place, schema) = (InFlightPlace::Input, of.schema());
            (!rows.is_empty()).then(|| snapshot_of(gate.edge(), place, schema, &rows))
        };
        self.gates.into_iter().filter_map(of_gate).collect()
    }
}

fn snapshot_of(
    edge: Edge,
    place: InFlightPlace,
    schema: Schema,
    rows: &[InFlightRows],
) -> InFlightSnapshot {
    let Edge { data_set, ship } = edge;
    let items = rows.iter().map(InFlightRows::to_item).collect();
    InFlightSnapshot { data_set, ship, place, schema, items }
}

fn refuse(message: String) -> TaskError {
    TaskError::Operator { label: None, error: OperatorError::new(message) }
}

fn unreadable(error: &dyn std::fmt::Display) -> TaskError {
    refuse(format!("records that were under way when the checkpoint was taken: {error}"))
}

impl StreamTask {
    /// When a barrier is to be looked after, if nothing comes before.
    pub fn alarm(&self) -> Option<Instant> {
        let checkpoints = &self.checkpoints;
        let due = checkpoints.due.front().map(|aligned| aligned.barrier);
        let passing = match self.phase {
            Phase::Barrier(aligned, _) => Some(aligned.barrier),
            _ => None,
        };
        let leaving = checkpoints.taken.as_ref().filter(|taken| taken.leaving);
        let leaving = leaving.map(|taken| taken.snapshot.barrier);
        let waits = due.into_iter().chain(passing).chain(leaving);
        let patient = waits.filter(|barrier| barrier.alignment != Alignment::Unaligned);
        let times = patient.filter_map(|barrier| checkpoints.alignment.overtakes_at(&barrier));
        times.chain(checkpoints.alignment.deadline()).min().map(instant_at)
    }

    /// How many batches may go out beyond the bound of the queues.
    pub(super) fn overdraft(&self) -> usize {
        let overtakes = |aligned: &Aligned| aligned.barrier.alignment == Alignment::Unaligned;
        let waits = match &self.phase {
            Phase::Barrier(aligned, _) => overtakes(aligned),
            _ => self.checkpoints.due.front().is_some_and(overtakes),
        };
        if waits { OVERDRAFT_BATCHES } else { 0 }
    }

    /// Looks after barriers that may overtake data. Called in every turn: nothing to do costs nothing.
    #[inline]
    pub(super) fn attend(&mut self, now: Instant) -> Result<(), TaskError> {
        let urgent = self.head.take_urgency();
        let waits = self.checkpoints.is_waiting() || matches!(self.phase, Phase::Barrier(..));
        if urgent || waits { self.attend_to_barriers(urgent, now) } else { Ok(()) }
    }

    fn attend_to_barriers(&mut self, urgent: bool, now: Instant) -> Result<(), TaskError> {
        let at = mono(now);
        if urgent {
            self.look_ahead(at);
        }
        if self.checkpoints.alignment.deadline().is_some_and(|deadline| deadline <= at) {
            let outcome = self.checkpoints.alignment.on_timer(at);
            self.settle(outcome, None);
        }
        self.hurry(at);
        self.settle_outputs(at);
        self.report_if_complete();
        Ok(())
    }

    fn look_ahead(&mut self, now: Mono) {
        for channel in 0..self.head.channels() {
            let ahead = self.head.look_ahead(channel);
            if let Some(barrier) = ahead.barrier {
                let outcome = self.checkpoints.alignment.on_announced(barrier, now);
                self.settle(outcome, Some("the barrier of a later checkpoint came first"));
            }
            if ahead.barrier.is_some() || ahead.end {
                self.overtake(channel, now);
            }
        }
    }

    /// Records what is in the channel before the barrier, if the barrier or the end is there.
    fn overtake(&mut self, channel: usize, now: Mono) {
        let alignment = &mut self.checkpoints.alignment;
        let Some(checkpoint) = alignment.recording().filter(|_| alignment.is_recorded(channel))
        else {
            return;
        };
        if self.head.overtake(channel, checkpoint) {
            let outcome = self.checkpoints.alignment.on_recorded(channel, now);
            self.update_channels();
            self.settle(outcome, None);
        }
    }

    /// Barriers that have been under way for too long overtake from now on.
    fn hurry(&mut self, now: Mono) {
        let Self { checkpoints, phase, .. } = self;
        let alignment = &checkpoints.alignment;
        let is_late =
            |barrier: &Barrier| alignment.overtakes_at(barrier).is_some_and(|at| at <= now);
        if let Some(aligned) = checkpoints.due.front_mut().filter(|a| is_late(&a.barrier)) {
            aligned.hurry();
        }
        if let Phase::Barrier(aligned, _) = phase
            && is_late(&aligned.barrier)
        {
            aligned.hurry();
        }
    }

    /// Keeps a snapshot until all that its barrier overtakes is recorded.
    pub(super) fn hold(
        &mut self,
        aligned: Aligned,
        snapshot: Box<TaskSnapshot>,
    ) -> Result<(), TaskError> {
        if let Some(older) = self.checkpoints.taken.as_ref().map(Taken::checkpoint) {
            self.let_go(older);
            self.checkpoints.decline(older, "the barrier of a later checkpoint came first");
        }
        let recording = aligned.overtakes;
        let taken = Taken { snapshot, recording, leaving: true, outputs: Vec::new() };
        self.checkpoints.taken = Some(taken);
        if recording {
            self.head.record_begun()?;
            let (id, now) = (aligned.barrier.checkpoint, aligned.completed);
            let outcome = self.checkpoints.alignment.on_passed(id, now);
            self.update_channels();
            self.settle(outcome, None);
            for channel in 0..self.head.channels() {
                self.overtake(channel, now);
            }
        }
        self.settle_outputs(aligned.completed);
        self.report_if_complete();
        Ok(())
    }

    /// All channels have given the barrier, or what is before it is recorded.
    pub(super) fn end_recording(&mut self, checkpoint: CheckpointId) {
        let Some(taken) = &mut self.checkpoints.taken else { return };
        if taken.checkpoint() == checkpoint {
            taken.recording = false;
            taken.snapshot.in_flight = self.head.take_recorded();
        }
    }

    fn settle_outputs(&mut self, now: Mono) {
        let Some(taken) = self.checkpoints.taken.as_mut().filter(|taken| taken.leaving) else {
            return;
        };
        let (barrier, alignment) = (taken.snapshot.barrier, &self.checkpoints.alignment);
        let overtake = alignment.overtakes_at(&barrier).is_some_and(|at| at <= now);
        if overtake {
            taken.snapshot.barrier.alignment = Alignment::Unaligned;
        }
        let settled = self.outputs.settle(barrier.checkpoint, overtake, &mut taken.outputs);
        taken.leaving = !settled;
    }

    fn report_if_complete(&mut self) {
        let early = mutant::on("acknowledged_before_recorded");
        let complete = |taken: &mut Taken| !taken.leaving && (!taken.recording || early);
        let Some(Taken { mut snapshot, outputs, .. }) = self.checkpoints.taken.take_if(complete)
        else {
            return;
        };
        snapshot.in_flight.extend(outputs.into_iter().map(|output| {
            let place = InFlightPlace::Output { consumer: output.consumer };
            snapshot_of(output.edge, place, output.schema, &output.rows)
        }));
        self.checkpoints.report(TaskReport::Snapshot(snapshot));
    }

    /// Forgets a snapshot that is not complete.
    pub(super) fn let_go(&mut self, checkpoint: CheckpointId) {
        let taken = &mut self.checkpoints.taken;
        if taken.take_if(|taken| taken.checkpoint() == checkpoint).is_some() {
            // What was recorded for it is of no use to another.
            drop(self.head.take_recorded());
            self.checkpoints.report(TaskReport::Withdrawn);
        }
    }
}
