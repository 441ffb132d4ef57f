//! Files that nobody will ever ask for: what tasks of a former master wrote for checkpoints that it never
//! completed, and that it did not live to delete.
//!
//! A file says in its name which checkpoint it was written for. Numbers above `floor` are this master's: its
//! tasks may be writing those files now. Of the others only what a checkpoint refers to that is kept, or that
//! tasks begin from, or may still build on, is of use. Nothing else is looked at: savepoints, and whatever
//! people keep in the directory, are none of ours.

use super::Coordinator;
use crate::handle::{FileName, written_for};
use crate::mutant;
use millstream_core::checkpoint::CheckpointId;
use std::collections::BTreeSet;

impl Coordinator {
    /// The newest checkpoint that was triggered, by this master or a former one.
    pub fn newest(&self) -> CheckpointId {
        self.last
    }

    /// What is to be deleted of these files, given by their paths below the job's directory: checkpoints'
    /// directories as a whole.
    pub fn orphans(&self, floor: CheckpointId, paths: &[String]) -> Vec<String> {
        let (needed, checkpoints) = (self.needed(), self.needed_checkpoints());
        let mut orphans = BTreeSet::new();
        for path in paths.iter().filter(|_| !mutant::on("orphans_stay")) {
            let Some(of) = written_for(path) else { continue };
            let ours = of > floor && !mutant::on("sweep_takes_pending");
            if ours || checkpoints.contains(&of) && !path.starts_with("shared/") {
                continue;
            }
            match path.split_once('/') {
                Some(("shared", _)) if needed.contains(path.as_str()) => (),
                Some(("shared", _)) => drop(orphans.insert(format!("{}/{path}", self.directory))),
                Some((name, _)) => drop(orphans.insert(format!("{}/{name}", self.directory))),
                None => (),
            }
        }
        orphans.into_iter().collect()
    }

    /// The shared files that something refers to, or may. By their paths alone: a directory can have more
    /// than one name.
    fn needed(&self) -> BTreeSet<&str> {
        let registered = self.registry.files().chain(self.registry.doomed());
        let registered = registered.map(|file| file.path.as_str());
        let known = self.known_files().map(|file| file.path.as_str());
        registered.chain(known).filter(|_| !mutant::on("sweep_takes_retained")).collect()
    }

    /// The checkpoints whose own files are needed.
    fn needed_checkpoints(&self) -> BTreeSet<CheckpointId> {
        let kept = self.retained.iter().map(|retained| retained.metadata.checkpoint);
        let files = self.known_files().filter_map(|file| written_for(&file.path));
        let needed = kept.chain(self.base()).chain(files);
        needed.filter(|_| !mutant::on("sweep_takes_retained")).collect()
    }

    /// All files of completed checkpoints that are kept, and of what tasks begin from.
    fn known_files(&self) -> impl Iterator<Item = &FileName> {
        let kept = self.retained.iter().flat_map(|retained| retained.metadata.files());
        let base = self.base.iter().flat_map(|base| base.reassignment.metadata().files());
        kept.chain(base)
    }
}
