//! Frames: a length of four bytes (little-endian), then a postcard-encoded [`Frame`].

use crate::protocol::{Answer, AskError, EndpointName, Message};
use millstream_core::ids::FencingToken;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Flink's `pekko.framesize`: no larger frame is sent or accepted. What may be larger goes through
/// the blob server.
pub const FRAME_BYTES_MAX: usize = 10 << 20;

/// What crosses a connection.
#[derive(Debug, Serialize, Deserialize)]
pub enum Frame {
    /// First in both directions.
    Hello {
        /// Must be equal on both sides.
        version: u32,
        /// Tells a process from a later one at the same address.
        instance: u128,
    },
    /// Something said without an answer.
    Tell {
        /// To whom.
        to: EndpointName,
        /// The token that the sender believes in.
        token: Option<FencingToken>,
        /// What.
        message: Message,
    },
    /// Something that wants an answer.
    Ask {
        /// Names the ask on this connection.
        correlation: u64,
        /// To whom.
        to: EndpointName,
        /// The token that the sender believes in.
        token: Option<FencingToken>,
        /// What.
        message: Message,
    },
    /// The answer to an ask.
    Answer {
        /// Which.
        correlation: u64,
        /// What; or that there is no such endpoint.
        result: Result<Answer, AskError>,
    },
}

/// A frame that cannot cross.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection said so.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// Larger than [`FRAME_BYTES_MAX`].
    #[error("frame of {0} bytes is above the limit of {FRAME_BYTES_MAX}")]
    Oversize(usize),
    /// Not a frame of this version.
    #[error("unreadable frame: {0}")]
    Unreadable(postcard::Error),
}

/// The bytes of a frame, with its length in front.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, FrameError> {
    let bytes = postcard::to_extend(frame, vec![0_u8; 4]).map_err(FrameError::Unreadable)?;
    let mut bytes = bytes;
    let len = bytes.len() - 4;
    if len > FRAME_BYTES_MAX {
        return Err(FrameError::Oversize(len));
    }
    bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(bytes)
}

/// So much is allocated for a length that was claimed; more only as bytes come.
pub(super) const CHUNK_BYTES: usize = 16 << 10;

/// Reads one frame. Its length is checked, and memory is taken as its bytes come.
pub async fn read(input: &mut (impl AsyncRead + Unpin)) -> Result<Frame, FrameError> {
    let mut len = [0; 4];
    input.read_exact(&mut len).await?;
    let len = u32::from_le_bytes(len) as usize;
    if len > FRAME_BYTES_MAX {
        return Err(FrameError::Oversize(len));
    }
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let from = bytes.len();
        bytes.resize(len.min(from + from.max(CHUNK_BYTES)), 0);
        input.read_exact(&mut bytes[from..]).await?;
    }
    postcard::from_bytes(&bytes).map_err(FrameError::Unreadable)
}

/// Writes one frame.
pub async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
) -> Result<(), FrameError> {
    output.write_all(&encode(frame)?).await?;
    Ok(())
}
