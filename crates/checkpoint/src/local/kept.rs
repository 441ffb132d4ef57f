//! Which copies are still of use.
//!
//! A task will begin again from the newest completed checkpoint or from a later one, so that one's files
//! are kept and those of all later ones, until they complete or are given up; also those that an attempt
//! has ended with, for the next one begins there. Savepoints are not copied: their completion says nothing
//! about what a task goes on from.
//!
//! What is deleted too early costs time and nothing else: whoever misses it reads the original.

use crate::handle::{FileName, StateFile, TaskRestore, TaskState, written_for};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::ExecutionAttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// So many checkpoints are remembered per attempt; the oldest are forgotten, and their copies deleted.
const HELD_MAX: usize = 64;

/// What the tasks of one job process still need of the copies.
#[derive(Debug, Default)]
pub struct KeptFiles {
    /// What each attempt has written, and what it began with.
    held: BTreeMap<ExecutionAttemptId, Held>,
    /// All copies that are there, and the checkpoint that each was written for.
    files: BTreeMap<String, CheckpointId>,
}

/// Files by the checkpoint that refers to them.
#[derive(Debug, Default)]
struct Held {
    by_checkpoint: BTreeMap<CheckpointId, BTreeSet<String>>,
    /// The attempt has ended; the next one may begin with what it had.
    ended: bool,
}

impl KeptFiles {
    /// These were here before this process was.
    pub fn found(&mut self, paths: impl IntoIterator<Item = String>) {
        self.files.extend(paths.into_iter().map(|path| {
            // What cannot have been written by us is as old as can be.
            let checkpoint = written_for(&path).unwrap_or_default();
            (path, checkpoint)
        }));
    }

    /// An attempt begins; with what, if it goes on from a checkpoint.
    pub fn began(&mut self, attempt: ExecutionAttemptId, restore: Option<&TaskRestore>) {
        let held = self.held.entry(attempt).or_default();
        if let Some(restore) = restore {
            held.by_checkpoint.insert(restore.checkpoint, own(restored_files(restore)));
        }
    }

    /// An attempt has written its part of a checkpoint; which copies are of no use any more.
    pub fn written(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        state: &TaskState,
    ) -> Vec<String> {
        let files = own(state.files());
        let new = files.iter().filter_map(|path| Some((path.clone(), written_for(path)?)));
        self.files.extend(new.filter(|(_, of)| *of == checkpoint));
        let held = self.held.entry(attempt).or_default();
        held.by_checkpoint.insert(checkpoint, files);
        match held.by_checkpoint.len() > HELD_MAX {
            true => self.let_go(attempt, |held| drop(held.by_checkpoint.pop_first())),
            false => Vec::new(),
        }
    }

    /// A checkpoint is complete; which copies are of no use any more.
    pub fn completed(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
    ) -> Vec<String> {
        let held = self.held.get(&attempt);
        if !held.is_some_and(|held| held.by_checkpoint.contains_key(&checkpoint)) {
            // A savepoint, or one that was written by nobody here.
            return Vec::new();
        }
        // It is complete for all tasks: nobody goes on from what others had before, either.
        self.held.retain(|_, held| {
            let newest = held.by_checkpoint.last_key_value().map(|(newest, _)| *newest);
            !held.ended || newest.is_some_and(|newest| newest >= checkpoint)
        });
        if let Some(held) = self.held.get_mut(&attempt) {
            held.by_checkpoint = held.by_checkpoint.split_off(&checkpoint);
        }
        self.take_unused(checkpoint)
    }

    /// A checkpoint will never be complete; which copies are of no use any more.
    pub fn aborted(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
    ) -> Vec<String> {
        self.let_go(attempt, |held| drop(held.by_checkpoint.remove(&checkpoint)))
    }

    /// An attempt has ended.
    pub fn ended(&mut self, attempt: ExecutionAttemptId) {
        if let Some(held) = self.held.get_mut(&attempt) {
            held.ended = true;
        }
    }

    /// An attempt lets go of files; those that nobody else has.
    fn let_go(
        &mut self,
        attempt: ExecutionAttemptId,
        change: impl FnOnce(&mut Held),
    ) -> Vec<String> {
        let Some(held) = self.held.get_mut(&attempt) else { return Vec::new() };
        let before: BTreeSet<String> = held.by_checkpoint.values().flatten().cloned().collect();
        change(held);
        let used = self.used();
        let unused = before.into_iter().filter(|path| !used.contains(path));
        let unused: BTreeSet<String> = unused.collect();
        self.files.retain(|path, _| !unused.contains(path));
        unused.into_iter().collect()
    }

    /// Takes out what nobody has of what was written for checkpoints before this one.
    fn take_unused(&mut self, checkpoint: CheckpointId) -> Vec<String> {
        let used = self.used();
        let of_no_use =
            |path: &String, of: &mut CheckpointId| *of < checkpoint && !used.contains(path);
        self.files.extract_if(.., of_no_use).map(|(path, _)| path).collect()
    }

    fn used(&self) -> BTreeSet<String> {
        let held = self.held.values().flat_map(|held| held.by_checkpoint.values());
        held.flatten().cloned().collect()
    }
}

/// The names of files that are below the job's own directory: others are not copied.
fn own<'a>(files: impl Iterator<Item = &'a FileName>) -> BTreeSet<String> {
    files.filter(|file| file.root.is_none()).map(|file| file.path.clone()).collect()
}

fn restored_files(restore: &TaskRestore) -> impl Iterator<Item = &FileName> {
    let parts = restore.operators.values().flat_map(|operator| {
        let tables = operator.tables.iter().flat_map(|table| &table.chain);
        tables.chain(operator.lists.iter().map(|share| &share.list.part))
    });
    let parts = parts.chain(restore.in_flight.iter().map(|share| &share.list.part));
    parts.filter_map(|part| match &part.file {
        StateFile::Inline(_) => None,
        StateFile::File(name) => Some(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::{FilePart, ListMode, ListState, OperatorRestore, OperatorState};
    use crate::handle::{TableSchema, TableState};
    use crate::native::TableFormat;
    use millstream_core::Record;
    use millstream_core::ids::{ExecutionGraphId, JobVertexId, OperatorId};
    use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
    use proptest::prelude::*;

    fn attempt(subtask: u32, attempt: u32) -> ExecutionAttemptId {
        let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(2));
        ExecutionAttemptId { graph, vertex, subtask, attempt }
    }

    fn id(number: u64) -> CheckpointId {
        CheckpointId(number)
    }

    fn part(path: &str) -> FilePart {
        let file = FileName { root: None, path: path.to_owned(), bytes: 9 };
        let file = StateFile::File(file);
        FilePart { file, index_offset: 0, index_length: 0, rows: 0, bytes: 0 }
    }

    /// A list in a file of the checkpoint's own, a table in a chain of shared ones.
    fn operator(own: &str, chain: &[String]) -> OperatorState {
        let schema =
            TableSchema { key: u64::schema(), namespace: u64::schema(), value: u64::schema() };
        let table = TableState {
            name: "table".to_owned(),
            schema,
            groups: KeyGroupRange::of_subtask(0, MaxParallelism::default_for(1), 1),
            chain: chain.iter().map(|path| part(path)).collect(),
            format: TableFormat::Rows,
        };
        let (name, mode, schema) = ("list".to_owned(), ListMode::Split, None);
        let list = ListState { name, mode, schema, items: 0, part: part(own) };
        OperatorState { tables: vec![table], lists: vec![list] }
    }

    fn state(own: &str, chain: &[String]) -> TaskState {
        let operators = [(OperatorId(1), operator(own, chain))].into();
        TaskState { operators, ..TaskState::default() }
    }

    fn restore(checkpoint: u64, own: &str, chain: &[String]) -> TaskRestore {
        let OperatorState { tables, lists } = operator(own, chain);
        let lists = lists.into_iter().map(|list| crate::handle::ListShare { list, items: 0..0 });
        let operator = OperatorRestore { tables, lists: lists.collect() };
        TaskRestore {
            checkpoint: id(checkpoint),
            finished: false,
            operators: [(OperatorId(1), operator)].into(),
            in_flight: Vec::new(),
        }
    }

    fn shared(checkpoint: u64) -> String {
        format!("shared/{}-{checkpoint}-0", attempt(0, 0))
    }

    fn exclusive(checkpoint: u64) -> String {
        format!("chk-{checkpoint}/{}-1", attempt(0, 0))
    }

    #[test]
    fn a_completed_checkpoint_takes_away_what_only_earlier_ones_needed() {
        let (mut kept, task) = (KeptFiles::default(), attempt(0, 0));
        kept.began(task, None);
        assert!(kept.written(task, id(1), &state(&exclusive(1), &[shared(1)])).is_empty());
        assert!(kept.completed(task, id(1)).is_empty());
        let grown = [shared(1), shared(2)];
        kept.written(task, id(2), &state(&exclusive(2), &grown));
        kept.written(task, id(3), &state(&exclusive(3), &[shared(3)]));
        assert_eq!(kept.completed(task, id(2)), [exclusive(1)]);
        assert_eq!(kept.completed(task, id(3)), [exclusive(2), shared(1), shared(2)]);
    }

    #[test]
    fn a_checkpoint_that_was_given_up_takes_its_own_files_and_no_others() {
        let (mut kept, task) = (KeptFiles::default(), attempt(0, 0));
        kept.began(task, None);
        kept.written(task, id(1), &state(&exclusive(1), &[shared(1)]));
        kept.completed(task, id(1));
        kept.written(task, id(2), &state(&exclusive(2), &[shared(1), shared(2)]));
        assert_eq!(kept.aborted(task, id(2)), [exclusive(2), shared(2)]);
        assert!(kept.aborted(task, id(2)).is_empty(), "once is enough");
    }

    #[test]
    fn a_savepoint_that_is_complete_takes_nothing_away() {
        let (mut kept, task) = (KeptFiles::default(), attempt(0, 0));
        kept.written(task, id(1), &state(&exclusive(1), &[]));
        kept.completed(task, id(1));
        assert!(kept.completed(task, id(2)).is_empty(), "nobody here has written it");
        kept.written(task, id(3), &state(&exclusive(3), &[]));
        assert_eq!(kept.completed(task, id(3)), [exclusive(1)]);
    }

    #[test]
    fn the_next_attempt_finds_what_the_one_before_had_until_it_has_something_newer() {
        let (mut kept, before, after) = (KeptFiles::default(), attempt(0, 0), attempt(0, 1));
        kept.written(before, id(4), &state(&exclusive(4), &[shared(4)]));
        kept.completed(before, id(4));
        kept.ended(before);
        // Another task hears late that the checkpoint is complete.
        kept.written(attempt(1, 0), id(4), &state("chk-4/b", &[]));
        assert!(kept.completed(attempt(1, 0), id(4)).is_empty());
        kept.began(after, Some(&restore(4, &exclusive(4), &[shared(4)])));
        kept.written(after, id(5), &state("chk-5/c", &[shared(4), "shared/c-5-0".to_owned()]));
        assert_eq!(kept.completed(after, id(5)), [exclusive(4)]);
    }

    #[test]
    fn what_an_earlier_process_left_stays_until_a_checkpoint_of_this_one_is_complete() {
        let (mut kept, task) = (KeptFiles::default(), attempt(0, 1));
        kept.found([exclusive(6), shared(3), shared(6), exclusive(7), "rubbish".to_owned()]);
        kept.began(task, Some(&restore(6, &exclusive(6), &[shared(3), shared(6)])));
        kept.written(task, id(8), &state("chk-8/c", &[shared(3)]));
        let gone = kept.completed(task, id(8));
        assert_eq!(gone, [exclusive(6), exclusive(7), "rubbish".to_owned(), shared(6)]);
    }

    #[test]
    fn checkpoints_without_end_are_not_remembered_without_end() {
        let (mut kept, task) = (KeptFiles::default(), attempt(0, 0));
        let mut gone = 0;
        for number in 1..=200 {
            gone += kept.written(task, id(number), &state(&exclusive(number), &[])).len();
        }
        assert_eq!((gone, kept.files.len()), (200 - HELD_MAX, HELD_MAX));
    }

    proptest! {
        /// Whatever comes in whatever order: what the newest completed checkpoint of a task that runs
        /// refers to is never deleted, and nothing else stays for ever.
        #[test]
        fn what_a_task_would_begin_with_is_never_deleted(
            steps in proptest::collection::vec((0_u32..3, 0_u8..4, 0_usize..4), 1..60)
        ) {
            let mut kept = KeptFiles::default();
            let mut there = BTreeSet::new();
            let mut completed: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
            let mut pending: BTreeMap<u32, BTreeMap<u64, BTreeSet<String>>> = BTreeMap::new();
            let mut chains: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            let mut next = 1;
            for (subtask, what, which) in steps {
                let task = attempt(subtask, 0);
                let waiting = pending.entry(subtask).or_default();
                let chosen = waiting.keys().copied().nth(which);
                let gone = match (what, chosen) {
                    (0, Some(number)) => {
                        let files = waiting[&number].clone();
                        *waiting = waiting.split_off(&(number + 1));
                        let shared = files.iter().filter(|path| path.starts_with("shared"));
                        chains.insert(subtask, shared.cloned().collect());
                        completed.insert(subtask, files);
                        kept.completed(task, id(number))
                    }
                    (1, Some(number)) => {
                        waiting.remove(&number);
                        kept.aborted(task, id(number))
                    }
                    _ => {
                        let mut chain = chains.get(&subtask).cloned().unwrap_or_default();
                        chain.truncate(which);
                        chain.push(format!("shared/{task}-{next}-0"));
                        let own = format!("chk-{next}/{task}-1");
                        let files: BTreeSet<_> =
                            chain.iter().cloned().chain([own.clone()]).collect();
                        there.extend(files.iter().cloned());
                        let gone = kept.written(task, id(next), &state(&own, &chain));
                        waiting.insert(next, files);
                        next += 1;
                        gone
                    }
                };
                for path in gone {
                    prop_assert!(there.remove(&path), "{} was deleted twice", path);
                }
                for files in completed.values().chain(pending.values().flat_map(|it| it.values())) {
                    prop_assert!(files.is_subset(&there), "{:?} of {:?}", files, there);
                }
            }
            for subtask in 0..3 {
                let task = attempt(subtask, 0);
                kept.written(task, id(next), &TaskState::default());
                for path in kept.completed(task, id(next)) {
                    there.remove(&path);
                }
                next += 1;
            }
            prop_assert!(there.is_empty(), "{:?} stay", there);
        }
    }
}
