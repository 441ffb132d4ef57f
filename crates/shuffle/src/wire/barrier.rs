//! The payloads of frames about checkpoints. All numbers are little-endian, zero is what is not used.
//!
//! | bytes | of `Barrier` |
//! |---|---|
//! | 0..8 | the checkpoint's number |
//! | 8..16 | when it was triggered: milliseconds since 1970-01-01 UTC, signed |
//! | 16 | its kind: 0 checkpoint, 1 full checkpoint, 2 savepoint, 3 suspend, 4 drain |
//! | 17 | how it passes data: 0 aligned, 1 at least once, 2 unaligned, 3 aligned for a while |
//! | 18..20 | zero |
//! | 20..24 | if aligned for a while: so many milliseconds |
//!
//! `CancelBarrier` has the checkpoint's number only.

use super::frame::{Frame, FrameError, Kind};
use crate::element::Control;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};

/// Bytes of a barrier.
pub(crate) const BARRIER_BYTES: usize = 24;

/// Bytes of a cancellation.
pub(crate) const CANCEL_BYTES: usize = 8;

/// Kinds of snapshots, by their number.
const KINDS: [SnapshotKind; 5] = [
    SnapshotKind::Checkpoint,
    SnapshotKind::FullCheckpoint,
    SnapshotKind::Savepoint,
    SnapshotKind::Suspend,
    SnapshotKind::Drain,
];

pub(crate) fn encode_barrier(barrier: &Barrier) -> Vec<u8> {
    let (passage, millis): (u8, u32) = match barrier.alignment {
        Alignment::Aligned => (0, 0),
        Alignment::AtLeastOnce => (1, 0),
        Alignment::Unaligned => (2, 0),
        Alignment::AlignedUntil(millis) => (3, millis),
    };
    let kind = KINDS.iter().position(|kind| *kind == barrier.kind).unwrap_or_default();
    let mut bytes = Vec::with_capacity(BARRIER_BYTES);
    bytes.extend_from_slice(&barrier.checkpoint.0.to_le_bytes());
    bytes.extend_from_slice(&barrier.timestamp.to_le_bytes());
    bytes.extend_from_slice(&[kind as u8, passage, 0, 0]);
    bytes.extend_from_slice(&millis.to_le_bytes());
    bytes
}

pub(crate) fn encode_cancel(checkpoint: CheckpointId) -> Vec<u8> {
    checkpoint.0.to_le_bytes().to_vec()
}

/// What a frame of kind `Barrier` or `CancelBarrier` says.
pub(crate) fn decode(frame: &Frame) -> Result<Control, FrameError> {
    let control = match frame.header.kind {
        Kind::Barrier => decode_barrier(frame.payload()).map(Control::Barrier),
        Kind::CancelBarrier => {
            let number = <[u8; CANCEL_BYTES]>::try_from(frame.payload()).ok();
            number.map(|number| Control::CancelBarrier(CheckpointId(u64::from_le_bytes(number))))
        }
        _ => None,
    };
    control.ok_or(FrameError::Malformed("barrier"))
}

fn decode_barrier(bytes: &[u8]) -> Option<Barrier> {
    let (checkpoint, rest) = bytes.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let ([kind, passage, 0, 0], rest) = rest.split_first_chunk()? else { return None };
    let millis = u32::from_le_bytes(rest.try_into().ok()?);
    let alignment = match (passage, millis) {
        (0, 0) => Alignment::Aligned,
        (1, 0) => Alignment::AtLeastOnce,
        (2, 0) => Alignment::Unaligned,
        (3, millis) => Alignment::AlignedUntil(millis),
        _ => return None,
    };
    Some(Barrier {
        checkpoint: CheckpointId(u64::from_le_bytes(*checkpoint)),
        timestamp: i64::from_le_bytes(*timestamp),
        kind: *KINDS.get(usize::from(*kind))?,
        alignment,
    })
}
