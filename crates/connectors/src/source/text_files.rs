//! A source of the lines of files, read in splits that subtasks ask for one by one.

use super::current_split::{CurrentSplit, Found};
use super::splits_at_once;
use crate::failure::failure;
use crate::text::Line;
use crate::text::block::BlockPool;
use crate::text::lines_of_block::LinesOfBlock;
use crate::text::split::{FileSplit, splits_of};
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader, SplitChange};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lines of files. Made by [`text_files`].
#[derive(Clone, Debug)]
pub struct TextFiles {
    paths: Vec<PathBuf>,
    split_bytes: Option<u64>,
    at_once: usize,
}

/// The lines of a file, or of all files in a directory and below it, in the order of their names.
/// Files and directories whose names begin with `.` or `_` are left out, unless named here.
///
/// - A line ends with a newline, which is not part of it, nor is a carriage return before that. The
///   last line of a file needs no newline. Empty lines count.
/// - Text is UTF-8. Each invalid sequence of bytes in a line becomes U+FFFD; a byte order mark at the
///   begin of a file is left out.
/// - A line of more than 64 MiB is an error.
///
/// Files are cut into splits of at most 64 MiB, of less (down to 4 MiB) where there would be fewer
/// than 64; a line belongs to the split in which it begins. Splits are found once, when the job is
/// planned: what is appended later is not read. The path has to name the same files on every
/// machine that runs a subtask.
///
/// ```no_run
/// use millstream_connectors::source::text_files;
///
/// let logs = text_files("/var/log/shop").and("/backup/shop.log");
/// ```
pub fn text_files(path: impl Into<PathBuf>) -> TextFiles {
    TextFiles { paths: vec![path.into()], split_bytes: None, at_once: 1 }
}

impl TextFiles {
    /// And another file or directory.
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Cuts files into splits of at most so many bytes.
    ///
    /// # Panics
    /// If that is 0.
    pub fn split_bytes(self, bytes_max: u64) -> Self {
        assert!(bytes_max > 0, "a split holds at least one byte");
        Self { split_bytes: Some(bytes_max), ..self }
    }

    /// Each subtask reads so many splits at once, a batch of each in turn; without this one after the
    /// other. For files that were written side by side, each in the order of time, like one per machine:
    /// event time is then that of the split that is least far, and what a file holds is not late because
    /// another was read first.
    ///
    /// # Panics
    /// If that is 0.
    pub fn splits_at_once(self, count: usize) -> Self {
        assert!(count > 0, "one split at least is read");
        Self { at_once: count, ..self }
    }

    /// A reader of so many splits at once, each of which one of these reads.
    pub(super) fn reader_of<T, R: SourceReader<T> + 'static>(
        &self,
        make: impl FnMut() -> R,
    ) -> Box<dyn SourceReader<T>> {
        splits_at_once::reader(self.at_once, make)
    }

    /// See [`Source::splits`].
    pub(super) fn encoded_splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        let splits = splits_of(&self.paths, self.split_bytes)?;
        Ok(splits.iter().map(FileSplit::encode).collect())
    }
}

impl Source<Line> for TextFiles {
    fn reader(&self, _context: &TaskContext) -> Result<Box<dyn SourceReader<Line>>, OperatorError> {
        Ok(self.reader_of(Reader::default))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        self.encoded_splits()
    }
}

#[derive(Default)]
struct Reader {
    current: CurrentSplit,
    /// Lines that have been read.
    lines: Option<LinesOfBlock>,
    /// Where those lines begin in the file. In a block invalid bytes have been replaced, so that places
    /// in it are not those in the file: the next line is found by counting from here.
    block_start: u64,
    /// So many of the lines that have not been read were given out before the restore.
    skip: u64,
    /// Blocks whose lines have been given out.
    pool: BlockPool,
}

impl Reader {
    /// Goes to the next block with lines to give out. Nothing: there is one, or there may be.
    fn next_block(&mut self) -> Result<Option<Poll>, OperatorError> {
        if let Some(lines) = self.lines.take() {
            self.pool.watch(lines.into_block());
        }
        let split = match self.current.find()? {
            Found::Nothing => return Ok(Some(Poll::NeedSplit)),
            Found::End => return Ok(Some(Poll::End)),
            Found::Resumed(lines) => {
                self.skip = lines;
                return Ok(None);
            }
            Found::Split(split) => split,
        };
        let mut block = self.pool.take();
        let fresh = Arc::get_mut(&mut block).expect("nobody refers to a free block");
        if let Some(start) = fresh.refill(|bytes| split.fill(bytes))? {
            let mut lines = LinesOfBlock::new(block);
            self.skip -= lines.skip(self.skip);
            self.lines = Some(lines);
            self.block_start = start;
        } else {
            self.pool.watch(block);
            if self.skip > 0 {
                return Err(shorter(split.path()));
            }
            self.current.end();
            return Ok(Some(Poll::More));
        }
        Ok(None)
    }
}

/// Lines that had been given out before the restore are not there any more.
fn shorter(path: &Path) -> OperatorError {
    failure(
        format_args!("go on in text file `{}`", path.display()),
        "it has become shorter since the checkpoint",
        "leave files as they are while a job reads them, or begin afresh",
    )
}

impl SourceReader<Line> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<Line>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let mut room = room;
        loop {
            if let Some(lines) = &mut self.lines {
                room -= lines.take(out, room);
                if room == 0 {
                    return Ok(Poll::More);
                }
            }
            if let Some(poll) = self.next_block()? {
                return Ok(poll);
            }
        }
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        self.current.add(split)
    }

    fn take_split_change(&mut self) -> Option<SplitChange> {
        self.current.take_change()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let given = self.lines.as_ref().and_then(LinesOfBlock::given);
        Ok(self.current.snapshot(given.map(|lines| (self.block_start, lines)), self.skip))
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.current.restore(&items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;
    use crate::scratch::Scratch;

    #[track_caller]
    fn check(content: impl AsRef<[u8]>, expected: &[&str]) {
        let scratch = Scratch::new();
        let path = scratch.write("text", content);
        assert_eq!(read_all(&text_files(path), 1).expect("it is readable"), expected);
    }

    #[test]
    fn lines_are_without_their_ends() {
        check("", &[]);
        check("\n", &[""]);
        check("a", &["a"]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\r\n\n b \nc\rd\r\n", &["a", "", "", " b ", "c\rd"]);
        check("last\r", &["last\r"]);
    }

    #[test]
    fn invalid_utf8_is_replaced_in_its_line_and_nowhere_else() {
        check(b"good\nb\xFFd\ncaf\xC3\xA9", &["good", "b\u{FFFD}d", "caf\u{e9}"]);
    }

    #[test]
    fn subtasks_share_the_splits_of_several_files() {
        let scratch = Scratch::new();
        let numbers = |range: std::ops::Range<u32>| {
            range.map(|i| format!("line {i}\n")).collect::<Vec<_>>().concat()
        };
        scratch.write("a/1", numbers(0..1000));
        scratch.write("a/2", numbers(1000..2000));
        let third = scratch.write("b", numbers(2000..3000));
        for parallelism in [1, 2, 5] {
            for split_bytes in [100, 5000, 1 << 30] {
                let source = text_files(scratch.path().join("a")).and(&third);
                let mut lines: Vec<u32> = read_all(&source.split_bytes(split_bytes), parallelism)
                    .expect("they are readable")
                    .iter()
                    .map(|line| line.strip_prefix("line ").expect("whole").parse().expect("whole"))
                    .collect();
                lines.sort_unstable();
                assert!(lines.iter().copied().eq(0..3000), "{parallelism} {split_bytes}");
            }
        }
    }

    #[test]
    fn a_file_that_vanished_after_planning_is_named() {
        let scratch = Scratch::new();
        let path = scratch.write("gone", "a\n");
        let source = text_files(&path);
        let split = source.splits().expect("it is there").remove(0);
        std::fs::remove_file(&path).expect("it is there");
        let mut reader = Reader::default();
        let error = reader.add_split(Some(split)).expect_err("it is gone");
        assert!(error.message.starts_with("could not open text file `"), "{error}");
        assert!(error.message.contains("gone`: No such file"), "{error}");
    }
}
