//! Frames: what goes over a connection in either direction, and how it is written down.
//!
//! A frame is a header of 20 bytes and a payload of at most 32 KiB. All numbers are little-endian:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..4 | length | of the payload |
//! | 4 | kind | see [`Kind`] |
//! | 5 | flags | of a `Data` frame: 1 hashed, 2 the row goes on in the next frame, 4 timed |
//! | 6..8 | | zero |
//! | 8..12 | channel | chosen by the consumer, never used twice on a connection |
//! | 12..16 | sequence | counts a channel's data, barriers, watermarks and its end, from 0, and wraps |
//! | 16..20 | count | records of `Data`; credits of `Credit` and `Subscribe`; version of `Hello` |
//!
//! Barriers of checkpoints and watermarks have their place among a channel's data, but take no credit;
//! their payloads are in `barrier` and `watermark`.
//!
//! Version 2 added timestamps of records (the flag 4) and watermarks.
//!
//! A row that is longer than a frame travels in pieces: frames without records and with the flag
//! "goes on", then one frame with the rest and the count 1. Every piece takes one credit, other
//! channels go between the pieces, and no frame ever needs more than 32 KiB on either side.
//!
//! Each side speaks [`Kind::Hello`] first. A header is checked against the limits before anything is
//! allocated for its payload, and there is one way to write each frame: what decodes, encodes to the
//! same bytes.

use super::barrier::{BARRIER_BYTES, CANCEL_BYTES};
pub use super::buffer::ROWS_BYTES_MAX;
use super::buffer::{Buffer, BufferPool};
use super::watermark::WATERMARK_BYTES;
use crate::batch::Columns;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, PartitionId,
};
use millstream_core::record::{Input, Output, Record};
use std::io::IoSliceMut;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 20;

/// Bytes of one row: longer ones are an error of the job.
pub const ROW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of an explanation.
pub(crate) const TEXT_BYTES_MAX: usize = 4 * 1024;

/// What this build speaks. Both ends of a connection run the same artefact; this finds the case in
/// which they do not.
pub(crate) const VERSION: u32 = 2;

/// The payload of [`Kind::Hello`].
pub(crate) const MAGIC: [u8; 8] = *b"millwire";

/// Bytes of a [`Subscription`].
const SUBSCRIPTION_BYTES: usize = 3 * 16 + 3 * 4;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// First in each direction: magic and version.
    Hello = 1,
    /// Consumer: I want this subpartition, here are the first credits.
    Subscribe = 2,
    /// Consumer: so many more frames may come.
    Credit = 3,
    /// Consumer: I read no more.
    Cancel = 4,
    /// Producer: the subpartition is there; data will follow, however late.
    Subscribed = 16,
    /// Producer: records.
    Data = 17,
    /// Producer: nothing will follow.
    EndOfPartition = 18,
    /// Producer: there is no such partition.
    NotFound = 19,
    /// Producer: there will be no more, and not because it has ended.
    Failed = 20,
    /// Producer: what came before is in a checkpoint, what comes after it is not.
    Barrier = 21,
    /// Producer: it takes no part in a checkpoint.
    CancelBarrier = 22,
    /// Producer: how far event time is.
    Watermark = 23,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::*;
        let all = [
            Hello,
            Subscribe,
            Credit,
            Cancel,
            Subscribed,
            Data,
            EndOfPartition,
            NotFound,
            Failed,
            Barrier,
            CancelBarrier,
            Watermark,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn length_max(self) -> usize {
        match self {
            Kind::Hello => MAGIC.len(),
            Kind::Subscribe => SUBSCRIPTION_BYTES,
            Kind::Data => ROWS_BYTES_MAX,
            Kind::Failed => TEXT_BYTES_MAX,
            Kind::Barrier => BARRIER_BYTES,
            Kind::CancelBarrier => CANCEL_BYTES,
            Kind::Watermark => WATERMARK_BYTES,
            Kind::Credit
            | Kind::Cancel
            | Kind::Subscribed
            | Kind::EndOfPartition
            | Kind::NotFound => 0,
        }
    }
}

/// `Data`: each row has its hash in front.
pub(crate) const HASHED: u8 = 1;

/// `Data`: the row goes on in the channel's next frame.
pub(crate) const GOES_ON: u8 = 2;

/// `Data`: each row has its time in front, behind the hash if there is one.
pub(crate) const TIMED: u8 = 4;

/// The flags of rows that have these in front.
pub(crate) fn flags_of(columns: Columns) -> u8 {
    (if columns.hashed { HASHED } else { 0 }) | (if columns.timed { TIMED } else { 0 })
}

/// What rows with these flags have in front.
pub(crate) fn columns_of(flags: u8) -> Columns {
    Columns { hashed: flags & HASHED != 0, timed: flags & TIMED != 0 }
}

/// Bytes that are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A number that names no kind.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// More than a frame of its kind may have.
    #[error("frame of kind {kind} with {length} bytes on channel {channel}, at most {max} allowed")]
    TooLong {
        /// Which kind.
        kind: u8,
        /// What it claims.
        length: u32,
        /// What it may claim.
        max: usize,
        /// Whose it is.
        channel: u32,
    },
    /// Flags or reserved bytes that mean nothing here.
    #[error("frame of kind {kind} with reserved bits set on channel {channel}")]
    Reserved {
        /// Which kind.
        kind: u8,
        /// Whose it is.
        channel: u32,
    },
    /// A payload that does not have the form of its kind.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// The first 20 bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) channel: u32,
    pub(crate) sequence: u32,
    pub(crate) count: u32,
}

impl Header {
    /// A frame without payload.
    pub(crate) fn bare(kind: Kind, channel: u32, count: u32) -> Self {
        Self { length: 0, kind, flags: 0, channel, sequence: 0, count }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[8..12].copy_from_slice(&self.channel.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let [_, _, _, _, kind, flags, reserved @ ..] = *bytes;
        let (length, channel) = (word(0), word(8));
        let known = Kind::of(kind).ok_or(FrameError::UnknownKind(kind))?;
        let flags_known = if known == Kind::Data { HASHED | GOES_ON | TIMED } else { 0 };
        if flags & !flags_known != 0 || reserved[..2] != [0, 0] {
            return Err(FrameError::Reserved { kind, channel });
        }
        let max = known.length_max();
        if length as usize > max {
            return Err(FrameError::TooLong { kind, length, max, channel });
        }
        Ok(Self { length, kind: known, flags, channel, sequence: word(12), count: word(16) })
    }
}

/// The payload of [`Kind::Subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) partition: PartitionId,
    pub(crate) subpartition: u32,
}

impl Subscription {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SUBSCRIPTION_BYTES);
        let PartitionId { data_set, producer } = self.partition;
        for id in [data_set.0, producer.graph.0, producer.vertex.0] {
            bytes.put(&id.to_le_bytes());
        }
        for number in [producer.subtask, producer.attempt, self.subpartition] {
            bytes.put(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Input::new(bytes);
        let subscription = Self::read(&mut input);
        subscription
            .ok()
            .filter(|_| input.rest().is_empty())
            .ok_or(FrameError::Malformed("subscription"))
    }

    fn read(input: &mut Input<'_>) -> Result<Self, millstream_core::DecodeError> {
        Ok(Self {
            partition: PartitionId {
                data_set: DataSetId(u128::decode(input)?),
                producer: ExecutionAttemptId {
                    graph: ExecutionGraphId(u128::decode(input)?),
                    vertex: JobVertexId(u128::decode(input)?),
                    subtask: u32::decode(input)?,
                    attempt: u32::decode(input)?,
                },
            },
            subpartition: u32::decode(input)?,
        })
    }
}

/// A frame that came in.
pub(crate) struct Frame {
    pub(crate) header: Header,
    /// Absent if the header says that there is none. Longer than the payload: see
    /// [`Frame::payload`].
    pub(crate) buffer: Option<Buffer>,
}

impl Frame {
    /// What the frame carries.
    pub(crate) fn payload(&self) -> &[u8] {
        match &self.buffer {
            None => &[],
            Some(buffer) => &buffer[..self.header.length as usize],
        }
    }
}

/// So much may be read beyond the end of a payload: small frames then come many at a time, and
/// large ones are hardly ever copied.
const SCRATCH_BYTES: usize = 4 * 1024;

/// Cuts a stream of bytes into frames. Pure: somebody else reads into its [`FrameDecoder::spaces`].
///
/// Bytes of a payload are read to where they stay; what follows them goes to a scratch, from which
/// the next frames begin. Invariant: while a payload is incomplete the scratch is empty.
pub(crate) struct FrameDecoder {
    pool: BufferPool,
    partial: Option<Partial>,
    scratch: Box<[u8; SCRATCH_BYTES]>,
    /// `scratch[start..end]` has been read and not yet understood.
    start: usize,
    end: usize,
}

/// A frame whose payload is on its way.
struct Partial {
    header: Header,
    /// Absent if the payload is empty.
    buffer: Option<Buffer>,
    filled: usize,
}

impl Partial {
    /// Where the rest of the payload goes.
    fn rest(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer[self.filled..self.header.length as usize],
            None => &mut [],
        }
    }

    /// Takes what belongs to the payload off the front of `bytes`; gives how much.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let rest = self.rest();
        let n = rest.len().min(bytes.len());
        rest[..n].copy_from_slice(&bytes[..n]);
        self.filled += n;
        n
    }
}

impl FrameDecoder {
    /// Payloads go to buffers of this pool, which is one for reading.
    pub(crate) fn new(pool: BufferPool) -> Self {
        Self { pool, partial: None, scratch: Box::new([0; SCRATCH_BYTES]), start: 0, end: 0 }
    }

    /// Where the next bytes go, first the one, then the other. Never both empty.
    pub(crate) fn spaces(&mut self) -> [IoSliceMut<'_>; 2] {
        let payload = self.partial.as_mut().map_or(&mut [][..], Partial::rest);
        self.scratch.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        [IoSliceMut::new(payload), IoSliceMut::new(&mut self.scratch[self.end..])]
    }

    /// So many bytes were put into the spaces.
    pub(crate) fn advance(&mut self, mut n: usize) {
        if let Some(partial) = &mut self.partial {
            let of_payload = n.min(partial.rest().len());
            partial.filled += of_payload;
            n -= of_payload;
        }
        self.end += n;
    }

    /// The next frame that is complete. After an error the stream has lost its place.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.partial.is_none() && !self.begin()? {
            return Ok(None);
        }
        let Some(partial) = &mut self.partial else { return Ok(None) };
        self.start += partial.fill(&self.scratch[self.start..self.end]);
        if !partial.rest().is_empty() {
            return Ok(None);
        }
        let complete = self.partial.take();
        Ok(complete.map(|partial| Frame { header: partial.header, buffer: partial.buffer }))
    }

    /// Reads a header; whether there was one.
    fn begin(&mut self) -> Result<bool, FrameError> {
        let read = &self.scratch[self.start..self.end];
        let Some(bytes) = read.first_chunk::<HEADER_BYTES>() else { return Ok(false) };
        let header = Header::decode(bytes)?;
        self.start += HEADER_BYTES;
        let buffer = (header.length > 0).then(|| self.pool.take());
        self.partial = Some(Partial { header, buffer, filled: 0 });
        Ok(true)
    }
}
