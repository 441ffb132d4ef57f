//! For the fuzzer: frames out of any bytes, with what must hold of them.

use super::barrier;
use super::buffer::BufferPool;
use super::frame::{Frame, FrameDecoder, FrameError, HEADER_BYTES, Kind, Subscription};
use super::preface::{PREFACE_BYTES, Preface};
use super::watermark;
use crate::element::Control;

/// Cuts the bytes into frames, `step` at a time; whether all of them were understood.
#[doc(hidden)]
pub fn frames(bytes: &[u8], step: usize) -> bool {
    if let Some(preface) = bytes.first_chunk::<PREFACE_BYTES>() {
        assert_eq!(Preface::decode(preface).encode(), *preface);
    }
    let mut decoder = FrameDecoder::new(BufferPool::for_reading());
    let (mut left, mut understood) = (bytes, 0);
    while !left.is_empty() {
        left = &left[offer(&mut decoder, &left[..step.min(left.len())])..];
        loop {
            match decoder.next() {
                Ok(Some(frame)) => understood += checked(&frame, &bytes[understood..]),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    understood == bytes.len()
}

/// Copies what fits into the decoder's spaces, as a read would; gives how much that was.
fn offer(decoder: &mut FrameDecoder, bytes: &[u8]) -> usize {
    let mut offered = 0;
    for mut space in decoder.spaces() {
        let n = space.len().min(bytes.len() - offered);
        space[..n].copy_from_slice(&bytes[offered..offered + n]);
        offered += n;
    }
    assert!(offered > 0, "there is always space");
    decoder.advance(offered);
    offered
}

/// There is one way to write a frame and what it carries. How many bytes it has.
fn checked(frame: &Frame, bytes: &[u8]) -> usize {
    let payload = frame.payload();
    let length = HEADER_BYTES + payload.len();
    assert_eq!([&frame.header.encode()[..], payload].concat(), bytes[..length]);
    let written = match frame.header.kind {
        Kind::Subscribe => Subscription::decode(payload).map(|subscribed| subscribed.encode()),
        Kind::Barrier | Kind::CancelBarrier => {
            barrier::decode(frame).map(|control| match control {
                Control::Barrier(barrier) => barrier::encode_barrier(&barrier),
                Control::CancelBarrier(checkpoint) => barrier::encode_cancel(checkpoint),
                other => unreachable!("{other:?} is no barrier"),
            })
        }
        Kind::Watermark => watermark::decode(frame).map(|control| match control {
            Control::Watermark(watermark) => watermark::encode_watermark(watermark),
            other => unreachable!("{other:?} is no watermark"),
        }),
        _ => Err(FrameError::Malformed("frame without fields")),
    };
    if let Ok(written) = written {
        assert_eq!(written, payload);
    }
    length
}
