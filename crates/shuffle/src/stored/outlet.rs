//! [`StoredOutlet`]: a stored partition on its way to a consumer in another process.
//!
//! No producer is there any more. Whoever sends frames (see [`crate::wire`]) reads them from the file
//! first, as many as may wait: the queue is filled whenever something has left it.

use super::StoredReader;
use super::format::StoredFrame;
use crate::element::{Control, Watermark};
use crate::subpartition::remote::Filled;
use crate::sync::{Mutex, lock};
use crate::wire::buffer::BufferPool;
use crate::wire::outbox::Outbox;
use crate::wire::sender::Gather;

/// One subscription to a stored partition.
pub(crate) struct StoredOutlet(Mutex<State>);

struct State {
    reader: StoredReader,
    outbox: Outbox,
    pool: BufferPool,
    /// All of it is in the outbox, or has left.
    ended: bool,
}

impl StoredOutlet {
    /// The consumer can take so many frames.
    pub(crate) fn new(reader: StoredReader, pool: BufferPool, credit: u32) -> Self {
        let mut outbox = Outbox::new();
        outbox.add_credit(credit);
        let mut state = State { reader, outbox, pool, ended: false };
        state.refill();
        Self(Mutex::new(state))
    }

    /// The consumer can take so many more; whether there is something to send.
    pub(crate) fn add_credit(&self, credit: u32) -> bool {
        let mut state = lock(&self.0);
        state.outbox.add_credit(credit);
        state.outbox.is_sendable()
    }

    /// Adds a turn's frames, for the subscription with the number `channel` on its connection.
    pub(crate) fn fill(&self, channel: u32, gather: &mut Gather) -> Filled {
        let mut state = lock(&self.0);
        state.outbox.fill(channel, gather);
        state.refill();
        Filled { more: state.outbox.is_sendable(), done: state.outbox.is_done() }
    }
}

impl State {
    fn refill(&mut self) {
        while !self.ended && self.outbox.has_room(0) {
            match self.reader.next_frame() {
                Ok(Some(StoredFrame::Rows { columns, count, rows })) => {
                    let mut buffer = self.pool.take();
                    buffer.extend_from_slice(rows);
                    self.outbox.push_rows(buffer, count as usize, columns);
                }
                Ok(Some(StoredFrame::Watermark(time))) => {
                    self.outbox.push_control(Control::Watermark(Watermark::active(time)));
                }
                Ok(None) => {
                    self.outbox.push_control(Control::EndOfPartition);
                    self.ended = true;
                }
                Err(error) => {
                    self.outbox.fail(&error.to_string());
                    self.ended = true;
                }
            }
        }
    }
}
