//! Writes what tasks hand over at barriers: one thread per job process, which may block. It begins
//! with the first snapshot.
//!
//! A task's part of a checkpoint is acknowledged when all its files are durable, those of its sinks too; if
//! that fails it is
//! declined, and no file is left. What has been given up meanwhile is dropped where that is cheap:
//! before it is begun, and between two states. What is acknowledged all the same is thrown away by
//! the master, which knows its files by the acknowledgement.
//!
//! An increment builds on the snapshot directly before it, and only if it is known that that
//! checkpoint is complete: the files of one that may still be given up can vanish. What a table has
//! changed since an earlier snapshot than the last it cannot say, so after one that was given up, and
//! after a savepoint, everything is written again. The files of a backend are the same whatever was in
//! between: those build on the last checkpoint that is known to be complete.

use crate::failure::{TaskError, catch};
use crate::host::EventSink;
use crate::storages::{LocalFiles, Storages};
use crate::stream_task::TaskSnapshot;
use millstream_checkpoint::handle::{OperatorState, TableState, TaskRestore, TaskState};
use millstream_checkpoint::local::kept::KeptFiles;
use millstream_checkpoint::native::TableFormat;
use millstream_checkpoint::snapshot::{OperatorSnapshot, SnapshotError};
use millstream_checkpoint::state_file::TaskStateWriter;
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::ids::{ExecutionAttemptId, OperatorId};
use millstream_core::key_group::KeyGroupRange;
use millstream_rpc::protocol::deployment::CheckpointSetup;
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_shuffle::sync::thread::{Builder, JoinHandle};
use millstream_shuffle::sync::{Arc, Condvar, Mutex, PoisonError, lock};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Snapshots that wait to be written; further ones are declined. Each holds what its task has frozen.
const WAITING_MAX: usize = 4096;

/// So many checkpoints per task are remembered as given up.
const ABORTED_MAX: usize = 64;

/// The snapshots of a job process.
pub struct Snapshots {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// There is no thread: whoever hands a snapshot over writes it.
    at_once: bool,
}

/// What the thread and those who give it work share.
struct Shared {
    storages: Arc<Storages>,
    /// What this worker keeps for itself.
    local: Option<LocalFiles>,
    events: EventSink,
    state: Mutex<State>,
    /// There is work, or the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Local copies that are of no use any more.
    unused: Vec<String>,
    tasks: BTreeMap<ExecutionAttemptId, Task>,
    /// Nothing more will be written.
    closed: bool,
}

/// A snapshot that nobody has begun to write.
struct Waiting {
    attempt: ExecutionAttemptId,
    /// The attempt's how many-th.
    number: u64,
    snapshot: Box<TaskSnapshot>,
}

/// What is known of an attempt.
struct Task {
    setup: Option<CheckpointSetup>,
    /// The key groups of its keyed state.
    groups: KeyGroupRange,
    /// The last checkpoint that is known to be complete.
    completed: CheckpointId,
    /// Later ones that are given up.
    aborted: BTreeSet<CheckpointId>,
    /// Snapshots that it has handed over, whatever became of them.
    handed_over: u64,
    /// The last checkpoint that was written.
    base: Option<Arc<Base>>,
    /// The last one of those that is known to be complete.
    settled: Option<Arc<Base>>,
}

/// A checkpoint that was written.
struct Base {
    checkpoint: CheckpointId,
    /// The attempt's how many-th.
    number: u64,
    operators: BTreeMap<OperatorId, OperatorState>,
}

/// One snapshot and all that it takes to write it.
struct Work {
    attempt: ExecutionAttemptId,
    setup: CheckpointSetup,
    groups: KeyGroupRange,
    /// What it may build on.
    base: Option<Arc<Base>>,
    /// What files of a backend may build on.
    settled: Option<Arc<Base>>,
    number: u64,
    snapshot: Box<TaskSnapshot>,
}

/// Why a snapshot was not written.
enum Unwritten {
    /// The checkpoint was given up, or the task has ended: nobody waits for it.
    Dropped,
    /// It could not be.
    Failed(String),
}

impl From<SnapshotError> for Unwritten {
    fn from(error: SnapshotError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Snapshots {
    /// Nothing to write yet.
    pub fn new(storages: Arc<Storages>, local: Option<LocalFiles>, events: EventSink) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { storages, local, events, state, changed });
        Self { shared, thread: Mutex::default(), at_once: false }
    }

    /// The same, without a thread: a snapshot is written when it is handed over.
    pub(crate) fn at_once(storages: Arc<Storages>, events: EventSink) -> Self {
        let mut snapshots = Self::new(storages, None, events);
        snapshots.at_once = true;
        snapshots
    }

    /// An attempt is deployed; its snapshots will come.
    pub(crate) fn register(
        &self,
        attempt: ExecutionAttemptId,
        setup: Option<CheckpointSetup>,
        groups: KeyGroupRange,
        restore: Option<&TaskRestore>,
    ) {
        if let Some(local) = &self.shared.local {
            local.kept().began(attempt, restore);
        }
        let (completed, aborted) = (CheckpointId::default(), BTreeSet::new());
        let (base, settled) = (None, None);
        let task = Task { setup, groups, completed, aborted, handed_over: 0, base, settled };
        lock(&self.shared.state).tasks.insert(attempt, task);
    }

    /// An attempt has ended: what it handed over is not needed any more.
    pub(crate) fn forget(&self, attempt: ExecutionAttemptId) {
        if let Some(local) = &self.shared.local {
            local.kept().ended(attempt);
        }
        let dropped: VecDeque<_> = {
            let mut state = lock(&self.shared.state);
            state.tasks.remove(&attempt);
            let waiting = std::mem::take(&mut state.waiting);
            let (dropped, kept) = waiting.into_iter().partition(|one| one.attempt == attempt);
            state.waiting = kept;
            dropped
        };
        // Frozen tables may be large: not under the lock.
        drop(dropped);
    }

    /// A checkpoint is complete.
    pub(crate) fn completed(&self, attempt: ExecutionAttemptId, checkpoint: CheckpointId) {
        if let Some(task) = lock(&self.shared.state).tasks.get_mut(&attempt) {
            task.completed = task.completed.max(checkpoint);
            task.aborted.retain(|aborted| *aborted > checkpoint);
            if let Some(base) = task.base.as_ref().filter(|base| base.checkpoint == checkpoint) {
                task.settled = Some(base.clone());
            }
        }
        self.shared.keep(|kept| kept.completed(attempt, checkpoint));
    }

    /// A checkpoint is given up.
    pub(crate) fn aborted(&self, attempt: ExecutionAttemptId, checkpoint: CheckpointId) {
        if let Some(task) = lock(&self.shared.state).tasks.get_mut(&attempt) {
            task.aborted.insert(checkpoint);
            if task.aborted.len() > ABORTED_MAX {
                task.aborted.pop_first();
            }
        }
        self.shared.keep(|kept| kept.aborted(attempt, checkpoint));
    }

    /// A snapshot that the attempt has taken will not be handed over. It is one that nothing can build on
    /// all the same: what tables had changed before it they cannot say any more.
    pub(crate) fn withdrawn(&self, attempt: ExecutionAttemptId) {
        if let Some(task) = lock(&self.shared.state).tasks.get_mut(&attempt) {
            task.handed_over += 1;
        }
    }

    /// Has the snapshot written. Never waits.
    pub(crate) fn write(&self, attempt: ExecutionAttemptId, snapshot: Box<TaskSnapshot>) {
        let checkpoint = snapshot.barrier.checkpoint;
        let refused = self.enqueue(attempt, snapshot).or_else(|| self.start_thread());
        if let Some(cause) = refused {
            self.shared.decline(attempt, checkpoint, cause);
        }
    }

    /// Why it cannot be written.
    fn enqueue(&self, attempt: ExecutionAttemptId, snapshot: Box<TaskSnapshot>) -> Option<String> {
        let mut state = lock(&self.shared.state);
        let is_full = state.waiting.len() >= WAITING_MAX;
        let task = state.tasks.get_mut(&attempt)?;
        task.handed_over += 1;
        let number = task.handed_over;
        if task.setup.is_none() {
            return Some("the task was deployed without checkpoints".to_owned());
        }
        if is_full {
            return Some(format!("{WAITING_MAX} snapshots of this process wait to be written"));
        }
        state.waiting.push_back(Waiting { attempt, number, snapshot });
        drop(state);
        self.shared.changed.notify_one();
        None
    }

    fn start_thread(&self) -> Option<String> {
        if self.at_once {
            self.shared.write_waiting();
            return None;
        }
        let mut thread = lock(&self.thread);
        if thread.is_some() {
            return None;
        }
        let shared = self.shared.clone();
        let builder = Builder::new().name("snapshots".to_owned());
        match builder.spawn(move || shared.run()) {
            Ok(started) => {
                *thread = Some(started);
                None
            }
            Err(error) => {
                lock(&self.shared.state).waiting.clear();
                Some(format!("cannot start the thread that writes snapshots: {error}"))
            }
        }
    }

    /// Ends the thread; what waits is not written.
    pub(crate) fn close(&self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // Panics of what it writes are caught there.
            let _ = thread.join();
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        // Whoever does not wait in `close` does not wait here: the thread ends after what it writes.
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(work) = self.next() {
            self.write_or_decline(work);
        }
    }

    /// Writes all that waits now.
    fn write_waiting(&self) {
        loop {
            let mut state = lock(&self.state);
            let Some(waiting) = state.waiting.pop_front() else { return };
            let prepared = state.prepare(waiting);
            drop(state);
            if let Ok(work) = prepared {
                self.write_or_decline(work);
            }
        }
    }

    fn write_or_decline(&self, work: Work) {
        let (attempt, checkpoint) = (work.attempt, work.snapshot.barrier.checkpoint);
        // Tables are encoded with code of their records.
        match catch(|| Ok(self.write(work))) {
            Ok(Ok(()) | Err(Unwritten::Dropped)) => (),
            Ok(Err(Unwritten::Failed(cause))) => self.decline(attempt, checkpoint, cause),
            Err(error) => self.decline(attempt, checkpoint, panicked(&error)),
        }
    }

    /// Waits for the next snapshot that is wanted; nothing at the end.
    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(local) = self.local.as_ref().filter(|_| !state.unused.is_empty()) {
                let unused = std::mem::take(&mut state.unused);
                drop(state);
                local.copies().delete(&unused);
                state = lock(&self.state);
                continue;
            }
            if let Some(waiting) = state.waiting.pop_front() {
                match state.prepare(waiting) {
                    Ok(work) => return Some(work),
                    Err(unwanted) => {
                        drop(state);
                        drop(unwanted);
                        state = lock(&self.state);
                        continue;
                    }
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&self, work: Work) -> Result<(), Unwritten> {
        let Work { attempt, setup, groups, base, settled, number, snapshot } = work;
        let TaskSnapshot { barrier, operators, splits, finished, .. } = *snapshot;
        let TaskSnapshot { in_flight, mut metrics, taken_at, .. } = *snapshot;
        let checkpoint = barrier.checkpoint;
        let mut storage = self.storages.at(&setup.directory).map_err(SnapshotError::from)?;
        let local = self.local.as_ref().filter(|_| !barrier.kind.is_savepoint());
        if let Some(local) = local {
            storage = local.copies().writing(storage);
        }
        let mut writer = TaskStateWriter::new(
            storage,
            format!("chk-{checkpoint}/{attempt}"),
            format!("shared/{attempt}-{checkpoint}"),
            groups,
            setup.inline_bytes_max as usize,
        );
        let kind = barrier.kind;
        writer = writer.with_native(kind.is_incremental());
        let mut state = TaskState { splits, finished, ..TaskState::default() };
        for (id, operator) in operators {
            let before = [&base, &settled].map(|base| base.as_ref()?.operators.get(&id));
            let is_wanted = || self.is_wanted(attempt, checkpoint);
            let has_state = !operator.tables.is_empty() || !operator.lists.is_empty();
            let written = write_operator(&mut writer, operator, before, kind, is_wanted)?;
            if has_state {
                state.operators.insert(id, written);
            }
        }
        for rows in in_flight {
            state.in_flight.push(writer.in_flight(rows)?);
        }
        metrics.written_bytes = writer.finish()?;
        metrics.state_bytes = state.bytes();
        metrics.async_ms = u32::try_from(taken_at.elapsed().as_millis()).unwrap_or(u32::MAX);
        if !kind.is_savepoint() {
            let operators = state.operators.clone();
            self.keep_as_base(attempt, Base { checkpoint, number, operators });
        }
        if local.is_some() {
            self.keep(|kept| kept.written(attempt, checkpoint, &state));
        }
        let state = Box::new(state);
        (self.events)(FromJobProcess::AcknowledgeCheckpoint {
            attempt,
            checkpoint,
            state,
            metrics,
        });
        Ok(())
    }

    /// Has deleted what is not kept any more.
    fn keep(&self, change: impl FnOnce(&mut KeptFiles) -> Vec<String>) {
        let Some(local) = &self.local else { return };
        let unused = change(&mut local.kept());
        if !unused.is_empty() {
            lock(&self.state).unused.extend(unused);
            self.changed.notify_one();
        }
    }

    fn is_wanted(&self, attempt: ExecutionAttemptId, checkpoint: CheckpointId) -> bool {
        let state = lock(&self.state);
        let task = state.tasks.get(&attempt);
        !state.closed && task.is_some_and(|task| !task.aborted.contains(&checkpoint))
    }

    fn keep_as_base(&self, attempt: ExecutionAttemptId, base: Base) {
        let base = Arc::new(base);
        if let Some(task) = lock(&self.state).tasks.get_mut(&attempt) {
            task.base = Some(base);
        }
    }

    fn decline(&self, attempt: ExecutionAttemptId, checkpoint: CheckpointId, cause: String) {
        (self.events)(FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause });
    }
}

impl State {
    /// What the thread needs; the snapshot itself if nobody wants it any more.
    fn prepare(&mut self, waiting: Waiting) -> Result<Work, Waiting> {
        let Some(task) = self.tasks.get(&waiting.attempt) else { return Err(waiting) };
        let barrier = &waiting.snapshot.barrier;
        let Some(setup) =
            task.setup.clone().filter(|_| !task.aborted.contains(&barrier.checkpoint))
        else {
            return Err(waiting);
        };
        let is_directly_before = |base: &&Arc<Base>| {
            base.number + 1 == waiting.number && base.checkpoint == task.completed
        };
        let base = task.base.as_ref().filter(is_directly_before);
        let base = base.filter(|_| barrier.kind.is_incremental()).cloned();
        let settled = task.settled.clone().filter(|_| barrier.kind.is_incremental());
        let groups = task.groups.clone();
        let Waiting { attempt, number, snapshot } = waiting;
        Ok(Work { attempt, setup, groups, base, settled, number, snapshot })
    }
}

fn panicked(error: &TaskError) -> String {
    match error {
        TaskError::Operator { error, .. } => format!("while a state was written: {error}"),
        TaskError::Partition(error) => error.to_string(),
    }
}

fn write_operator<'a>(
    writer: &mut TaskStateWriter,
    operator: OperatorSnapshot,
    [before, settled]: [Option<&'a OperatorState>; 2],
    kind: SnapshotKind,
    is_wanted: impl Fn() -> bool,
) -> Result<OperatorState, Unwritten> {
    let mut state = OperatorState::default();
    for work in operator.work {
        if !is_wanted() {
            return Err(Unwritten::Dropped);
        }
        work()?;
    }
    for table in operator.tables {
        if !is_wanted() {
            return Err(Unwritten::Dropped);
        }
        let of = |state: Option<&'a OperatorState>| {
            state?.tables.iter().find(|previous| previous.name == table.name)
        };
        let in_files = |table: &&TableState| table.format != TableFormat::Rows;
        let previous = of(before).or(of(settled).filter(in_files));
        state.tables.push(writer.table(table, previous, !kind.is_savepoint())?);
    }
    for list in operator.lists {
        state.lists.push(writer.list(list)?);
    }
    Ok(state)
}

#[cfg(all(test, not(shuttle)))]
mod tests;
