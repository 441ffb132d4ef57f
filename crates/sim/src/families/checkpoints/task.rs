//! A task of the played job. A source reads splits record by record and is its own sink: what it has
//! read since a barrier is committed when that checkpoint completes. Others only pass barriers on.

use millstream_checkpoint::handle::{
    FileName, FilePart, ListMode, ListState, OperatorState, StateFile, TableSchema, TableState,
    TaskRestore, TaskState,
};
use millstream_checkpoint::native::TableFormat;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::hash::xxh3_64;
use millstream_core::ids::{ExecutionAttemptId, OperatorId};
use millstream_core::key_group::KeyGroupRange;
use millstream_core::record::Schema;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records of a split.
pub(super) const RECORDS: u8 = 4;

/// A chain of increments is no longer.
const CHAIN_MAX: usize = 4;

/// A record of a split, and the transaction in which it is committed.
pub(super) type Staged = (u8, u8, u64);

/// One attempt that runs.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) attempt: ExecutionAttemptId,
    pub(super) operator: OperatorId,
    pub(super) groups: KeyGroupRange,
    /// It reads splits.
    pub(super) source: bool,
    pub(super) running: bool,
    pub(super) cancelled: bool,
    /// The attempts that it reads.
    pub(super) producers: Vec<ExecutionAttemptId>,
    /// What it was told to begin by the master.
    pub(super) triggered: BTreeMap<CheckpointId, Barrier>,
    /// The newest checkpoint in which it took part.
    pub(super) last: CheckpointId,
    /// Splits that it was given, and where it is in them.
    pub(super) reader: VecDeque<(u8, u8)>,
    pub(super) given: u32,
    /// It waits for a split.
    pub(super) asked: bool,
    pub(super) drained: bool,
    /// Read since the last barrier.
    pub(super) fresh: Vec<(u8, u8)>,
    /// Read before a barrier, and waiting for its checkpoint.
    pub(super) staged: BTreeMap<CheckpointId, Vec<Staged>>,
    /// It has processed everything.
    pub(super) ended: bool,
    /// The first checkpoint in which it said so.
    pub(super) said: Option<CheckpointId>,
    /// What each checkpoint refers to of its table.
    uploads: BTreeMap<CheckpointId, Vec<FilePart>>,
    /// What the newest checkpoint refers to that it knows to be complete.
    base: Option<Vec<FilePart>>,
}

impl Task {
    pub(super) fn new(
        attempt: ExecutionAttemptId,
        operator: OperatorId,
        groups: KeyGroupRange,
        source: bool,
        producers: Vec<ExecutionAttemptId>,
    ) -> Self {
        Self {
            attempt,
            operator,
            groups,
            source,
            running: false,
            cancelled: false,
            producers,
            triggered: BTreeMap::new(),
            last: CheckpointId::default(),
            reader: VecDeque::new(),
            given: 0,
            asked: false,
            drained: false,
            fresh: Vec::new(),
            staged: BTreeMap::new(),
            ended: false,
            said: None,
            uploads: BTreeMap::new(),
            base: None,
        }
    }

    /// Takes its state over; what is to be committed at once, since its checkpoint is complete.
    pub(super) fn restore(&mut self, restore: &TaskRestore) -> Vec<Staged> {
        self.last = restore.checkpoint;
        let Some(state) = restore.operators.get(&self.operator) else { return Vec::new() };
        let mut staged = Vec::new();
        for share in &state.lists {
            let StateFile::Inline(bytes) = &share.list.part.file else { continue };
            let items: Vec<&[u8]> = bytes.chunks(10).collect();
            for item in &items[share.items.start as usize..share.items.end as usize] {
                let tx = u64::from_le_bytes(item[2..10].try_into().expect("eight bytes"));
                match share.list.name.as_str() {
                    "reader" => self.reader.push_back((item[0], item[1])),
                    "staged" => staged.push((item[0], item[1], tx)),
                    _ => {}
                }
            }
        }
        let own = |part: &FilePart| matches!(&part.file, StateFile::File(f) if f.root.is_none());
        if let [table] = &state.tables[..]
            && table.chain.iter().all(own)
            && table.groups == self.groups
        {
            self.base = Some(table.chain.clone());
        }
        staged
    }

    /// Takes its part of a checkpoint: its state, and the file that it writes.
    pub(super) fn snapshot(&mut self, barrier: &Barrier) -> (TaskState, String) {
        let id = barrier.checkpoint;
        self.last = id;
        let tx = xxh3_64(format!("{} {id}", self.attempt).as_bytes());
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        let fresh: Vec<Staged> = fresh.map(|(split, at)| (split, at, tx)).collect();
        self.staged.insert(id, fresh);
        let path = match barrier.kind.is_savepoint() {
            true => format!("chk-{id}/{}", self.attempt),
            false => format!("shared/{}-{id}-0", self.attempt),
        };
        let file = StateFile::File(FileName { root: None, path: path.clone(), bytes: 1 });
        let part = FilePart { file, index_offset: 0, index_length: 1, rows: 1, bytes: 1 };
        let base = self
            .base
            .clone()
            .filter(|base| barrier.kind.is_incremental() && base.len() < CHAIN_MAX);
        let mut chain = base.unwrap_or_default();
        chain.push(part);
        if !barrier.kind.is_savepoint() {
            self.uploads.insert(id, chain.clone());
        }
        if self.ended {
            self.said.get_or_insert(id);
        }
        let finished = self.ended;
        let operators = [(self.operator, self.state(chain))].into();
        (TaskState { operators, splits: self.given, finished, in_flight: Vec::new() }, path)
    }

    fn state(&self, chain: Vec<FilePart>) -> OperatorState {
        let plain = Schema::plain("u64");
        let namespace = Schema::Tuple(Vec::new());
        let schema = TableSchema { key: plain.clone(), namespace, value: plain };
        let groups = self.groups.clone();
        let reader = self.reader.iter().map(|(split, at)| (*split, *at, 0));
        let staged = self.staged.values().flatten().copied();
        let me = (0, 0, u64::from(self.attempt.attempt));
        OperatorState {
            tables: vec![TableState {
                name: "table".to_owned(),
                schema,
                groups,
                chain,
                format: TableFormat::Rows,
            }],
            lists: vec![
                list("reader", reader.collect()),
                list("staged", staged.collect()),
                list("me", vec![me]),
            ],
        }
    }

    /// A checkpoint is complete: what may be committed, oldest first.
    pub(super) fn completed(&mut self, id: CheckpointId) -> Vec<Staged> {
        let later = self.staged.split_off(&CheckpointId(id.0 + 1));
        let due = std::mem::replace(&mut self.staged, later);
        let uploads = self.uploads.split_off(&CheckpointId(id.0 + 1));
        let confirmed = std::mem::replace(&mut self.uploads, uploads);
        if let Some((_, newest)) = confirmed.into_iter().next_back() {
            self.base = Some(newest);
        }
        due.into_values().flatten().collect()
    }

    /// A checkpoint will never be complete: what was to be committed with it waits for the next.
    pub(super) fn aborted(&mut self, id: CheckpointId) {
        self.uploads.remove(&id);
    }

    /// Whether all that it reads has ended.
    pub(super) fn input_has_ended(&self, through: &BTreeSet<ExecutionAttemptId>) -> bool {
        self.producers.iter().all(|producer| through.contains(producer))
    }
}

/// Which attempt wrote a state.
pub(super) fn writer_of(state: &TaskState) -> Option<u64> {
    let lists = state.operators.values().flat_map(|operator| &operator.lists);
    let me = lists.into_iter().find(|list| list.name == "me")?;
    let StateFile::Inline(bytes) = &me.part.file else { return None };
    Some(u64::from_le_bytes(bytes.get(2..10)?.try_into().ok()?))
}

fn list(name: &str, items: Vec<Staged>) -> ListState {
    let mut bytes = Vec::new();
    for (split, at, tx) in &items {
        bytes.extend([*split, *at]);
        bytes.extend(tx.to_le_bytes());
    }
    let items = items.len() as u64;
    let length = bytes.len() as u64;
    let file = StateFile::Inline(bytes);
    let part = FilePart { file, index_offset: 0, index_length: 0, rows: items, bytes: length };
    ListState { name: name.to_owned(), mode: ListMode::Split, schema: None, items, part }
}
