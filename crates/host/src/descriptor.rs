//! Hands an open connection to another process, with a few bytes about it.
//!
//! This is how a TaskManager has one data port: it accepts, reads the preface that says whose the
//! connection is, and sends both to the job process, which goes on where the preface ended.
//!
//! A message is a length (4 bytes, little-endian), then the payload; the descriptor travels with the
//! length's first byte. The receiver never reads past a message, so a descriptor cannot be mistaken
//! for that of the next one. After any error but [`PassError::Idle`] the two sides may disagree
//! where a message begins: drop the channel.
//!
//! Both calls block. A sender that must not hang on a receiver that does not read sets a write
//! timeout on the channel, as `child` does.

use crate::ErrorKind;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A payload may not be longer.
pub const PAYLOAD_BYTES_MAX: usize = 4096;

const LENGTH_BYTES: usize = 4;
/// More than one descriptor is an error, but they have to be received to be closed.
const DESCRIPTORS_MAX: usize = 4;

/// Why a descriptor did not get through.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Nothing came within the channel's read timeout; the channel is as good as before.
    #[error("no descriptor came in time")]
    Idle,
    /// The channel failed, or its other end is gone.
    #[error("could not pass a descriptor to or from another process")]
    Channel(#[source] io::Error),
    /// Too long to send, or said to be.
    #[error(
        "a payload of {bytes} bytes is beside a descriptor, at most {PAYLOAD_BYTES_MAX} may be"
    )]
    PayloadTooLong {
        /// How long.
        bytes: usize,
    },
    /// The kernel dropped it: this process has too many files open.
    #[error(
        "a descriptor was lost on its way in, because this process may not open more files; raise \
         its limit (ulimit -n)"
    )]
    Lost,
    /// A message came with none, or with several.
    #[error("a message came with {count} descriptors instead of one")]
    Count {
        /// How many.
        count: usize,
    },
}

impl PassError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PassError::Idle | PassError::Channel(_) => ErrorKind::Transient,
            PassError::PayloadTooLong { .. } | PassError::Count { .. } => ErrorKind::Internal,
            PassError::Lost => ErrorKind::Machine,
        }
    }
}

/// Sends a duplicate of `stream` and `payload`. The caller's own descriptor stays open.
pub fn send_stream(
    channel: &UnixStream,
    stream: impl AsFd,
    payload: &[u8],
) -> Result<(), PassError> {
    if PAYLOAD_BYTES_MAX < payload.len() {
        return Err(PassError::PayloadTooLong { bytes: payload.len() });
    }
    let mut message = Vec::with_capacity(LENGTH_BYTES + payload.len());
    message.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    message.extend_from_slice(payload);

    let descriptors = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
    assert!(fits, "the space was made for one descriptor");
    #[cfg(target_os = "linux")]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::empty();
    let sent = retry_on_intr(|| sendmsg(channel, &[IoSlice::new(&message)], &mut control, flags))
        .map_err(|error| PassError::Channel(error.into()))?;
    // The descriptor went with the first byte; what is left is plain bytes.
    (&*channel).write_all(&message[sent..]).map_err(PassError::Channel)
}

/// Receives what [`send_stream`] sent. `None` once the sender is gone.
pub fn receive_stream(channel: &UnixStream) -> Result<Option<(OwnedFd, Vec<u8>)>, PassError> {
    let mut length = [0; LENGTH_BYTES];
    let (received, mut descriptors) = match receive_some(channel, &mut length) {
        Ok((0, _)) => return Ok(None),
        Ok(some) => some,
        Err(PassError::Channel(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(PassError::Idle);
        }
        Err(error) => return Err(error),
    };
    (&*channel).read_exact(&mut length[received..]).map_err(PassError::Channel)?;
    let bytes = u32::from_le_bytes(length) as usize;
    if PAYLOAD_BYTES_MAX < bytes {
        return Err(PassError::PayloadTooLong { bytes });
    }
    let mut payload = vec![0; bytes];
    (&*channel).read_exact(&mut payload).map_err(PassError::Channel)?;
    match (descriptors.pop(), descriptors.len()) {
        (Some(descriptor), 0) => Ok(Some((descriptor, payload))),
        (first, rest) => Err(PassError::Count { count: rest + usize::from(first.is_some()) }),
    }
}

/// One `recvmsg`: how many bytes came, and the descriptors with them, close-on-exec.
fn receive_some(
    channel: &UnixStream,
    bytes: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), PassError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let message =
        retry_on_intr(|| recvmsg(channel, &mut [IoSliceMut::new(bytes)], &mut control, flags))
            .map_err(|error| PassError::Channel(error.into()))?;
    let lost = message.flags.contains(ReturnFlags::CTRUNC);
    let mut descriptors = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = item {
            descriptors.extend(received);
        }
    }
    #[cfg(not(target_os = "linux"))]
    for descriptor in &descriptors {
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
    if lost { Err(PassError::Lost) } else { Ok((message.bytes, descriptors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    /// Both ends of a TCP connection.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_connection_goes_on_where_its_preface_ended() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut client, mut accepted) = connection();
        client.write_all(&[7; 32]).unwrap();
        client.write_all(b"after the preface").unwrap();
        let mut preface = [0; 32];
        accepted.read_exact(&mut preface).unwrap();
        send_stream(&ours, &accepted, &preface).unwrap();
        drop(accepted);

        let (descriptor, payload) = receive_stream(&theirs).unwrap().unwrap();
        assert_eq!(payload, [7; 32]);
        let mut handed_over = TcpStream::from(descriptor);
        drop(client.shutdown(std::net::Shutdown::Write));
        let mut text = String::new();
        handed_over.read_to_string(&mut text).unwrap();
        assert_eq!(text, "after the preface");
    }

    #[test]
    fn many_messages_keep_their_own_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let pairs: Vec<_> = (0..20).map(|_| connection()).collect();
        for (number, (_, accepted)) in pairs.iter().enumerate() {
            send_stream(&ours, accepted, &vec![number as u8; number * 7]).unwrap();
        }
        drop(ours);
        for (number, (client, _)) in pairs.iter().enumerate() {
            let (descriptor, payload) = receive_stream(&theirs).unwrap().unwrap();
            assert_eq!(payload, vec![number as u8; number * 7]);
            let peer = TcpStream::from(descriptor).peer_addr().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
        assert!(receive_stream(&theirs).unwrap().is_none());
    }

    #[test]
    fn a_message_without_a_descriptor_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[2, 0, 0, 0, 1, 1]).unwrap();
        assert!(matches!(receive_stream(&theirs), Err(PassError::Count { count: 0 })));
    }

    #[test]
    fn a_length_is_checked_before_it_is_believed() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[0xff; 4]).unwrap();
        let error = receive_stream(&theirs).unwrap_err();
        assert!(matches!(error, PassError::PayloadTooLong { bytes: 0xffff_ffff }));
        let error = send_stream(&ours, &theirs, &[0; PAYLOAD_BYTES_MAX + 1]).unwrap_err();
        assert!(matches!(error, PassError::PayloadTooLong { .. }));
    }

    #[test]
    fn a_receiver_that_is_gone_or_does_not_read_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let payload = [0; PAYLOAD_BYTES_MAX];
        // Not one of the two: a socket in its own queue is not closed by dropping it.
        let file = std::fs::File::open("/dev/null").unwrap();
        let full = (0..1000).find_map(|_| send_stream(&ours, &file, &payload).err());
        assert!(matches!(full, Some(PassError::Channel(_))));
        drop(theirs);
        assert!(matches!(send_stream(&ours, &file, b""), Err(PassError::Channel(_))));
    }

    #[test]
    fn waiting_in_vain_leaves_the_channel_good() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(matches!(receive_stream(&theirs), Err(PassError::Idle)));
        send_stream(&ours, &ours, b"x").unwrap();
        assert_eq!(receive_stream(&theirs).unwrap().unwrap().1, b"x");
    }
}
