//! [`LocalTasks`]: the tasks of a plan in the calling thread, stepped one by one by whoever owns them:
//! what tests of whole programs are made of. They are the tasks that slots run, over the same queues and
//! with the same state files; only threads and the machine's clock are missing.

use crate::failure::{TaskError, catch};
use crate::host::{EventSink, Shared, groups_of};
use crate::slot::aligned;
use crate::snapshots::Snapshots;
use crate::storages::{StorageFactory, Storages};
use crate::stream_task::{Step, StreamTask, TaskReport};
use millstream_core::accumulator::{self, AccumulatorValue};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{ExecutionAttemptId, ResourceId};
use millstream_core::job_graph::SourceSplit;
use millstream_core::metric::MetricValue;
use millstream_core::time::Timestamp;
use millstream_operator::asynchronous::AsyncRuntime;
use millstream_operator::clock::ProcessingClock;
use millstream_operator::context::StateBackend;
use millstream_operator::plan::Plan;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_rpc::protocol::job_master::TaskFailure;
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::sync::{Arc, Mutex, lock};
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use std::collections::BTreeMap;
use std::time::Instant;

/// What the tasks live in.
pub struct Surroundings {
    /// Opens the storages of state.
    pub open_storage: StorageFactory,
    /// Where keyed state is; nothing: on the heap.
    pub state_backend: Option<Arc<dyn StateBackend>>,
    /// Tells processing time.
    pub clock: ProcessingClock,
    /// Makes the calls of asynchronous operators.
    pub async_runtime: AsyncRuntime,
    /// A turn takes on at most so many records of a source.
    pub turn_records: usize,
}

/// The tasks of a plan in the calling thread.
pub struct LocalTasks {
    shared: Shared,
    /// Nobody sleeps by it.
    wake: Wake,
    turn_records: usize,
    tasks: BTreeMap<ExecutionAttemptId, Running>,
    /// What accumulators of tasks that have finished came to.
    accumulators: Vec<BTreeMap<String, AccumulatorValue>>,
    /// What metrics of tasks that have finished showed at last.
    metrics: BTreeMap<String, MetricValue>,
    /// What tasks have said since it was last asked for.
    said: Arc<Mutex<Vec<FromJobProcess>>>,
}

struct Running {
    name: String,
    task: StreamTask,
}

impl LocalTasks {
    /// No tasks yet.
    pub fn new(plan: Arc<Plan>, surroundings: Surroundings) -> Self {
        let Surroundings { open_storage, state_backend, clock, async_runtime, turn_records } =
            surroundings;
        let said = Arc::<Mutex<Vec<FromJobProcess>>>::default();
        let heard = said.clone();
        let events: EventSink = Arc::new(move |message| lock(&heard).push(message));
        let storages = Arc::new(Storages::new(open_storage));
        let snapshots = Arc::new(Snapshots::at_once(storages.clone(), events.clone()));
        let configuration = Arc::new(plan.graph.configuration.clone());
        let shared = Shared {
            plan,
            here: ResourceId("test".to_owned()),
            registry: PartitionRegistry::new(),
            network: Network::default(),
            events,
            storages,
            local: None,
            snapshots,
            configuration,
            state_backend,
            clock,
            async_runtime,
        };
        let (wake, tasks, accumulators) = (Wake::new(), BTreeMap::new(), Vec::new());
        let metrics = BTreeMap::new();
        Self { shared, wake, turn_records, tasks, accumulators, metrics, said }
    }

    /// Where its tasks are, for their descriptors.
    pub fn here(&self) -> &ResourceId {
        &self.shared.here
    }

    /// Builds a task.
    pub fn deploy(&mut self, descriptor: TaskDeploymentDescriptor) -> Result<(), TaskFailure> {
        let attempt = descriptor.attempt;
        let TaskDeploymentDescriptor { task_name, parallelism, .. } = &descriptor;
        let name = format!("{task_name} ({}/{parallelism})", attempt.subtask + 1);
        let vertices = &self.shared.plan.graph.vertices;
        let index = vertices.iter().position(|vertex| vertex.id == attempt.vertex);
        let index = index.expect("descriptors are made of the plan's graph");
        let (setup, groups) = (descriptor.checkpointing.clone(), groups_of(&descriptor));
        let restore = descriptor.restore.as_deref();
        self.shared.snapshots.register(attempt, setup, groups, restore);
        let built = catch(|| self.shared.build(index, descriptor, &self.wake));
        let task = built.map_err(|error| error.into_failure(&name))?;
        let task = task.with_turns_of(self.turn_records);
        self.tasks.insert(attempt, Running { name, task });
        Ok(())
    }

    /// Lets a task take one turn. One that has finished, or failed, is no more.
    pub fn step(&mut self, attempt: ExecutionAttemptId, now: Instant) -> Result<Step, TaskFailure> {
        let step = self.with(attempt, |task| task.step(now))?;
        let step = step.unwrap_or(Step::Finished);
        if step == Step::Finished {
            self.end(attempt, true)?;
        }
        Ok(step)
    }

    /// Whether the task wants its next split, asked once per split.
    pub fn take_split_request(&mut self, attempt: ExecutionAttemptId) -> bool {
        self.tasks.get_mut(&attempt).is_some_and(|running| running.task.take_split_request())
    }

    /// The split that the task asked for.
    pub fn add_split(
        &mut self,
        attempt: ExecutionAttemptId,
        split: Option<SourceSplit>,
    ) -> Result<(), TaskFailure> {
        self.with(attempt, |task| task.add_split(split)).map(drop)
    }

    /// A checkpoint begins at the task.
    pub fn trigger(
        &mut self,
        attempt: ExecutionAttemptId,
        barrier: Barrier,
        now: Instant,
    ) -> Result<(), TaskFailure> {
        let told = self.with(attempt, |task| {
            task.trigger(barrier, now);
            Ok(())
        })?;
        if told.is_none() {
            let (checkpoint, cause) = (barrier.checkpoint, "the task does not run".to_owned());
            (self.shared.events)(FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause });
        }
        Ok(())
    }

    /// A checkpoint is complete.
    pub fn completed(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
    ) -> Result<(), TaskFailure> {
        self.shared.snapshots.completed(attempt, checkpoint);
        self.with(attempt, |task| task.checkpoint_completed(checkpoint)).map(drop)
    }

    /// A checkpoint will never be complete.
    pub fn aborted(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
    ) -> Result<(), TaskFailure> {
        self.shared.snapshots.aborted(attempt, checkpoint);
        self.with(attempt, |task| task.checkpoint_aborted(checkpoint)).map(drop)
    }

    /// So far the task's source may read, as far as this alignment group is concerned.
    pub fn align(&mut self, attempt: ExecutionAttemptId, group: &str, watermark: Timestamp) {
        if let Some(running) = self.tasks.get_mut(&attempt) {
            running.task.align(group, watermark);
        }
    }

    /// What the accumulators of all tasks have come to that run or have finished.
    pub fn accumulators(&self) -> BTreeMap<String, AccumulatorValue> {
        let running = self.tasks.values().map(|running| running.task.accumulators().values());
        let running: Vec<_> = running.collect();
        accumulator::join(self.accumulators.iter().chain(&running))
    }

    /// What the metrics of all tasks show that run or have finished: `subtask.operator.metric`, as in REST.
    pub fn metrics(&self) -> BTreeMap<String, MetricValue> {
        let mut all = self.metrics.clone();
        for (attempt, running) in &self.tasks {
            all.extend(metrics_of(*attempt, &running.task));
        }
        all
    }

    /// All tasks are gone, and begin anew.
    pub fn lose_all(&mut self) {
        let attempts: Vec<ExecutionAttemptId> = self.tasks.keys().copied().collect();
        attempts.into_iter().for_each(|attempt| self.lose(attempt));
        self.accumulators.clear();
        self.metrics.clear();
    }

    /// The task is gone, as after a failure.
    pub fn lose(&mut self, attempt: ExecutionAttemptId) {
        // What it says while it lets go of things is of no interest any more.
        let _ = self.end(attempt, false);
    }

    /// A task that runs.
    pub fn task(&mut self, attempt: ExecutionAttemptId) -> Option<&mut StreamTask> {
        Some(&mut self.tasks.get_mut(&attempt)?.task)
    }

    /// What tasks have said since the last call, about checkpoints and the end of their data.
    pub fn take_said(&mut self) -> Vec<FromJobProcess> {
        std::mem::take(&mut *lock(&self.said))
    }

    /// Does something with a task and passes on what it has to say; nothing: there is no such task.
    fn with<R>(
        &mut self,
        attempt: ExecutionAttemptId,
        what: impl FnOnce(&mut StreamTask) -> Result<R, TaskError>,
    ) -> Result<Option<R>, TaskFailure> {
        let Some(running) = self.tasks.get_mut(&attempt) else { return Ok(None) };
        let done = catch(|| what(&mut running.task));
        let reports = running.task.take_reports();
        self.pass_on(attempt, reports);
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                let name = self.tasks.get(&attempt).map(|running| running.name.clone());
                self.lose(attempt);
                Err(error.into_failure(&name.unwrap_or_default()))
            }
        }
    }

    fn end(&mut self, attempt: ExecutionAttemptId, completed: bool) -> Result<(), TaskFailure> {
        let Some(Running { name, mut task }) = self.tasks.remove(&attempt) else { return Ok(()) };
        let closed = catch(|| task.close(completed));
        if completed {
            self.accumulators.push(task.accumulators().values());
            self.metrics.extend(metrics_of(attempt, &task));
        }
        let reports = task.take_reports();
        self.pass_on(attempt, reports);
        self.shared.snapshots.forget(attempt);
        let dropped = catch(|| {
            drop(task);
            Ok(())
        });
        closed.and(dropped).map_err(|error| error.into_failure(&name))
    }

    fn pass_on(&self, attempt: ExecutionAttemptId, reports: Vec<TaskReport>) {
        for report in reports {
            match report {
                TaskReport::Snapshot(snapshot) => self.shared.snapshots.write(attempt, snapshot),
                TaskReport::Declined { checkpoint, cause } => {
                    let declined = FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause };
                    (self.shared.events)(declined);
                }
                TaskReport::Withdrawn => self.shared.snapshots.withdrawn(attempt),
                TaskReport::EndOfData => {
                    (self.shared.events)(FromJobProcess::EndOfData { attempt });
                }
                TaskReport::Aligned(report) => (self.shared.events)(aligned(attempt, report)),
            }
        }
    }
}

fn metrics_of(
    attempt: ExecutionAttemptId,
    task: &StreamTask,
) -> impl Iterator<Item = (String, MetricValue)> {
    let named = move |(name, value)| (format!("{}.{name}", attempt.subtask), value);
    task.metrics().values().into_iter().map(named)
}

impl Drop for LocalTasks {
    fn drop(&mut self) {
        self.lose_all();
    }
}
