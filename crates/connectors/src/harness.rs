//! Runs a source or a sink alone, for tests: no job, no threads of the engine, no waiting.

use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::job_graph::SourceSplit;
use millstream_core::key_group::MaxParallelism;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use millstream_operator::source::{Poll, Source, SourceClock};
use std::collections::VecDeque;
use std::time::Duration;

/// So many records are asked for in one poll.
const ROOM: usize = 1000;

/// The place of one of several subtasks.
pub fn context(subtask: u32, parallelism: u32) -> TaskContext {
    let max_parallelism = MaxParallelism::default_for(parallelism);
    let execution = format!("test-{subtask}").into();
    TaskContext { subtask, parallelism, max_parallelism, execution, ..TaskContext::alone() }
}

/// Reads a source with so many subtasks until all have ended, in turns. Time is virtual: it jumps to
/// where the source wants to be woken.
///
/// ```
/// use millstream_connectors::harness::read_all;
/// use millstream_connectors::source::generator;
///
/// let slow = generator(Some(3), |n| n).rate(1);
/// assert_eq!(read_all(&slow, 1).unwrap(), [0, 1, 2]);
/// ```
pub fn read_all<T>(
    source: &(impl Source<T> + ?Sized),
    parallelism: u32,
) -> Result<Vec<T>, OperatorError> {
    let mut splits: VecDeque<SourceSplit> = source.splits()?.into();
    let contexts: Vec<_> = (0..parallelism).map(|i| context(i, parallelism)).collect();
    let mut readers = VecDeque::new();
    for context in &contexts {
        context.wake.adopt_current_thread();
        readers.push_back((source.reader(context)?, &context.wake));
    }
    let (mut out, mut clock) = (Vec::new(), SourceClock { now_us: 0 });
    while let Some((mut reader, wake)) = readers.pop_front() {
        match reader.poll(&mut out, ROOM, clock)? {
            Poll::More => (),
            // A wake-up between the poll and the sleep would be missed, hence the timeout.
            Poll::Idle => wake.sleep(Some(Duration::from_millis(1)), || true),
            Poll::WakeAt(at) => clock.now_us = clock.now_us.max(at),
            Poll::NeedSplit => reader.add_split(splits.pop_front())?,
            Poll::End => continue,
        }
        readers.push_back((reader, wake));
    }
    Ok(out)
}

/// Writes records with one subtask, and finishes, as a job without checkpoints does.
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink::collect;
///
/// let collected = collect();
/// write_all(&collected, [1, 2, 3]).unwrap();
/// assert_eq!(collected.take(), [1, 2, 3]);
/// ```
pub fn write_all<T>(
    sink: &(impl Sink<T> + ?Sized),
    records: impl IntoIterator<Item = T>,
) -> Result<(), OperatorError> {
    let mut writer = sink.writer(&context(0, 1))?;
    let mut batch: Vec<T> = records.into_iter().collect();
    let result = writer.write(&mut batch).and_then(|()| finish(&mut *writer));
    writer.close(result.is_ok())?;
    result
}

/// Ends the input of a writer whose job takes no checkpoints: what was written becomes visible.
pub fn finish<T>(writer: &mut dyn SinkWriter<T>) -> Result<(), OperatorError> {
    writer.finish()?;
    let mut prepared = writer.prepare_commit(CheckpointId(0))?;
    prepared.durable.take().map_or(Ok(()), |make_durable| make_durable())?;
    writer.commit(&mut prepared.committables)
}
