//! Who writes to a connection: whichever thread has something to send and finds nobody writing.
//!
//! Sources (channels that have something to send) stand in one queue, each at most once. The thread
//! that puts one there and finds the connection free writes at once, without waiting: a record then
//! needs no other thread to leave. What the connection does not take now, and what others add
//! meanwhile beyond a bound, is left to the connection's writer thread, which may wait.
//!
//! The story of one hand-over. The writing role ([`Writer`]) is a token that is passed under the
//! lock of the queue; only its holder takes frames from sources and writes them, so each channel's
//! frames leave in order. The holder gives the role back only in the same critical section in which
//! it saw the queue empty; whoever adds a source later therefore finds the role free and takes it.
//! A source's `queued` flag is cleared before the source is asked, so what becomes ready meanwhile
//! puts it into the queue again.
//!
//! Bounds: the queue has at most one entry per channel; frames stay with their channels until the
//! holder takes them, at most [`FRAMES_MAX`] at a time.
//!
//! Lock order: none. The queue's lock is never held while a source is asked or bytes are written.

use super::buffer::Buffer;
use super::frame::{HEADER_BYTES, Header};
use super::transport::Transport;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Condvar, Mutex, lock};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;

/// Frames that are written by one call.
pub(crate) const FRAMES_MAX: usize = 16;

/// Frames that one source gives before another has its turn.
pub(crate) const TURN_FRAMES: usize = 4;

/// A thread that is not the writer thread writes about so much, then leaves the rest to it.
const DIRECT_BYTES_MAX: usize = 512 * 1024;

/// Something that has frames to send.
pub(crate) trait Source: Send + Sync {
    /// Set while the source stands in its sender's queue.
    fn queued(&self) -> &AtomicBool;

    /// Adds up to [`TURN_FRAMES`] frames, while there is room; whether more could follow at once.
    fn fill(&self, gather: &mut Gather) -> bool;
}

/// What follows a header.
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// Rows in a buffer of their own.
    Rows(Buffer),
    /// A part of a row that is too long for one frame.
    Piece(Arc<Buffer>, Range<usize>),
    /// A subscription, a barrier or an explanation.
    Small(Vec<u8>),
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Rows(buffer) => buffer,
            Payload::Piece(row, range) => &row[range.clone()],
            Payload::Small(bytes) => bytes,
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// Frames that are being written.
#[derive(Default)]
pub(crate) struct Gather {
    frames: VecDeque<([u8; HEADER_BYTES], Payload)>,
    /// Bytes of the first frame that have been written.
    written: usize,
}

impl Gather {
    /// Whether no further frame may be added before some are written.
    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX
    }

    /// Adds a frame; the header's length is the payload's.
    pub(crate) fn push(&mut self, mut header: Header, payload: Payload) {
        header.length = payload.len() as u32;
        self.frames.push_back((header.encode(), payload));
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Shows the bytes that are not yet written to `write` and forgets those that it took.
    pub(super) fn write(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); 2 * FRAMES_MAX];
        let mut used = 0;
        for (header, payload) in self.frames.iter().take(FRAMES_MAX) {
            for part in [&header[..], payload.bytes()] {
                if !part.is_empty() {
                    slices[used] = IoSlice::new(part);
                    used += 1;
                }
            }
        }
        let mut unwritten = &mut slices[..used];
        IoSlice::advance_slices(&mut unwritten, self.written);
        let n = write(unwritten)?;
        self.forget(n);
        Ok(n)
    }

    /// So many bytes have been written: drops the frames that are complete.
    fn forget(&mut self, n: usize) {
        self.written += n;
        while let Some((header, payload)) = self.frames.front() {
            let len = header.len() + payload.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.frames.pop_front();
        }
    }
}

/// The writing side of one connection.
pub(crate) struct Sender {
    transport: Arc<dyn Transport>,
    /// Whether threads that have something to send write it themselves.
    direct: bool,
    state: Mutex<State>,
    /// The writer thread waits for the role.
    handed_over: Condvar,
}

struct State {
    /// Sources that have something to send.
    queue: VecDeque<Arc<dyn Source>>,
    writer: Writer,
    /// What is being written; with the holder of the role while it writes.
    gather: Gather,
    /// Everything that is queued is the last.
    finishing: bool,
    closed: bool,
}

/// Who may take frames and write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Whoever comes.
    Nobody,
    /// A thread that had something to send.
    Direct,
    /// The connection's own.
    Thread,
}

impl Sender {
    /// Nothing to send yet.
    pub(crate) fn new(transport: Arc<dyn Transport>, direct: bool) -> Self {
        let state = State {
            queue: VecDeque::new(),
            writer: Writer::Nobody,
            gather: Gather::default(),
            finishing: false,
            closed: false,
        };
        Self { transport, direct, state: Mutex::new(state), handed_over: Condvar::new() }
    }

    /// The source has something to send. Never waits. Not under a lock.
    pub(crate) fn schedule(&self, source: Arc<dyn Source>) {
        if source.queued().swap(true, Ordering::SeqCst) {
            return;
        }
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.queue.push_back(source);
        if state.writer != Writer::Nobody {
            return;
        }
        if self.direct {
            state.writer = Writer::Direct;
            let gather = std::mem::take(&mut state.gather);
            drop(state);
            self.write_directly(gather);
        } else {
            state.writer = Writer::Thread;
            self.handed_over.notify_one();
        }
    }

    /// With the role: writes without waiting; leaves what remains to the thread.
    fn write_directly(&self, mut gather: Gather) {
        let mut budget = DIRECT_BYTES_MAX;
        loop {
            let Some(filled) = self.refill(gather) else { return };
            gather = filled;
            if budget == 0 {
                return self.hand_over(gather);
            }
            match gather.write(|bytes| self.transport.try_write(bytes)) {
                Ok(n) if n > 0 => budget = budget.saturating_sub(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.hand_over(gather);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                _ => return self.fail(),
            }
        }
    }

    fn hand_over(&self, gather: Gather) {
        let mut state = lock(&self.state);
        state.gather = gather;
        state.writer = Writer::Thread;
        drop(state);
        self.handed_over.notify_one();
    }

    /// With the role: takes frames from the sources in turn. If there are none, the role is free
    /// again when this returns nothing.
    fn refill(&self, mut gather: Gather) -> Option<Gather> {
        while !gather.is_full() {
            let mut state = lock(&self.state);
            if state.closed {
                return None;
            }
            let Some(source) = state.queue.pop_front() else {
                if !gather.is_empty() {
                    break;
                }
                state.writer = Writer::Nobody;
                state.gather = gather;
                if state.finishing {
                    self.transport.close_write();
                }
                return None;
            };
            drop(state);
            source.queued().store(false, Ordering::SeqCst);
            if source.fill(&mut gather) && !source.queued().swap(true, Ordering::SeqCst) {
                lock(&self.state).queue.push_back(source);
            }
        }
        Some(gather)
    }

    /// What the writer thread does until the connection is closed.
    pub(crate) fn run(&self) {
        while let Some(gather) = self.wait_for_role() {
            self.write_waiting(gather);
        }
    }

    fn wait_for_role(&self) -> Option<Gather> {
        let mut state = lock(&self.state);
        while state.writer != Writer::Thread && !state.closed {
            state = self.handed_over.wait(state).expect("no user code runs under this lock");
        }
        (!state.closed).then(|| std::mem::take(&mut state.gather))
    }

    fn write_waiting(&self, mut gather: Gather) {
        while let Some(filled) = self.refill(gather) {
            gather = filled;
            match gather.write(|bytes| self.transport.write(bytes)) {
                Ok(n) if n > 0 => (),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                _ => return self.fail(),
            }
        }
    }

    /// Says that nothing will be scheduled any more: what is queued leaves, then the other side is
    /// told that it was all.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.finishing = true;
        if state.writer == Writer::Nobody && !state.closed {
            self.transport.close_write();
        }
    }

    /// The connection is broken: the reader, which owns it, finds out by this.
    fn fail(&self) {
        self.close();
        self.transport.close();
    }

    /// Nothing leaves any more; the writer thread ends.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut state = lock(&self.state);
            state.closed = true;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.gather))
        };
        self.handed_over.notify_all();
        drop(dropped);
    }
}
