//! A scheduler with slots in unlimited supply, driven by words.

use super::options::Options;
use super::{Command, Heard, Moment, Scheduler};
use crate::execution_graph::testing::{GRAPH, graph_of, place};
use crate::execution_graph::{ExecutionGraph, ExecutionVertexId};
use millstream_core::ids::{AllocationId, ExecutionAttemptId, JobId};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::job_master::{
    TaskExecutionState, TaskFailure, TaskFailureKind, TaskMetrics,
};

pub(super) struct Rig {
    pub(super) scheduler: Scheduler,
    pub(super) at: Moment,
    pub(super) rng: Rng,
    /// Slots that the cluster still has.
    pub(super) slots_left: u32,
    next_allocation: u128,
    /// Commands, as text, since they were last asked for.
    log: Vec<String>,
}

impl Rig {
    pub(super) fn new(plan: &str, options: &[(&str, &str)], slots: u32) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let options = Options::parse(&options.iter().map(own).collect()).expect("valid options");
        let graph = ExecutionGraph::new(JobId(1), graph_of(plan)).expect("a valid graph");
        let mut rig = Self {
            scheduler: Scheduler::new(graph, options),
            at: Moment { now: Mono(0), wall: 0 },
            rng: Rng::new(1),
            slots_left: slots,
            next_allocation: 0,
            log: Vec::new(),
        };
        rig.scheduler.begin(GRAPH, rig.at);
        rig.scheduler.start(rig.at);
        rig.settle();
        rig
    }

    /// Gives places to the slots that are wanted, carries out commands, checks.
    pub(super) fn settle(&mut self) {
        loop {
            for command in self.scheduler.take_commands() {
                let line = self.carry_out(command);
                self.log.push(line);
            }
            let wanted = self.scheduler.slots().wanted().next();
            let Some((slot, _, _)) = wanted.filter(|_| self.slots_left > 0) else {
                break;
            };
            self.slots_left -= 1;
            self.next_allocation += 1;
            let worker = format!("w{}", slot.index);
            let place = place(&worker, self.next_allocation);
            self.scheduler.on_slot_assigned(slot, place, self.at);
        }
        self.scheduler.check();
    }

    fn carry_out(&mut self, command: Command) -> String {
        match command {
            Command::Deploy(attempts) => {
                for attempt in &attempts {
                    let id = self.scheduler.graph().find(*attempt).expect("it counts");
                    self.scheduler.graph_mut().descriptor(id);
                }
                let names: Vec<String> = attempts.iter().map(|a| self.name(*a)).collect();
                format!("deploy {}", names.join(" "))
            }
            Command::Release(attempt) => format!("release {}", self.name(attempt)),
            Command::Cancel(attempt) => format!("cancel {}", self.name(attempt)),
            Command::Free(allocation) => {
                self.slots_left += 1;
                format!("free {}", allocation.0)
            }
        }
    }

    /// `a0#1`: subtask 0 of vertex `a`, attempt 1.
    fn name(&self, attempt: ExecutionAttemptId) -> String {
        let vertices = &self.scheduler.graph().graph().vertices;
        let vertex = vertices.iter().find(|v| v.id == attempt.vertex);
        let name = &vertex.expect("a vertex of the graph").name;
        format!("{name}{}#{}", attempt.subtask, attempt.attempt)
    }

    /// What was done since it was last asked.
    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) {
        self.settle();
        assert_eq!(std::mem::take(&mut self.log), lines);
    }

    /// Results that were given up since it was last asked; nothing else is looked at.
    pub(super) fn released(&mut self) -> Vec<String> {
        self.settle();
        let log = std::mem::take(&mut self.log);
        log.iter().filter_map(|line| line.strip_prefix("release ")).map(str::to_owned).collect()
    }

    pub(super) fn forget(&mut self) {
        self.log.clear();
    }

    /// The subtask of a name such as `a0`.
    pub(super) fn id(&self, name: &str) -> ExecutionVertexId {
        let (vertex, subtask) = name.split_at(1);
        let vertices = &self.scheduler.graph().graph().vertices;
        let vertex = vertices.iter().position(|v| v.name == vertex);
        ExecutionVertexId {
            vertex: vertex.expect("a vertex of the graph"),
            subtask: subtask.parse().expect("a subtask"),
        }
    }

    pub(super) fn attempt(&self, name: &str) -> ExecutionAttemptId {
        self.scheduler.graph().attempt_id(self.id(name))
    }

    pub(super) fn state(&self, name: &str) -> ExecutionState {
        self.scheduler.graph().state(self.id(name))
    }

    /// Reports about the current attempts of subtasks: `run a0 a1`, `finish b0`, `cancel c0`.
    pub(super) fn report(&mut self, words: &str) {
        let (state, names) = words.split_once(' ').expect("a verb and names");
        let state = match state {
            "run" => ExecutionState::Running,
            "finish" => ExecutionState::Finished,
            "cancel" => ExecutionState::Canceled,
            _ => panic!("`{state}` is no report"),
        };
        for name in names.split(' ') {
            self.say(self.attempt(name), state, None);
        }
    }

    pub(super) fn say(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) -> Heard {
        let report =
            TaskExecutionState { attempt, state, failure, metrics: TaskMetrics::default() };
        let heard = self.scheduler.on_task_state(&report, self.at, &mut self.rng);
        self.settle();
        heard
    }

    /// The current attempt of a subtask fails, with this fingerprint.
    pub(super) fn fail(&mut self, name: &str, fingerprint: u64) {
        self.fail_as(name, TaskFailureKind::Recoverable, fingerprint);
    }

    pub(super) fn fail_as(&mut self, name: &str, kind: TaskFailureKind, fingerprint: u64) {
        let failure = TaskFailure { kind, message: "boom".to_owned(), fingerprint };
        self.say(self.attempt(name), ExecutionState::Failed, Some(failure));
    }

    /// Time passes; backoffs that are over end.
    pub(super) fn pass(&mut self, millis: u64) {
        self.at.now = self.at.now + millis;
        self.at.wall += millis as i64;
        let due: Vec<_> = self.scheduler.restarts().iter().map(|(id, _)| id).collect();
        for id in due {
            self.scheduler.on_restart_timer(id, self.at);
        }
        self.settle();
    }

    /// The worker and all its slots are gone.
    pub(super) fn lose_worker(&mut self, worker: &str) {
        let allocations: Vec<AllocationId> = self
            .scheduler
            .graph()
            .ids()
            .filter_map(|id| self.scheduler.slots().place_of(id).cloned())
            .filter(|place| place.resource.0 == worker)
            .map(|place| place.allocation)
            .collect();
        let resource = place(worker, 0).resource;
        let failure = super::Failure::of_cluster(format!("worker {worker} is lost"));
        let failure = failure.on_worker(&resource);
        self.scheduler.on_slots_lost(
            &allocations,
            Some(&resource),
            failure,
            self.at,
            &mut self.rng,
        );
        self.settle();
    }

    #[track_caller]
    pub(super) fn doom(&self) -> &str {
        &self.scheduler.doom().expect("the job fails").message
    }
}
