//! Frames: a header of 20 bytes, then rows or text.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the payload, little-endian |
//! | 4 | kind |
//! | 5 | flags: 1 = each row has its hash in front |
//! | 6..8 | zero |
//! | 8..12 | channel, chosen by the consumer |
//! | 12..16 | sequence number of a data frame within its channel, from 0 |
//! | 16..20 | number of records, or of credits |
//!
//! Both sides greet with [`Kind::Hello`], whose count is [`WIRE_VERSION`].

use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, PartitionId,
};
use std::io::{self, Read};

/// The version of this file.
pub const WIRE_VERSION: u32 = 1;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 20;

/// A data frame holds about so many bytes; a single larger row makes it grow.
pub const FRAME_BYTES: usize = 32 * 1024;

/// No payload is larger: one row has to fit.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First in both directions.
    Hello,
    /// Consumer: send me this subpartition; its count is the first credit.
    Subscribe,
    /// Consumer: so many more data frames may come.
    Credit,
    /// Consumer: I read no more.
    Cancel,
    /// Producer: records.
    Data,
    /// Producer: nothing will follow on this channel.
    End,
    /// Producer: there is no such partition here. The payload says more.
    NotFound,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        const KINDS: [Kind; 7] = [
            Kind::Hello,
            Kind::Subscribe,
            Kind::Credit,
            Kind::Cancel,
            Kind::Data,
            Kind::End,
            Kind::NotFound,
        ];
        KINDS.get(usize::from(byte)).copied()
    }
}

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that follow.
    pub len: u32,
    /// What it is.
    pub kind: Kind,
    /// Each row has its hash in front.
    pub hashed: bool,
    /// Whose.
    pub channel: u32,
    /// Which data frame of the channel.
    pub sequence: u32,
    /// Records, credits, or a version.
    pub count: u32,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection said so.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// A kind that this version does not know.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// Longer than allowed.
    #[error("frame of {0} bytes is above the limit of {PAYLOAD_BYTES_MAX}")]
    Oversize(u32),
    /// Not what can come now.
    #[error("{0}")]
    Protocol(String),
}

impl Header {
    /// A frame without payload.
    pub fn bare(kind: Kind, channel: u32, count: u32) -> Self {
        Self { len: 0, kind, hashed: false, channel, sequence: 0, count }
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = u8::from(self.hashed);
        bytes[8..12].copy_from_slice(&self.channel.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    /// Reads a header; its length has been checked.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let kind = Kind::of(bytes[4]).ok_or(FrameError::Kind(bytes[4]))?;
        let len = word(0);
        if len as usize > PAYLOAD_BYTES_MAX {
            return Err(FrameError::Oversize(len));
        }
        if bytes[5] > 1 || bytes[6..8] != [0, 0] {
            return Err(FrameError::Protocol("unknown flags in a frame".to_owned()));
        }
        let (channel, sequence, count) = (word(8), word(12), word(16));
        Ok(Self { len, kind, hashed: bytes[5] == 1, channel, sequence, count })
    }
}

/// Reads one frame; the payload replaces what is in `payload`.
pub fn read_frame(input: &mut impl Read, payload: &mut Vec<u8>) -> Result<Header, FrameError> {
    let mut bytes = [0; HEADER_BYTES];
    input.read_exact(&mut bytes)?;
    let header = Header::decode(&bytes)?;
    // A length alone must not make us allocate more than a frame; the rest comes as it is read.
    payload.clear();
    let len = header.len as usize;
    payload.reserve(len.min(FRAME_BYTES * 2));
    if input.take(u64::from(header.len)).read_to_end(payload)? < len {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(header)
}

/// The payload of a subscription.
pub fn encode_subscription(partition: &PartitionId, subpartition: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SUBSCRIPTION_BYTES);
    let attempt = &partition.producer;
    bytes.extend(partition.data_set.0.to_le_bytes());
    bytes.extend(attempt.graph.0.to_le_bytes());
    bytes.extend(attempt.vertex.0.to_le_bytes());
    bytes.extend(attempt.subtask.to_le_bytes());
    bytes.extend(attempt.attempt.to_le_bytes());
    bytes.extend(subpartition.to_le_bytes());
    bytes
}

const SUBSCRIPTION_BYTES: usize = 3 * 16 + 3 * 4;

/// What [`encode_subscription`] wrote.
pub fn decode_subscription(bytes: &[u8]) -> Result<(PartitionId, u32), FrameError> {
    if bytes.len() != SUBSCRIPTION_BYTES {
        return Err(FrameError::Protocol("a subscription of the wrong length".to_owned()));
    }
    let long = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().expect("16 bytes"));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let producer = ExecutionAttemptId {
        graph: ExecutionGraphId(long(16)),
        vertex: JobVertexId(long(32)),
        subtask: word(48),
        attempt: word(52),
    };
    Ok((PartitionId { data_set: DataSetId(long(0)), producer }, word(56)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_and_damaged_ones_are_refused() {
        let header =
            Header { len: 5, kind: Kind::Data, hashed: true, channel: 7, sequence: 9, count: 3 };
        let mut bytes = header.encode().to_vec();
        bytes.extend(b"12345");
        let mut payload = Vec::new();
        assert_eq!(read_frame(&mut &bytes[..], &mut payload).expect("whole"), header);
        assert_eq!(payload, b"12345");
        for cut in 0..bytes.len() {
            assert!(read_frame(&mut &bytes[..cut], &mut payload).is_err(), "cut at {cut}");
        }
        for (at, value) in [(4, 7), (4, 255), (5, 2), (6, 1), (3, 255)] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            assert!(read_frame(&mut &damaged[..], &mut payload).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_long_length_alone_allocates_nothing() {
        let header = Header { len: PAYLOAD_BYTES_MAX as u32, ..Header::bare(Kind::Data, 0, 0) };
        let mut payload = Vec::new();
        assert!(read_frame(&mut &header.encode()[..], &mut payload).is_err());
        assert!(payload.capacity() <= FRAME_BYTES * 4);
    }

    #[test]
    fn subscriptions_survive() {
        let producer = ExecutionAttemptId {
            graph: ExecutionGraphId(1),
            vertex: JobVertexId(2),
            subtask: 3,
            attempt: 4,
        };
        let partition = PartitionId { data_set: DataSetId(5), producer };
        let bytes = encode_subscription(&partition, 6);
        assert_eq!(decode_subscription(&bytes).expect("whole"), (partition, 6));
        assert!(decode_subscription(&bytes[1..]).is_err());
    }
}
