//! A slot is a thread: it steps the tasks of its slot sharing group in turn, downstream first, and
//! sleeps when none of them can move.
//!
//! What others want of it comes as mail: new tasks, cancellations, splits, channel updates. Mail is
//! read between steps, so it waits for at most one turn of each task.

use crate::failure::{TaskError, catch};
use crate::host::EventSink;
use crate::mailbox::Mailbox;
use crate::rest::Rest;
use crate::snapshots::Snapshots;
use crate::stream_task::{Step, StreamTask, TaskReport};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{ExecutionAttemptId, JobVertexId};
use millstream_core::job_graph::SourceSplit;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_operator::watermark::AlignmentReport;
use millstream_rpc::protocol::deployment::InputChannelDescriptor;
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_rpc::protocol::job_master::{
    TaskExecutionState, TaskFailure, TaskMetrics, WatermarkReport,
};
use millstream_shuffle::sync::atomic::{AtomicBool, Ordering};
use millstream_shuffle::sync::thread::{Builder, JoinHandle};
use millstream_shuffle::sync::{Arc, Mutex, lock};
use millstream_shuffle::wake::Wake;
use std::time::{Duration, Instant};

/// Builds a task on the thread that will run it.
pub type BuildTask = Box<dyn FnOnce(&Wake) -> Result<StreamTask, TaskError> + Send>;

/// What a slot is told.
pub enum SlotMail {
    /// Run this attempt.
    Deploy(Deployment),
    /// Stop this attempt.
    Cancel(ExecutionAttemptId),
    /// The split that the attempt asked for.
    Split(ExecutionAttemptId, Option<SourceSplit>),
    /// Producers have (new) places: gate, channel, place.
    UpdateChannels(ExecutionAttemptId, Vec<(u32, u32, InputChannelDescriptor)>),
    /// A checkpoint begins at the attempt.
    Trigger(ExecutionAttemptId, Barrier),
    /// A checkpoint is complete.
    CheckpointCompleted(ExecutionAttemptId, CheckpointId),
    /// A checkpoint will never be complete.
    CheckpointAborted(ExecutionAttemptId, CheckpointId),
    /// So far the source of an alignment group may read.
    Align(ExecutionAttemptId, String, Timestamp),
    /// End when no task is left.
    Dismiss,
}

/// An attempt that a slot is to run.
pub struct Deployment {
    /// Which.
    pub attempt: ExecutionAttemptId,
    /// Its vertex's name and its number, for people.
    pub name: String,
    /// Tasks of later vertices are stepped first.
    pub order: usize,
    /// Makes the task.
    pub build: BuildTask,
    /// Its counters.
    pub metrics: Arc<Mutex<TaskMetrics>>,
}

/// The handle on a slot's thread.
pub struct Slot {
    mailbox: Arc<Mailbox<SlotMail>>,
    /// The thread has ended, or is about to.
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Slot {
    /// Starts the thread; what happens to its tasks goes to `events`, what they hand over at barriers
    /// to `snapshots`.
    pub fn start(
        name: &str,
        events: EventSink,
        snapshots: Arc<Snapshots>,
    ) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let ended = Arc::new(AtomicBool::new(false));
        let thread = Builder::new().name(name.to_owned()).spawn({
            let (mailbox, ended) = (mailbox.clone(), Ended(ended.clone()));
            move || {
                let (tasks, rest) = (Vec::new(), Rest::default());
                SlotThread { mailbox, events, snapshots, tasks, dismissed: false, rest }.run();
                drop(ended);
            }
        })?;
        Ok(Self { mailbox, ended, thread })
    }

    /// Puts a mail into the box. Never waits.
    pub fn send(&self, mail: SlotMail) {
        self.mailbox.post(mail);
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits for the thread, which must have been dismissed.
    pub fn join(self) {
        // A panic of the thread itself was reported through the panic hook.
        let _ = self.thread.join();
    }
}

/// Says that the thread has ended, however it does.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What runs on the thread.
struct SlotThread {
    mailbox: Arc<Mailbox<SlotMail>>,
    events: EventSink,
    snapshots: Arc<Snapshots>,
    /// Downstream first.
    tasks: Vec<RunningTask>,
    dismissed: bool,
    /// How it waits; learns how late sleeps end here.
    rest: Rest,
}

struct RunningTask {
    deployment: DeployedAs,
    task: StreamTask,
    /// When the next step may find something, if none of the queues says so before.
    wake_at: Option<Instant>,
    clock: StateClock,
}

/// What remains of a deployment while the task runs.
struct DeployedAs {
    attempt: ExecutionAttemptId,
    name: String,
    order: usize,
    metrics: Arc<Mutex<TaskMetrics>>,
}

impl SlotThread {
    fn run(mut self) {
        self.mailbox.wake().adopt_current_thread();
        wake_on_time();
        loop {
            self.read_mail();
            if self.dismissed && self.tasks.is_empty() {
                return;
            }
            if !self.step_all() {
                self.rest();
            }
        }
    }

    fn read_mail(&mut self) {
        for mail in self.mailbox.take() {
            match mail {
                SlotMail::Deploy(deployment) => self.deploy(deployment),
                SlotMail::Cancel(attempt) => self.cancel(attempt),
                SlotMail::Split(attempt, split) => {
                    self.change(attempt, |task| task.add_split(split));
                }
                SlotMail::UpdateChannels(attempt, channels) => self.change(attempt, |task| {
                    for (gate, channel, found) in channels {
                        task.head().update_channel(gate as usize, channel as usize, found);
                    }
                    Ok(())
                }),
                SlotMail::Trigger(attempt, barrier) => self.trigger(attempt, barrier),
                SlotMail::CheckpointCompleted(attempt, checkpoint) => {
                    self.change(attempt, |task| task.checkpoint_completed(checkpoint));
                }
                SlotMail::CheckpointAborted(attempt, checkpoint) => {
                    self.change(attempt, |task| task.checkpoint_aborted(checkpoint));
                }
                SlotMail::Align(attempt, group, watermark) => self.change(attempt, |task| {
                    task.align(&group, watermark);
                    Ok(())
                }),
                SlotMail::Dismiss => self.dismissed = true,
            }
        }
    }

    fn deploy(&mut self, deployment: Deployment) {
        let Deployment { attempt, name, order, build, metrics } = deployment;
        let deployed = DeployedAs { attempt, name, order, metrics };
        self.report(&deployed, ExecutionState::Initializing, None);
        let wake = self.mailbox.wake().clone();
        match catch(|| build(&wake)) {
            Ok(mut task) => {
                // Who belongs to an alignment group is known before it runs.
                self.pass_on(attempt, task.take_reports());
                self.report(&deployed, ExecutionState::Running, None);
                let clock = StateClock::new(Instant::now());
                let running = RunningTask { deployment: deployed, task, wake_at: None, clock };
                self.tasks.push(running);
                self.tasks.sort_by_key(|task| std::cmp::Reverse(task.deployment.order));
            }
            Err(error) => {
                self.snapshots.forget(attempt);
                let failure = error.into_failure(&deployed.name);
                self.report(&deployed, ExecutionState::Failed, Some(failure));
            }
        }
    }

    /// An attempt that has ended says so, so that nobody waits for it.
    fn trigger(&mut self, attempt: ExecutionAttemptId, barrier: Barrier) {
        if self.position(attempt).is_some() {
            let now = Instant::now();
            return self.change(attempt, |task| {
                task.trigger(barrier, now);
                Ok(())
            });
        }
        let (checkpoint, cause) = (barrier.checkpoint, "the task does not run".to_owned());
        (self.events)(FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause });
    }

    /// Passes on what a task has to say about checkpoints.
    fn pass_on(&self, attempt: ExecutionAttemptId, reports: Vec<TaskReport>) {
        for report in reports {
            match report {
                TaskReport::Snapshot(snapshot) => self.snapshots.write(attempt, snapshot),
                TaskReport::Declined { checkpoint, cause } => {
                    (self.events)(FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause });
                }
                TaskReport::Withdrawn => self.snapshots.withdrawn(attempt),
                TaskReport::EndOfData => (self.events)(FromJobProcess::EndOfData { attempt }),
                TaskReport::Aligned(report) => (self.events)(aligned(attempt, report)),
            }
        }
    }

    fn cancel(&mut self, attempt: ExecutionAttemptId) {
        if let Some(at) = self.position(attempt) {
            let running = self.tasks.remove(at);
            self.end(running, ExecutionState::Canceled, None);
        }
    }

    fn position(&self, attempt: ExecutionAttemptId) -> Option<usize> {
        self.tasks.iter().position(|task| task.deployment.attempt == attempt)
    }

    fn change(
        &mut self,
        attempt: ExecutionAttemptId,
        change: impl FnOnce(&mut StreamTask) -> Result<(), TaskError>,
    ) {
        let Some(at) = self.position(attempt) else { return };
        let running = &mut self.tasks[at];
        running.wake_at = None;
        if let Err(error) = catch(|| change(&mut running.task)) {
            self.fail(at, error);
        }
    }

    /// Steps every task once; whether one of them moved.
    fn step_all(&mut self) -> bool {
        let mut moved = false;
        let mut at = 0;
        while at < self.tasks.len() {
            let now = Instant::now();
            let running = &mut self.tasks[at];
            let step = catch(|| running.task.step(now));
            running.clock.account(now, step.as_ref().ok(), &running.deployment, &mut running.task);
            let (attempt, reports) = (running.deployment.attempt, running.task.take_reports());
            self.pass_on(attempt, reports);
            let running = &mut self.tasks[at];
            let alarm = running.task.alarm();
            match step {
                Ok(Step::Progress) => moved = true,
                Ok(Step::NeedInput(until)) => {
                    running.wake_at = until.into_iter().chain(alarm).min();
                }
                Ok(Step::NeedOutput | Step::NeedMail) => running.wake_at = alarm,
                Ok(Step::NeedSplit) => self.ask_for_split(at),
                Ok(Step::Finished) => {
                    let running = self.tasks.remove(at);
                    self.end(running, ExecutionState::Finished, None);
                    moved = true;
                    continue;
                }
                Err(error) => {
                    self.fail(at, error);
                    moved = true;
                    continue;
                }
            }
            at += 1;
        }
        moved
    }

    fn ask_for_split(&mut self, at: usize) {
        let running = &mut self.tasks[at];
        running.wake_at = running.task.alarm();
        if running.task.take_split_request() {
            let attempt = running.deployment.attempt;
            let vertex: JobVertexId = attempt.vertex;
            (self.events)(FromJobProcess::RequestNextSplit { vertex, attempt });
        }
    }

    fn fail(&mut self, at: usize, error: TaskError) {
        let running = self.tasks.remove(at);
        let failure = error.into_failure(&running.deployment.name);
        self.end(running, ExecutionState::Failed, Some(failure));
    }

    fn end(
        &mut self,
        mut running: RunningTask,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        let completed = state == ExecutionState::Finished;
        running.clock.publish(&running.deployment, &running.task);
        let closed = catch(|| running.task.close(completed));
        let (deployment, reports) = (running.deployment, running.task.take_reports());
        self.pass_on(deployment.attempt, reports);
        self.snapshots.forget(deployment.attempt);
        // What tasks hold (channels, files) is let go of before anyone hears of the end.
        let dropped = catch(|| {
            drop(running.task);
            Ok(())
        });
        match (state, closed.and(dropped)) {
            (ExecutionState::Finished, Err(error)) => {
                let failure = error.into_failure(&deployment.name);
                self.report(&deployment, ExecutionState::Failed, Some(failure));
            }
            _ => self.report(&deployment, state, failure),
        }
    }

    fn report(&self, of: &DeployedAs, state: ExecutionState, failure: Option<TaskFailure>) {
        let metrics = lock(&of.metrics).clone();
        let state = TaskExecutionState { attempt: of.attempt, state, failure, metrics };
        (self.events)(FromJobProcess::TaskState(Box::new(state)));
    }

    /// Waits until there is something to do (see [`crate::rest`]).
    fn rest(&mut self) {
        let Self { mailbox, tasks, rest, .. } = self;
        let until = tasks.iter().filter_map(|task| task.wake_at).min();
        rest.rest(mailbox.wake(), until, || is_idle(mailbox, tasks, Instant::now()));
    }
}

/// What the job master is told of how far a source is.
pub(crate) fn aligned(attempt: ExecutionAttemptId, report: AlignmentReport) -> FromJobProcess {
    let AlignmentReport { group, drift_ms, watermark } = report;
    let group = group.to_string();
    FromJobProcess::ReportWatermark(WatermarkReport { attempt, group, drift_ms, watermark })
}

fn is_idle(mailbox: &Mailbox<SlotMail>, tasks: &[RunningTask], now: Instant) -> bool {
    mailbox.is_empty()
        && tasks.iter().all(|running| {
            running.task.is_idle() && running.wake_at.is_none_or(|until| until > now)
        })
}

/// The kernel may delay a timed sleep by 50 µs to save wake-ups. Records that are due are not to wait
/// for that.
#[cfg(target_os = "linux")]
fn wake_on_time() {
    // Where the kernel does not know the wish, sleeps are as they are.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

#[cfg(not(target_os = "linux"))]
fn wake_on_time() {}

/// Divides a task's time into busy, idle and back-pressured, and publishes its counters.
struct StateClock {
    since: Instant,
    published: Instant,
    last: Share,
    busy: Duration,
    idle: Duration,
    back_pressured: Duration,
}

#[derive(Clone, Copy)]
enum Share {
    Busy,
    Idle,
    BackPressured,
}

/// Counters are published so often.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);

impl StateClock {
    fn new(now: Instant) -> Self {
        let zero = Duration::ZERO;
        Self {
            since: now,
            published: now,
            last: Share::Busy,
            busy: zero,
            idle: zero,
            back_pressured: zero,
        }
    }

    /// The step that began at `now` has ended with `step`; the time before belongs to the last one.
    fn account(
        &mut self,
        now: Instant,
        step: Option<&Step>,
        of: &DeployedAs,
        task: &mut StreamTask,
    ) {
        let passed = now.duration_since(self.since);
        match self.last {
            Share::Busy => self.busy += passed,
            Share::Idle => self.idle += passed,
            Share::BackPressured => self.back_pressured += passed,
        }
        self.since = now;
        self.last = match step {
            Some(Step::NeedInput(_) | Step::NeedSplit | Step::NeedMail) => Share::Idle,
            Some(Step::NeedOutput) => Share::BackPressured,
            _ => Share::Busy,
        };
        if now.duration_since(self.published) >= PUBLISH_EVERY {
            self.publish(of, task);
            if let Some(notice) = task.take_notice(now) {
                eprintln!("warning: task `{}`: {notice}", of.name);
            }
        }
    }

    fn publish(&mut self, of: &DeployedAs, task: &StreamTask) {
        let total = self.busy + self.idle + self.back_pressured;
        let share = |part: Duration| match total.as_micros() {
            0 => 0,
            total => (part.as_micros() * 1000 / total) as u32,
        };
        let (records_in, records_out, bytes_in, bytes_out) = task.counts();
        *lock(&of.metrics) = TaskMetrics {
            records_in,
            records_out,
            bytes_in,
            bytes_out,
            busy_ms: share(self.busy),
            idle_ms: share(self.idle),
            back_pressured_ms: share(self.back_pressured),
            watermark: task.watermark(),
            accumulators: task.accumulators().values(),
            user: task.metrics().values(),
        };
        self.published = self.since;
        (self.busy, self.idle, self.back_pressured) = Default::default();
    }
}
