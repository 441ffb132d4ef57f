//! A subpartition as a consumer in another process sees it: credit, and the way out.
//!
//! The producer's thread moves batches from the queue into frames ([`RemoteOutput::pump`]) as far as
//! credit goes. The connection's reader thread adds credit and wakes the producer.

use super::frame::{FRAME_BYTES, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX};
use super::outbox::Outbox;
use crate::batch::BoxBatch;
use crate::element::{Control, Element};
use crate::subpartition::Subpartition;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What producer and connection share about one channel.
pub struct View {
    channel: u32,
    outbox: Arc<Outbox>,
    /// Data frames that may be sent.
    credit: AtomicU32,
    /// Something has been sent: the channel cannot begin anew.
    begun: AtomicBool,
}

impl View {
    /// A channel that may send `credit` frames.
    pub fn new(channel: u32, outbox: Arc<Outbox>, credit: u32) -> Self {
        let (credit, begun) = (AtomicU32::new(credit), AtomicBool::new(false));
        Self { channel, outbox, credit, begun }
    }

    /// So many more frames may be sent.
    pub fn add_credit(&self, credit: u32) {
        self.credit.fetch_add(credit, Ordering::AcqRel);
    }

    /// Whether anything has been sent.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    fn take_credit(&self) -> bool {
        let taken = self
            .credit
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |credit| credit.checked_sub(1));
        taken.is_ok()
    }
}

/// The producer's side of a view: what is half sent.
pub struct RemoteOutput {
    view: Arc<View>,
    /// A batch of which some records have been sent, and how many.
    partial: Option<(BoxBatch, usize)>,
    sequence: u32,
    ended: bool,
    bytes: u64,
}

/// A row that no frame can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of {bytes} bytes is larger than {PAYLOAD_BYTES_MAX}, the most that can be sent to \
     another process"
)]
pub struct OversizeRecord {
    /// Its encoded size.
    pub bytes: usize,
}

impl RemoteOutput {
    /// Nothing has been sent yet.
    pub fn new(view: Arc<View>) -> Self {
        Self { view, partial: None, sequence: 0, ended: false, bytes: 0 }
    }

    /// Sends what the queue holds, as far as credit goes.
    pub fn pump(&mut self, queue: &Subpartition) -> Result<(), OversizeRecord> {
        while !self.ended {
            let (batch, from) = match self.partial.take() {
                Some(partial) => partial,
                None => match self.next(queue) {
                    Some(batch) => (batch, 0),
                    None => return Ok(()),
                },
            };
            if !self.view.take_credit() {
                self.partial = Some((batch, from));
                return Ok(());
            }
            let next = self.send_data(&batch, from)?;
            if next < batch.len() {
                self.partial = Some((batch, next));
            } else {
                let mut batch = batch;
                batch.clear();
                queue.recycle(batch);
            }
        }
        Ok(())
    }

    /// The next batch; control elements are sent at once, they need no credit.
    fn next(&mut self, queue: &Subpartition) -> Option<BoxBatch> {
        match queue.pop()? {
            Element::Batch(batch) => Some(batch),
            Element::Control(Control::EndOfPartition) => {
                self.view.begun.store(true, Ordering::Release);
                let header = Header::bare(Kind::End, self.view.channel, 0);
                self.view.outbox.send(header.encode().to_vec());
                self.ended = true;
                None
            }
        }
    }

    fn send_data(&mut self, batch: &BoxBatch, from: usize) -> Result<usize, OversizeRecord> {
        let mut frame = self.view.outbox.buffer();
        frame.resize(HEADER_BYTES, 0);
        let next = batch.encode(from, FRAME_BYTES, &mut frame);
        let len = frame.len() - HEADER_BYTES;
        if len > PAYLOAD_BYTES_MAX {
            return Err(OversizeRecord { bytes: len });
        }
        let header = Header {
            len: len as u32,
            kind: Kind::Data,
            hashed: batch.is_hashed(),
            channel: self.view.channel,
            sequence: self.sequence,
            count: (next - from) as u32,
        };
        frame[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes += frame.len() as u64;
        self.view.begun.store(true, Ordering::Release);
        // A connection that is gone drops the frame; its end releases the queue.
        self.view.outbox.send(frame);
        Ok(next)
    }

    /// Whether this is the output of that view.
    pub fn is_of(&self, view: &Arc<View>) -> bool {
        Arc::ptr_eq(&self.view, view)
    }

    /// Whether everything up to the end has been sent.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes that were sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
