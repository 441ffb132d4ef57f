//! The payload of a frame about event time: the watermark, 8 bytes, little-endian and signed; then its
//! status, one byte: 0 active, 1 idle.

use super::frame::{Frame, FrameError};
use crate::element::{Control, Watermark, WatermarkStatus};
use millstream_core::time::Timestamp;

/// Bytes of a watermark.
pub(crate) const WATERMARK_BYTES: usize = 9;

pub(crate) fn encode_watermark(watermark: Watermark) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WATERMARK_BYTES);
    bytes.extend_from_slice(&watermark.time.to_le_bytes());
    bytes.push(u8::from(watermark.is_idle()));
    bytes
}

/// What a frame of kind `Watermark` says.
pub(crate) fn decode(frame: &Frame) -> Result<Control, FrameError> {
    let malformed = FrameError::Malformed("watermark");
    let Some((time, rest)) = frame.payload().split_first_chunk() else { return Err(malformed) };
    let status = match rest {
        [0] => WatermarkStatus::Active,
        [1] => WatermarkStatus::Idle,
        _ => return Err(malformed),
    };
    Ok(Control::Watermark(Watermark { time: Timestamp::from_le_bytes(*time), status }))
}
