//! Whole jobs under every kind of schedule: for each checkpoint that completes, what each task has
//! processed is exactly what its producers had sent (I8); a job that goes on from it ends with the
//! same result as one that was never disturbed (I1); and it always ends.

mod support;

use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_task::stream_task::{Step, TaskReport};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use support::{Job, Plan, State, TaskId, Vertex, barrier, sorted};

/// What a task is told.
enum Mail {
    Trigger(Barrier),
    Completed(u64),
    Aborted(u64),
}

/// A checkpoint that some tasks have not acknowledged.
struct Pending {
    id: u64,
    acknowledged: BTreeMap<TaskId, State>,
}

/// A job with a naive coordinator. Words between the two take any time; those to one task keep their
/// order.
struct World {
    plan: Plan,
    job: Job,
    now: Instant,
    mails: BTreeMap<TaskId, VecDeque<Mail>>,
    next: u64,
    pending: Option<Pending>,
    completed: Option<(u64, BTreeMap<TaskId, State>)>,
    completions: u32,
    /// Tasks that have done all their work.
    at_end: BTreeSet<TaskId>,
    /// The last acknowledged states of tasks that have ended.
    ended: BTreeMap<TaskId, State>,
    last_states: BTreeMap<TaskId, State>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let job = Job::start(&plan, None);
        Self {
            plan,
            job,
            now: Instant::now(),
            mails: BTreeMap::new(),
            next: 1,
            pending: None,
            completed: None,
            completions: 0,
            at_end: BTreeSet::new(),
            ended: BTreeMap::new(),
            last_states: BTreeMap::new(),
        }
    }

    /// One step of one task.
    fn step(&mut self, id: TaskId, passed: Duration) {
        self.now += passed;
        let Some(task) = self.job.tasks.get_mut(&id) else { return };
        let step = task.step(self.now).expect("nothing fails");
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
                    let checkpoint = snapshot.barrier.checkpoint.0;
                    let state = State::of(*snapshot);
                    self.last_states.insert(id, state.clone());
                    if let Some(pending) = self.pending.as_mut().filter(|p| p.id == checkpoint) {
                        let former = pending.acknowledged.insert(id, state);
                        assert_eq!(former, None, "{id:?} took part in {checkpoint} twice");
                        self.complete_if_all_have_acknowledged();
                    }
                }
                TaskReport::Declined { checkpoint, .. } => self.abort(checkpoint.0),
                TaskReport::Withdrawn | TaskReport::Aligned(_) => (),
                TaskReport::EndOfData => {
                    assert!(self.at_end.insert(id), "{id:?} ended twice");
                    self.trigger_orphans(id);
                }
            }
        }
    }

    /// Reads a task's next mail.
    fn deliver(&mut self, id: TaskId) {
        let Some(mail) = self.mails.get_mut(&id).and_then(VecDeque::pop_front) else { return };
        let Some(task) = self.job.tasks.get_mut(&id) else { return };
        match mail {
            Mail::Trigger(barrier) => task.trigger(barrier, self.now),
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

    fn running(&self) -> Vec<TaskId> {
        self.job.tasks.keys().copied().collect()
    }

    /// No barrier will come to it from its producers.
    fn is_orphan(&self, id: TaskId) -> bool {
        self.plan.producers(id).iter().all(|producer| self.at_end.contains(producer))
    }

    fn trigger(&mut self) {
        if self.pending.is_some() || self.job.tasks.is_empty() {
            return;
        }
        let id = self.next;
        self.next += 1;
        self.pending = Some(Pending { id, acknowledged: BTreeMap::new() });
        for task in self.running() {
            if self.is_orphan(task) {
                self.mail(task, Mail::Trigger(barrier(id)));
            }
        }
    }

    /// A task sends no barriers any more: its consumers may have to be told of the present one.
    fn trigger_orphans(&mut self, ended: TaskId) {
        let Some(id) = self.pending.as_ref().map(|pending| pending.id) else { return };
        for task in self.plan.consumers(ended.0) {
            if self.is_orphan(task) {
                self.mail(task, Mail::Trigger(barrier(id)));
            }
        }
    }

    fn abort(&mut self, id: u64) {
        if self.pending.take_if(|pending| pending.id == id).is_some() {
            for task in self.running() {
                self.mail(task, Mail::Aborted(id));
            }
        }
    }

    fn abort_pending(&mut self) {
        if let Some(id) = self.pending.as_ref().map(|pending| pending.id) {
            self.abort(id);
        }
    }

    fn complete_if_all_have_acknowledged(&mut self) {
        let Some(pending) = &self.pending else { return };
        let running = self.job.tasks.keys().filter(|id| !self.ended.contains_key(id));
        let mut missing = running.filter(|id| !pending.acknowledged.contains_key(id));
        if missing.next().is_some() {
            return;
        }
        let Some(Pending { id, acknowledged: mut states }) = self.pending.take() else { return };
        for (task, state) in &self.ended {
            states.entry(*task).or_insert_with(|| state.clone());
        }
        self.check_cut(&states);
        self.completed = Some((id, states));
        self.completions += 1;
        for task in self.running() {
            self.mail(task, Mail::Completed(id));
        }
    }

    /// What each task has processed is what its producers have sent to it.
    fn check_cut(&self, states: &BTreeMap<TaskId, State>) {
        for task in self.plan.tasks() {
            let inputs = self.plan.vertices[task.0].inputs.iter().enumerate();
            if self.plan.vertices[task.0].inputs.is_empty() {
                continue;
            }
            let sent = inputs.flat_map(|(input, from)| {
                let producers = (0..self.plan.vertices[*from].parallelism).map(|s| (*from, s));
                producers.flat_map(move |producer| {
                    states[&producer].sent.get(&(task.0, input, task.1)).into_iter().flatten()
                })
            });
            let processed = states[&task].processed.iter().copied();
            assert_eq!(sorted(processed), sorted(sent.copied()), "{task:?}");
        }
    }

    /// Everything that runs is lost; the job goes on from the last checkpoint.
    fn crash(&mut self) {
        let from = self.completed.as_ref().map(|(id, states)| (*id, states));
        self.job = Job::start(&self.plan, from);
        self.mails.clear();
        self.pending = None;
        self.at_end.clear();
        self.ended.clear();
        self.last_states = from.map(|(_, states)| states.clone()).unwrap_or_default();
    }

    /// Lets everybody act in turn until the job has ended.
    fn run_to_end(&mut self) {
        for round in 0..20_000 {
            if self.job.tasks.is_empty() {
                return;
            }
            if round % 50 == 0 {
                self.trigger();
            }
            for id in self.running() {
                self.deliver(id);
                self.step(id, Duration::from_millis(1));
            }
        }
        panic!("the job stands still: {:?}, {:?} at their end", self.running(), self.at_end);
    }

    /// All that the tasks of each vertex have processed.
    fn result(&self) -> Vec<Vec<u64>> {
        let of_vertex = |vertex| {
            let tasks = self.ended.iter().filter(move |((of, _), _)| *of == vertex);
            sorted(tasks.flat_map(|(_, state)| state.processed.iter().copied()))
        };
        (0..self.plan.vertices.len()).map(of_vertex).collect()
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    Step(usize, u8),
    Deliver(usize),
    Trigger,
    Abort,
    Crash,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => (any::<usize>(), 0_u8..4).prop_map(|(task, millis)| Act::Step(task, millis)),
        10 => any::<usize>().prop_map(Act::Deliver),
        4 => Just(Act::Trigger),
        1 => Just(Act::Abort),
        1 => Just(Act::Crash),
    ]
}

fn any_vertex(at: usize) -> BoxedStrategy<Vertex> {
    let source = (1_usize..3, 0_u64..60).prop_map(|(p, records)| Vertex::source(p, records));
    if at == 0 {
        return source.boxed();
    }
    let inputs = prop::collection::vec(0..at, 1..4);
    let reading = (1_usize..4, inputs, any::<bool>()).prop_map(|(parallelism, inputs, holds)| {
        let vertex = Vertex::reading(parallelism, &inputs);
        if holds { vertex.holding_back() } else { vertex }
    });
    prop_oneof![1 => source, 4 => reading].boxed()
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let vertices = (1_usize..6).prop_flat_map(|n| (0..n).map(any_vertex).collect::<Vec<_>>());
    (vertices, 1_usize..4).prop_map(|(vertices, queue_batches)| Plan { vertices, queue_batches })
}

fn undisturbed(plan: &Plan) -> Vec<Vec<u64>> {
    let mut world = World::new(plan.clone());
    world.run_to_end();
    world.result()
}

proptest! {
    #[test]
    fn every_checkpoint_is_an_exact_cut_and_every_job_ends_with_the_same_result(
        plan in any_plan(),
        acts in prop::collection::vec(any_act(), 0..400),
    ) {
        let expected = undisturbed(&plan);
        let mut world = World::new(plan);
        for act in acts {
            let running = world.running();
            if running.is_empty() {
                break;
            }
            match act {
                Act::Step(task, millis) => {
                    let passed = Duration::from_millis(u64::from(millis));
                    world.step(running[task % running.len()], passed);
                }
                Act::Deliver(task) => world.deliver(running[task % running.len()]),
                Act::Trigger => world.trigger(),
                Act::Abort => world.abort_pending(),
                Act::Crash => world.crash(),
            }
        }
        world.run_to_end();
        prop_assert!(world.completions > 0, "no task ends without a checkpoint");
        prop_assert_eq!(world.result(), expected);
    }
}

#[test]
fn a_diamond_of_one_batch_queues_never_deadlocks_with_barriers() {
    let plan = Plan {
        vertices: vec![
            Vertex::source(2, 1_500),
            Vertex::reading(2, &[0]),
            Vertex::reading(3, &[0]).holding_back(),
            Vertex::reading(2, &[1, 2, 0]),
            Vertex::reading(1, &[3]),
        ],
        queue_batches: 1,
    };
    let expected = undisturbed(&plan);
    let mut world = World::new(plan);
    let mut round = 0_u64;
    while !world.job.tasks.is_empty() {
        assert!(round < 200_000, "the job stands still");
        if round.is_multiple_of(20) {
            world.trigger();
        }
        for (at, id) in world.running().into_iter().enumerate() {
            world.deliver(id);
            // Some tasks are slow, each in its time.
            if !(round / 64).wrapping_add(at as u64).is_multiple_of(3) || round.is_multiple_of(16) {
                world.step(id, Duration::from_micros(200));
            }
        }
        round += 1;
    }
    assert!(world.completions > 10, "{} checkpoints", world.completions);
    assert_eq!(world.result(), expected);
}
