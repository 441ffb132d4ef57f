//! How the tasks of a job stand, as far as checkpoints care.

use crate::handle::TaskState;
use millstream_core::ids::ExecutionAttemptId;
use millstream_core::job_graph::JobGraph;

/// One parallel instance of a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtask {
    /// Index of the vertex in the job graph.
    pub vertex: usize,
    /// Which of its instances, from 0.
    pub subtask: u32,
}

/// How the current attempt of a subtask stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    /// There is none, or it is being stopped or started.
    #[default]
    Absent,
    /// It runs.
    Running,
    /// It has done its work.
    Finished,
}

/// One subtask.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    /// The attempt that counts, from its deployment on.
    pub(super) attempt: Option<ExecutionAttemptId>,
    pub(super) status: Status,
    /// All its records are processed: it reads nothing and sends nothing any more.
    pub(super) ended: bool,
    /// What it acknowledged when all was done, once that is part of a completed checkpoint: goes into
    /// every later one.
    pub(super) carried: Option<Box<TaskState>>,
    /// It was restored as finished: what to carry when it has said so again.
    pub(super) restored: Option<Box<TaskState>>,
}

/// What the task counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing can be triggered while it is so.
    Unready,
    /// It takes part; whether it is at its end.
    Participant(bool),
    /// What it has to say is said.
    Carried,
}

impl Task {
    fn role(&self) -> Role {
        match (self.status, &self.carried) {
            (Status::Running | Status::Finished, Some(_)) => Role::Carried,
            (Status::Running, None) if self.restored.is_none() => Role::Participant(self.ended),
            _ => Role::Unready,
        }
    }

    /// It sends no record any more.
    fn is_through(&self) -> bool {
        self.ended || self.status == Status::Finished || self.carried.is_some()
    }
}

/// All subtasks.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    by_vertex: Vec<Vec<Task>>,
    /// Per vertex: how many send no record any more.
    through: Vec<u32>,
    unready: u32,
    participants: u32,
    at_end: u32,
}

impl Tasks {
    pub(super) fn new(graph: &JobGraph) -> Self {
        let vertices = graph.vertices.iter();
        let by_vertex: Vec<Vec<Task>> =
            vertices.map(|vertex| vec![Task::default(); vertex.parallelism as usize]).collect();
        let unready = by_vertex.iter().map(|all| all.len() as u32).sum();
        let through = vec![0; by_vertex.len()];
        Self { by_vertex, through, unready, participants: 0, at_end: 0 }
    }

    pub(super) fn get(&self, id: Subtask) -> Option<&Task> {
        self.by_vertex.get(id.vertex)?.get(id.subtask as usize)
    }

    /// The one place where a task changes: the counts follow.
    pub(super) fn update(&mut self, id: Subtask, change: impl FnOnce(&mut Task)) {
        let all = self.by_vertex.get_mut(id.vertex);
        let Some(task) = all.and_then(|all| all.get_mut(id.subtask as usize)) else { return };
        let before = (task.role(), task.is_through());
        change(task);
        let after = (task.role(), task.is_through());
        self.count(before.0, false);
        self.count(after.0, true);
        let through = &mut self.through[id.vertex];
        *through = *through + u32::from(after.1) - u32::from(before.1);
    }

    fn count(&mut self, role: Role, more: bool) {
        let step = |count: &mut u32| *count = if more { *count + 1 } else { *count - 1 };
        match role {
            Role::Unready => step(&mut self.unready),
            Role::Participant(at_end) => {
                step(&mut self.participants);
                if at_end {
                    step(&mut self.at_end);
                }
            }
            Role::Carried => {}
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Subtask, &Task)> {
        self.by_vertex.iter().enumerate().flat_map(|(vertex, all)| {
            (0..).zip(all).map(move |(subtask, task)| (Subtask { vertex, subtask }, task))
        })
    }

    /// Those who take part in a checkpoint that is triggered now.
    pub(super) fn participants(&self) -> impl Iterator<Item = (Subtask, ExecutionAttemptId)> + '_ {
        let all = self.iter().filter(|(_, task)| matches!(task.role(), Role::Participant(_)));
        all.filter_map(|(id, task)| Some((id, task.attempt?)))
    }

    /// The attempts that run.
    pub(super) fn running(&self) -> impl Iterator<Item = ExecutionAttemptId> + '_ {
        let running = self.iter().filter(|(_, task)| task.status == Status::Running);
        running.filter_map(|(_, task)| task.attempt)
    }

    /// The attempts that run, and have nothing more to say.
    pub(super) fn carried(&self) -> impl Iterator<Item = ExecutionAttemptId> + '_ {
        let running = self.iter().filter(|(_, task)| task.status == Status::Running);
        running.filter(|(_, task)| task.carried.is_some()).filter_map(|(_, task)| task.attempt)
    }

    /// A checkpoint can be triggered: everybody takes part or has said all, and somebody takes part.
    pub(super) fn are_ready(&self) -> bool {
        self.unready == 0 && self.participants > 0
    }

    /// Everybody who takes part is at its end, and waits for the checkpoint that says so.
    pub(super) fn are_at_end(&self) -> bool {
        self.are_ready() && self.at_end == self.participants
    }

    /// No barrier will reach this subtask by itself: none of its producers sends any more.
    pub(super) fn is_head(&self, graph: &JobGraph, id: Subtask) -> bool {
        graph.inputs_of(id.vertex).all(|(_, edge)| {
            let all = &self.by_vertex[edge.source];
            let (parallelism, through) = (all.len() as u32, self.through[edge.source]);
            if through == 0 || through == parallelism {
                return through == parallelism;
            }
            let consumers = self.by_vertex[edge.target].len() as u32;
            let mut producers = edge.ship.producers_of(id.subtask, parallelism, consumers);
            producers.all(|producer| all[producer as usize].is_through())
        })
    }

    /// The counts are what they count.
    pub(super) fn check(&self) {
        let roles: Vec<Role> = self.iter().map(|(_, task)| task.role()).collect();
        let count = |wanted: &dyn Fn(&Role) -> bool| roles.iter().filter(|r| wanted(r)).count();
        assert_eq!(count(&|role| *role == Role::Unready), self.unready as usize);
        let participants = count(&|role| matches!(role, Role::Participant(_)));
        assert_eq!(participants, self.participants as usize);
        assert_eq!(count(&|role| *role == Role::Participant(true)), self.at_end as usize);
    }
}
