//! A played job with a naive coordinator: who steps when, what is told to whom, and what must hold.

use super::job::{Job, Plan, Saved, TaskId, max_parallelism};
use crate::trace::Trace;
use millstream_checkpoint::handle::{TaskRestore, TaskState};
use millstream_checkpoint::metadata::{CheckpointMetadata, SeenSplits, VertexState};
use millstream_checkpoint::reassign::Reassignment;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::JobId;
use millstream_core::time::Mono;
use millstream_rpc::machine::Rng;
use millstream_task::stream_task::{Step, TaskReport, instant_at, wall_clock_at};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a task is told.
enum Mail {
    Trigger(Barrier),
    Completed(u64),
    Aborted(u64),
}

/// A checkpoint that some tasks have not acknowledged.
struct Pending {
    barrier: Barrier,
    acknowledged: BTreeMap<TaskId, Saved>,
}

/// A job under a naive coordinator.
pub(super) struct World<'a> {
    pub(super) rng: Rng,
    trace: &'a mut Trace,
    plan: Plan,
    job: Job,
    storage: MemoryStorage,
    /// Microseconds of virtual time.
    now_us: u64,
    mails: BTreeMap<TaskId, VecDeque<Mail>>,
    next: u64,
    pending: Option<Pending>,
    /// The last checkpoint that is complete, and what the job was like then.
    completed: Option<(u64, Plan, BTreeMap<TaskId, Saved>)>,
    /// Tasks that have done all their work.
    at_end: BTreeSet<TaskId>,
    /// The last acknowledged states of tasks that have ended.
    ended: BTreeMap<TaskId, Saved>,
    last_states: BTreeMap<TaskId, Saved>,
    /// A vertex whose first subtask takes long for each record.
    slow: Option<usize>,
}

/// A turn of the slow task takes so long.
const SLOW_TURN: Duration = Duration::from_millis(20);

/// In so many rounds, in each of which everybody takes a turn, a barrier that overtakes has passed.
const ROUNDS_MAX: usize = 40;

impl<'a> World<'a> {
    /// A job that the seed decides.
    pub(super) fn draw(mut rng: Rng, records: u64, trace: &'a mut Trace) -> Self {
        let plan = Plan::draw(&mut rng, records);
        let storage = MemoryStorage::new();
        let job = Job::new(&plan, storage.clone());
        Self {
            rng,
            trace,
            plan,
            job,
            storage,
            now_us: 1_000_000_000,
            mails: BTreeMap::new(),
            next: 1,
            pending: None,
            completed: None,
            at_end: BTreeSet::new(),
            ended: BTreeMap::new(),
            last_states: BTreeMap::new(),
            slow: None,
        }
    }

    fn now(&self) -> Instant {
        instant_at(Mono(self.now_us / 1_000)) + Duration::from_micros(self.now_us % 1_000)
    }

    fn log(&mut self, what: impl FnOnce() -> String) {
        self.trace.event(self.now_us, 0, what);
    }

    fn running(&self) -> Vec<TaskId> {
        self.job.tasks.keys().copied().collect()
    }

    fn any_task(&mut self) -> Option<TaskId> {
        let running = self.running();
        let at = self.rng.below(running.len().max(1) as u64) as usize;
        running.get(at).copied()
    }

    /// Some task takes a turn.
    pub(super) fn step_any(&mut self) {
        if let Some(id) = self.any_task() {
            let passed = self.rng.below(3_000);
            self.step(id, Duration::from_micros(passed));
        }
    }

    /// Some task reads its next mail.
    pub(super) fn deliver_any(&mut self) {
        if let Some(id) = self.any_task() {
            self.deliver(id);
        }
    }

    fn step(&mut self, id: TaskId, passed: Duration) {
        self.now_us += passed.as_micros() as u64;
        let now = self.now();
        let Some(task) = self.job.tasks.get_mut(&id) else { return };
        let step = task.step(now).expect("nothing fails");
        if step != Step::Progress {
            self.log(|| format!("{id:?}: {step:?}"));
        }
        self.take_reports(id);
        if step == Step::Finished {
            let mut task = self.job.tasks.remove(&id).expect("it was stepped");
            task.close(true).expect("nothing fails");
            self.at_end.insert(id);
            let state = self.last_states.get(&id).cloned();
            self.ended.insert(id, state.expect("a checkpoint has said that it has ended"));
            self.trigger_orphans(id);
            self.complete_if_all_have_acknowledged();
        }
    }

    fn take_reports(&mut self, id: TaskId) {
        let Some(task) = self.job.tasks.get_mut(&id) else { return };
        for report in task.take_reports() {
            match report {
                TaskReport::Snapshot(snapshot) => {
                    let checkpoint = snapshot.barrier.checkpoint;
                    self.log(|| format!("{id:?} took part in {checkpoint}"));
                    let saved = self.job.save(id, *snapshot);
                    self.last_states.insert(id, saved.clone());
                    let pending = self.pending.as_mut();
                    if let Some(pending) = pending.filter(|p| p.barrier.checkpoint == checkpoint) {
                        let former = pending.acknowledged.insert(id, saved);
                        assert!(former.is_none(), "{id:?} took part in {checkpoint} twice");
                        self.complete_if_all_have_acknowledged();
                    }
                }
                TaskReport::Declined { checkpoint, cause } => {
                    self.log(|| format!("{id:?} declines {checkpoint}: {cause}"));
                    self.give_up(checkpoint.0);
                }
                // Its sources belong to no alignment group.
                TaskReport::Withdrawn | TaskReport::Aligned(_) => (),
                TaskReport::EndOfData => {
                    assert!(self.at_end.insert(id), "{id:?} ended twice");
                    self.trigger_orphans(id);
                }
            }
        }
    }

    fn deliver(&mut self, id: TaskId) {
        let Some(mail) = self.mails.get_mut(&id).and_then(VecDeque::pop_front) else { return };
        let now = self.now();
        let Some(task) = self.job.tasks.get_mut(&id) else { return };
        match mail {
            Mail::Trigger(barrier) => task.trigger(barrier, now),
            Mail::Completed(id) => {
                task.checkpoint_completed(CheckpointId(id)).expect("nothing fails");
            }
            Mail::Aborted(id) => task.checkpoint_aborted(CheckpointId(id)).expect("nothing fails"),
        }
        self.take_reports(id);
    }

    fn mail(&mut self, id: TaskId, mail: Mail) {
        self.mails.entry(id).or_default().push_back(mail);
    }

    /// No barrier will come to it from its producers.
    fn is_orphan(&self, id: TaskId) -> bool {
        self.plan.producers(id).iter().all(|producer| self.at_end.contains(producer))
    }

    /// A checkpoint of any kind begins, if none is pending.
    pub(super) fn trigger_any(&mut self) {
        let alignment = match self.rng.below(5) {
            0 => Alignment::Aligned,
            1 | 2 => Alignment::Unaligned,
            _ => Alignment::AlignedUntil(self.rng.below(30) as u32),
        };
        self.trigger(alignment);
    }

    fn trigger(&mut self, alignment: Alignment) {
        if self.pending.is_some() || self.job.tasks.is_empty() {
            return;
        }
        let (checkpoint, kind) = (CheckpointId(self.next), SnapshotKind::Checkpoint);
        self.next += 1;
        let timestamp = wall_clock_at(self.now());
        let barrier = Barrier { checkpoint, timestamp, kind, alignment };
        self.log(|| format!("checkpoint {checkpoint} begins, {alignment:?}"));
        self.pending = Some(Pending { barrier, acknowledged: BTreeMap::new() });
        for task in self.running() {
            if self.is_orphan(task) {
                self.mail(task, Mail::Trigger(barrier));
            }
        }
    }

    /// A task sends no barriers any more: its consumers may have to be told of the present one.
    fn trigger_orphans(&mut self, ended: TaskId) {
        let Some(barrier) = self.pending.as_ref().map(|pending| pending.barrier) else { return };
        for task in self.plan.consumers(ended.0) {
            if self.is_orphan(task) {
                self.mail(task, Mail::Trigger(barrier));
            }
        }
    }

    /// The coordinator gives the pending checkpoint up.
    pub(super) fn abort(&mut self) {
        if let Some(id) = self.pending.as_ref().map(|pending| pending.barrier.checkpoint.0) {
            self.give_up(id);
        }
    }

    fn give_up(&mut self, id: u64) {
        if self.pending.take_if(|pending| pending.barrier.checkpoint.0 == id).is_some() {
            for task in self.running() {
                self.mail(task, Mail::Aborted(id));
            }
        }
    }

    fn complete_if_all_have_acknowledged(&mut self) {
        let Some(pending) = &self.pending else { return };
        let mut running = self.job.tasks.keys().filter(|id| !self.ended.contains_key(id));
        if running.any(|id| !pending.acknowledged.contains_key(id)) {
            return;
        }
        let Some(Pending { barrier, acknowledged: mut states }) = self.pending.take() else {
            return;
        };
        for (task, state) in &self.ended {
            states.entry(*task).or_insert_with(|| state.clone());
        }
        self.check_cut(&states);
        let id = barrier.checkpoint.0;
        self.log(|| format!("checkpoint {id} is complete"));
        self.completed = Some((id, self.plan.clone(), states));
        for task in self.running() {
            self.mail(task, Mail::Completed(id));
        }
    }

    /// What the tasks of a vertex have processed, and what is in flight to them, is what the vertices
    /// before had processed.
    fn check_cut(&self, states: &BTreeMap<TaskId, Saved>) {
        let seen = |vertex: usize| {
            let of_vertex = states.iter().filter(move |((of, _), _)| *of == vertex);
            of_vertex.flat_map(|(_, saved)| saved.seen.iter().copied())
        };
        for vertex in (0..self.plan.graph.vertices.len()).filter(|v| !self.plan.is_source(*v)) {
            let edges: Vec<_> = self.plan.graph.inputs_of(vertex).map(|(_, edge)| edge).collect();
            let all = states.values().flat_map(|saved| &saved.in_flight);
            let here = all.filter(|state| edges.iter().any(|e| e.data_set == state.data_set));
            let in_flight = here.flat_map(|state| self.job.records_in_flight(state));
            let sent = sorted(edges.iter().flat_map(|edge| seen(edge.source)));
            assert_eq!(sorted(seen(vertex).chain(in_flight)), sent, "vertex {vertex}");
        }
    }

    /// Everything that runs is lost; the job goes on from the last checkpoint, perhaps with another
    /// parallelism.
    pub(super) fn crash(&mut self) {
        self.log(|| "everything is lost".to_owned());
        let from = self.completed.clone();
        let mut all = from.iter().flat_map(|(.., states)| states.values());
        if all.any(|saved| saved.finished) {
            // Only with the parallelism of old.
            self.plan = from.as_ref().map_or(self.plan.clone(), |(_, plan, _)| plan.clone());
        } else if self.rng.below(2) == 0 {
            self.plan.rescale(&mut self.rng);
        }
        self.job = Job::new(&self.plan, self.storage.clone());
        self.mails.clear();
        self.pending = None;
        self.at_end.clear();
        self.ended.clear();
        self.last_states.clear();
        let Some((id, former, states)) = from else { return };
        let metadata = Arc::new(metadata(id, &former, &states));
        let reassigned = Reassignment::new(metadata, &self.plan.graph, false);
        let reassigned = reassigned.expect("what overtakes can be dealt out");
        for task in self.plan.tasks() {
            let restore: TaskRestore = reassigned.task(task.0, task.1);
            self.job.restore(task, &states, restore);
        }
        if former.tasks() == self.plan.tasks() {
            self.last_states = states;
        }
    }

    /// Lets everybody act in turn until the job has ended.
    pub(super) fn run_to_end(&mut self) {
        for round in 0..20_000 {
            if self.job.tasks.is_empty() {
                return;
            }
            if round % 50 == 0 {
                self.trigger_any();
            }
            self.round();
        }
        panic!("the job stands still: {:?}, {:?} at their end", self.running(), self.at_end);
    }

    fn round(&mut self) {
        for id in self.running() {
            self.deliver(id);
            let slow = self.slow == Some(id.0) && id.1 == 0;
            let passed = if slow { SLOW_TURN } else { Duration::from_micros(100) };
            self.step(id, passed);
        }
    }

    /// The job has come to its end: all of it was processed, once.
    pub(super) fn check_result(&self) {
        for vertex in 0..self.plan.graph.vertices.len() {
            let of_vertex = self.ended.iter().filter(|((of, _), _)| *of == vertex);
            let seen = of_vertex.flat_map(|(_, saved)| saved.seen.iter().copied());
            assert_eq!(sorted(seen), sorted(self.plan.expected(vertex)), "vertex {vertex}");
        }
    }

    /// The first subtask of some vertex that reads takes long from now on. There is no exchange where
    /// barriers wait their turn.
    pub(super) fn make_one_slow(&mut self) {
        self.plan.graph.vertices.truncate(3);
        self.plan.graph.edges.truncate(2);
        self.slow = Some(1 + self.rng.below(2) as usize);
        self.plan.burst = 30 + self.rng.below(10);
        self.plan.records = 3_000;
        self.job = Job::new(&self.plan, self.storage.clone());
    }

    /// So many rounds that queues are full before the slow task.
    pub(super) fn fill_queues(&mut self) {
        for _ in 0..60 {
            self.round();
        }
    }

    /// A checkpoint that overtakes completes, however much waits before the slow task.
    pub(super) fn check_overtaking(&mut self) {
        let by_time = self.rng.below(2) == 0;
        let patience_ms = if by_time { 1 + self.rng.below(60) as u32 } else { 0 };
        let alignment = match by_time {
            true => Alignment::AlignedUntil(patience_ms),
            false => Alignment::Unaligned,
        };
        self.trigger(alignment);
        let mut rounds = ROUNDS_MAX + patience_ms as usize / 20;
        while self.pending.is_some() {
            assert!(rounds > 0, "{alignment:?}: the barrier waits behind what it should overtake");
            rounds -= 1;
            self.round();
        }
    }
}

/// The checkpoint as the job master would write it.
fn metadata(id: u64, plan: &Plan, states: &BTreeMap<TaskId, Saved>) -> CheckpointMetadata {
    let vertices = plan.graph.vertices.iter().enumerate().map(|(at, vertex)| {
        let subtasks = (0..vertex.parallelism).map(|subtask| {
            let saved = &states[&(at, subtask)];
            let (finished, in_flight) = (saved.finished, saved.in_flight.clone());
            TaskState { finished, in_flight, ..TaskState::default() }
        });
        let state = VertexState {
            name: vertex.name.clone(),
            operators: vertex.operators.iter().map(|operator| operator.id).collect(),
            max_parallelism: max_parallelism(),
            subtasks: subtasks.collect(),
            splits: SeenSplits::default(),
        };
        (vertex.id, state)
    });
    CheckpointMetadata {
        job: JobId(1),
        checkpoint: CheckpointId(id),
        kind: SnapshotKind::Checkpoint,
        timestamp: 0,
        vertices: vertices.collect(),
    }
}

fn sorted(records: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut records: Vec<u64> = records.into_iter().collect();
    records.sort_unstable();
    records
}
