//! Frames on their way to a connection's writer thread, and the buffers that come back from it.
//!
//! Bounded by the credit of the connection's channels: a data frame is put in only against credit,
//! and a channel has few control frames.

use crate::sync::{Condvar, Mutex, lock};
use std::io::{self, IoSlice, Write};

/// Buffers that are kept for the next frames.
const SPARE_MAX: usize = 32;

/// Frames that one call gives to the socket at most.
const GATHER_MAX: usize = 16;

/// Frames for one connection.
#[derive(Default)]
pub struct Outbox {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    frames: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    closed: bool,
}

impl Outbox {
    /// Nothing to send yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer, with memory if there is one to spare.
    pub fn buffer(&self) -> Vec<u8> {
        lock(&self.state).spare.pop().unwrap_or_default()
    }

    /// Puts a frame in; whether the connection is still open.
    pub fn send(&self, frame: Vec<u8>) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.frames.push(frame);
        let first = state.frames.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }
        true
    }

    /// Ends the writer once everything has been written.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_one();
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Writes until the outbox is closed or the connection breaks: what the writer thread does.
    pub fn write_to(&self, output: &mut impl Write) -> io::Result<()> {
        let mut frames = Vec::new();
        loop {
            {
                let mut state = lock(&self.state);
                while state.frames.is_empty() {
                    if state.closed {
                        return Ok(());
                    }
                    state = self.filled.wait(state).expect("no user code runs under this lock");
                }
                std::mem::swap(&mut state.frames, &mut frames);
            }
            for group in frames.chunks(GATHER_MAX) {
                write_all_vectored(output, group)?;
            }
            let mut state = lock(&self.state);
            for mut frame in frames.drain(..) {
                if state.spare.len() < SPARE_MAX {
                    frame.clear();
                    state.spare.push(frame);
                }
            }
        }
    }
}

fn write_all_vectored(output: &mut impl Write, frames: &[Vec<u8>]) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
    }
    let mut left = &mut slices[..frames.len()];
    while !left.is_empty() {
        match output.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut left, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
