//! What processes say to each other.

use crate::limits::within;
use millstream_rpc::protocol::job_link::{FromJobProcess, ToJobProcess};
use millstream_rpc::protocol::{Answer, Message};
use millstream_rpc::shell::{frame, link};
use serde::{Serialize, de::DeserializeOwned};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Messages are lists of large values with few bytes: a vertex of a job graph has seven bytes at
/// least and takes more than a hundred, and room for as many as were announced is made before.
pub(crate) const MESSAGE: usize = 512;

/// Frames of the connections between processes, one after the other.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut understood = false;
    while let Ok(frame) = within(rest.len(), MESSAGE, || now(frame::read(&mut rest))) {
        let written = frame::encode(&frame).expect("no larger than it came");
        let again = now(frame::read(&mut &written[..])).expect("what was written is read");
        assert_eq!(frame::encode(&again).expect("as before"), written);
        understood = true;
    }
    understood
}

/// The result of what never waits.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("bytes in memory are there"),
    }
}

/// A message (the first byte is even) or an answer (it is odd).
pub(crate) fn message(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((choice, bytes)) if choice % 2 == 0 => value::<Message>(bytes),
        Some((_, bytes)) => value::<Answer>(bytes),
        None => false,
    }
}

/// A value; whether it is one.
pub(crate) fn value<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = within(bytes.len(), MESSAGE, || postcard::from_bytes::<T>(bytes)) else {
        return false;
    };
    let written = postcard::to_stdvec(&value).expect("it is in memory");
    let again: T = postcard::from_bytes(&written).expect("what was written is read");
    assert_eq!(postcard::to_stdvec(&again).expect("it is in memory"), written);
    true
}

/// Frames of the link between task executor and job process: the first byte says which end reads.
pub(crate) fn job_link(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((choice, bytes)) if choice % 2 == 0 => link_frames::<ToJobProcess>(bytes),
        Some((_, bytes)) => link_frames::<FromJobProcess>(bytes),
        None => false,
    }
}

fn link_frames<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut understood = false;
    while let Ok(message) = within(rest.len(), MESSAGE, || link::read_frame::<T>(&mut rest)) {
        let written = link_written(&message);
        let again: T = link::read_frame(&mut &written[..]).expect("what was written is read");
        assert_eq!(link_written(&again), written);
        understood = true;
    }
    understood
}

fn link_written(message: &impl Serialize) -> Vec<u8> {
    let mut written = Vec::new();
    link::write_frame(&mut written, message).expect("no larger than it came");
    written
}
