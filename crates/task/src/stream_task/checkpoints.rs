//! A task's part in checkpoints.
//!
//! A barrier's way through a task: it has come on all channels (or from the master, where there are
//! none) and waits until the chain is empty; operators are flushed, head to tail, and then the
//! outputs; the barrier goes into every output; the operators hand over their state, tail to head,
//! and the source says where it is. What they handed over is reported; writing it is the work of
//! others (`snapshots`).
//!
//! Where barriers may overtake data, see `in_flight`.
//!
//! A task that takes no part in a checkpoint, for whatever reason, tells its consumers, who would
//! wait for its barrier, and its master, who would wait for its state.

use super::clock::{mono, wall_clock};
use super::in_flight::Taken;
use super::{Phase, Step, StreamTask};
use crate::failure::TaskError;
use millstream_checkpoint::alignment::{Aligned, Alignment, Outcome};
use millstream_checkpoint::snapshot::{InFlightSnapshot, OperatorSnapshot};
use millstream_core::checkpoint::{Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::OperatorId;
use millstream_core::time::Mono;
use millstream_operator::watermark::AlignmentReport;
use millstream_rpc::protocol::job_master::SnapshotMetrics;
use millstream_shuffle::element::Control;
use std::collections::VecDeque;
use std::time::Instant;

/// So many barriers wait for their turn: more than there are checkpoints at once.
const DUE_MAX: usize = 16;

/// What a task has to say about checkpoints.
pub enum TaskReport {
    /// It has passed a barrier, and this is its state then.
    Snapshot(Box<TaskSnapshot>),
    /// It takes no part in a checkpoint.
    Declined {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        cause: String,
    },
    /// A snapshot that was taken will not be reported: what it froze is lost to increments.
    Withdrawn,
    /// All its records are processed; it waits for a checkpoint that says so.
    EndOfData,
    /// How far it is, to be told to an alignment group.
    Aligned(AlignmentReport),
}

/// The state of a task at a barrier, taken and not yet written.
pub struct TaskSnapshot {
    /// The barrier.
    pub barrier: Barrier,
    /// What operators handed over, and the source; those without state are left out.
    pub operators: Vec<(OperatorId, OperatorSnapshot)>,
    /// Splits that the attempt had been given.
    pub splits: u32,
    /// The task has done all its work.
    pub finished: bool,
    /// Records that the barrier overtook.
    pub in_flight: Vec<InFlightSnapshot>,
    /// How it went so far.
    pub metrics: SnapshotMetrics,
    /// When all had been handed over.
    pub taken_at: Instant,
}

/// Where a task stands with its checkpoints.
pub(super) struct Checkpoints {
    pub(super) alignment: Alignment,
    /// Barriers whose time has come and that wait for their turn.
    pub(super) due: VecDeque<Aligned>,
    /// The snapshot that is not complete.
    pub(super) taken: Option<Taken>,
    reports: Vec<TaskReport>,
    /// After its work the task waits for a checkpoint that says so.
    pub(super) wait_at_end: bool,
    /// The first checkpoint that says so.
    last: Option<CheckpointId>,
    /// Splits that the source has been given.
    pub(super) splits: u32,
}

impl Checkpoints {
    /// For so many channels; it is known of each whether barriers do not overtake its data.
    pub(super) fn new(strict: &[bool]) -> Self {
        let alignment = Alignment::new(strict.len()).with_strict(strict.iter().copied());
        Self {
            alignment: alignment.with_wall_origin(wall_clock(Mono::default())),
            due: VecDeque::new(),
            taken: None,
            reports: Vec::new(),
            wait_at_end: false,
            last: None,
            splits: 0,
        }
    }

    /// The barrier whose turn it is.
    pub(super) fn next_due(&mut self) -> Option<Aligned> {
        self.due.pop_front()
    }

    /// What the barrier whose turn it is makes of a task that runs. A job that is drained counts all
    /// input as ended first: that barrier waits for the task's end.
    pub(super) fn next_phase(&mut self) -> Option<Phase> {
        let drains = self.due.front()?.barrier.kind == SnapshotKind::Drain;
        if drains { Some(Phase::Finishing(0)) } else { Some(Phase::Barrier(self.next_due()?, 0)) }
    }

    /// A barrier's turn has come that does not wait for the task's end.
    pub(super) fn is_due_before_end(&self) -> bool {
        self.due.front().is_some_and(|aligned| aligned.barrier.kind != SnapshotKind::Drain)
    }

    pub(super) fn report(&mut self, report: TaskReport) {
        self.reports.push(report);
    }

    /// Some checkpoint is under way here.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.alignment.pending().is_some() || !self.due.is_empty() || self.taken.is_some()
    }

    pub(super) fn decline(&mut self, checkpoint: CheckpointId, cause: &str) {
        self.report(TaskReport::Declined { checkpoint, cause: cause.to_owned() });
    }

    /// The task ends: what has not had its turn never will.
    pub(super) fn decline_all(&mut self, cause: &str) {
        while let Some(aligned) = self.due.pop_front() {
            self.decline(aligned.barrier.checkpoint, cause);
        }
        if let Some(taken) = self.taken.take() {
            self.decline(taken.checkpoint(), cause);
        }
    }
}

impl StreamTask {
    /// The master wants a checkpoint of a task that reads no running task.
    pub fn trigger(&mut self, barrier: Barrier, now: Instant) {
        let outcome = self.checkpoints.alignment.on_trigger(barrier, mono(now));
        self.settle(outcome, Some("a later checkpoint came first"));
    }

    /// A checkpoint is complete, and so are all before it.
    pub fn checkpoint_completed(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        self.chain.notify(|operator| operator.checkpoint_completed(checkpoint))?;
        let said = self.checkpoints.last.is_some_and(|last| checkpoint >= last);
        match self.phase {
            Phase::Waiting if said => self.phase = Phase::Leaving,
            Phase::Suspended(savepoint) if checkpoint >= savepoint => {
                self.checkpoints.wait_at_end = false;
                self.phase = Phase::Ending;
            }
            _ => (),
        }
        Ok(())
    }

    /// A checkpoint will never be complete.
    pub fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        let outcome = self.checkpoints.alignment.on_aborted(checkpoint);
        self.settle(outcome, None);
        self.let_go(checkpoint);
        if self.withdraw(checkpoint) {
            self.outputs.push_barrier(Control::CancelBarrier(checkpoint));
        }
        self.chain.notify(|operator| operator.checkpoint_aborted(checkpoint))
    }

    /// What the task has to say; the list is empty afterwards.
    pub fn take_reports(&mut self) -> Vec<TaskReport> {
        let mut reports = std::mem::take(&mut self.checkpoints.reports);
        if let Some(groups) = &self.alignment {
            reports.extend(groups.take_reports().into_iter().map(TaskReport::Aligned));
        }
        reports
    }

    /// Forgets a barrier that has come on all channels and has not been passed on.
    fn withdraw(&mut self, checkpoint: CheckpointId) -> bool {
        let is_it = |aligned: &Aligned| aligned.barrier.checkpoint == checkpoint;
        if self.phase == Phase::Suspended(checkpoint) {
            self.phase = Phase::Running;
        }
        let waiting = self.checkpoints.due.len();
        self.checkpoints.due.retain(|aligned| !is_it(aligned));
        if matches!(self.phase, Phase::Barrier(aligned, _) if is_it(&aligned)) {
            self.phase = Phase::Running;
            return true;
        }
        self.checkpoints.due.len() < waiting
    }

    /// A channel has said something between batches.
    pub(super) fn on_control(&mut self, channel: usize, control: Control, now: Instant) {
        let (alignment, now) = (&mut self.checkpoints.alignment, mono(now));
        let (outcome, cause) = match control {
            Control::Barrier(barrier) => {
                let outcome = alignment.on_barrier(channel, barrier, now);
                self.head.set_blocked(channel, alignment.is_blocked(channel));
                self.head.set_recorded(channel, alignment.is_recorded(channel));
                (outcome, "the barrier of a later checkpoint came first")
            }
            Control::CancelBarrier(checkpoint) => {
                (alignment.on_cancel(checkpoint), "a task before this one takes no part in it")
            }
            Control::Watermark(watermark) => return self.on_watermark(channel, watermark),
            Control::EndOfPartition => {
                self.on_end_of_time(channel);
                (self.checkpoints.alignment.on_end(channel, now), "")
            }
        };
        self.settle(outcome, Some(cause));
    }

    /// Does what has to be done after a word about a checkpoint; without a cause the master knows of
    /// what is abandoned.
    pub(super) fn settle(&mut self, outcome: Outcome, cause: Option<&str>) {
        if outcome.is_empty() {
            return;
        }
        let Outcome { abandoned, aligned, recorded } = outcome;
        self.update_channels();
        for checkpoint in abandoned {
            self.let_go(checkpoint);
            self.withdraw(checkpoint);
            self.outputs.push_barrier(Control::CancelBarrier(checkpoint));
            if let Some(cause) = cause {
                self.checkpoints.decline(checkpoint, cause);
            }
        }
        if let Some(checkpoint) = recorded {
            self.end_recording(checkpoint);
        }
        for aligned in aligned {
            self.enqueue(aligned);
        }
    }

    /// Reads, and records, what is to be read and recorded.
    pub(super) fn update_channels(&mut self) {
        let alignment = &self.checkpoints.alignment;
        for channel in 0..self.head.channels() {
            self.head.set_blocked(channel, alignment.is_blocked(channel));
            self.head.set_recorded(channel, alignment.is_recorded(channel));
        }
    }

    fn enqueue(&mut self, aligned: Aligned) {
        self.checkpoints.due.push_back(aligned);
        if self.checkpoints.due.len() > DUE_MAX
            && let Some(oldest) = self.checkpoints.next_due()
        {
            let oldest = oldest.barrier.checkpoint;
            // Told below.
            let _ = self.checkpoints.alignment.on_aborted(oldest);
            self.outputs.push_barrier(Control::CancelBarrier(oldest));
            self.checkpoints.decline(oldest, "too many checkpoints wait for the task");
        }
    }

    /// Operators from `next` on are still to be flushed, then the outputs; then the barrier passes.
    pub(super) fn pass_barrier(
        &mut self,
        aligned: Aligned,
        next: usize,
    ) -> Result<Step, TaskError> {
        if next < self.chain.len() {
            if self.chain.flush(next)? {
                self.phase = Phase::Barrier(aligned, next + 1);
            }
            return Ok(Step::Progress);
        }
        if !self.flush_outputs() {
            return Ok(Step::NeedOutput);
        }
        self.held_since = None;
        self.outputs.push_barrier(Control::Barrier(aligned.barrier));
        self.phase = match aligned.barrier.kind {
            SnapshotKind::Suspend => Phase::Suspended(aligned.barrier.checkpoint),
            _ => Phase::Running,
        };
        self.take_snapshot(aligned, false)?;
        Ok(Step::Progress)
    }

    /// A barrier comes to a task that has done all its work.
    pub(super) fn snapshot_at_end(&mut self, aligned: Aligned) -> Result<Step, TaskError> {
        self.take_snapshot(aligned, true)?;
        self.checkpoints.last.get_or_insert(aligned.barrier.checkpoint);
        Ok(Step::Progress)
    }

    fn take_snapshot(&mut self, aligned: Aligned, finished: bool) -> Result<(), TaskError> {
        let Aligned { barrier, began, completed, .. } = aligned;
        let stood_still = Instant::now();
        let mut operators = self.chain.snapshot(&barrier)?;
        if finished {
            // No record will ever look for a key again: what counts is what waits to be committed.
            operators.iter_mut().for_each(|(_, snapshot)| snapshot.tables.clear());
        } else {
            self.head.snapshot(&mut operators)?;
        }
        let taken_at = Instant::now();
        let millis = |millis: u64| u32::try_from(millis).unwrap_or(u32::MAX);
        let delay = wall_clock(began).saturating_sub(barrier.timestamp).max(0) as u64;
        let sync = taken_at.duration_since(stood_still).as_micros();
        let metrics = SnapshotMetrics {
            start_delay_ms: millis(delay),
            alignment_ms: millis(completed.since(began)),
            sync_us: u32::try_from(sync).unwrap_or(u32::MAX),
            ..SnapshotMetrics::default()
        };
        let splits = self.checkpoints.splits;
        let in_flight = Vec::new();
        let snapshot = Box::new(TaskSnapshot {
            barrier,
            operators,
            splits,
            finished,
            in_flight,
            metrics,
            taken_at,
        });
        if !finished && barrier.alignment.may_overtake() {
            return self.hold(aligned, snapshot);
        }
        self.checkpoints.report(TaskReport::Snapshot(snapshot));
        Ok(())
    }
}
