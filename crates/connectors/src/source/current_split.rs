//! The split that a reader of files is at, and those that it goes on with after a restore.

use crate::text::lines_of_split::LinesOfSplit;
use crate::text::split::FileSplit;
use millstream_core::job_graph::SourceSplit;
use millstream_core::{OperatorError, Record};
use millstream_operator::item;
use millstream_operator::source::{SplitChange, SplitNumber};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The split that a reader of files is at, and those that it goes on with after a restore.
#[derive(Default)]
pub(super) struct CurrentSplit {
    stage: Stage,
    /// What was begun before the restore; it comes before any other split.
    restored: VecDeque<Position>,
    /// How many splits it has come to.
    begun: u64,
    /// What has become of them, and has not been told.
    changes: VecDeque<SplitChange>,
}

/// What a reader is doing.
#[derive(Default)]
enum Stage {
    /// There is no split; the next one has been asked for, or will be.
    #[default]
    Between,
    /// There is this one.
    Split(LinesOfSplit),
    /// There are no more.
    Exhausted,
}

/// What is left of a split: the lines that begin from a place on.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub(super) struct Position {
    /// The file, as the system writes it.
    path: Vec<u8>,
    /// Where a line begins.
    start: u64,
    /// So many lines from there on have been given out.
    lines: u64,
    /// The split ends here: lines that begin before belong to it.
    end: u64,
}

/// What a reader of files finds to read.
pub(super) enum Found<'a> {
    /// These lines.
    Split(&'a mut LinesOfSplit),
    /// A split that was begun before the restore: these lines, without so many at the beginning.
    Resumed(u64),
    /// Nothing before the next split has come.
    Nothing,
    /// Nothing any more.
    End,
}

impl CurrentSplit {
    /// Goes to this split; nothing: there is none left.
    pub(super) fn add(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        match split {
            Some(split) => self.begin(LinesOfSplit::open(FileSplit::decode(&split)?)?),
            None => self.stage = Stage::Exhausted,
        }
        Ok(())
    }

    fn begin(&mut self, lines: LinesOfSplit) {
        self.stage = Stage::Split(lines);
        self.changes.push_back(SplitChange::Reading(SplitNumber(self.begun)));
        self.begun += 1;
    }

    /// The split has been read. Its last records are to be given away before those of another one.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Between;
        self.changes.push_back(SplitChange::Ended(SplitNumber(self.begun.saturating_sub(1))));
    }

    /// See `SourceReader::take_split_change`.
    pub(super) fn take_change(&mut self) -> Option<SplitChange> {
        self.changes.pop_front()
    }

    /// What there is to read. Between splits it goes to the next one that was restored.
    pub(super) fn find(&mut self) -> Result<Found<'_>, OperatorError> {
        if let Stage::Between = self.stage {
            let Some(position) = self.restored.pop_front() else { return Ok(Found::Nothing) };
            let lines = position.lines;
            self.begin(position.open()?);
            return Ok(Found::Resumed(lines));
        }
        Ok(match &mut self.stage {
            Stage::Split(split) => Found::Split(split),
            Stage::Between => Found::Nothing,
            Stage::Exhausted => Found::End,
        })
    }

    /// The file that is being read; an empty path between splits.
    pub(super) fn path(&self) -> &Path {
        match &self.stage {
            Stage::Split(split) => split.path(),
            Stage::Between | Stage::Exhausted => Path::new(""),
        }
    }

    /// What is left, as items. `given`: of the lines that were read, `.1` lines from `.0` on have been
    /// given out; nothing if all have. Of what has not been read, `skip` lines have.
    pub(super) fn snapshot(&self, given: Option<(u64, u64)>, skip: u64) -> Vec<Vec<u8>> {
        let current = match &self.stage {
            Stage::Split(split) => {
                let unread = || split.next_line().map(|start| (start, skip));
                given.or_else(unread).map(|(start, lines)| Position {
                    path: split.path().as_os_str().as_bytes().to_vec(),
                    start,
                    lines,
                    end: split.end(),
                })
            }
            Stage::Between | Stage::Exhausted => None,
        };
        current.iter().chain(&self.restored).map(item::encode).collect()
    }

    /// Goes on with these items.
    pub(super) fn restore(&mut self, items: &[Vec<u8>]) -> Result<(), OperatorError> {
        let read = |item: &Vec<u8>| item::decode("a position in a file", item);
        let mut positions: Vec<Position> = items.iter().map(read).collect::<Result<_, _>>()?;
        // As they were handed out: where files are written in the order of time, nothing becomes late.
        positions.sort_by(|a, b| (&a.path, a.start).cmp(&(&b.path, b.start)));
        self.restored = positions.into();
        Ok(())
    }
}

impl Position {
    fn open(self) -> Result<LinesOfSplit, OperatorError> {
        let path = PathBuf::from(OsStr::from_bytes(&self.path));
        LinesOfSplit::resume(FileSplit { path, start: self.start, end: self.end })
    }
}
