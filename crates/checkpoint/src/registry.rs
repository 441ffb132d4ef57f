//! Which checkpoints refer to which shared files, and which files may be deleted.
//!
//! A file that no retained checkpoint refers to is not deleted at once but *doomed*: a task that has
//! not heard of the newest checkpoint yet may build its next one on files of the one before. When a
//! checkpoint completes that was triggered after a file was doomed, and does not refer to it, the file
//! goes. Should a task build on a file even after that, its checkpoint is refused
//! ([`Registry::missing`]) and the next one is a full one.

use crate::handle::FileName;
use millstream_core::checkpoint::CheckpointId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// So many deleted files are remembered.
const DELETED_MAX: usize = 65_536;

/// A file, whatever its length is said to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileKey {
    /// See [`FileName::root`].
    pub root: Option<String>,
    /// See [`FileName::path`].
    pub path: String,
}

impl FileKey {
    /// The file of this name.
    pub fn of(name: &FileName) -> Self {
        Self { root: name.root.clone(), path: name.path.clone() }
    }
}

/// The files that may not be deleted, and those that may be soon.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// What each retained checkpoint refers to.
    retained: BTreeMap<CheckpointId, BTreeSet<FileKey>>,
    /// How many retained checkpoints refer to a file.
    references: BTreeMap<FileKey, u32>,
    /// Files that nobody refers to, and the newest checkpoint that had been triggered by then.
    doomed: BTreeMap<FileKey, CheckpointId>,
    /// Files that were deleted, oldest first: nobody may refer to them.
    deleted: VecDeque<FileKey>,
    /// The same, to look up.
    gone: BTreeSet<FileKey>,
}

impl Registry {
    /// A checkpoint is retained that refers to these files.
    pub fn retain(&mut self, checkpoint: CheckpointId, files: BTreeSet<FileKey>) {
        for file in &files {
            *self.references.entry(file.clone()).or_default() += 1;
            self.doomed.remove(file);
        }
        let former = self.retained.insert(checkpoint, files);
        assert!(former.is_none(), "checkpoint {checkpoint} is retained twice");
    }

    /// A checkpoint is retained no more. `triggered`: the newest checkpoint that may still build on it.
    pub fn release(&mut self, checkpoint: CheckpointId, triggered: CheckpointId) {
        for file in self.retained.remove(&checkpoint).unwrap_or_default() {
            let references = self.references.entry(file.clone()).or_default();
            *references = references.saturating_sub(1);
            if *references == 0 {
                self.references.remove(&file);
                self.doomed.insert(file, triggered);
            }
        }
    }

    /// A checkpoint that never was complete referred to these files, or an acknowledgement came too
    /// late: what nobody else refers to is doomed.
    pub fn abandon(&mut self, files: impl IntoIterator<Item = FileKey>, triggered: CheckpointId) {
        for file in files {
            if !self.references.contains_key(&file) && !self.gone.contains(&file) {
                self.doomed.entry(file).or_insert(triggered);
            }
        }
    }

    /// This checkpoint has completed: takes out the doomed files on which nothing can build any more.
    pub fn take_deletable(&mut self, completed: CheckpointId) -> Vec<FileKey> {
        let due = self.doomed.iter().filter(|(_, triggered)| **triggered < completed);
        let due: Vec<FileKey> = due.map(|(file, _)| file.clone()).collect();
        for file in &due {
            self.doomed.remove(file);
            self.deleted.push_back(file.clone());
            self.gone.insert(file.clone());
        }
        while self.deleted.len() > DELETED_MAX {
            if let Some(oldest) = self.deleted.pop_front() {
                self.gone.remove(&oldest);
            }
        }
        due
    }

    /// Everything that may be deleted when nothing builds on anything any more.
    pub fn take_doomed(&mut self) -> Vec<FileKey> {
        std::mem::take(&mut self.doomed).into_keys().collect()
    }

    /// A file among these that has been deleted.
    pub fn missing<'a>(&self, files: impl IntoIterator<Item = &'a FileKey>) -> Option<&'a FileKey> {
        files.into_iter().find(|file| self.gone.contains(*file))
    }

    /// The retained checkpoints.
    pub fn retained(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.retained.keys().copied()
    }

    /// The files that may not be deleted.
    pub fn files(&self) -> impl Iterator<Item = &FileKey> {
        self.references.keys()
    }

    /// Those that may be deleted soon: something may still build on them.
    pub fn doomed(&self) -> impl Iterator<Item = &FileKey> {
        self.doomed.keys()
    }

    /// A file is referred to, doomed or gone: one of them; and the counts are right.
    pub fn check(&self) {
        let mut counted: BTreeMap<&FileKey, u32> = BTreeMap::new();
        for file in self.retained.values().flatten() {
            *counted.entry(file).or_default() += 1;
        }
        let known: BTreeMap<&FileKey, u32> = self.references.iter().map(|(f, n)| (f, *n)).collect();
        assert_eq!(counted, known, "references to shared files");
        for file in self.references.keys() {
            assert!(!self.doomed.contains_key(file), "{file:?} is doomed and referred to");
            assert!(!self.gone.contains(file), "{file:?} is deleted and referred to");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &str) -> BTreeSet<FileKey> {
        let key = |name: &str| FileKey { root: None, path: format!("shared/{name}") };
        names.split_whitespace().map(key).collect()
    }

    fn names(files: Vec<FileKey>) -> String {
        let names: Vec<&str> = files.iter().map(|f| f.path.trim_start_matches("shared/")).collect();
        names.join(" ")
    }

    const fn id(id: u64) -> CheckpointId {
        CheckpointId(id)
    }

    #[test]
    fn a_file_is_deleted_when_a_checkpoint_triggered_later_has_completed_without_it() {
        let mut registry = Registry::default();
        registry.retain(id(1), files("a b"));
        registry.retain(id(2), files("b c"));
        registry.release(id(1), id(2));
        registry.check();
        assert_eq!(names(registry.take_deletable(id(2))), "");
        // A task that had not heard of 2 has built on `a` once more.
        registry.retain(id(3), files("a c d"));
        registry.release(id(2), id(3));
        assert_eq!(names(registry.take_deletable(id(3))), "");
        registry.retain(id(4), files("d"));
        assert_eq!(names(registry.take_deletable(id(4))), "b");
        registry.release(id(3), id(4));
        registry.check();
        assert_eq!(registry.missing(&files("a")), None);
        assert_eq!(registry.missing(&files("b")), files("b").first());
    }

    #[test]
    fn files_of_a_late_acknowledgement_go_unless_somebody_refers_to_them() {
        let mut registry = Registry::default();
        registry.retain(id(1), files("a"));
        registry.abandon(files("a x"), id(2));
        registry.check();
        assert_eq!(names(registry.take_deletable(id(3))), "x");
        registry.abandon(files("x"), id(3));
        assert_eq!(names(registry.take_doomed()), "");
    }
}
