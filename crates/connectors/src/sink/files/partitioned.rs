//! Files in a directory of directories: each record goes to the one that a function names, say, of its
//! day and hour. What holds for [`Files`] holds for the parts of each partition.

use super::Files;
use super::commit::apply_all;
use super::directory::directories_in;
use super::name::Names;
use super::place::Place;
use super::writer::{Writer, own_directory, owns_directory};
use crate::failure::failure;
use crate::sink::Format;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{
    Committable, MakeDurable, OperatorSnapshot, Prepared, RestoredOperator, Sink, SinkWriter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// So many files of a subtask are open at a time. Beyond, parts are closed at once, which takes the time of
/// syncing them.
const OPEN_MAX: usize = 128;

/// Files in directories below a directory. Made by [`Files::partition_by`].
#[derive(Clone, Debug)]
pub struct PartitionedFiles<F, P> {
    files: Files<F>,
    partition: P,
    /// By partition, the parts that this process has committed at the end of a job.
    committed: Arc<Mutex<BTreeMap<String, Committed>>>,
}

/// See [`Place::committed`].
type Committed = Arc<Mutex<BTreeSet<String>>>;

impl<F> Files<F> {
    /// Writes each record into a directory of its own below this one: the relative path that the function
    /// gives, such as `day=2024-01-02/hour=23`. Parts are as without partitions, for each of them.
    ///
    /// ```
    /// use millstream_connectors::harness::write_all;
    /// use millstream_connectors::sink::text_files;
    ///
    /// let directory = std::env::temp_dir().join(format!("partitions-{}", std::process::id()));
    /// let words = text_files(&directory)
    ///     .partition_by(|word: &&str| format!("letters={}", word.len()));
    /// write_all(&words, ["to", "be", "not"])?;
    /// assert_eq!(std::fs::read_to_string(directory.join("letters=2/part-0"))?, "to\nbe\n");
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn partition_by<T, P>(self, partition: P) -> PartitionedFiles<F, P>
    where
        P: Fn(&T) -> String + Clone + Send + 'static,
    {
        PartitionedFiles { files: self, partition, committed: Arc::default() }
    }
}

impl<T, F, P> Sink<T> for PartitionedFiles<F, P>
where
    T: 'static,
    F: Format<T>,
    P: Fn(&T) -> String + Clone + Send + 'static,
{
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        let base = self.files.place::<T>(context)?;
        Ok(Box::new(PartitionedWriter {
            base,
            format: self.files.format.clone(),
            part_bytes_max: self.files.part_bytes_max,
            partition: self.partition.clone(),
            committed: Arc::clone(&self.committed),
            is_own: false,
            partitions: BTreeMap::new(),
        }))
    }
}

/// What one subtask writes.
struct PartitionedWriter<T, F, P> {
    /// The directory above all partitions.
    base: Place,
    format: F,
    part_bytes_max: u64,
    partition: P,
    committed: Arc<Mutex<BTreeMap<String, Committed>>>,
    /// The parts in the directory are those of this job.
    is_own: bool,
    partitions: BTreeMap<String, Partition<T, F>>,
}

/// A partition with what waits to be written there.
struct Partition<T, F> {
    writer: Writer<T, F>,
    records: Vec<T>,
}

impl<T, F: Format<T>, P: Fn(&T) -> String> PartitionedWriter<T, F, P> {
    /// Where this subtask writes in a partition.
    fn place(&self, name: &str) -> Result<Place, OperatorError> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = committed.entry(name.to_owned()).or_default();
        let Place { names, execution, .. } = &self.base;
        Ok(Place {
            directory: self.base.directory.join(checked(name)?),
            names: Names { job: names.job, suffix: names.suffix.clone() },
            execution: execution.clone(),
            committed: Arc::clone(committed),
            ..self.base
        })
    }

    fn partition(&mut self, name: String) -> Result<&mut Partition<T, F>, OperatorError> {
        if !self.partitions.contains_key(&name) {
            self.make_room()?;
            let place = self.place(&name)?;
            let writer =
                Writer::resumed(place, self.format.clone(), self.part_bytes_max, self.is_own)?;
            self.partitions.insert(name.clone(), Partition { writer, records: Vec::new() });
        }
        Ok(self.partitions.get_mut(&name).expect("it has just been put there"))
    }

    /// Sorts the records by partition.
    fn divide(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        let mut run: (String, Vec<T>) = (String::new(), Vec::new());
        for record in records.drain(..) {
            let name = (self.partition)(&record);
            if name != run.0 {
                let (name, mut records) = std::mem::replace(&mut run, (name, Vec::new()));
                if !records.is_empty() {
                    self.partition(name)?.records.append(&mut records);
                }
            }
            run.1.push(record);
        }
        if !run.1.is_empty() {
            self.partition(run.0)?.records.append(&mut run.1);
        }
        Ok(())
    }

    fn open_files(&self) -> usize {
        self.partitions.values().map(|partition| partition.writer.open_files()).sum()
    }

    /// Makes room for one more open file.
    fn make_room(&mut self) -> Result<(), OperatorError> {
        if self.open_files() < OPEN_MAX {
            return Ok(());
        }
        self.partitions.values_mut().try_for_each(|partition| partition.writer.close_files())
    }
}

impl<T, F: Format<T>, P: Fn(&T) -> String> SinkWriter<T> for PartitionedWriter<T, F, P> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        self.divide(records)?;
        let mut open = self.open_files();
        for Partition { writer, records } in self.partitions.values_mut() {
            let before = writer.open_files();
            writer.write(records)?;
            open = open - before + writer.open_files();
            if open > OPEN_MAX {
                open -= writer.open_files();
                writer.close_files()?;
            }
        }
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Prepared, OperatorError> {
        let (mut committables, mut durable) = (Vec::new(), Vec::new());
        for partition in self.partitions.values_mut() {
            let mut prepared = partition.writer.prepare_commit(checkpoint)?;
            committables.append(&mut prepared.committables);
            durable.extend(prepared.durable);
        }
        let is_needed = !durable.is_empty();
        let all = move || durable.into_iter().try_for_each(|make_durable| make_durable());
        Ok(Prepared { committables, durable: is_needed.then(|| Box::new(all) as MakeDurable) })
    }

    fn commit(&mut self, committables: &mut Vec<Committable>) -> Result<(), OperatorError> {
        apply_all(committables, &self.base.execution)?;
        committables.clear();
        self.partitions.values_mut().for_each(|partition| partition.writer.committed());
        Ok(())
    }

    fn snapshot(&mut self, state: &mut OperatorSnapshot) -> Result<(), OperatorError> {
        state.lists.push(own_directory(&self.base.directory));
        Ok(())
    }

    /// Parts that a former attempt left behind are removed, whether this one writes there or not.
    fn restore(&mut self, state: &RestoredOperator) -> Result<(), OperatorError> {
        self.is_own = owns_directory(&self.base.directory, state);
        for directory in directories_in(&self.base.directory)? {
            let name = directory.strip_prefix(&self.base.directory).ok().and_then(Path::to_str);
            if let Some(name) = name {
                self.place(name)?.remove_left_over()?;
            }
        }
        Ok(())
    }

    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        // What was not sealed goes with it.
        self.partitions.clear();
        Ok(())
    }
}

/// The name of a partition as a path below the directory, and nowhere else.
fn checked(name: &str) -> Result<PathBuf, OperatorError> {
    let path = PathBuf::from(name);
    let is_plain = |component: Component<'_>| match component {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    if path.components().next().is_none() || !path.components().all(is_plain) {
        return Err(failure(
            format_args!("write into partition `{name}`"),
            "it is no relative path of plain names",
            "let the function of `partition_by` give one, such as `day=2024-01-02`",
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{context, write_all};
    use crate::scratch::Scratch;
    use crate::sink::text_files;

    fn by_parity(
        scratch: &Scratch,
    ) -> PartitionedFiles<crate::sink::DisplayLines, impl Fn(&u32) -> String + Clone + Send + 'static>
    {
        text_files(scratch.path()).partition_by(|n: &u32| format!("kind/odd={}", n % 2))
    }

    fn read(scratch: &Scratch, name: &str) -> String {
        std::fs::read_to_string(scratch.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn each_record_is_in_its_partition() {
        let scratch = Scratch::new();
        write_all(&by_parity(&scratch), [1, 2, 3, 5, 4]).expect("writable");
        assert_eq!(read(&scratch, "kind/odd=0/part-0"), "2\n4\n");
        assert_eq!(read(&scratch, "kind/odd=1/part-0"), "1\n3\n5\n");
    }

    #[test]
    fn parts_of_an_earlier_job_are_refused_in_each_partition() {
        let scratch = Scratch::new();
        write_all(&by_parity(&scratch), [1]).expect("writable");
        write_all(&by_parity(&scratch), [2]).expect("another partition");
        let error = write_all(&by_parity(&scratch), [3]).expect_err("it is there already");
        assert!(error.message.contains("`part-0` is there already"), "{error}");
    }

    #[test]
    fn a_job_that_goes_on_from_a_checkpoint_writes_each_record_once() {
        let scratch = Scratch::new();
        let sink = by_parity(&scratch);
        let mut writer = sink.writer(&context(0, 1)).expect("writable");
        writer.write(&mut vec![1, 2]).expect("writable");
        let mut state = OperatorSnapshot::default();
        let prepared = writer.prepare_commit(CheckpointId(1)).expect("writable");
        prepared.durable.expect("there are parts")().expect("writable");
        let prepared = prepared.committables;
        writer.snapshot(&mut state).expect("nothing fails");
        // Never committed, and more was begun, of which a crash leaves the files.
        writer.write(&mut vec![3]).expect("writable");
        std::mem::forget(writer);

        let list = state.lists.remove(0);
        let restored = RestoredOperator {
            lists: vec![millstream_operator::sink::RestoredList {
                name: list.name,
                schema: None,
                items: list.items,
            }],
            ..RestoredOperator::default()
        };
        let again = TaskContext {
            attempt: 1,
            restored: Some(CheckpointId(1)),
            execution: "again".into(),
            ..context(0, 1)
        };
        let mut writer = sink.writer(&again).expect("writable");
        writer.restore(&restored).expect("its own");
        writer.commit(&mut prepared.clone()).expect("pending");
        writer.write(&mut vec![5]).expect("writable");
        let mut prepared = writer.prepare_commit(CheckpointId(2)).expect("writable");
        prepared.durable.take().expect("there is a part")().expect("writable");
        writer.commit(&mut prepared.committables).expect("pending");
        writer.close(true).expect("nothing fails");
        let mut names = Vec::new();
        for directory in directories_in(scratch.path()).expect("readable") {
            names.extend(super::super::directory::names_in(&directory).expect("readable"));
        }
        names.sort();
        assert_eq!(names, ["odd=0", "odd=1", "part-0-1", "part-0-1", "part-0-2"]);
        assert_eq!(read(&scratch, "kind/odd=1/part-0-1"), "1\n");
        assert_eq!(read(&scratch, "kind/odd=1/part-0-2"), "5\n");
    }

    #[test]
    fn more_partitions_than_files_may_be_open_are_written() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path()).partition_by(|n: &usize| format!("n={}", n % 300));
        write_all(&sink, 0..900).expect("writable");
        for n in 0..300 {
            let name = format!("n={n}/part-0");
            assert_eq!(read(&scratch, &name), format!("{n}\n{}\n{}\n", n + 300, n + 600), "{name}");
        }
    }

    #[test]
    fn a_partition_is_below_the_directory() {
        for name in ["", "/a", "../a", "a/../b", ".hidden", "a/.b", "."] {
            let error = checked(name).expect_err(name).message;
            assert!(error.contains("is no relative path of plain names"), "{error}");
        }
        assert_eq!(checked("a=1/b=x y"), Ok(PathBuf::from("a=1/b=x y")));
    }
}
