//! Deploys, cancels and reports: what a task executor speaks to, whether in a process of its own
//! or, in embedded mode, by a call.

use crate::failure::{TaskError, guard, guard_routing};
use crate::slot::{Deployment, Slot, SlotMail};
use crate::snapshots::Snapshots;
use crate::storages::{LocalFiles, Roots, StorageFactory, Storages};
use crate::stream_task::{Chain, Head, Outputs, RestoredInFlight, RestoredTask, StreamTask};
use millstream_checkpoint::handle::TaskRestore;
use millstream_checkpoint::local::Reads;
use millstream_checkpoint::state_file::{open_tables, read_in_flight};
use millstream_checkpoint::storage::StorageError;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{AllocationId, DataSetId, ExecutionAttemptId, ResourceId};
use millstream_core::job_graph::{ExchangeMode, OperatorInfo};
use millstream_core::key_group::KeyGroupRange;
use millstream_core::status::ExecutionState;
use millstream_operator::accumulators::Accumulators;
use millstream_operator::asynchronous::AsyncRuntime;
use millstream_operator::clock::ProcessingClock;
use millstream_operator::context::{OperatorLabel, StateBackend, TaskContext};
use millstream_operator::metrics::MetricGroup;
use millstream_operator::operator::Operator;
use millstream_operator::plan::{self, OutputOf, Plan, RouterContext, SideOutput, VertexPlan};
use millstream_operator::watermark::AlignmentGroups;
use millstream_rpc::protocol::deployment::{ResultPartitionDescriptor, TaskDeploymentDescriptor};
use millstream_rpc::protocol::job_link::{FromJobProcess, ToJobProcess};
use millstream_rpc::protocol::job_master::{
    TaskExecutionState, TaskFailure, TaskFailureKind, TaskMetrics,
};
use millstream_shuffle::edge::Edge;
use millstream_shuffle::gate::InputGate;
use millstream_shuffle::in_flight::OwnKeys;
use millstream_shuffle::partition::{BatchPrototype, PartitionWriter, ResultPartition, Router};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::sync::{Arc, Mutex, lock};
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use std::collections::BTreeMap;
use std::time::Instant;

/// Takes what the job process says.
pub type EventSink = Arc<dyn Fn(FromJobProcess) + Send + Sync>;

/// The tasks of one job on one worker.
pub struct TaskHost {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What every task of the job uses.
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) here: ResourceId,
    pub(crate) registry: PartitionRegistry,
    pub(crate) network: Network,
    pub(crate) events: EventSink,
    pub(crate) storages: Arc<Storages>,
    pub(crate) local: Option<LocalFiles>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) configuration: Arc<BTreeMap<String, String>>,
    pub(crate) state_backend: Option<Arc<dyn StateBackend>>,
    /// Tells processing time.
    pub(crate) clock: ProcessingClock,
    /// Runs what asynchronous operators wait for.
    pub(crate) async_runtime: AsyncRuntime,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<AllocationId, Slot>,
    /// Where each attempt runs, and its counters.
    attempts: BTreeMap<ExecutionAttemptId, (AllocationId, Arc<Mutex<TaskMetrics>>)>,
}

impl TaskHost {
    /// Runs tasks of the plan on the worker `here`; tells `events` what becomes of them. Their state is
    /// written to, and read from, what `open_storage` opens.
    pub fn new(
        plan: Arc<Plan>,
        here: ResourceId,
        registry: PartitionRegistry,
        network: Network,
        events: EventSink,
        open_storage: StorageFactory,
    ) -> Self {
        let configuration = Arc::new(plan.graph.configuration.clone());
        let storages = Arc::new(Storages::new(open_storage));
        let snapshots = Arc::new(Snapshots::new(storages.clone(), None, events.clone()));
        let shared = Shared {
            plan,
            here,
            registry,
            network,
            events,
            storages,
            local: None,
            snapshots,
            configuration,
            state_backend: None,
            clock: ProcessingClock::system(),
            async_runtime: AsyncRuntime::none(),
        };
        Self { shared: Arc::new(shared), state: Mutex::default() }
    }

    /// Keyed state is in this backend and not on the heap. To be said before the first task comes.
    pub fn with_state_backend(mut self, backend: Option<Arc<dyn StateBackend>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.state_backend = backend;
        }
        self
    }

    /// Asynchronous operators have their calls made by this runtime. To be said before the first task
    /// comes.
    pub fn with_async_runtime(mut self, runtime: AsyncRuntime) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.async_runtime = runtime;
        }
        self
    }

    /// Copies of state files are kept on this worker, and read before the originals. To be said before the
    /// first task comes.
    pub fn with_local_files(mut self, local: Option<LocalFiles>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            let (storages, events) = (shared.storages.clone(), shared.events.clone());
            shared.snapshots = Arc::new(Snapshots::new(storages, local.clone(), events));
            shared.local = local;
        }
        self
    }

    /// Does what it is told. Never waits for a task.
    pub fn handle(&self, message: ToJobProcess) {
        match message {
            ToJobProcess::Start { .. } => (),
            ToJobProcess::Deploy(descriptor) => self.deploy(*descriptor),
            ToJobProcess::Cancel { attempt } => {
                self.mail(attempt, SlotMail::Cancel(attempt));
            }
            ToJobProcess::NextSplit { attempt, split } => {
                self.mail(attempt, SlotMail::Split(attempt, split));
            }
            ToJobProcess::UpdatePartitions { attempt, channels } => {
                self.mail(attempt, SlotMail::UpdateChannels(attempt, channels));
            }
            ToJobProcess::TriggerCheckpoint { attempt, barrier } => {
                if !self.mail(attempt, SlotMail::Trigger(attempt, barrier)) {
                    let (checkpoint, cause) =
                        (barrier.checkpoint, "the task is not here".to_owned());
                    let decline = FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause };
                    (self.shared.events)(decline);
                }
            }
            ToJobProcess::CheckpointCompleted { attempt, checkpoint } => {
                self.shared.snapshots.completed(attempt, checkpoint);
                self.mail(attempt, SlotMail::CheckpointCompleted(attempt, checkpoint));
            }
            ToJobProcess::CheckpointAborted { attempt, checkpoint } => {
                self.shared.snapshots.aborted(attempt, checkpoint);
                self.mail(attempt, SlotMail::CheckpointAborted(attempt, checkpoint));
            }
            ToJobProcess::AlignWatermark { attempt, group, watermark } => {
                self.mail(attempt, SlotMail::Align(attempt, group, watermark));
            }
            ToJobProcess::Dismiss => self.dismiss(),
        }
    }

    /// Counters of all attempts that were deployed here and are not forgotten.
    pub fn metrics(&self) -> BTreeMap<ExecutionAttemptId, TaskMetrics> {
        let state = lock(&self.state);
        let metrics = |metrics: &Mutex<TaskMetrics>| lock(metrics).clone();
        state.attempts.iter().map(|(attempt, (_, of))| (*attempt, metrics(of))).collect()
    }

    fn deploy(&self, descriptor: TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let index = self.shared.plan.graph.vertices.iter().position(|v| v.id == attempt.vertex);
        let Some(index) = index else {
            let message = format!("the plan of this process has no vertex {}", attempt.vertex);
            return self.refuse(attempt, message);
        };
        let allocation = descriptor.allocation;
        let name = format!(
            "{} ({}/{})",
            descriptor.task_name,
            attempt.subtask + 1,
            descriptor.parallelism
        );
        let metrics = Arc::<Mutex<TaskMetrics>>::default();
        let setup = descriptor.checkpointing.clone();
        let restore = descriptor.restore.as_deref();
        self.shared.snapshots.register(attempt, setup, groups_of(&descriptor), restore);
        let shared = self.shared.clone();
        let build = Box::new(move |wake: &Wake| shared.build(index, descriptor, wake));
        let mut state = lock(&self.state);
        state.slots.retain(|_, slot| !slot.is_finished());
        let slot = match state.slots.entry(allocation) {
            std::collections::btree_map::Entry::Occupied(slot) => slot.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let (events, snapshots) =
                    (self.shared.events.clone(), self.shared.snapshots.clone());
                match Slot::start("slot", events, snapshots) {
                    Ok(slot) => free.insert(slot),
                    Err(error) => {
                        drop(state);
                        self.shared.snapshots.forget(attempt);
                        return self.refuse(attempt, format!("cannot start a thread: {error}"));
                    }
                }
            }
        };
        let metrics_of_task = metrics.clone();
        slot.send(SlotMail::Deploy(Deployment {
            attempt,
            name,
            order: index,
            build,
            metrics: metrics_of_task,
        }));
        state.attempts.insert(attempt, (allocation, metrics));
    }

    /// Reports an attempt that never began.
    fn refuse(&self, attempt: ExecutionAttemptId, message: String) {
        let fingerprint = millstream_core::hash::xxh3_64(message.as_bytes());
        let failure = TaskFailure { kind: TaskFailureKind::Recoverable, message, fingerprint };
        let state = TaskExecutionState {
            attempt,
            state: ExecutionState::Failed,
            failure: Some(failure),
            metrics: TaskMetrics::default(),
        };
        (self.shared.events)(FromJobProcess::TaskState(Box::new(state)));
    }

    /// Whether there was somebody to read it.
    fn mail(&self, attempt: ExecutionAttemptId, mail: SlotMail) -> bool {
        let state = lock(&self.state);
        let slot = state.attempts.get(&attempt).and_then(|(slot, _)| state.slots.get(slot));
        let Some(slot) = slot.filter(|slot| !slot.is_finished()) else { return false };
        slot.send(mail);
        true
    }

    /// Ends every slot once its tasks have ended.
    fn dismiss(&self) {
        let state = lock(&self.state);
        for slot in state.slots.values() {
            slot.send(SlotMail::Dismiss);
        }
    }

    /// Waits for all slots, which must have been dismissed.
    pub fn join(&self) {
        let slots = std::mem::take(&mut lock(&self.state).slots);
        for slot in slots.into_values() {
            slot.join();
        }
        self.shared.snapshots.close();
    }
}

impl Shared {
    /// Makes the task: partitions first, then gates, then operators from tail to head.
    pub(crate) fn build(
        &self,
        index: usize,
        descriptor: TaskDeploymentDescriptor,
        wake: &Wake,
    ) -> Result<StreamTask, TaskError> {
        let vertex = &self.plan.vertices[index];
        let context = self.context(&descriptor, wake);
        let mut ids = self.plan.graph.vertices[index].operators.iter().map(|operator| operator.id);
        let mut next_id = || {
            let missing =
                || OperatorError::new("the job graph names fewer operators than the plan");
            ids.next().ok_or_else(missing).map_err(unlabelled)
        };
        let outputs = self.outputs(vertex, &descriptor, &context)?;
        let head = match &vertex.head {
            plan::Head::Source(label, factory) => {
                let source = guard(label, || factory.make(&context.of_operator(&label.name)))?;
                Head::source(next_id()?, label.clone(), source)
            }
            plan::Head::Exchange(prototype) => {
                let gates = self.gates(&descriptor, &context);
                Head::gates(gates, prototype.make()).marking(&vertex.lifts)
            }
        };
        let mut chain = Chain::new(match &head {
            Head::Source { source, .. } => source.output(),
            Head::Gates { rest, .. } => rest.fresh(),
        });
        for chained in &vertex.operators {
            let label = &chained.label;
            let context = context.of_operator(&label.name);
            let mut made = guard(label, || chained.factory.make(&context))?;
            guard(label, || attach(&chained.sides, made.as_mut()))?;
            guard(label, || check_alignment(&head, &context.alignment))?;
            chain.push(next_id()?, label.clone(), made);
        }
        let mut task = StreamTask::new(head, chain, outputs)
            .with_clock(context.clock)
            .with_accumulators(context.accumulators)
            .with_metrics(context.metrics)
            .with_input_names(self.input_names(&descriptor))
            .with_alignment(context.alignment);
        if descriptor.checkpointing.is_some() {
            task = task.with_checkpoints();
        }
        if let Some(setup) = &descriptor.checkpointing {
            self.check_storage(&setup.directory)?;
        }
        if let Some(restore) = &descriptor.restore {
            let reads = Reads::default();
            task.restore(self.open(index, restore, &descriptor, &reads)?)?;
            self.tell_reads(&descriptor, restore.checkpoint, &reads);
        }
        Ok(task)
    }

    /// What each channel brings, for people: the producing vertex and its subtask.
    fn input_names(&self, descriptor: &TaskDeploymentDescriptor) -> Vec<String> {
        let vertices = &self.plan.graph.vertices;
        let channels = descriptor.gates.iter().flat_map(|gate| &gate.channels);
        let name = |producer: &ExecutionAttemptId| {
            let vertex = vertices.iter().find(|vertex| vertex.id == producer.vertex);
            let (name, all) = vertex.map_or(("?", 0), |v| (v.name.as_str(), v.parallelism));
            format!("`{name}` ({}/{all})", producer.subtask + 1)
        };
        channels.map(|channel| name(&channel.partition.producer)).collect()
    }

    /// Checkpoints that nobody could write are told before the first record, not with the first of them.
    fn check_storage(&self, directory: &str) -> Result<(), TaskError> {
        let unusable = |cause: StorageError| {
            let message = format!("its checkpoints cannot be written: {cause}");
            TaskError::Operator { label: None, error: OperatorError::new(message) }
        };
        self.storages.at(directory).map(drop).map_err(unusable)
    }

    /// Where the state of a task came from, if it could have come from this worker.
    fn tell_reads(
        &self,
        descriptor: &TaskDeploymentDescriptor,
        checkpoint: CheckpointId,
        reads: &Reads,
    ) {
        let Some(local) = &self.local else { return };
        let (name, subtask) = (&descriptor.task_name, descriptor.attempt.subtask + 1);
        let counts = reads.lock().map_or_else(|poisoned| *poisoned.into_inner(), |counts| *counts);
        local.copies().tell(&format!(
            "{name} ({subtask}/{}) goes on from checkpoint {checkpoint}: {} bytes of state were read \
             on this worker, {} where the checkpoint is",
            descriptor.parallelism, counts.local, counts.remote
        ));
    }

    /// Opens the state that the task begins with: lists are read, tables when they are wanted.
    fn open(
        &self,
        index: usize,
        restore: &TaskRestore,
        descriptor: &TaskDeploymentDescriptor,
        reads: &Reads,
    ) -> Result<RestoredTask, TaskError> {
        let own = descriptor.checkpointing.as_ref().map(|setup| setup.directory.as_str());
        let local = self.local.as_ref().map(|local| (local, reads.clone()));
        let roots = Roots { storages: &self.storages, own, local };
        let groups = groups_of(descriptor);
        let mut operators = BTreeMap::new();
        for (id, state) in &restore.operators {
            let opened = open_tables(&roots, state, &groups).map_err(|cause| {
                let mut known = self.plan.graph.vertices[index].operators.iter();
                let label = known.find(|operator| operator.id == *id).map(label_of);
                let checkpoint = restore.checkpoint;
                let message = format!("cannot read its state in checkpoint {checkpoint}: {cause}");
                TaskError::Operator { label, error: OperatorError::new(message) }
            })?;
            operators.insert(*id, opened);
        }
        let (checkpoint, finished) = (restore.checkpoint, restore.finished);
        let in_flight = restore.in_flight.iter().map(|share| {
            let list = read_in_flight(&roots, share).map_err(|cause| {
                unlabelled(OperatorError::new(format!(
                    "cannot read the records that were under way at checkpoint {checkpoint}: {cause}"
                )))
            })?;
            let max_parallelism = descriptor.max_parallelism;
            let own = || OwnKeys { max_parallelism, groups: groups.clone() };
            let (gate, own) = (share.gate as usize, share.filter.then(own));
            Ok(RestoredInFlight { gate, own, schema: list.schema, items: list.items })
        });
        let in_flight = in_flight.collect::<Result<_, TaskError>>()?;
        Ok(RestoredTask { checkpoint, finished, operators, in_flight })
    }

    fn context(&self, descriptor: &TaskDeploymentDescriptor, wake: &Wake) -> TaskContext {
        TaskContext {
            job: descriptor.job,
            job_name: self.plan.graph.name.as_str().into(),
            task_name: descriptor.task_name.as_str().into(),
            subtask: descriptor.attempt.subtask,
            parallelism: descriptor.parallelism,
            max_parallelism: descriptor.max_parallelism,
            attempt: descriptor.attempt.attempt,
            execution: format!("{}-{}", descriptor.attempt.graph, descriptor.attempt.attempt)
                .into(),
            mode: self.plan.graph.mode,
            checkpointing: descriptor.checkpointing.is_some(),
            restored: descriptor.restore.as_ref().map(|restore| restore.checkpoint),
            configuration: self.configuration.clone(),
            state_backend: self.state_backend.clone(),
            clock: self.clock.clone(),
            accumulators: Accumulators::new(),
            metrics: MetricGroup::of_task(self.clock.clone()),
            cached_files: self.plan.cached_files.clone(),
            alignment: AlignmentGroups::default(),
            async_runtime: self.async_runtime.clone(),
            wake: wake.clone(),
        }
    }

    fn outputs(
        &self,
        vertex: &VertexPlan,
        descriptor: &TaskDeploymentDescriptor,
        context: &TaskContext,
    ) -> Result<Outputs, TaskError> {
        if vertex.outputs.len() != descriptor.partitions.len() {
            return Err(mismatch("outputs", vertex.outputs.len(), descriptor.partitions.len()));
        }
        let (mut outputs, mut sides) = (Vec::new(), Vec::new());
        for (partition, planned) in descriptor.partitions.iter().zip(&vertex.outputs) {
            let consumer_max_parallelism = partition.consumer_max_parallelism;
            let edge = RouterContext { task: context.clone(), consumer_max_parallelism };
            let label = planned.label.clone();
            let router = guard_routing(label.as_ref(), || planned.router.make(&edge))?;
            let prototype = vertex.type_of(planned).clone();
            let writer = match partition.exchange {
                ExchangeMode::Pipelined => pipelined(partition, prototype, router, &context.wake),
                ExchangeMode::Blocking => self.blocking(partition, prototype, router)?,
            };
            let writer = writer.shipping(partition.ship);
            match planned.of {
                OutputOf::Chain => outputs.push((label, writer)),
                OutputOf::Side(operator, side) => sides.push(((operator, side), label, writer)),
            }
        }
        let outputs = Outputs::new(outputs, self.registry.clone());
        let with_side =
            |outputs: Outputs, (side, label, writer)| outputs.with_side(side, label, writer);
        Ok(sides.into_iter().fold(outputs, with_side))
    }

    /// A partition that consumers read when it is whole.
    fn blocking(
        &self,
        partition: &ResultPartitionDescriptor,
        prototype: BatchPrototype,
        router: Box<dyn Router>,
    ) -> Result<PartitionWriter, TaskError> {
        let (id, consumers) = (partition.partition, partition.subpartitions as usize);
        let nowhere = || OperatorError::new("this process has no place for results of BATCH mode");
        let stored = self.registry.stored().ok_or_else(nowhere).map_err(unlabelled)?;
        let stored = stored.create(id, consumers);
        let stored = stored.map_err(|error| unlabelled(OperatorError::from_error(&error)))?;
        Ok(PartitionWriter::storing(id, prototype, router, stored))
    }

    fn gates(
        &self,
        descriptor: &TaskDeploymentDescriptor,
        context: &TaskContext,
    ) -> Vec<InputGate> {
        let now = Instant::now();
        let gates = descriptor.gates.iter().map(|gate| {
            let mut gate = InputGate::new(
                gate.channels.clone(),
                self.registry.clone(),
                self.network.clone(),
                self.here.clone(),
                context.wake.clone(),
            )
            .of_edge(Edge { data_set: gate.data_set, ship: gate.ship })
            .blocking(self.is_blocking(gate.data_set));
            gate.request_partitions(now);
            gate
        });
        gates.collect()
    }

    fn is_blocking(&self, data_set: DataSetId) -> bool {
        let mut edges = self.plan.graph.edges.iter().filter(|edge| edge.data_set == data_set);
        edges.any(|edge| edge.exchange == ExchangeMode::Blocking)
    }
}

/// A partition that consumers read while it is made.
fn pipelined(
    partition: &ResultPartitionDescriptor,
    prototype: BatchPrototype,
    router: Box<dyn Router>,
    wake: &Wake,
) -> PartitionWriter {
    let queues = (0..partition.subpartitions).map(|_| Arc::new(Subpartition::new(wake.clone())));
    let (id, subpartitions) = (partition.partition, queues.collect());
    PartitionWriter::new(Arc::new(ResultPartition { id, subpartitions, prototype }), router)
}

/// The key groups of the task's keyed state.
pub(crate) fn groups_of(descriptor: &TaskDeploymentDescriptor) -> KeyGroupRange {
    let TaskDeploymentDescriptor { attempt, max_parallelism, parallelism, .. } = descriptor;
    KeyGroupRange::of_subtask(attempt.subtask, *max_parallelism, *parallelism)
}

fn label_of(operator: &OperatorInfo) -> OperatorLabel {
    OperatorLabel { name: operator.name.as_str().into(), declared_at: operator.declared_at.clone() }
}

/// Tells an operator which of its side outputs are read.
fn attach(read: &[SideOutput], operator: &mut dyn Operator) -> Result<(), OperatorError> {
    for side in read {
        let sides = operator.side_outputs().ok_or_else(|| {
            OperatorError::new(format!("it has no side output `{}`, or any other", side.name))
        })?;
        sides.attach(side.name.clone(), side.output_type.make());
    }
    Ok(())
}

/// Sources can be kept from reading, and nobody else: what fills the queues before a task may be what the
/// others of its group wait for.
fn check_alignment(head: &Head, groups: &AlignmentGroups) -> Result<(), OperatorError> {
    match head {
        Head::Gates { .. } if !groups.is_empty() => Err(OperatorError::new(
            "`with_watermark_alignment` keeps sources from reading, but these records have come through \
             an exchange: call `assign_timestamps_and_watermarks` right behind the source, with the \
             parallelism of the source",
        )),
        _ => Ok(()),
    }
}

fn unlabelled(error: OperatorError) -> TaskError {
    TaskError::Operator { label: None, error }
}

fn mismatch(what: &str, here: usize, deployed: usize) -> TaskError {
    unlabelled(OperatorError::new(format!(
        "the plan of this process has {here} {what} where {deployed} were deployed"
    )))
}
