//! A sink's writer as the last operator of a chain, and the committer beside it.
//!
//! What is prepared for a checkpoint waits here until that one or a later one is complete, and is
//! part of every snapshot until then. The end of a checkpoint may never be told, or told late: so all
//! that waited for it or for those before it is committed, oldest first. A savepoint in the middle of
//! a job commits nothing: after a failure the job goes on from the checkpoint before it and would
//! write the same again.

use crate::context::TaskContext;
use crate::item;
use crate::operator::{Flow, Operator};
use crate::pre_commit::PreCommits;
use crate::sink::{Committable, SinkWriter};
use millstream_checkpoint::handle::ListMode;
use millstream_checkpoint::snapshot::{ListSnapshot, OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::config::{Configuration, catalog};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The list of what waits to be committed.
const COMMITTABLES: &str = "committables";

/// An item of that list: the checkpoint, and the sink's description.
type Item = (u64, Vec<u8>);

/// The pause before the second retry; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The pause between retries grows up to this: with ten retries a task is held up for 3 s.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A writer as the last operator of a chain.
pub struct SinkOperator<T> {
    writer: Box<dyn SinkWriter<T>>,
    /// What was prepared for each checkpoint, and not committed.
    waiting: BTreeMap<CheckpointId, Vec<Committable>>,
    /// What has to be done for it to be durable.
    pre_commits: PreCommits,
    /// Barriers of savepoints after which the job goes on: their completion commits nothing.
    savepoints: BTreeSet<CheckpointId>,
    /// Without checkpoints the end of the input commits.
    checkpointing: bool,
    retries: u32,
    /// Waits before a retry.
    pause: fn(Duration),
}

impl<T: Record> SinkOperator<T> {
    /// The writer of a task at this place.
    pub fn new(
        writer: Box<dyn SinkWriter<T>>,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        let configuration = Configuration(context.configuration.as_ref().clone());
        let retries = configuration.get(&catalog::SINK_COMMITTER_RETRIES);
        Ok(Self {
            writer,
            waiting: BTreeMap::new(),
            pre_commits: PreCommits::default(),
            savepoints: BTreeSet::new(),
            checkpointing: context.checkpointing,
            retries: retries.map_err(|error| OperatorError::from_error(&error))?,
            pause: std::thread::sleep,
        })
    }

    fn prepare(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        let prepared = self.writer.prepare_commit(checkpoint)?;
        if !prepared.committables.is_empty() {
            self.waiting.entry(checkpoint).or_default().extend(prepared.committables);
        }
        if let Some(work) = prepared.durable {
            self.pre_commits.add(checkpoint, work);
        }
        Ok(())
    }

    /// Commits what waited for this checkpoint or for one before it.
    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        // Done long ago, but for a job that takes no checkpoints.
        self.pre_commits.settle(checkpoint)?;
        while let Some(entry) = self.waiting.first_entry().filter(|e| *e.key() <= checkpoint) {
            let number = *entry.key();
            let mut committables = entry.remove();
            let committed = self.commit_with_retries(&mut committables);
            if let Err(error) = committed {
                return Err(error.context(format_args!("could not commit checkpoint {number}")));
            }
        }
        Ok(())
    }

    fn commit_with_retries(
        &mut self,
        committables: &mut Vec<Committable>,
    ) -> Result<(), OperatorError> {
        let mut reasons = Vec::new();
        let (mut retries_left, mut pause) = (self.retries, Duration::ZERO);
        loop {
            let Err(error) = self.writer.commit(committables) else { return Ok(()) };
            if reasons.last() != Some(&error.message) {
                reasons.push(error.message);
            }
            retries_left = match retries_left.checked_sub(1) {
                Some(left) => left,
                None => return Err(exhausted(self.retries, &reasons)),
            };
            if !pause.is_zero() {
                (self.pause)(pause);
            }
            pause = (2 * pause).clamp(PAUSE_MIN, PAUSE_MAX);
        }
    }
}

fn exhausted(retries: u32, reasons: &[String]) -> OperatorError {
    let reasons = reasons.join("; then: ");
    let key = catalog::SINK_COMMITTER_RETRIES.key;
    OperatorError::new(format!("gave up after {retries} retries (`{key}`): {reasons}"))
}

impl<T: Record> Operator for SinkOperator<T> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<()>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        self.pre_commits.check()?;
        let batch = cast::<T>(input);
        self.writer.write(&mut batch.items)?;
        batch.clear();
        Ok(Flow::Drained)
    }

    fn flush(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.pre_commits.check()?;
        self.writer.flush().map(|()| Flow::Drained)
    }

    fn finish(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.writer.finish()?;
        if !self.checkpointing {
            self.prepare(CheckpointId(0))?;
            self.commit(CheckpointId(0))?;
        }
        Ok(Flow::Drained)
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        self.writer.restore(&state)?;
        for item in state.items(COMMITTABLES) {
            let (checkpoint, bytes): Item = item::decode("what is to be committed", &item)?;
            let waiting = self.waiting.entry(CheckpointId(checkpoint)).or_default();
            waiting.push(Committable(bytes));
        }
        // They are in a checkpoint that is complete, so nothing has to be waited for.
        self.commit(CheckpointId(u64::MAX))
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.pre_commits.check()?;
        self.prepare(barrier.checkpoint)?;
        state.work.push(self.pre_commits.beside_task(barrier.checkpoint));
        if barrier.kind.is_savepoint() && !barrier.kind.stops() {
            self.savepoints.insert(barrier.checkpoint);
        }
        self.writer.snapshot(state)?;
        let items = self.waiting.iter().flat_map(|(checkpoint, committables)| {
            committables
                .iter()
                .map(|committable| item::encode::<Item>(&(checkpoint.0, committable.0.clone())))
        });
        let items: Vec<_> = items.collect();
        if !items.is_empty() {
            let name = COMMITTABLES.to_owned();
            state.lists.push(ListSnapshot { name, mode: ListMode::Split, schema: None, items });
        }
        Ok(())
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        if self.savepoints.contains(&checkpoint) {
            return Ok(());
        }
        self.savepoints = self.savepoints.split_off(&checkpoint);
        self.commit(checkpoint)
    }

    fn checkpoint_aborted(&mut self, _checkpoint: CheckpointId) -> Result<(), OperatorError> {
        // Perhaps because something could not be made durable.
        self.pre_commits.check()
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        self.writer.close(completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::OperatorHarness;
    use crate::sink::{MakeDurable, Prepared};
    use millstream_checkpoint::snapshot::SnapshotError;
    use millstream_core::checkpoint::{Alignment, SnapshotKind};
    use millstream_core::time::Timestamp;
    use std::cell::RefCell;
    use std::sync::Arc;

    /// What a writer did, and how its next commits are to fail.
    #[derive(Default)]
    struct World {
        written: Vec<u64>,
        visible: Vec<String>,
        failures: Vec<&'static str>,
        /// What has to be done for the next checkpoint.
        durable: Option<MakeDurable>,
        pauses: Vec<Duration>,
    }

    thread_local! {
        static WORLD: RefCell<World> = RefCell::default();
    }

    fn world<R>(look: impl FnOnce(&mut World) -> R) -> R {
        WORLD.with(|world| look(&mut world.borrow_mut()))
    }

    /// Its committable is the text of what was written.
    struct Writer;

    impl SinkWriter<u64> for Writer {
        fn write(&mut self, records: &mut Vec<u64>) -> Result<(), OperatorError> {
            world(|world| world.written.append(records));
            Ok(())
        }

        fn prepare_commit(&mut self, at: CheckpointId) -> Result<Prepared, OperatorError> {
            let written = world(|world| std::mem::take(&mut world.written));
            let all = written.iter().map(|n| Committable(format!("{at}:{n}").into_bytes()));
            let durable = world(|world| world.durable.take());
            Ok(Prepared { committables: all.collect(), durable })
        }

        fn commit(&mut self, committables: &mut Vec<Committable>) -> Result<(), OperatorError> {
            world(|world| {
                while !committables.is_empty() {
                    if let Some(reason) = world.failures.pop() {
                        return Err(OperatorError::new(reason));
                    }
                    let text = String::from_utf8(committables.remove(0).0).expect("text");
                    world.visible.push(text);
                }
                Ok(())
            })
        }
    }

    fn operator(checkpointing: bool) -> SinkOperator<u64> {
        let configuration = [("sink.committer.retries".to_owned(), "3".to_owned())];
        let configuration = Arc::new(configuration.into());
        let context = TaskContext { checkpointing, configuration, ..TaskContext::alone() };
        let operator = SinkOperator::new(Box::new(Writer), &context).expect("valid");
        SinkOperator { pause: |pause| world(|world| world.pauses.push(pause)), ..operator }
    }

    fn write(operator: &mut SinkOperator<u64>, record: u64) {
        let mut batch = Batch::<u64>::new();
        batch.items.push(record);
        let mut out = Batch::<()>::new();
        let flow = operator.process(&mut batch, &mut out, 1);
        assert_eq!(flow, Ok(Flow::Drained));
    }

    fn snapshot(operator: &mut SinkOperator<u64>, n: u64, kind: SnapshotKind) -> OperatorSnapshot {
        let barrier = Barrier {
            checkpoint: CheckpointId(n),
            timestamp: Timestamp::default(),
            kind,
            alignment: Alignment::Aligned,
        };
        let mut state = OperatorSnapshot::default();
        operator.snapshot(&barrier, &mut state).expect("it can be prepared");
        state
    }

    fn restored(state: OperatorSnapshot) -> RestoredOperator {
        use millstream_checkpoint::snapshot::RestoredList;
        let list = |list: ListSnapshot| RestoredList {
            name: list.name,
            schema: list.schema,
            items: list.items,
        };
        let lists = state.lists.into_iter().map(list).collect();
        RestoredOperator { tables: Vec::new(), lists }
    }

    fn visible() -> Vec<String> {
        world(|world| world.visible.clone())
    }

    #[test]
    fn nothing_is_visible_before_its_checkpoint_is_complete() {
        let mut sink = operator(true);
        for n in 1..=3 {
            write(&mut sink, n);
            snapshot(&mut sink, n, SnapshotKind::Checkpoint);
        }
        write(&mut sink, 4);
        assert!(visible().is_empty());
        sink.checkpoint_completed(CheckpointId(2)).expect("it can be committed");
        assert_eq!(visible(), ["1:1", "2:2"]);
        sink.checkpoint_completed(CheckpointId(1)).expect("a late notice changes nothing");
        sink.checkpoint_completed(CheckpointId(2)).expect("nor does a second one");
        assert_eq!(visible(), ["1:1", "2:2"]);
        sink.checkpoint_completed(CheckpointId(7)).expect("it can be committed");
        assert_eq!(visible(), ["1:1", "2:2", "3:3"]);
    }

    #[test]
    fn what_was_not_committed_is_in_every_snapshot_and_committed_at_the_restore() {
        let mut sink = operator(true);
        write(&mut sink, 1);
        snapshot(&mut sink, 1, SnapshotKind::Checkpoint);
        sink.checkpoint_aborted(CheckpointId(1)).expect("it is no failure");
        write(&mut sink, 2);
        let state = snapshot(&mut sink, 2, SnapshotKind::Checkpoint);
        let mut next = operator(true);
        next.restore(restored(state)).expect("it can be committed");
        assert_eq!(visible(), ["1:1", "2:2"]);
        let state = snapshot(&mut next, 3, SnapshotKind::Checkpoint);
        assert!(state.lists.is_empty(), "nothing is left to commit");
    }

    #[test]
    fn a_savepoint_after_which_the_job_goes_on_commits_nothing() {
        let mut sink = operator(true);
        write(&mut sink, 1);
        snapshot(&mut sink, 1, SnapshotKind::Savepoint);
        sink.checkpoint_completed(CheckpointId(1)).expect("nothing is to be done");
        assert!(visible().is_empty());
        write(&mut sink, 2);
        snapshot(&mut sink, 2, SnapshotKind::Checkpoint);
        sink.checkpoint_completed(CheckpointId(2)).expect("it can be committed");
        assert_eq!(visible(), ["1:1", "2:2"]);
        write(&mut sink, 3);
        snapshot(&mut sink, 3, SnapshotKind::Suspend);
        sink.checkpoint_completed(CheckpointId(3)).expect("it can be committed");
        assert_eq!(visible().len(), 3);
    }

    #[test]
    fn the_end_of_the_input_commits_only_where_no_checkpoint_will() {
        for checkpointing in [false, true] {
            world(|world| *world = World::default());
            let mut harness = OperatorHarness::<u64, (), _>::new(operator(checkpointing));
            harness.push([5]).expect("it can be written");
            harness.finish().expect("it can be finished");
            assert_eq!(visible().is_empty(), checkpointing);
        }
    }

    #[test]
    fn a_commit_is_tried_again_from_where_it_failed() {
        let mut sink = operator(true);
        write(&mut sink, 1);
        snapshot(&mut sink, 1, SnapshotKind::Checkpoint);
        world(|world| world.failures = vec!["third", "second", "first"]);
        sink.checkpoint_completed(CheckpointId(1)).expect("the fourth attempt succeeds");
        assert_eq!(visible(), ["1:1"]);
        let pauses = [PAUSE_MIN, 2 * PAUSE_MIN];
        assert_eq!(world(|world| world.pauses.clone()), pauses);
    }

    #[test]
    fn a_commit_that_keeps_failing_fails_the_task_with_all_reasons() {
        let mut sink = operator(true);
        write(&mut sink, 1);
        snapshot(&mut sink, 4, SnapshotKind::Checkpoint);
        world(|world| world.failures = vec!["b", "b", "a", "a"]);
        let error = sink.checkpoint_completed(CheckpointId(4)).expect_err("it never succeeds");
        let expected = "could not commit checkpoint 4: gave up after 3 retries \
                        (`sink.committer.retries`): a; then: b";
        assert_eq!(error.message, expected);
        assert!(visible().is_empty());
    }

    #[test]
    fn the_task_goes_on_while_what_was_prepared_is_made_durable() {
        use std::sync::mpsc::channel;
        let mut sink = operator(true);
        write(&mut sink, 1);
        let ((begun, begins), (release, released)) = (channel(), channel::<()>());
        let sync: MakeDurable = Box::new(move || {
            begun.send(()).expect("the test waits");
            released.recv().map_err(|error| OperatorError::from_error(&error))
        });
        world(|world| world.durable = Some(sync));
        let mut state = snapshot(&mut sink, 1, SnapshotKind::Checkpoint);
        let beside = std::thread::spawn(move || state.work.drain(..).try_for_each(|work| work()));
        begins.recv().expect("it is done beside the task");
        write(&mut sink, 2);
        let later = snapshot(&mut sink, 2, SnapshotKind::Checkpoint);
        write(&mut sink, 3);
        assert_eq!(world(|world| world.written.clone()), [3], "what came later is written");
        release.send(()).expect("it waits");
        assert_eq!(beside.join().expect("no panic"), Ok(()));
        drop(later);
        sink.checkpoint_completed(CheckpointId(1)).expect("it can be committed");
        assert_eq!(visible(), ["1:1"]);
    }

    #[test]
    fn what_could_not_be_made_durable_fails_the_snapshot_and_then_the_task() {
        let mut sink = operator(true);
        write(&mut sink, 1);
        let failed = || Err(OperatorError::new("could not sync `part-1`"));
        world(|world| world.durable = Some(Box::new(failed)));
        let first = snapshot(&mut sink, 1, SnapshotKind::Checkpoint);
        let second = snapshot(&mut sink, 2, SnapshotKind::Checkpoint);
        for mut state in [first, second] {
            let work = state.work.pop().expect("there is some");
            assert_eq!(work(), Err(SnapshotError::Operator("could not sync `part-1`".to_owned())));
        }
        let error = sink.checkpoint_aborted(CheckpointId(1)).expect_err("the task begins again");
        assert_eq!(error.message, "could not sync `part-1`");
        let flow = sink.flush(&mut Batch::<()>::new(), 1);
        assert_eq!(flow.map_err(|error| error.message), Err("could not sync `part-1`".to_owned()));
        assert!(sink.checkpoint_completed(CheckpointId(2)).is_err() && visible().is_empty());
    }
}
