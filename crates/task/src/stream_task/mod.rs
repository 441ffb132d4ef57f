//! One task: a step function over a head, a chain of operators and its outputs.
//!
//! A step takes one turn: it moves batches through the chain, most downstream first, and polls the
//! head only when everything behind it is empty. So a batch is finished before the next one comes,
//! control elements never overtake data, and a task whose output is full simply does not read.
//!
//! The life of a task, in [`Phase`]s: it runs until its head has ended; then each operator in turn
//! gives what it held back; then the outputs are flushed and ended. When the head is idle, or
//! results have waited for [`FLUSH_AFTER`], a flush goes down the chain. A barrier sends a flush down
//! the chain too, and behind it the state is taken. Where there are checkpoints, a task that has done
//! all its work waits for one that says so. A savepoint that ends the job suspends the task until that
//! is complete, or, if the job is drained, is taken only when the task has done all its work.
//!
//! In reading order: [`head`] (where records come from), [`chain`] (operators and their buffers),
//! [`outputs`] (where they go), [`pace`] (how much a turn takes on), [`checkpoints`] (how barriers
//! pass), [`in_flight`] (how they overtake data), [`restore`] (how it goes on from a checkpoint),
//! [`timers`] (when operators want to be woken), [`watermarks`] (how far event time is), [`time_watch`]
//! (who holds it back), [`clock`] (what time it is).

mod chain;
mod checkpoints;
mod clock;
mod head;
mod in_flight;
mod outputs;
mod pace;
mod restore;
mod time_watch;
mod timers;
mod watermarks;

pub use chain::Chain;
pub use checkpoints::{TaskReport, TaskSnapshot};
pub use clock::{instant_at, source_clock, wall_clock_at};
pub use head::{Head, SPLITS};
pub use in_flight::RestoredInFlight;
pub use outputs::Outputs;
pub use restore::RestoredTask;

use crate::failure::TaskError;
use checkpoints::Checkpoints;
use head::Polled;
use millstream_checkpoint::alignment::Aligned;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::OperatorId;
use millstream_core::job_graph::SourceSplit;
use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_operator::accumulators::Accumulators;
use millstream_operator::clock::ProcessingClock;
use millstream_operator::metrics::MetricGroup;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::SplitNumber;
use millstream_operator::watermark::{AlignmentGroups, WatermarkValve};
use pace::Pace;
use std::time::{Duration, Instant};
use time_watch::TimeWatch;
use timers::Timers;

/// Results wait at most about so long in partial batches under load; at rest they do not wait.
pub const FLUSH_AFTER: Duration = Duration::from_millis(5);

/// Operators that hold results back on purpose (combiners) are flushed under load so often.
const FLUSH_OPERATORS_AFTER: Duration = Duration::from_millis(50);

/// A turn makes at most so many moves: with flat maps, one head batch can become many.
const MOVES_MAX: u32 = 16;

/// What a step left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something moved: step again.
    Progress,
    /// Nothing to read; with a time, there will be something then.
    NeedInput(Option<Instant>),
    /// An output is full.
    NeedOutput,
    /// A source waits for its next split.
    NeedSplit,
    /// It waits for word from its master.
    NeedMail,
    /// All work is done.
    Finished,
}

/// Where a task stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head gives records.
    Running,
    /// Operators from this one on are being flushed; then it runs again.
    Flushing(usize),
    /// Operators from this one on are told that it is this time; then it runs again.
    Firing(usize, Timestamp),
    /// Operators from this one on are being flushed; then the barrier passes, and it runs again.
    Barrier(Aligned, usize),
    /// Its part of the savepoint that ends the job is taken: it reads nothing until it hears what
    /// becomes of that.
    Suspended(CheckpointId),
    /// It had done all its work before it was restored: inputs end without a record.
    Passing,
    /// Operators from this one on still have to finish.
    Finishing(usize),
    /// The chain is done; outputs are being flushed.
    Ending,
    /// Consumers have been told; a checkpoint is to say so too.
    Waiting,
    /// Nothing is left to do here; what was written waits for its consumers.
    Leaving,
    /// All work is done.
    Finished,
}

/// One execution attempt at work.
pub struct StreamTask {
    head: Head,
    chain: Chain,
    outputs: Outputs,
    phase: Phase,
    pace: Pace,
    /// Since when outputs hold partial batches.
    open_since: Option<Instant>,
    /// Since when operators may hold results back.
    held_since: Option<Instant>,
    /// The source's next split.
    split: SplitRequest,
    /// Splits whose last records are on their way through the chain.
    ended_splits: Vec<SplitNumber>,
    /// The last step found an output full.
    needs_output: bool,
    /// The last step found that an operator waits for something outside.
    waits_outside: bool,
    checkpoints: Checkpoints,
    timers: Timers,
    /// Joins the watermarks of all channels.
    valve: WatermarkValve,
    /// The groups whose other sources it must not be too far ahead of, if there are any.
    alignment: Option<AlignmentGroups>,
    /// Notices when they hold time back.
    time_watch: TimeWatch,
    /// The last watermark that left.
    watermark_out: Timestamp,
    /// Numbers that functions of its operators add up.
    accumulators: Accumulators,
    metrics: MetricGroup,
}

/// How far a source is with its next split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitRequest {
    /// It has what it needs.
    None,
    /// It wants one, and nobody has been asked yet.
    Wanted,
    /// It has been asked for, once, and has not come.
    Asked,
}

impl StreamTask {
    /// A task that has done nothing yet.
    pub fn new(head: Head, chain: Chain, outputs: Outputs) -> Self {
        let pace = Pace::new(chain.head_target());
        let checkpoints = Checkpoints::new(&head.strict_channels());
        let valve = WatermarkValve::new(head.channels());
        Self {
            head,
            chain,
            outputs,
            phase: Phase::Running,
            pace,
            open_since: None,
            held_since: None,
            split: SplitRequest::None,
            ended_splits: Vec::new(),
            needs_output: false,
            waits_outside: false,
            checkpoints,
            timers: Timers::default(),
            valve,
            alignment: None,
            time_watch: TimeWatch::default(),
            watermark_out: MIN_WATERMARK,
            accumulators: Accumulators::new(),
            metrics: MetricGroup::of_task(ProcessingClock::system()),
        }
    }

    /// What its channels bring, for people, counted over all gates.
    pub fn with_input_names(mut self, names: Vec<String>) -> Self {
        self.time_watch = TimeWatch::of(names);
        self
    }

    /// Fires timers by this clock instead of the system's.
    pub fn with_clock(mut self, clock: ProcessingClock) -> Self {
        self.timers.clock = clock;
        self
    }

    /// Tells of these numbers.
    pub fn with_accumulators(mut self, accumulators: Accumulators) -> Self {
        self.accumulators = accumulators;
        self
    }

    /// Tells of these metrics.
    pub fn with_metrics(mut self, metrics: MetricGroup) -> Self {
        self.metrics = metrics;
        self
    }

    /// Its source reads no further than these groups allow.
    pub fn with_alignment(mut self, groups: AlignmentGroups) -> Self {
        self.alignment = (!groups.is_empty()).then_some(groups);
        self
    }

    /// So far it may go, as far as this group is concerned.
    pub fn align(&mut self, group: &str, watermark: Timestamp) {
        if let Some(groups) = &self.alignment {
            groups.allow(group, watermark);
        }
    }

    /// A turn takes on at most so many records of a source.
    pub fn with_turns_of(mut self, records: usize) -> Self {
        self.pace.at_most(records);
        self
    }

    /// After its work it waits for a checkpoint that says so.
    pub fn with_checkpoints(mut self) -> Self {
        self.checkpoints.wait_at_end = true;
        self
    }

    /// Takes one turn.
    pub fn step(&mut self, now: Instant) -> Result<Step, TaskError> {
        self.waits_outside = false;
        let step = self.take_turn(now)?;
        self.needs_output = step == Step::NeedOutput;
        Ok(step)
    }

    fn take_turn(&mut self, now: Instant) -> Result<Step, TaskError> {
        self.outputs.pump()?;
        self.attend(now)?;
        for made in 0..MOVES_MAX {
            match self.make_move(now)? {
                Step::Progress if self.phase == Phase::Finished => return Ok(Step::Finished),
                Step::Progress => (),
                _ if made > 0 => return Ok(Step::Progress),
                stop => return Ok(stop),
            }
        }
        Ok(Step::Progress)
    }

    /// Moves one batch one stage further, or does what the phase asks for when there is none.
    fn make_move(&mut self, now: Instant) -> Result<Step, TaskError> {
        if self.chain.has_output() {
            return self.write(now);
        }
        if self.chain.advance()? {
            return Ok(Step::Progress);
        }
        match self.phase {
            Phase::Running => self.run(now),
            Phase::Flushing(next) => self.flush_next(next),
            Phase::Firing(next, time) => self.fire_next(next, time, now),
            Phase::Barrier(aligned, next) => self.pass_barrier(aligned, next),
            Phase::Suspended(_) => Ok(Step::NeedMail),
            Phase::Passing => self.pass_end(now),
            Phase::Finishing(next) => self.finish_next(next, now),
            Phase::Ending => self.end(),
            Phase::Waiting | Phase::Leaving => self.wait_at_end(),
            Phase::Finished => Ok(Step::Finished),
        }
    }

    fn run(&mut self, now: Instant) -> Result<Step, TaskError> {
        if let Some(phase) = self.checkpoints.next_phase() {
            self.phase = phase;
            return Ok(Step::Progress);
        }
        if !self.ended_splits.is_empty() {
            self.end_splits();
        }
        if self.chain.has_watermark() {
            return self.pass_watermark(now);
        }
        if self.timers.are_due(&self.chain) {
            self.phase = Phase::Firing(0, self.timers.clock.now());
            return Ok(Step::Progress);
        }
        if self.is_flush_due(now) {
            return Ok(self.begin_flush(now));
        }
        let ahead = self.alignment.as_ref().is_some_and(AlignmentGroups::waits);
        if ahead || !self.chain.accepts() {
            return Ok(self.wait_outside(now));
        }
        self.poll_head(now)
    }

    /// An operator waits for something outside: whoever brings it wakes the thread.
    fn wait_outside(&mut self, now: Instant) -> Step {
        let step = self.rest(None, now);
        self.waits_outside = matches!(step, Step::NeedInput(_));
        step
    }

    fn write(&mut self, now: Instant) -> Result<Step, TaskError> {
        if !self.outputs.has_room(self.overdraft()) {
            return Ok(Step::NeedOutput);
        }
        let outputs = &mut self.outputs;
        self.chain.take_side_outputs(|operator, side, batch| {
            outputs.write_side((operator, side), batch)
        })?;
        if !self.chain.output().is_empty() {
            self.outputs.write(self.chain.output())?;
        }
        if self.open_since.is_none() && self.outputs.has_open() {
            self.open_since = Some(now);
        }
        Ok(Step::Progress)
    }

    fn poll_head(&mut self, now: Instant) -> Result<Step, TaskError> {
        if self.split != SplitRequest::None {
            return Ok(Step::NeedSplit);
        }
        let room = self.pace.room(now);
        let polled = self.head.poll(self.chain.input(), room, now)?;
        self.split_changes()?;
        self.pace.took(self.chain.input_len());
        if self.chain.input_len() > 0 && self.held_since.is_none() {
            self.held_since = Some(now);
        }
        Ok(match polled {
            Polled::More => Step::Progress,
            Polled::Control(channel, control) => {
                self.on_control(channel, control, now);
                Step::Progress
            }
            Polled::End => {
                self.phase = Phase::Finishing(0);
                Step::Progress
            }
            Polled::NeedSplit => {
                self.split = SplitRequest::Wanted;
                // What came with it does not wait for the answer.
                if self.chain.input_len() > 0 { Step::Progress } else { Step::NeedSplit }
            }
            Polled::Idle(_) if self.chain.input_len() > 0 => Step::Progress,
            Polled::Idle(until) => self.rest(until, now),
        })
    }

    /// Nothing comes in now: what is held back leaves first.
    fn rest(&mut self, until: Option<Instant>, now: Instant) -> Step {
        self.pace.rested();
        if self.held_since.is_some() {
            self.phase = Phase::Flushing(0);
            Step::Progress
        } else if !self.flush_outputs() {
            Step::NeedOutput
        } else {
            Step::NeedInput(self.timers.deadline(&self.chain, until, now))
        }
    }

    fn is_flush_due(&self, now: Instant) -> bool {
        let overdue = |since: Option<Instant>, bound: Duration| {
            since.is_some_and(|since| now.duration_since(since) >= bound)
        };
        overdue(self.open_since, FLUSH_AFTER) || overdue(self.held_since, FLUSH_OPERATORS_AFTER)
    }

    /// Under load: partial batches leave; operators are flushed only when their turn has come.
    fn begin_flush(&mut self, now: Instant) -> Step {
        let held = self.held_since.is_some_and(|s| now.duration_since(s) >= FLUSH_OPERATORS_AFTER);
        if held {
            self.phase = Phase::Flushing(0);
            return Step::Progress;
        }
        // What finds no room leaves with the next batch that does.
        self.flush_outputs();
        self.open_since = None;
        Step::Progress
    }

    fn flush_next(&mut self, next: usize) -> Result<Step, TaskError> {
        if next < self.chain.len() {
            if self.chain.flush(next)? {
                self.phase = Phase::Flushing(next + 1);
            }
            return Ok(Step::Progress);
        }
        if !self.flush_outputs() {
            return Ok(Step::NeedOutput);
        }
        self.held_since = None;
        self.phase = Phase::Running;
        Ok(Step::Progress)
    }

    fn flush_outputs(&mut self) -> bool {
        let all = self.outputs.flush(self.overdraft());
        if all {
            self.open_since = None;
        }
        all
    }

    fn finish_next(&mut self, next: usize, now: Instant) -> Result<Step, TaskError> {
        if next == self.chain.len() {
            self.phase = Phase::Ending;
            return Ok(Step::Progress);
        }
        match self.chain.finish(next)? {
            Flow::Drained => self.phase = Phase::Finishing(next + 1),
            Flow::More => (),
            Flow::Waiting => return Ok(self.wait_to_finish(now)),
        }
        Ok(Step::Progress)
    }

    /// The first operator waits for something outside before it can finish. Barriers, watermarks and
    /// timers do not wait with it: the task runs on for them, and finds its input ended again.
    fn wait_to_finish(&mut self, now: Instant) -> Step {
        let is_due = self.checkpoints.is_due_before_end()
            || self.chain.has_watermark()
            || self.timers.are_due(&self.chain);
        if self.chain.has_output() {
            return Step::Progress;
        }
        if is_due {
            self.phase = Phase::Running;
            return Step::Progress;
        }
        // After what is held back has been flushed, the task runs, and comes back here.
        self.wait_outside(now)
    }

    /// Reads the ends of inputs before which nothing is left to come.
    fn pass_end(&mut self, now: Instant) -> Result<Step, TaskError> {
        let polled = self.head.poll(self.chain.input(), usize::MAX, now)?;
        if self.chain.input_len() > 0 {
            let error = OperatorError::new(
                "records came for a task that had done all its work before it was restored",
            );
            return Err(TaskError::Operator { label: None, error });
        }
        Ok(match polled {
            Polled::Idle(until) => Step::NeedInput(until),
            Polled::End => {
                self.phase = Phase::Ending;
                Step::Progress
            }
            Polled::Control(channel, control) => {
                self.on_control(channel, control, now);
                Step::Progress
            }
            Polled::More | Polled::NeedSplit => Step::Progress,
        })
    }

    fn end(&mut self) -> Result<Step, TaskError> {
        if !self.outputs.end()? {
            return Ok(Step::NeedOutput);
        }
        self.phase = Phase::Leaving;
        if self.checkpoints.wait_at_end {
            self.checkpoints.report(TaskReport::EndOfData);
            self.phase = Phase::Waiting;
        }
        Ok(Step::Progress)
    }

    fn wait_at_end(&mut self) -> Result<Step, TaskError> {
        if let Some(aligned) = self.checkpoints.next_due() {
            return self.snapshot_at_end(aligned);
        }
        if self.phase == Phase::Waiting {
            return Ok(Step::NeedMail);
        }
        if !self.outputs.is_drained() {
            return Ok(Step::NeedOutput);
        }
        self.phase = Phase::Finished;
        Ok(Step::Progress)
    }

    /// Whether a split is to be asked for now. Says so once per split: a second ask would be
    /// answered with another split, and one of the two would be lost.
    pub fn take_split_request(&mut self) -> bool {
        let wanted = self.split == SplitRequest::Wanted;
        if wanted {
            self.split = SplitRequest::Asked;
        }
        wanted
    }

    /// The split that the source waits for; nothing: there is none left.
    pub fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), TaskError> {
        if self.split != SplitRequest::Asked {
            let error = OperatorError::new("a split came that was not asked for");
            return Err(TaskError::Operator { label: None, error });
        }
        self.split = SplitRequest::None;
        self.checkpoints.splits += u32::from(split.is_some());
        self.head.add_split(split)
    }

    /// The head, for changes of its channels.
    pub fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    /// Whether a step would do nothing: asked before the thread sleeps.
    pub fn is_idle(&self) -> bool {
        // Whoever makes room, or sends mail, wakes the thread.
        self.needs_output
            || self.waits_outside
            || matches!(self.phase, Phase::Waiting | Phase::Suspended(_))
            || self.split != SplitRequest::None
            || self.head.is_idle()
    }

    /// One of its operators, for tests that look into it.
    pub fn operator(&mut self, id: OperatorId) -> Option<&mut dyn Operator> {
        self.chain.operator(id)
    }

    /// Lets go of everything; after a failure or a cancellation `completed` is false.
    pub fn close(&mut self, completed: bool) -> Result<(), TaskError> {
        self.checkpoints.decline_all("the task has ended");
        self.chain.close(completed)
    }

    /// How far event time is: that of its inputs, or, of a source, that of its output; nothing, if that is
    /// not known.
    pub fn watermark(&self) -> Option<Timestamp> {
        let time = match self.head.channels() {
            0 => self.watermark_out,
            _ => self.valve.current().time,
        };
        Some(time).filter(|time| *time != MIN_WATERMARK)
    }

    /// Something that people should hear of: event time stands still.
    pub fn take_notice(&mut self, now: Instant) -> Option<String> {
        self.time_watch.look(&self.valve, now)
    }

    /// Numbers that functions of its operators add up.
    pub fn accumulators(&self) -> &Accumulators {
        &self.accumulators
    }

    /// What functions of its operators show.
    pub fn metrics(&self) -> &MetricGroup {
        &self.metrics
    }

    /// Records read and written, bytes from and to other processes.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let (records_in, bytes_in) = self.head.counts();
        let (records_out, bytes_out) = self.outputs.counts();
        (records_in, records_out, bytes_in, bytes_out)
    }
}
