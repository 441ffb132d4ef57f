//! The execution graph: a job as subtasks, and each subtask as a ladder of attempts.
//!
//! The naming ladder is Flink's: a *job vertex* (what the user planned), an *execution vertex* (one
//! of its parallel instances), an *execution attempt* (one try to run that instance). The graph
//! knows how attempts stand, where they are, what they read and which splits they have been given.
//! It decides nothing: when to schedule, deploy, cancel or restart is the `scheduler`'s.
//!
//! In reading order:
//! - [`vertex`]: execution vertices and attempts; the one place where a state changes;
//! - [`regions`]: which subtasks live and die together;
//! - [`exchange`]: who reads from whom, and whether it can be read;
//! - [`splits`]: parts of bounded sources, each in one place;
//! - `descriptors`: what a worker is told of an attempt;
//! - [`failures`]: the last failures, for people;
//! - `validation`, `details`, `check`: what is refused, shown and asserted.
//!
//! Invariants ([`ExecutionGraph::check`]): see `check`.

pub mod exchange;
pub mod failures;
pub mod regions;
pub mod splits;
pub mod vertex;

mod check;
mod descriptors;
mod details;
mod validation;

#[cfg(test)]
mod descriptors_test;
#[cfg(test)]
pub(crate) mod testing;

pub use descriptors::{ChannelUpdate, PartitionUpdate};
pub use validation::InvalidJobGraph;

use failures::Failures;
use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId};
use millstream_core::job_graph::{JobGraph, SourceSplit};
use millstream_core::key_group::MaxParallelism;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_rpc::machine::ReplyTo;
use regions::{RegionId, Regions};
use splits::SplitAssigner;
use std::collections::{BTreeMap, BTreeSet};
use vertex::{Execution, ExecutionVertex, Place};

/// One parallel instance of a job vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutionVertexId {
    /// Index of the vertex in [`JobGraph::vertices`]: ids sort in topological order.
    pub vertex: usize,
    /// Which of its instances, from 0.
    pub subtask: u32,
}

/// A job as subtasks and attempts.
#[derive(Clone, Debug)]
pub struct ExecutionGraph {
    /// The job; set once.
    job: JobId,
    /// This build of the graph: part of every attempt's id, so that attempts of a former JobMaster
    /// are strangers. Set by [`ExecutionGraph::begin`].
    id: ExecutionGraphId,
    /// What was submitted; set once.
    graph: JobGraph,
    /// Where a vertex is in `graph`; set once.
    index: BTreeMap<JobVertexId, usize>,
    /// By job vertex, then subtask. States change in [`ExecutionGraph::change`] only.
    vertices: Vec<Vec<ExecutionVertex>>,
    /// Which subtasks live and die together; set once.
    regions: Regions,
    /// By job vertex: who has been given which part of the vertex's input.
    splits: Vec<SplitAssigner>,
    /// The last failures, newest first; grows by [`ExecutionGraph::record_failure`].
    failures: Failures,
    /// What has changed since it was last asked for.
    changes: Vec<(ExecutionVertexId, Change)>,
}

/// What has happened to the current attempt of a subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in this state now.
    Entered(ExecutionState),
    /// It made room for the next one.
    Reset,
}

impl ExecutionGraph {
    /// All subtasks of the job, none of them scheduled.
    pub fn new(job: JobId, graph: JobGraph) -> Result<Self, InvalidJobGraph> {
        validation::validate(&graph)?;
        let vertices = graph
            .vertices
            .iter()
            .map(|vertex| vec![ExecutionVertex::default(); vertex.parallelism as usize])
            .collect();
        Ok(Self { regions: Regions::new(&graph), ..Self::with_vertices(job, graph, vertices) })
    }

    /// A graph without subtasks: stands for a job that cannot be run, so that its end can be told.
    pub fn hollow(job: JobId, graph: JobGraph) -> Self {
        let vertices = graph.vertices.iter().map(|_| Vec::new()).collect();
        Self::with_vertices(job, graph, vertices)
    }

    fn with_vertices(job: JobId, graph: JobGraph, vertices: Vec<Vec<ExecutionVertex>>) -> Self {
        let ids = graph.vertices.iter().map(|vertex| vertex.id);
        let splits = graph.vertices.iter().map(|vertex| vertex.splits.len());
        Self {
            job,
            id: ExecutionGraphId::default(),
            index: ids.zip(0..).collect(),
            vertices,
            regions: Regions::default(),
            splits: splits.map(|n| SplitAssigner::new(n as u32)).collect(),
            failures: Failures::default(),
            changes: Vec::new(),
            graph,
        }
    }

    /// The JobMaster starts: attempts get their identity and the time of their creation.
    pub fn begin(&mut self, id: ExecutionGraphId, wall: Timestamp) {
        self.id = id;
        for vertex in self.vertices.iter_mut().flatten() {
            vertex.current = Execution::new(0, wall);
        }
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// What was submitted.
    pub fn graph(&self) -> &JobGraph {
        &self.graph
    }

    /// Which subtasks live and die together.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The region of a subtask.
    pub fn region_of(&self, id: ExecutionVertexId) -> RegionId {
        self.regions.of(id)
    }

    /// Every subtask, in topological order.
    pub fn ids(&self) -> impl Iterator<Item = ExecutionVertexId> + '_ {
        self.vertices.iter().enumerate().flat_map(|(vertex, all)| {
            (0..all.len() as u32).map(move |subtask| ExecutionVertexId { vertex, subtask })
        })
    }

    /// Every subtask with its current attempt.
    pub fn executions(&self) -> impl Iterator<Item = (ExecutionVertexId, &Execution)> {
        self.ids().map(|id| (id, self.execution(id)))
    }

    /// The current attempt of a subtask.
    pub fn execution(&self, id: ExecutionVertexId) -> &Execution {
        &self.vertices[id.vertex][id.subtask as usize].current
    }

    /// The state of the current attempt of a subtask.
    pub fn state(&self, id: ExecutionVertexId) -> ExecutionState {
        self.execution(id).state()
    }

    /// The id of the current attempt of a subtask.
    pub fn attempt_id(&self, id: ExecutionVertexId) -> ExecutionAttemptId {
        ExecutionAttemptId {
            graph: self.id,
            vertex: self.graph.vertices[id.vertex].id,
            subtask: id.subtask,
            attempt: self.execution(id).number(),
        }
    }

    /// The subtask whose *current* attempt this is. Former attempts and strangers are unknown.
    pub fn find(&self, attempt: ExecutionAttemptId) -> Option<ExecutionVertexId> {
        let id = self.subtask_of(attempt)?;
        (self.attempt_id(id) == attempt).then_some(id)
    }

    /// The subtask that the attempt is or was of, whichever its number and graph.
    pub fn subtask_of(&self, attempt: ExecutionAttemptId) -> Option<ExecutionVertexId> {
        let vertex = *self.index.get(&attempt.vertex)?;
        let known = (attempt.subtask as usize) < self.vertices[vertex].len();
        known.then_some(ExecutionVertexId { vertex, subtask: attempt.subtask })
    }

    /// A subtask for people: `map -> sink (2/4)`.
    pub fn task_name(&self, id: ExecutionVertexId) -> String {
        let vertex = &self.graph.vertices[id.vertex];
        format!("{} ({}/{})", vertex.name, id.subtask + 1, vertex.parallelism)
    }

    /// The one place where an attempt changes its state.
    pub fn change(&mut self, id: ExecutionVertexId, next: ExecutionState, wall: Timestamp) {
        let attempt = self.attempt_id(id);
        self.current_mut(id).change(attempt, next, wall);
        self.changes.push((id, Change::Entered(next)));
    }

    /// Whether something has changed.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes what has changed, in order.
    pub fn take_changes(&mut self) -> Vec<(ExecutionVertexId, Change)> {
        std::mem::take(&mut self.changes)
    }

    /// A terminal attempt makes room for the next one; what it was given after the newest completed
    /// checkpoint is given again.
    pub fn reset(&mut self, id: ExecutionVertexId, wall: Timestamp) {
        let attempt = self.attempt_id(id);
        self.splits[id.vertex].take_back(attempt);
        self.vertices[id.vertex][id.subtask as usize].reset(attempt, wall);
        self.changes.push((id, Change::Reset));
    }

    /// The attempt gets its slot and goes there. `order` grows from deployment to deployment.
    pub fn deploy(&mut self, id: ExecutionVertexId, place: Place, order: u64, wall: Timestamp) {
        self.change(id, ExecutionState::Deploying, wall);
        let current = self.current_mut(id);
        current.place = Some(place);
        current.deployed = order;
    }

    pub(crate) fn current_mut(&mut self, id: ExecutionVertexId) -> &mut Execution {
        &mut self.vertices[id.vertex][id.subtask as usize].current
    }

    /// A checkpoint is complete that knows the first so many splits of each attempt.
    pub fn keep_splits(&mut self, counts: &[(ExecutionAttemptId, u32)]) {
        for (attempt, count) in counts {
            if let Some(id) = self.find(*attempt) {
                self.splits[id.vertex].keep(*attempt, *count);
            }
        }
    }

    /// The splits of a vertex that have been given to readers, when of those that each attempt was
    /// given only the first so many count.
    pub fn seen_splits(
        &self,
        vertex: usize,
        counts: &[(ExecutionAttemptId, u32)],
    ) -> BTreeSet<u32> {
        self.splits[vertex].seen(counts)
    }

    /// The job goes on from a checkpoint that knows these splits, and with so many key groups.
    pub fn go_on_from(&mut self, vertex: usize, seen: &BTreeSet<u32>, max: MaxParallelism) {
        self.splits[vertex].settle(seen);
        self.graph.vertices[vertex].max_parallelism = max;
    }

    /// Hands the next part of the vertex's input to the attempt. The same ask, delivered twice,
    /// gets the same part.
    pub fn next_split(
        &mut self,
        id: ExecutionVertexId,
        asked_by: Option<&ReplyTo>,
    ) -> Option<SourceSplit> {
        let attempt = self.attempt_id(id);
        let number = self.splits[id.vertex].next(attempt, asked_by)?;
        Some(self.graph.vertices[id.vertex].splits[number as usize].clone())
    }
}
