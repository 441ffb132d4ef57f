//! Frames of the control link between a task executor and a job process: a length of four bytes
//! (little-endian), then postcard. Blocking: both ends have a thread for it.

use super::frame::{CHUNK_BYTES, FrameError};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Read, Write};

/// No larger frame is sent or accepted: a job graph with its splits is the largest.
pub const LINK_FRAME_BYTES_MAX: usize = 64 << 20;

/// Writes one frame.
pub fn write_frame(output: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    let bytes = postcard::to_extend(message, vec![0_u8; 4]).map_err(FrameError::Unreadable)?;
    let mut bytes = bytes;
    let len = bytes.len() - 4;
    if len > LINK_FRAME_BYTES_MAX {
        return Err(FrameError::Oversize(len));
    }
    bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
    output.write_all(&bytes)?;
    Ok(output.flush()?)
}

/// Reads one frame. Its length is checked, and memory is taken as its bytes come.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl Read) -> Result<T, FrameError> {
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > LINK_FRAME_BYTES_MAX {
        return Err(FrameError::Oversize(len));
    }
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let from = bytes.len();
        bytes.resize(len.min(from + from.max(CHUNK_BYTES)), 0);
        input.read_exact(&mut bytes[from..])?;
    }
    postcard::from_bytes(&bytes).map_err(FrameError::Unreadable)
}
