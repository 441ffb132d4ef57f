//! A simulated job process: plays tasks. They initialise, run, read splits or wait for what their
//! producers make, finish or fail, and stop when told (or do not).
//!
//! Its judge: an attempt is started at most once in a run, and tasks of one subtask that were not
//! told to end never run twice at the same time in one process.

use crate::host::Env;
use crate::nodes::Later;
use crate::world::Finished;
use millstream_core::ids::{ExecutionAttemptId, JobId, PartitionId};
use millstream_core::job_graph::{ExchangeMode, JobVertex, SourceSplit};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::deployment::{
    InputChannelDescriptor, InputGateDescriptor, TaskDeploymentDescriptor,
};
use millstream_rpc::protocol::job_link::{
    FromJobProcess, JOB_LINK_VERSION, JobInformation, ToJobProcess,
};
use millstream_rpc::protocol::job_master::{
    TaskExecutionState, TaskFailure, TaskFailureKind, TaskMetrics,
};
use millstream_taskmanager::ExitStatus;
use std::collections::BTreeMap;

/// A job whose vertices' names hold this runs until it is cancelled.
pub const ENDLESS: &str = "endless";

/// Tasks of vertices whose names hold this take longer than others, and not equally long.
pub const SLOW: &str = "slow";

/// A job of this name cannot be run by its program: the plans differ.
pub const UNFIT: &str = "unfit";

/// Something that happens in or to a job process.
#[derive(Debug)]
pub enum Event {
    /// Its process runs.
    Started {
        /// Whose.
        job: JobId,
        /// Which start.
        incarnation: u64,
        /// Who waits for that.
        op: OpId,
    },
    /// Its process ends.
    Exit {
        /// Whose.
        job: JobId,
        /// Which start.
        incarnation: u64,
        /// How.
        status: ExitStatus,
    },
    /// It goes on.
    Step {
        /// Whose.
        job: JobId,
        /// Which start.
        incarnation: u64,
        /// With what.
        step: Step,
    },
}

/// What a job process does next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Says hello.
    Hello,
    /// Is ready.
    Ready,
    /// The task initialises.
    Initialize(ExecutionAttemptId),
    /// The task runs.
    Run(ExecutionAttemptId),
    /// The task looks whether it can go on.
    Work(ExecutionAttemptId),
    /// The task has stopped.
    Cancelled(ExecutionAttemptId),
}

/// What a job process says.
#[derive(Debug)]
pub enum Speech {
    /// To its task executor.
    Say(FromJobProcess),
    /// It ends.
    Exit(ExitStatus),
}

/// A job process.
#[derive(Debug)]
pub struct JobProcess {
    /// Whose.
    pub job: JobId,
    /// Which start.
    pub incarnation: u64,
    /// It is to be killed: nobody may speak to it.
    pub kill_asked: bool,
    /// From then on its worker may behave as if it were dead.
    pub given_up_at: Option<Mono>,
    /// What was submitted.
    information: JobInformation,
    /// It has begun.
    begun: bool,
    tasks: BTreeMap<ExecutionAttemptId, Task>,
}

#[derive(Debug)]
struct Task {
    descriptor: TaskDeploymentDescriptor,
    state: ExecutionState,
    /// It was told to stop.
    cancelled: bool,
    /// It will not.
    stuck: bool,
    splits: Vec<SourceSplit>,
    /// It has had all splits.
    drained: bool,
    /// It waits for a split.
    asked: bool,
    /// How much work is left that needs no input.
    work_left: u32,
}

impl JobProcess {
    /// A process that is being started.
    pub fn new(job: JobId, incarnation: u64, information: JobInformation) -> Self {
        Self {
            job,
            incarnation,
            kill_asked: false,
            given_up_at: None,
            information,
            begun: false,
            tasks: BTreeMap::new(),
        }
    }

    /// Whether its worker may behave as if it were dead.
    pub fn is_given_up(&self, now: Mono) -> bool {
        self.given_up_at.is_some_and(|at| at <= now)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.begun && !self.kill_asked
    }

    /// Attempts that run in it and were not told to stop.
    pub fn active(&self) -> impl Iterator<Item = &ExecutionAttemptId> {
        let active = self.tasks.iter().filter(|(_, task)| !task.cancelled);
        active.map(|(attempt, _)| attempt)
    }

    /// All attempts that run in it.
    pub fn attempts(&self) -> impl Iterator<Item = &ExecutionAttemptId> {
        self.tasks.keys()
    }

    /// The process runs now.
    pub fn begin(&mut self, env: &mut Env<'_>) {
        self.begun = true;
        if env.chance(env.weather.bad_starts) {
            // It crashes on its way to `execute`, or hangs there for ever.
            if env.rng.below(2) == 0 {
                let (job, incarnation) = (self.job, self.incarnation);
                let status = ExitStatus::Code(101);
                let delay_us = 1_000 * env.rng.below(1_000);
                let event = Event::Exit { job, incarnation, status };
                env.later(delay_us, Later::Child(event));
            }
            return;
        }
        self.soon(env, 20_000, Step::Hello);
    }

    /// It is told something.
    pub fn hear(&mut self, env: &mut Env<'_>, message: ToJobProcess) -> Vec<Speech> {
        match message {
            ToJobProcess::Start { .. } => self.soon(env, 300_000, Step::Ready),
            ToJobProcess::Deploy(descriptor) => self.deploy(env, *descriptor),
            ToJobProcess::Cancel { attempt } => self.cancel(env, attempt),
            ToJobProcess::UpdatePartitions { attempt, channels } => {
                self.update_partitions(env, attempt, channels);
            }
            ToJobProcess::NextSplit { attempt, split } => self.take_split(env, attempt, split),
            // No master of the simulator triggers checkpoints yet.
            ToJobProcess::TriggerCheckpoint { .. }
            | ToJobProcess::CheckpointCompleted { .. }
            | ToJobProcess::CheckpointAborted { .. }
            | ToJobProcess::AlignWatermark { .. } => (),
            ToJobProcess::Dismiss => {
                assert!(self.tasks.is_empty(), "dismissed with tasks: {:?}", self.tasks);
                return vec![Speech::Exit(ExitStatus::Code(0))];
            }
        }
        Vec::new()
    }

    /// It goes on.
    pub fn step(&mut self, env: &mut Env<'_>, step: Step) -> Vec<Speech> {
        match step {
            Step::Hello => {
                let version = JOB_LINK_VERSION;
                let pid = self.incarnation as u32;
                vec![Speech::Say(FromJobProcess::Hello { version, pid })]
            }
            Step::Ready if self.information.graph.name == UNFIT => {
                let reason = "the plans differ".to_owned();
                vec![Speech::Say(FromJobProcess::Unfit { reason })]
            }
            Step::Ready => vec![Speech::Say(FromJobProcess::Ready)],
            Step::Initialize(attempt) => {
                let speech = self.enter(attempt, ExecutionState::Initializing);
                self.soon(env, 50_000, Step::Run(attempt));
                speech
            }
            Step::Run(attempt) => {
                let speech = self.enter(attempt, ExecutionState::Running);
                self.soon(env, 300_000, Step::Work(attempt));
                speech
            }
            Step::Work(attempt) => self.work(env, attempt),
            Step::Cancelled(attempt) => self.end(attempt, ExecutionState::Canceled, None),
        }
    }

    /// Somewhere an attempt has finished: who waits for it may go on.
    pub fn wake(&self, env: &mut Env<'_>) {
        let readers = self.tasks.iter().filter(|(_, task)| !task.descriptor.gates.is_empty());
        for (attempt, _) in readers {
            self.soon(env, 20_000, Step::Work(*attempt));
        }
    }

    fn soon(&self, env: &mut Env<'_>, most_us: u64, step: Step) {
        let (job, incarnation) = (self.job, self.incarnation);
        let delay_us = 100 + env.rng.below(most_us);
        env.later(delay_us, Later::Child(Event::Step { job, incarnation, step }));
    }

    fn deploy(&mut self, env: &mut Env<'_>, descriptor: TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let first = env.ledger.started.insert(attempt);
        assert!(first, "{attempt} is started a second time");
        self.assert_inputs_are_whole(env, &descriptor);
        let twin = self.active().find(|other| {
            (other.graph, other.vertex, other.subtask)
                == (attempt.graph, attempt.vertex, attempt.subtask)
        });
        assert!(twin.is_none(), "{attempt} is started beside {twin:?}");
        let steps = if descriptor.task_name.contains(SLOW) { 10 } else { 4 };
        let task = Task {
            descriptor,
            state: ExecutionState::Deploying,
            cancelled: false,
            stuck: env.chance(env.weather.stuck_tasks),
            splits: Vec::new(),
            drained: false,
            asked: false,
            work_left: env.rng.below(steps) as u32,
        };
        self.tasks.insert(attempt, task);
        self.soon(env, 50_000, Step::Initialize(attempt));
    }

    fn cancel(&mut self, env: &mut Env<'_>, attempt: ExecutionAttemptId) {
        if let Some(task) = self.tasks.get_mut(&attempt) {
            task.cancelled = true;
            if !task.stuck {
                self.soon(env, 100_000, Step::Cancelled(attempt));
            }
        }
    }

    fn update_partitions(
        &mut self,
        env: &mut Env<'_>,
        attempt: ExecutionAttemptId,
        channels: Vec<(u32, u32, InputChannelDescriptor)>,
    ) {
        if let Some(task) = self.tasks.get_mut(&attempt) {
            for (gate, channel, news) in channels {
                let gates = &mut task.descriptor.gates;
                let slot = gates.get_mut(gate as usize);
                let slot = slot.and_then(|gate| gate.channels.get_mut(channel as usize));
                *slot.expect("channels that are updated exist") = news;
            }
            self.soon(env, 20_000, Step::Work(attempt));
        }
    }

    fn take_split(
        &mut self,
        env: &mut Env<'_>,
        attempt: ExecutionAttemptId,
        split: Option<SourceSplit>,
    ) {
        if let Some(task) = self.tasks.get_mut(&attempt) {
            assert!(task.asked, "{attempt} gets a split that it did not ask for");
            task.asked = false;
            match split {
                Some(split) => task.splits.push(split),
                None => task.drained = true,
            }
            self.soon(env, 200_000, Step::Work(attempt));
        }
    }

    fn vertex(&self, attempt: &ExecutionAttemptId) -> Option<&JobVertex> {
        let mut vertices = self.information.graph.vertices.iter();
        vertices.find(|vertex| vertex.id == attempt.vertex)
    }

    fn work(&mut self, env: &mut Env<'_>, attempt: ExecutionAttemptId) -> Vec<Speech> {
        let has_splits = self.vertex(&attempt).is_some_and(|vertex| !vertex.splits.is_empty());
        let Some(task) = self.tasks.get(&attempt) else {
            return Vec::new();
        };
        if task.state != ExecutionState::Running || task.cancelled || self.kill_asked {
            return Vec::new();
        }
        if env.chance(env.weather.task_failures) {
            let kind = TaskFailureKind::Recoverable;
            return self.fail(attempt, kind, "a user function has failed");
        }
        if env.chance(env.weather.crashes) {
            return vec![Speech::Exit(ExitStatus::Signal("SIGSEGV".to_owned()))];
        }
        if let Some(lost) = self.lost_input(env, attempt) {
            let kind = TaskFailureKind::PartitionUnavailable(lost);
            return self.fail(attempt, kind, "an input cannot be read");
        }
        if self.waits_for_input(env, attempt) {
            return Vec::new();
        }
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return Vec::new();
        };
        if has_splits && !task.drained {
            if std::mem::replace(&mut task.asked, true) {
                return Vec::new();
            }
            let vertex = attempt.vertex;
            return vec![Speech::Say(FromJobProcess::RequestNextSplit { vertex, attempt })];
        }
        let endless = task.descriptor.task_name.contains(ENDLESS);
        if endless || task.work_left > 0 {
            task.work_left = task.work_left.saturating_sub(1);
            if !endless {
                self.soon(env, 1_000_000, Step::Work(attempt));
            }
            return Vec::new();
        }
        self.finish(env, attempt)
    }

    /// An input of a blocking exchange whose producer has finished, and whose data is gone.
    fn lost_input(&self, env: &Env<'_>, attempt: ExecutionAttemptId) -> Option<PartitionId> {
        let task = self.tasks.get(&attempt)?;
        let graph = &self.information.graph;
        for gate in &task.descriptor.gates {
            let edge = graph.edges.iter().find(|edge| edge.data_set == gate.data_set)?;
            if edge.exchange != ExchangeMode::Blocking {
                continue;
            }
            for channel in &gate.channels {
                let producer = channel.partition.producer;
                let finished = env.ledger.finished.get(&producer).map(|finished| finished.worker);
                let is_there = finished.is_some_and(|(process, life)| {
                    env.ledger.stored.contains(&(process, life, self.job, producer))
                });
                if !is_there {
                    assert_not_given_up(env, attempt, producer);
                    return Some(channel.partition);
                }
            }
        }
        None
    }

    /// What is read over a blocking exchange has been produced before its reader is started.
    fn assert_inputs_are_whole(&self, env: &Env<'_>, reader: &TaskDeploymentDescriptor) {
        let edges = &self.information.graph.edges;
        let blocking = |gate: &&InputGateDescriptor| {
            let mut edges = edges.iter().filter(|edge| edge.data_set == gate.data_set);
            edges.any(|edge| edge.exchange == ExchangeMode::Blocking)
        };
        for channel in reader.gates.iter().filter(blocking).flat_map(|gate| &gate.channels) {
            let producer = channel.partition.producer;
            let whole = env.ledger.finished.contains_key(&producer);
            assert!(whole, "{} is started before {producer} has finished", reader.attempt);
        }
    }

    /// Not all that it reads is there and complete.
    fn waits_for_input(&self, env: &Env<'_>, attempt: ExecutionAttemptId) -> bool {
        let Some(task) = self.tasks.get(&attempt) else {
            return true;
        };
        let channels = task.descriptor.gates.iter().flat_map(|gate| &gate.channels);
        channels.into_iter().any(|channel| {
            let producer = &channel.partition.producer;
            channel.location.is_none() || !env.ledger.finished.contains_key(producer)
        })
    }

    fn finish(&mut self, env: &mut Env<'_>, attempt: ExecutionAttemptId) -> Vec<Speech> {
        let Some(task) = self.tasks.get(&attempt) else {
            return Vec::new();
        };
        let channels = task.descriptor.gates.iter().flat_map(|gate| &gate.channels);
        let finished = Finished {
            splits: task.splits.clone(),
            inputs: channels.map(|channel| channel.partition.producer).collect(),
            worker: (env.process, env.instance),
        };
        env.ledger.stored.insert((env.process, env.instance, self.job, attempt));
        env.ledger.finished.insert(attempt, finished);
        self.end(attempt, ExecutionState::Finished, None)
    }

    fn fail(
        &mut self,
        attempt: ExecutionAttemptId,
        kind: TaskFailureKind,
        message: &str,
    ) -> Vec<Speech> {
        let failure = TaskFailure {
            kind,
            message: message.to_owned(),
            // Each failure is a bug of its own: repeated ones would end the job.
            fingerprint: millstream_core::hash::xxh3_64(attempt.to_string().as_bytes()),
        };
        self.end(attempt, ExecutionState::Failed, Some(failure))
    }

    fn enter(&mut self, attempt: ExecutionAttemptId, state: ExecutionState) -> Vec<Speech> {
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return Vec::new();
        };
        task.state = state;
        vec![say(attempt, state, None)]
    }

    fn end(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) -> Vec<Speech> {
        match self.tasks.remove(&attempt) {
            Some(_) => vec![say(attempt, state, failure)],
            None => Vec::new(),
        }
    }
}

/// A master gives up only what nobody reads any more; an attempt that was replaced may read on.
fn assert_not_given_up(env: &Env<'_>, reader: ExecutionAttemptId, producer: ExecutionAttemptId) {
    let is_newer = |other: &&ExecutionAttemptId| {
        (other.graph, other.vertex, other.subtask) == (reader.graph, reader.vertex, reader.subtask)
            && other.attempt > reader.attempt
    };
    let replaced = env.ledger.started.iter().any(|other| is_newer(&other));
    let given_up = env.ledger.released.contains(&producer);
    assert!(!given_up || replaced, "{producer} was given up before {reader} has read it");
}

fn say(attempt: ExecutionAttemptId, state: ExecutionState, failure: Option<TaskFailure>) -> Speech {
    Speech::Say(FromJobProcess::TaskState(Box::new(TaskExecutionState {
        attempt,
        state,
        failure,
        metrics: TaskMetrics::default(),
    })))
}
