//! What one subtask does: fills parts, seals them for a checkpoint, commits them.

use super::commit::{Commit, Publish, apply_all};
use super::directory::sync_directory;
use super::part::{Part, WholePart};
use super::place::Place;
use crate::sink::Format;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_operator::item;
use millstream_operator::sink::{
    Committable, ListMode, ListSnapshot, MakeDurable, OperatorSnapshot, Prepared, RestoredOperator,
    SinkWriter,
};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The list that says which directory is this job's: the same in all subtasks.
const DIRECTORY: &str = "directory";

/// The number that stands for the end of a job without checkpoints.
const END: CheckpointId = CheckpointId(0);

/// What one subtask writes.
pub(super) struct Writer<T, F> {
    place: Place,
    format: F,
    part_bytes_max: u64,
    /// The directory is ready. That waits for the restored state, which tells whose it is.
    ready: bool,
    /// The part that is being written.
    part: Option<Part>,
    /// There are records in it.
    has_records: bool,
    /// Parts that are long enough, in order.
    whole: Vec<WholePart>,
    /// How many parts were begun.
    begun: u64,
    /// What has to be removed together with the first commit.
    removals: Vec<Commit>,
    /// The names of what was sealed at the end of a job without checkpoints.
    at_end: Vec<String>,
    _records: PhantomData<fn(T)>,
}

/// The item of [`DIRECTORY`].
fn directory_item(directory: &Path) -> Vec<u8> {
    item::encode(&directory.as_os_str().as_bytes().to_vec())
}

/// What says in a snapshot that the directory is this job's.
pub(super) fn own_directory(directory: &Path) -> ListSnapshot {
    ListSnapshot {
        name: DIRECTORY.to_owned(),
        mode: ListMode::Broadcast,
        schema: None,
        items: vec![directory_item(directory)],
    }
}

/// Whether a snapshot says so.
pub(super) fn owns_directory(directory: &Path, state: &RestoredOperator) -> bool {
    state.items(DIRECTORY).contains(&directory_item(directory))
}

impl<T, F> Writer<T, F> {
    /// How many files it has open.
    pub(super) fn open_files(&self) -> usize {
        usize::from(self.part.is_some()) + self.whole.iter().filter(|part| part.is_open()).count()
    }

    /// What was sealed last is visible.
    pub(super) fn committed(&mut self) {
        self.at_end.drain(..).for_each(|name| self.place.remember(name));
    }

    /// The whole parts are for a checkpoint: how they are made durable, each under a name of its own, and
    /// what is to be done when it is complete.
    fn seal(&mut self, checkpoint: CheckpointId) -> (Vec<Commit>, Option<MakeDurable>) {
        let Place { directory, names, subtask, execution, .. } = &self.place;
        let (mut commits, mut sealing) = (Vec::new(), Vec::new());
        for (number, part) in self.whole.drain(..).enumerate() {
            let pending = names.pending(*subtask, checkpoint, number as u64);
            let name = names.visible(*subtask, checkpoint, number as u64);
            if checkpoint == END {
                self.at_end.push(name.clone());
            }
            let bytes = part.bytes();
            sealing.push((part, directory.join(&pending)));
            commits.push(Commit::Publish(Publish {
                directory: directory.as_os_str().as_bytes().to_vec(),
                pending,
                bytes,
                replace: self.place.may_replace(&name),
                name,
                execution: execution.clone(),
            }));
        }
        let directory = directory.clone();
        let make_durable = move || {
            sealing.into_iter().try_for_each(|(part, pending)| part.seal(&pending))?;
            sync_directory(&directory)
        };
        let is_needed = !commits.is_empty();
        (commits, is_needed.then(|| Box::new(make_durable) as MakeDurable))
    }
}

impl<T, F: Format<T>> Writer<T, F> {
    /// A writer that has written nothing.
    pub(super) fn new(place: Place, format: F, part_bytes_max: u64) -> Result<Self, OperatorError> {
        let begins_afresh = place.restored.is_none();
        let mut writer = Self {
            place,
            format,
            part_bytes_max,
            ready: false,
            part: None,
            has_records: false,
            whole: Vec::new(),
            begun: 0,
            removals: Vec::new(),
            at_end: Vec::new(),
            _records: PhantomData,
        };
        if begins_afresh {
            writer.begin(false)?;
        }
        Ok(writer)
    }

    /// Makes the directory ready, and begins a part: what cannot be written is told at once.
    fn begin(&mut self, is_own: bool) -> Result<(), OperatorError> {
        self.removals = self.place.begin(is_own)?;
        self.ready = true;
        self.open_part()
    }

    /// The part that is being written.
    fn open_part(&mut self) -> Result<(), OperatorError> {
        if !self.ready {
            self.begin(false)?;
        }
        if self.part.is_none() {
            let Place { directory, names, subtask, execution, .. } = &self.place;
            let name = names.in_progress(*subtask, execution, self.begun);
            let mut part = Part::create(directory.join(name))?;
            self.begun += 1;
            self.format.begin(part.buffer());
            self.part = Some(part);
        }
        Ok(())
    }

    /// A writer whose job is known to have written into its directory before, or not.
    pub(super) fn resumed(
        place: Place,
        format: F,
        part_bytes_max: u64,
        is_own: bool,
    ) -> Result<Self, OperatorError> {
        let mut writer = Self::new(place, format, part_bytes_max)?;
        if !writer.ready {
            writer.begin(is_own)?;
        }
        Ok(writer)
    }

    /// Closes all files. That takes its time: the task waits until they are synced.
    pub(super) fn close_files(&mut self) -> Result<(), OperatorError> {
        match self.has_records {
            true => self.close_part()?,
            // Nobody misses an empty one.
            false => self.part = None,
        }
        self.whole.iter_mut().try_for_each(WholePart::sync)
    }

    /// The part in progress is long enough.
    fn close_part(&mut self) -> Result<(), OperatorError> {
        if let Some(part) = self.part.take() {
            self.whole.push(part.finish()?);
        }
        self.has_records = false;
        Ok(())
    }
}

impl<T, F: Format<T>> SinkWriter<T> for Writer<T, F> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        if records.is_empty() {
            return Ok(());
        }
        self.open_part()?;
        let part = self.part.as_mut().expect("it is open");
        for record in records.iter() {
            self.format.write(record, part.buffer())?;
            part.appended()?;
        }
        records.clear();
        self.has_records = true;
        if part.len() >= self.part_bytes_max { self.close_part() } else { Ok(()) }
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Prepared, OperatorError> {
        if !self.ready {
            self.begin(false)?;
        }
        let is_wanted = match checkpoint {
            // A job that has ended has a part of each subtask, perhaps an empty one.
            END => self.has_records || self.whole.is_empty(),
            _ => self.has_records,
        };
        if is_wanted {
            self.close_part()?;
        }
        let (mut commits, durable) = self.seal(checkpoint);
        commits.append(&mut self.removals);
        Ok(Prepared { committables: commits.iter().map(Commit::encode).collect(), durable })
    }

    fn commit(&mut self, committables: &mut Vec<Committable>) -> Result<(), OperatorError> {
        apply_all(committables, &self.place.execution)?;
        // Only now are they done: after a failure all of them are done again.
        committables.clear();
        self.committed();
        Ok(())
    }

    fn snapshot(&mut self, state: &mut OperatorSnapshot) -> Result<(), OperatorError> {
        state.lists.push(own_directory(&self.place.directory));
        Ok(())
    }

    fn restore(&mut self, state: &RestoredOperator) -> Result<(), OperatorError> {
        let is_own = owns_directory(&self.place.directory, state);
        self.begin(is_own)
    }

    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        // What was not sealed goes with it.
        self.part = None;
        self.whole.clear();
        Ok(())
    }
}
