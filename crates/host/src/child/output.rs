//! Moves a child's output from pipes into log files, and remembers its end.
//!
//! A log file that cannot be written (a full disk) costs the output and never holds up the child.

use super::error::SpawnError;
use super::spec::{OutputSpec, OutputStreams};
use super::tail::{self, Tail};
use crate::log_file::LogFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionbio, retry_on_intr};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PIECE_BYTES: usize = 64 << 10;

/// What is read after a child's death: the pipe's content, and what a process that left its group
/// goes on to write, within both bounds.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(200);
const DRAIN_BYTES_MAX: usize = 4 << 20;

/// Standard output and standard error of one child, or both in one.
#[derive(Debug)]
pub(super) struct Output {
    streams: Vec<Stream>,
    /// What is being moved.
    piece: Vec<u8>,
}

/// The child's ends of the pipes.
pub(super) struct ChildEnds {
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

#[derive(Debug)]
struct Stream {
    /// `None` once it has ended.
    pipe: Option<PipeReader>,
    log: LogFile,
    tail: Tail,
    bytes_lost: u64,
}

impl Output {
    /// Makes the log files and the pipes.
    pub(super) fn open(spec: &OutputSpec) -> Result<(Self, ChildEnds), SpawnError> {
        let directory = spec.directory.clone();
        std::fs::create_dir_all(&spec.directory)
            .map_err(|cause| SpawnError::Log { path: directory, cause })?;
        let (streams, ends) = match spec.streams {
            OutputStreams::Separate => {
                let (out, stdout) = open_stream(spec, "out")?;
                let (err, stderr) = open_stream(spec, "err")?;
                (vec![out, err], ChildEnds { stdout: stdout.into(), stderr: stderr.into() })
            }
            OutputStreams::Together => {
                let (both, stdout) = open_stream(spec, "log")?;
                let stderr = stdout.try_clone().map_err(|cause| pipe_error(spec, cause))?;
                (vec![both], ChildEnds { stdout: stdout.into(), stderr: stderr.into() })
            }
        };
        Ok((Output { streams, piece: vec![0; PIECE_BYTES] }, ends))
    }

    /// What `poll` has to wait for.
    pub(super) fn pipes(&self) -> impl Iterator<Item = &PipeReader> {
        self.streams.iter().filter_map(|stream| stream.pipe.as_ref())
    }

    /// Moves what is there, one piece of each stream; how many bytes that was.
    pub(super) fn pump(&mut self) -> usize {
        self.streams.iter_mut().map(|stream| stream.pump(&mut self.piece)).sum()
    }

    /// Moves what is left after the child's death.
    pub(super) fn drain(&mut self) {
        let end = Instant::now() + DRAIN_TIME_MAX;
        let mut bytes = 0;
        while bytes < DRAIN_BYTES_MAX {
            let moved = self.pump();
            bytes += moved;
            let left = end.saturating_duration_since(Instant::now());
            let is_over = self.pipes().next().is_none() || left.is_zero();
            if is_over || (moved == 0 && !self.wait(left)) {
                return;
            }
        }
    }

    /// The last words of the child.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let tail = |index: usize| self.streams.get(index).map(|stream| &stream.tail);
        tail::last_lines(tail(0), tail(1))
    }

    /// How much could not be written.
    pub(super) fn bytes_lost(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes_lost).sum()
    }

    /// Waits for more output; `false` if none came.
    fn wait(&self, time: Duration) -> bool {
        let tv_sec = time.as_secs().try_into().expect("it is a part of a second");
        let timeout = Timespec { tv_sec, tv_nsec: time.subsec_nanos().into() };
        let mut fds: Vec<_> = self.pipes().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        retry_on_intr(|| poll(&mut fds, Some(&timeout))).is_ok_and(|ready| 0 < ready)
    }
}

impl Stream {
    fn pump(&mut self, piece: &mut [u8]) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        match pipe.read(piece) {
            Ok(0) => {
                self.pipe = None;
                0
            }
            Ok(count) => {
                self.tail.push(&piece[..count]);
                if self.log.write(&piece[..count]).is_err() {
                    self.bytes_lost += count as u64;
                }
                count
            }
            Err(error) => {
                let may_go_on =
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                if !may_go_on {
                    self.pipe = None;
                }
                0
            }
        }
    }
}

fn open_stream(spec: &OutputSpec, ending: &str) -> Result<(Stream, PipeWriter), SpawnError> {
    let path = spec.directory.join(format!("{}.{ending}", spec.stem));
    let log =
        LogFile::open(&path, spec.bytes_max).map_err(|cause| SpawnError::Log { path, cause })?;
    let (reader, writer) = io::pipe().map_err(|cause| pipe_error(spec, cause))?;
    ioctl_fionbio(&reader, true).map_err(|cause| pipe_error(spec, cause.into()))?;
    Ok((Stream { pipe: Some(reader), log, tail: Tail::default(), bytes_lost: 0 }, writer))
}

fn pipe_error(spec: &OutputSpec, cause: io::Error) -> SpawnError {
    SpawnError::step(&spec.directory, "make a pipe for its output", cause)
}
