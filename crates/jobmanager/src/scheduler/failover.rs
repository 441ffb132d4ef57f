//! What starts over after a failure, and whether anything does.

use super::options::FailoverStrategy;
use super::pending::RestartId;
use super::restart::Verdict;
use super::{Command, Moment, Scheduler};
use crate::execution_graph::ExecutionVertexId;
use crate::execution_graph::regions::RegionId;
use crate::mutant;
use millstream_core::ids::ResourceId;
use millstream_core::status::ExecutionState;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::details::FailureDetails;
use millstream_rpc::protocol::job_master::{TaskFailure, TaskFailureKind};
use std::collections::BTreeSet;

/// Something that ended attempts.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The whole story.
    pub message: String,
    /// Whether another attempt may survive it.
    pub kind: TaskFailureKind,
    /// Failures with the same one are the same bug; nothing: a fault of the cluster.
    pub fingerprint: Option<u64>,
    /// The subtask, if one failed.
    pub task: Option<ExecutionVertexId>,
    /// The worker concerned.
    pub resource: Option<ResourceId>,
}

impl Failure {
    /// A fault of the cluster, not of the program: another attempt may survive it.
    pub fn of_cluster(message: String) -> Self {
        Self {
            message,
            kind: TaskFailureKind::Recoverable,
            fingerprint: None,
            task: None,
            resource: None,
        }
    }

    /// What a task told of its end.
    pub fn of_task(failure: &TaskFailure) -> Self {
        // A lost partition is no bug of the reader, whatever its fingerprint.
        let own = failure.kind == TaskFailureKind::Recoverable && failure.fingerprint != 0;
        Self {
            message: failure.message.clone(),
            kind: failure.kind,
            fingerprint: own.then_some(failure.fingerprint),
            task: None,
            resource: None,
        }
    }

    /// Whom it concerns.
    #[must_use]
    pub fn about(self, task: ExecutionVertexId, resource: Option<ResourceId>) -> Self {
        Self { task: Some(task), resource: resource.or(self.resource), ..self }
    }

    /// Which worker it concerns.
    #[must_use]
    pub fn on_worker(self, resource: &ResourceId) -> Self {
        Self { resource: Some(resource.clone()), ..self }
    }
}

/// Whom a failure has hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Casualties {
    /// Their attempts are over.
    pub failed: Vec<ExecutionVertexId>,
    /// What they produced cannot be read any more; their attempts may have finished long ago.
    pub lost: Vec<ExecutionVertexId>,
}

impl Casualties {
    /// One attempt is over.
    pub fn one(failed: ExecutionVertexId) -> Self {
        Self { failed: vec![failed], lost: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = ExecutionVertexId> + '_ {
        self.failed.iter().chain(&self.lost).copied()
    }
}

impl Scheduler {
    /// A failure has hit these subtasks.
    ///
    /// Subtasks that are being stopped for an earlier failure may fail on their way: that is part
    /// of the earlier one, and neither counted nor told again.
    pub fn fail(&mut self, hit: &Casualties, failure: Failure, at: Moment, rng: &mut Rng) {
        let is_news = hit.all().any(|id| !self.restarts.contains(id)) && !self.stopping;
        for id in &hit.failed {
            if !self.graph.state(*id).is_terminal() {
                self.end(*id, ExecutionState::Failed, at);
            }
        }
        if is_news {
            self.graph.record_failure(self.told(&failure, at));
            match self.judge(&failure, at, rng) {
                Verdict::RestartAfter(delay_ms) => self.plan_restart(hit, delay_ms, at),
                Verdict::GiveUp(reason) => self.give_up(failure, &reason, at),
            }
        }
        hit.failed.iter().for_each(|id| self.release_if_done(*id));
        self.advance_restarts(at);
    }

    /// Something is wrong that concerns no single subtask: everything starts over.
    pub fn fail_all(&mut self, failure: Failure, at: Moment, rng: &mut Rng) {
        let lost = self.graph.ids().collect();
        self.fail(&Casualties { failed: Vec::new(), lost }, failure, at, rng);
    }

    fn judge(&mut self, failure: &Failure, at: Moment, rng: &mut Rng) -> Verdict {
        if failure.kind == TaskFailureKind::NonRecoverable {
            return Verdict::GiveUp("no other attempt can succeed".to_owned());
        }
        if let (Some(fingerprint), Some(task)) = (failure.fingerprint, failure.task) {
            let order = self.next_order();
            let deployed = self.graph.execution(task).deployed();
            if let Some(times) = self.repeats.on_failure(fingerprint, deployed, order) {
                return Verdict::GiveUp(format!(
                    "the same failure came {times} times without a completed checkpoint in \
                     between, as often as restart-strategy.repeat-limit allows"
                ));
            }
        }
        self.strategy.on_failure(at.now, rng)
    }

    /// The failure ends the job.
    pub fn fail_job(&mut self, failure: Failure, reason: &str, at: Moment) {
        self.graph.record_failure(self.told(&failure, at));
        self.give_up(failure, reason, at);
    }

    fn give_up(&mut self, failure: Failure, reason: &str, at: Moment) {
        let mut doom = self.told(&failure, at);
        doom.message = format!("{}; the job fails: {reason}", doom.message);
        self.doom.get_or_insert(doom);
        self.stop(at);
    }

    fn told(&self, failure: &Failure, at: Moment) -> FailureDetails {
        FailureDetails {
            at: at.wall,
            message: failure.message.clone(),
            task: failure.task.map(|task| self.graph.task_name(task)),
            resource: failure.resource.clone(),
        }
    }

    /// Nothing is scheduled any more, and whatever runs is stopped.
    pub fn stop(&mut self, at: Moment) {
        self.stopping = true;
        self.restarts.clear();
        let all: Vec<ExecutionVertexId> = self.graph.ids().collect();
        for id in &all {
            match self.graph.state(*id) {
                ExecutionState::Created => self.end(*id, ExecutionState::Canceled, at),
                _ => self.stop_subtask(*id, at),
            }
        }
        all.iter().for_each(|id| self.release_if_done(*id));
    }

    fn stop_subtask(&mut self, id: ExecutionVertexId, at: Moment) {
        if self.graph.state(id) == ExecutionState::Scheduled {
            self.end(id, ExecutionState::Canceled, at);
        } else if self.graph.execution(id).is_running() {
            self.graph.change(id, ExecutionState::Canceling, at.wall);
            self.commands.push(Command::Cancel(self.graph.attempt_id(id)));
        }
    }

    /// The attempt is over; its region no longer waits for slots.
    fn end(&mut self, id: ExecutionVertexId, state: ExecutionState, at: Moment) {
        self.graph.change(id, state, at.wall);
        self.waiting.remove(&self.graph.region_of(id));
    }

    fn plan_restart(&mut self, hit: &Casualties, delay_ms: u64, at: Moment) {
        let mut subtasks = BTreeSet::new();
        for region in self.restart_set(hit) {
            subtasks.extend(self.graph.regions().members(region).iter().copied());
        }
        for id in &subtasks {
            self.stop_subtask(*id, at);
        }
        self.restarts.add(subtasks, at.now + delay_ms);
    }

    /// The regions that were hit; the regions that produce what one of the set could not read; and
    /// all regions that read from one of the set, because a second run may produce something else.
    fn restart_set(&self, hit: &Casualties) -> BTreeSet<RegionId> {
        if self.failover == FailoverStrategy::Full {
            return self.graph.regions().ids().collect();
        }
        let mut set = BTreeSet::new();
        let mut open: Vec<RegionId> = hit.all().map(|id| self.graph.region_of(id)).collect();
        while let Some(region) = open.pop() {
            if !set.insert(region) {
                continue;
            }
            for (edge, member) in self.graph.outside_inputs(region) {
                let lost = self.graph.lost_producers(edge, member.subtask);
                open.extend(lost.map(|producer| self.graph.region_of(producer)));
                if mutant::on("restart_takes_producers") {
                    let subtasks = self.graph.producers(edge, member.subtask);
                    let ids =
                        subtasks.map(|subtask| ExecutionVertexId { vertex: edge.source, subtask });
                    open.extend(ids.map(|producer| self.graph.region_of(producer)));
                }
            }
            if !mutant::on("restart_forgets_consumers") {
                open.extend(self.graph.consumer_regions(region));
            }
        }
        set
    }

    /// The backoff of a restart is over, unless the restart was overtaken; whether it was.
    pub fn on_restart_timer(&mut self, id: RestartId, at: Moment) -> bool {
        let stale = !self.restarts.iter().any(|(known, _)| known == id);
        if stale && mutant::on("stale_restart_timer_acts") {
            let all: BTreeSet<ExecutionVertexId> = self.graph.ids().collect();
            self.restart(&all, at);
            return false;
        }
        self.advance_restarts(at);
        stale
    }

    /// Carries out every restart whose backoff has passed and whose subtasks are all over.
    pub(super) fn advance_restarts(&mut self, at: Moment) {
        let is_over = |id: &ExecutionVertexId| {
            let state = self.graph.state(*id);
            state.is_terminal() || state == ExecutionState::Created
        };
        let due: Vec<RestartId> = self
            .restarts
            .iter()
            .filter(|(_, pending)| pending.until <= at.now && pending.subtasks.iter().all(is_over))
            .map(|(id, _)| id)
            .collect();
        for id in due {
            if let Some(pending) = self.restarts.take(id) {
                self.restart(&pending.subtasks, at);
            }
        }
    }

    fn restart(&mut self, subtasks: &BTreeSet<ExecutionVertexId>, at: Moment) {
        self.restart_count += 1;
        for id in subtasks {
            if self.graph.state(*id) != ExecutionState::Created {
                self.graph.reset(*id, at.wall);
            }
        }
        let regions: BTreeSet<RegionId> =
            subtasks.iter().map(|id| self.graph.region_of(*id)).collect();
        self.schedule_ready(regions, at);
        // Who has to wait for its producers first must not hold a slot that they may need.
        for id in subtasks {
            if self.graph.state(*id) == ExecutionState::Created {
                self.release(*id);
            }
        }
    }
}
