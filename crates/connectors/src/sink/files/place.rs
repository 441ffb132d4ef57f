//! Where one subtask writes, and what it finds there when it begins.

use super::commit::{Commit, Remove};
use super::directory::{create_directory, names_in, remove_file};
use super::name::{Names, Stage};
use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Where one subtask writes.
pub(super) struct Place {
    /// Absolute.
    pub(super) directory: PathBuf,
    pub(super) names: Names,
    pub(super) subtask: u32,
    pub(super) parallelism: u32,
    /// This attempt, as it stands in names.
    pub(super) execution: String,
    /// The checkpoint that the task goes on from.
    pub(super) restored: Option<CheckpointId>,
    /// Parts of an earlier job are to be replaced.
    pub(super) overwrite: bool,
    /// The parts that this process has committed at the end of the job.
    pub(super) committed: Arc<Mutex<BTreeSet<String>>>,
}

impl Place {
    /// Makes the directory ready. `is_own`: the parts in it are those of this job. Gives what has to
    /// be removed together with the first commit.
    pub(super) fn begin(&self, is_own: bool) -> Result<Vec<Commit>, OperatorError> {
        create_directory(&self.directory)?;
        let names = self.remove_left_over()?;
        if is_own { Ok(Vec::new()) } else { self.deal_with_earlier(names) }
    }

    /// Removes what former attempts at this subtask left behind in the directory. Gives all names that
    /// were there.
    pub(super) fn remove_left_over(&self) -> Result<Vec<String>, OperatorError> {
        let names = names_in(&self.directory)?;
        for name in &names {
            if self.is_left_over(name) {
                remove_file(&self.directory.join(name))?;
            }
        }
        Ok(names)
    }

    /// Whether a former attempt at this subtask left the file behind, and no checkpoint that could be
    /// complete needs it. Hidden parts of other subtasks may be those of tasks that run; those of
    /// subtasks that there are no more are the first one's to remove.
    fn is_left_over(&self, name: &str) -> bool {
        let Some(hidden) = self.names.parse_hidden(name) else { return false };
        let is_mine = match hidden.subtask {
            subtask if subtask >= self.parallelism => self.subtask == 0,
            subtask => subtask == self.subtask,
        };
        let is_dead = match hidden.stage {
            Stage::InProgress(execution) => execution != self.execution,
            // What was prepared for the restored checkpoint and before is committed by whoever got it.
            Stage::Pending(checkpoint) => self.restored.is_none_or(|last| checkpoint > last),
        };
        is_mine && is_dead
    }

    /// Parts of another job must not be mixed with those of this one.
    fn deal_with_earlier(&self, names: Vec<String>) -> Result<Vec<Commit>, OperatorError> {
        let mut removals = Vec::new();
        for name in names {
            let Some(subtask) = self.names.subtask_of(&name) else { continue };
            let is_surplus = subtask >= self.parallelism;
            if subtask != self.subtask && !is_surplus {
                continue;
            }
            if !self.may_replace(&name) {
                return Err(failure(
                    format_args!("write parts into `{}`", self.directory.display()),
                    format_args!("`{name}` is there already, from an earlier job"),
                    "choose another directory, remove the files, or say `.overwrite()`",
                ));
            }
            if !is_surplus || self.subtask == 0 {
                removals.extend(Remove::of(&self.directory, name)?.map(Commit::Remove));
            }
        }
        Ok(removals)
    }

    /// Whether a visible part of this name may give way to a new one.
    pub(super) fn may_replace(&self, name: &str) -> bool {
        let committed = || self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        self.overwrite || committed().contains(name)
    }

    /// Remembers for later attempts whose part that is.
    pub(super) fn remember(&self, name: String) {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }
}
