//! What a completed checkpoint or savepoint is: the content of its `_metadata` file.
//!
//! The file is written last: a directory without it is no checkpoint. Everything that a job needs to
//! go on is in here or is named here.
//!
//! - [`codec`]: the file, byte by byte;
//! - [`splits`]: which parts of a source's input had been given to readers.

pub mod codec;
pub mod splits;

pub use codec::{BadMetadata, decode, encode};
pub use splits::SeenSplits;

use crate::handle::{FileName, StateFile, TaskState};
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::ids::{JobId, JobVertexId, OperatorId};
use millstream_core::key_group::{MAX_PARALLELISM_LIMIT, MaxParallelism};
use millstream_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the file, in the directory of the checkpoint.
pub const METADATA_FILE: &str = "_metadata";

/// A completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMetadata {
    /// The job that took it.
    pub job: JobId,
    /// Its number within that job.
    pub checkpoint: CheckpointId,
    /// What it was taken for.
    pub kind: SnapshotKind,
    /// When it was triggered.
    pub timestamp: Timestamp,
    /// The state of every vertex, also of those that had none.
    pub vertices: BTreeMap<JobVertexId, VertexState>,
}

/// The state of one vertex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexState {
    /// What the user sees: for messages.
    pub name: String,
    /// The chain, head to tail: all operators, also those without state.
    pub operators: Vec<OperatorId>,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
    /// What each subtask acknowledged; as many as the vertex's parallelism.
    pub subtasks: Vec<TaskState>,
    /// Which parts of the input had been given to readers; what of them is left to be read is in the
    /// state of the readers.
    pub splits: SeenSplits,
}

impl VertexState {
    /// The number of subtasks.
    pub fn parallelism(&self) -> u32 {
        self.subtasks.len() as u32
    }

    /// What people call an operator of the chain: the names make up that of the vertex.
    pub fn operator_name(&self, operator: OperatorId) -> String {
        let names: Vec<&str> = self.name.split(" -> ").collect();
        let at = self.operators.iter().position(|id| *id == operator);
        match at.filter(|_| names.len() == self.operators.len()) {
            Some(at) => names[at].to_owned(),
            None => operator.to_string(),
        }
    }

    /// Every subtask had done all its work.
    pub fn is_finished(&self) -> bool {
        self.subtasks.iter().all(|subtask| subtask.finished)
    }
}

impl CheckpointMetadata {
    /// Every file that is referred to, once per reference.
    pub fn files(&self) -> impl Iterator<Item = &FileName> {
        self.subtasks().flat_map(TaskState::files)
    }

    /// Bytes of all blocks that are referred to.
    pub fn bytes(&self) -> u64 {
        self.subtasks().fold(0, |bytes, subtask| subtask.bytes().saturating_add(bytes))
    }

    /// Files without a root of their own are below this one: for readers that are not the job itself.
    pub fn resolve(&mut self, root: &str) {
        let vertices = self.vertices.values_mut();
        for file in vertices.flat_map(|vertex| &mut vertex.subtasks).flat_map(files_mut) {
            file.root.get_or_insert_with(|| root.to_owned());
        }
    }

    fn subtasks(&self) -> impl Iterator<Item = &TaskState> {
        self.vertices.values().flat_map(|vertex| &vertex.subtasks)
    }

    /// What a reader may rely on; otherwise what is wrong.
    pub(crate) fn problem(&self) -> Option<String> {
        self.vertices.iter().find_map(|(id, vertex)| {
            let problem = vertex.problem()?;
            Some(format!("vertex {id} (`{}`): {problem}", vertex.name))
        })
    }
}

impl VertexState {
    fn problem(&self) -> Option<String> {
        let (parallelism, max) = (self.subtasks.len(), self.max_parallelism.get());
        if !(1..=MAX_PARALLELISM_LIMIT).contains(&max) {
            return Some(format!("{max} is no max parallelism"));
        }
        if parallelism == 0 || parallelism > max as usize {
            return Some(format!("{parallelism} subtasks, and the max parallelism is {max}"));
        }
        if let Some(problem) = self.splits.problem() {
            return Some(problem);
        }
        self.subtasks.iter().enumerate().find_map(|(subtask, state)| {
            let problem = self.subtask_problem(state)?;
            Some(format!("subtask {subtask}: {problem}"))
        })
    }

    fn subtask_problem(&self, state: &TaskState) -> Option<String> {
        let max = self.max_parallelism.get();
        state.operators.iter().find_map(|(operator, state)| {
            if !self.operators.contains(operator) {
                return Some(format!("operator {operator} is not of this vertex"));
            }
            let groups = state.tables.iter().map(|table| &table.groups.0);
            let mut outside = groups.filter(|groups| groups.start > groups.end || groups.end > max);
            let groups = outside.next()?;
            Some(format!("operator {operator}: key groups {groups:?} of {max}"))
        })
    }
}

fn files_mut(state: &mut TaskState) -> impl Iterator<Item = &mut FileName> {
    let parts = state.operators.values_mut().flat_map(|operator| {
        let tables = operator.tables.iter_mut().flat_map(|table| &mut table.chain);
        tables.chain(operator.lists.iter_mut().map(|list| &mut list.part))
    });
    let parts = parts.chain(state.in_flight.iter_mut().map(|in_flight| &mut in_flight.list.part));
    parts.filter_map(|part| match &mut part.file {
        StateFile::Inline(_) => None,
        StateFile::File(name) => Some(name),
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::handle::{FilePart, ListMode, ListState, OperatorState, TableSchema, TableState};
    use crate::native::TableFormat;
    use millstream_core::error::Location;
    use millstream_core::job_graph::{
        JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    };
    use millstream_core::key_group::KeyGroupRange;
    use millstream_core::record::Schema;

    /// A part in a file of its own.
    pub(crate) fn part(path: &str) -> FilePart {
        let file = FileName { root: None, path: path.to_owned(), bytes: 100 };
        let file = StateFile::File(file);
        FilePart { file, index_offset: 16, index_length: 40, rows: 3, bytes: 60 }
    }

    /// A list with so many items.
    pub(crate) fn list(name: &str, mode: ListMode, items: u64) -> ListState {
        let file = StateFile::Inline(vec![0, 255, items as u8]);
        let part = FilePart { file, index_offset: 0, index_length: 3, rows: items, bytes: 3 };
        ListState { name: name.to_owned(), mode, schema: None, items, part }
    }

    /// A table with these key groups.
    pub(crate) fn table(name: &str, groups: std::ops::Range<u32>, path: &str) -> TableState {
        let plain = Schema::plain("u64");
        let namespace = Schema::Tuple(Vec::new());
        TableState {
            name: name.to_owned(),
            schema: TableSchema { key: plain.clone(), namespace, value: plain },
            groups: KeyGroupRange(groups),
            chain: vec![part(path)],
            format: TableFormat::Rows,
        }
    }

    /// Vertices `name:parallelism:operator+operator`, the id being that of the first operator.
    pub(crate) fn graph(vertices: &str) -> JobGraph {
        let vertices = vertices.split_whitespace().map(|text| {
            let parts: Vec<&str> = text.split(':').collect();
            let number = |text: &str| text.parse::<u32>().expect("a number");
            let operators: Vec<u32> = parts[2].split('+').map(number).collect();
            let max = parts.get(3).map(|max| MaxParallelism::new(number(max)).expect("in range"));
            JobVertex {
                id: JobVertexId(u128::from(operators[0])),
                name: parts[0].to_owned(),
                parallelism: number(parts[1]),
                max_parallelism: max
                    .unwrap_or_else(|| MaxParallelism::default_for(number(parts[1]))),
                slot_sharing_group: "default".to_owned(),
                operators: operators
                    .into_iter()
                    .map(|id| OperatorInfo {
                        id: OperatorId(u128::from(id)),
                        name: format!("op{id}"),
                        declared_at: Location { file: "main.rs".to_owned(), line: 1 },
                        states: None,
                    })
                    .collect(),
                splits: Vec::new(),
            }
        });
        JobGraph {
            name: "job".to_owned(),
            vertices: vertices.collect(),
            edges: Vec::new(),
            mode: RuntimeMode::Streaming,
            configuration: BTreeMap::new(),
            signature: PlanSignature::default(),
            program: None,
        }
    }

    /// Two vertices: a source of two subtasks with five splits, and a keyed one of two.
    pub(crate) fn sample() -> CheckpointMetadata {
        let max = MaxParallelism::new(128).expect("within bounds");
        let source = |subtask: u64| {
            let lists = vec![list("splits", ListMode::Split, subtask + 1)];
            let state = OperatorState { tables: Vec::new(), lists };
            TaskState {
                operators: [(OperatorId(1), state)].into(),
                splits: 2,
                ..TaskState::default()
            }
        };
        let keyed = |groups: std::ops::Range<u32>| {
            let path = format!("shared/{}", groups.start);
            let tables = vec![table("sum", groups, &path)];
            let state = OperatorState { tables, lists: Vec::new() };
            TaskState { operators: [(OperatorId(2), state)].into(), ..TaskState::default() }
        };
        let splits = (0..5_u8).map(|split| vec![split]).collect::<Vec<_>>();
        let splits: Vec<&[u8]> = splits.iter().map(Vec::as_slice).collect();
        let vertex = |name: &str, operator, subtasks, splits| VertexState {
            name: name.to_owned(),
            operators: vec![OperatorId(operator)],
            max_parallelism: max,
            subtasks,
            splits,
        };
        let seen = SeenSplits::new(&splits, &[0, 1, 3, 4].into());
        let vertices = [
            (JobVertexId(1), vertex("source", 1, vec![source(0), source(1)], seen)),
            (
                JobVertexId(2),
                vertex("sum", 2, vec![keyed(0..64), keyed(64..128)], SeenSplits::default()),
            ),
        ];
        CheckpointMetadata {
            job: JobId(0xAB),
            checkpoint: CheckpointId(7),
            kind: SnapshotKind::Checkpoint,
            timestamp: 1_700_000_000_000,
            vertices: vertices.into(),
        }
    }
}
