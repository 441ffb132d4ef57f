//! Execution vertices and attempts: their states, times and places.
//!
//! An attempt's state changes in `Execution::change` and nowhere else, and only along
//! [`ExecutionState::may_become`]. A vertex gets its next attempt only when the current one is over.

use millstream_core::ids::{AllocationId, ExecutionAttemptId, ResourceId};
use millstream_core::status::ExecutionState;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::protocol::deployment::PartitionLocation;
use millstream_rpc::protocol::job_master::TaskMetrics;
use std::collections::{BTreeMap, VecDeque};

/// How many former attempts of a subtask are remembered (Flink: `job.execution.max-attempts-history-size`).
pub const FORMER_ATTEMPTS_MAX: usize = 16;

/// A slot of a worker, as an attempt knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The worker.
    pub resource: ResourceId,
    /// The slot.
    pub allocation: AllocationId,
    /// `host:port` of the worker's data port.
    pub data_address: String,
}

impl Place {
    /// Where consumers find what is produced here.
    pub fn location(&self) -> PartitionLocation {
        PartitionLocation {
            resource: self.resource.clone(),
            data_address: self.data_address.clone(),
        }
    }
}

/// One attempt to run one subtask.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Counts the attempts of the subtask, from 0.
    number: u32,
    /// Changes in [`Execution::change`] only.
    state: ExecutionState,
    /// When each state was entered.
    state_times: BTreeMap<ExecutionState, Timestamp>,
    /// Its slot, from its deployment on.
    pub(crate) place: Option<Place>,
    /// Its counters as last heard.
    pub(crate) metrics: TaskMetrics,
    /// Grows from deployment to deployment over the whole job: tells which attempts ran already
    /// when something happened.
    pub(crate) deployed: u64,
    /// When its worker was first known to have it; until then its absence there means nothing.
    pub(crate) confirmed: Option<Mono>,
    /// What it has been told of its producers: per gate and channel the attempt number that it
    /// reads, or nothing while that producer had no place.
    pub(crate) told: Vec<Vec<Option<u32>>>,
    /// What it produced can no longer be read, though it finished.
    pub(crate) output_lost: bool,
}

impl Execution {
    pub(crate) fn new(number: u32, wall: Timestamp) -> Self {
        let state = ExecutionState::Created;
        Self {
            number,
            state,
            state_times: BTreeMap::from([(state, wall)]),
            place: None,
            metrics: TaskMetrics::default(),
            deployed: 0,
            confirmed: None,
            told: Vec::new(),
            output_lost: false,
        }
    }

    pub(crate) fn change(
        &mut self,
        attempt: ExecutionAttemptId,
        next: ExecutionState,
        wall: Timestamp,
    ) {
        assert!(
            self.state.may_become(next),
            "execution {attempt} cannot go from {} to {next}",
            self.state
        );
        self.state = next;
        self.state_times.insert(next, wall);
    }

    /// Counts the attempts of the subtask, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How it stands.
    pub fn state(&self) -> ExecutionState {
        self.state
    }

    /// When each state was entered.
    pub fn state_times(&self) -> &BTreeMap<ExecutionState, Timestamp> {
        &self.state_times
    }

    /// Its slot, if it was ever deployed.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Its counters as last heard.
    pub fn metrics(&self) -> &TaskMetrics {
        &self.metrics
    }

    /// Its position in the order of all deployments of the job; 0: never deployed.
    pub fn deployed(&self) -> u64 {
        self.deployed
    }

    /// When its worker was first known to have it.
    pub fn confirmed(&self) -> Option<Mono> {
        self.confirmed
    }

    /// It was sent to a worker and is not over there.
    pub fn is_on_worker(&self) -> bool {
        use ExecutionState::{Canceling, Deploying, Initializing, Running};
        matches!(self.state, Deploying | Initializing | Running | Canceling)
    }

    /// It was sent to a worker and is meant to go on there.
    pub fn is_running(&self) -> bool {
        self.is_on_worker() && self.state != ExecutionState::Canceling
    }

    /// It finished, and what it produced is still there.
    pub fn has_output(&self) -> bool {
        self.state == ExecutionState::Finished && !self.output_lost
    }
}

/// What is remembered of an attempt that is over.
#[derive(Clone, Debug)]
pub struct FormerAttempt {
    /// Which.
    pub attempt: ExecutionAttemptId,
    /// How it ended, and the rest that was known of it.
    pub execution: Execution,
}

/// One subtask: its current attempt and the ones before it.
#[derive(Clone, Debug)]
pub struct ExecutionVertex {
    /// The attempt that counts.
    pub(crate) current: Execution,
    /// Oldest first, at most [`FORMER_ATTEMPTS_MAX`].
    former: VecDeque<FormerAttempt>,
}

impl Default for ExecutionVertex {
    fn default() -> Self {
        Self { current: Execution::new(0, 0), former: VecDeque::new() }
    }
}

impl ExecutionVertex {
    /// The current attempt is over (asserted); the next one begins.
    pub(crate) fn reset(&mut self, attempt: ExecutionAttemptId, wall: Timestamp) {
        let state = self.current.state;
        assert!(
            state.is_terminal(),
            "execution {attempt} is {state}, and only a terminal one makes room for the next"
        );
        let next = Execution::new(self.current.number + 1, wall);
        let mut execution = std::mem::replace(&mut self.current, next);
        execution.told = Vec::new();
        if self.former.len() == FORMER_ATTEMPTS_MAX {
            self.former.pop_front();
        }
        self.former.push_back(FormerAttempt { attempt, execution });
    }

    /// Attempts that are over, oldest first.
    pub fn former(&self) -> impl ExactSizeIterator<Item = &FormerAttempt> {
        self.former.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::attempt;

    #[test]
    fn sixteen_former_attempts_are_kept_and_the_oldest_go() {
        let mut vertex = ExecutionVertex::default();
        for number in 0..20 {
            vertex.current.change(attempt(1, 0, number), ExecutionState::Failed, 5);
            vertex.reset(attempt(1, 0, number), 6);
        }
        let kept: Vec<u32> = vertex.former().map(|f| f.attempt.attempt).collect();
        assert_eq!(kept, (4..20).collect::<Vec<_>>());
        assert_eq!(vertex.current.number(), 20);
        assert_eq!(vertex.current.state_times()[&ExecutionState::Created], 6);
    }

    #[test]
    #[should_panic(expected = "cannot go from FINISHED to RUNNING")]
    fn an_illegal_move_is_a_bug() {
        let mut execution = Execution::new(0, 0);
        for state in [
            ExecutionState::Deploying,
            ExecutionState::Initializing,
            ExecutionState::Running,
            ExecutionState::Finished,
            ExecutionState::Running,
        ] {
            execution.change(attempt(1, 0, 0), state, 0);
        }
    }

    #[test]
    #[should_panic(expected = "only a terminal one makes room")]
    fn a_live_attempt_makes_no_room_for_the_next() {
        ExecutionVertex::default().reset(attempt(1, 0, 0), 0);
    }
}
