//! The names of parts: visible, in progress, and pending.
//!
//! | name | what it is |
//! |---|---|
//! | `part-3.csv` | what subtask 3 wrote, where there are no checkpoints |
//! | `part-3-7.csv` | what it wrote between checkpoint 7 and the one before |
//! | `part-3-7-1.csv` | the rest of that, behind the part that had become too long |
//! | `.part-3.csv-<job>-<execution>-0.inprogress` | being written |
//! | `.part-3.csv-<job>-7-1.pending` | whole and durable, to be committed with checkpoint 7 |
//!
//! The number of a checkpoint is never used twice, whatever happens to the job and its parallelism:
//! so no two parts of a job can have the same name.

use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;

/// How the names of visible parts begin.
const PREFIX: &str = "part-";

/// How the names of parts that are being written end.
const IN_PROGRESS: &str = ".inprogress";

/// How the names of parts end that wait to be committed.
const PENDING: &str = ".pending";

/// The names that the parts of one sink get.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) job: JobId,
    /// How the names of visible parts end. It begins neither with a digit nor with a `-`: numbers
    /// come before it.
    pub(super) suffix: String,
}

/// What a hidden name of this job and sink says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) subtask: u32,
    pub(super) stage: Stage,
}

/// How far a hidden part has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Written by this execution.
    InProgress(String),
    /// To be committed with this checkpoint.
    Pending(CheckpointId),
}

impl Names {
    /// The name of a visible part; checkpoint 0 stands for the end of a job that takes none.
    pub(super) fn visible(&self, subtask: u32, checkpoint: CheckpointId, number: u64) -> String {
        let Self { suffix, .. } = self;
        match (checkpoint.0, number) {
            (0, 0) => format!("{PREFIX}{subtask}{suffix}"),
            (checkpoint, 0) => format!("{PREFIX}{subtask}-{checkpoint}{suffix}"),
            (checkpoint, _) => format!("{PREFIX}{subtask}-{checkpoint}-{number}{suffix}"),
        }
    }

    /// The name of a part that is being written. The execution has no `-` in its name.
    pub(super) fn in_progress(&self, subtask: u32, execution: &str, number: u64) -> String {
        let Self { job, suffix } = self;
        format!(".{PREFIX}{subtask}{suffix}-{job}-{execution}-{number}{IN_PROGRESS}")
    }

    /// The name of a part that waits to be committed.
    pub(super) fn pending(&self, subtask: u32, checkpoint: CheckpointId, number: u64) -> String {
        let Self { job, suffix } = self;
        format!(".{PREFIX}{subtask}{suffix}-{job}-{checkpoint}-{number}{PENDING}")
    }

    /// The subtask that wrote the visible part of this name, for whatever job.
    pub(super) fn subtask_of(&self, name: &str) -> Option<u32> {
        let numbers = name.strip_prefix(PREFIX)?.strip_suffix(&self.suffix)?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let mut parts = numbers.splitn(4, '-');
        let subtask = parts.next().filter(|text| is_number(text))?;
        let rest: Vec<&str> = parts.collect();
        let is_part = rest.len() <= 2 && rest.into_iter().all(is_number);
        is_part.then(|| subtask.parse().ok())?
    }

    /// What a hidden name says, if it is one of this job and sink.
    pub(super) fn parse_hidden(&self, name: &str) -> Option<Hidden> {
        let rest = name.strip_prefix('.')?.strip_prefix(PREFIX)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let subtask: u32 = rest[..digits].parse().ok()?;
        let mark = format!("{}-{}-", self.suffix, self.job);
        let rest = rest[digits..].strip_prefix(&mark)?;
        let (stage, expected) = if let Some(rest) = rest.strip_suffix(IN_PROGRESS) {
            let (execution, number) = rest.split_once('-')?;
            let expected = self.in_progress(subtask, execution, number.parse().ok()?);
            (Stage::InProgress(execution.to_owned()), expected)
        } else {
            let (checkpoint, number) = rest.strip_suffix(PENDING)?.split_once('-')?;
            let checkpoint = CheckpointId(checkpoint.parse().ok()?);
            let expected = self.pending(subtask, checkpoint, number.parse().ok()?);
            (Stage::Pending(checkpoint), expected)
        };
        // Numbers have one form each; what only looks like one is somebody else's.
        (name == expected).then_some(Hidden { subtask, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suffix: &str) -> Names {
        Names { job: JobId(7), suffix: suffix.to_owned() }
    }

    #[test]
    fn a_visible_name_tells_its_subtask_and_nothing_else_looks_like_one() {
        let names = names(".csv");
        for (checkpoint, number) in [(0, 0), (0, 3), (9, 0), (9, 1)] {
            let name = names.visible(12, CheckpointId(checkpoint), number);
            assert_eq!(names.subtask_of(&name), Some(12), "{name}");
        }
        assert_eq!(names.visible(12, CheckpointId(0), 0), "part-12.csv");
        assert_eq!(names.visible(12, CheckpointId(9), 0), "part-12-9.csv");
        for name in ["part-.csv", "part-1", "part-x.csv", "part-1-.csv", "part-1-2-3-4.csv", "x"] {
            assert_eq!(names.subtask_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_hidden_name_is_read_by_its_own_job_and_sink_only() {
        let text = names("");
        let written = text.in_progress(3, "0f_1", 4);
        let stage = Stage::InProgress("0f_1".to_owned());
        assert_eq!(text.parse_hidden(&written), Some(Hidden { subtask: 3, stage }));
        let pending = text.pending(3, CheckpointId(8), 0);
        let stage = Stage::Pending(CheckpointId(8));
        assert_eq!(text.parse_hidden(&pending), Some(Hidden { subtask: 3, stage }));
        let other = Names { job: JobId(8), ..text.clone() };
        for others in [names(".csv"), names("x"), other] {
            for name in [&written, &pending] {
                assert_eq!(others.parse_hidden(name), None);
            }
            assert_eq!(text.parse_hidden(&others.pending(3, CheckpointId(8), 0)), None);
        }
        for name in [pending.replace("-8-", "-08-"), format!("{pending}x"), format!("x{pending}")] {
            assert_eq!(text.parse_hidden(&name), None, "{name}");
        }
    }
}
