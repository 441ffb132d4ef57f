//! The split that a reader of files is at.

use crate::text::lines_of_split::LinesOfSplit;
use crate::text::split::FileSplit;
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;

/// The split that a reader of files is at.
#[derive(Default)]
pub(super) enum CurrentSplit {
    /// None; the next one has been asked for, or will be.
    #[default]
    Between,
    /// This one.
    Split(LinesOfSplit),
    /// There are no more.
    Exhausted,
}

impl CurrentSplit {
    /// Goes to this split; nothing: there is none left.
    pub(super) fn add(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        *self = match split {
            Some(split) => Self::Split(LinesOfSplit::open(FileSplit::decode(&split)?)?),
            None => Self::Exhausted,
        };
        Ok(())
    }
}
