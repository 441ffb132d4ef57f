//! One connection from its first frame to its last: both ends do this, and differ in what they make
//! of a frame.
//!
//! The calling thread reads; a second one writes what could not be written at once. The connection
//! ends when the other side closes it, breaks the protocol, or somebody closes the transport; then
//! the writer thread has ended too when [`converse`] returns.

use super::frame::{Frame, FrameDecoder, Header, Kind, MAGIC, VERSION};
use super::sender::Sender;
use super::shared::Shared;
use super::transport::Transport;
use crate::sync::Arc;
use crate::sync::thread;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long the other side may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// Why a connection ended.
pub(crate) enum Ending {
    /// It was closed or broke: another one may do better.
    Lost(String),
    /// The other side does not keep to the protocol: it would not do so the next time.
    Breach(String),
}

/// What one end makes of the frames of the other.
pub(crate) trait Listener {
    /// A frame has come. An error ends the connection.
    fn receive(&mut self, frame: Frame) -> Result<(), String>;

    /// What had come is received. How long the next read may wait before this is called again.
    fn paused(&mut self) -> Option<Duration>;
}

/// Writes the first bytes of this side: `before`, then hello. Waits; they are few.
pub(crate) fn greet(transport: &dyn Transport, before: &[u8]) -> io::Result<()> {
    let mut bytes = before.to_vec();
    let header = Header { length: MAGIC.len() as u32, ..Header::bare(Kind::Hello, 0, VERSION) };
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&MAGIC);
    let mut left = &bytes[..];
    while !left.is_empty() {
        let n = transport.write(&[io::IoSlice::new(left)])?;
        left = left.get(n..).filter(|_| n > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    Ok(())
}

/// Reads until the connection ends; says why it did.
pub(crate) fn converse(
    transport: &Arc<dyn Transport>,
    sender: &Arc<Sender>,
    shared: &Shared,
    listener: &mut dyn Listener,
) -> Ending {
    let writer = {
        let sender = sender.clone();
        thread::Builder::new().name("wire-writer".to_owned()).spawn(move || sender.run())
    };
    let ending = match &writer {
        Ok(_) => listen_guarded(transport.as_ref(), shared, listener),
        Err(error) => Ending::Lost(format!("no thread for its writer: {error}")),
    };
    sender.close();
    transport.close();
    if let Ok(writer) = writer {
        // Its panics were reported by the hook; there is nothing to add.
        let _ = writer.join();
    }
    ending
}

/// A panic of the reader is a bug; the channels of its connection hear of it all the same.
fn listen_guarded(
    transport: &dyn Transport,
    shared: &Shared,
    listener: &mut dyn Listener,
) -> Ending {
    match catch_unwind(AssertUnwindSafe(|| listen(transport, shared, listener))) {
        Ok(Ok(never)) => match never {},
        Ok(Err(ending)) => ending,
        Err(_) => Ending::Breach("its reader panicked".to_owned()),
    }
}

/// Reads and hands over, until there is a reason to end.
fn listen(
    transport: &dyn Transport,
    shared: &Shared,
    listener: &mut dyn Listener,
) -> Result<Infallible, Ending> {
    let lost = |error: io::Error| Ending::Lost(error.to_string());
    let mut decoder = FrameDecoder::new(shared.read_buffers.clone());
    let mut greeted = false;
    let mut timeout = Some(HELLO_WAIT);
    transport.set_read_timeout(timeout).map_err(lost)?;
    loop {
        match transport.read(&mut decoder.spaces()) {
            Ok(0) => return Err(Ending::Lost("it was closed by the other side".to_owned())),
            Ok(n) => decoder.advance(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) if is_timeout(&error) && greeted => (),
            Err(error) if is_timeout(&error) => {
                return Err(Ending::Lost("no hello came".to_owned()));
            }
            Err(error) => return Err(lost(error)),
        }
        while let Some(frame) = decoder.next().map_err(|error| Ending::Breach(error.to_string()))? {
            if greeted {
                listener.receive(frame).map_err(Ending::Breach)?;
            } else {
                check_hello(&frame).map_err(Ending::Breach)?;
                greeted = true;
            }
        }
        let wanted = if greeted { listener.paused() } else { timeout };
        if wanted != timeout {
            timeout = wanted;
            transport.set_read_timeout(timeout).map_err(lost)?;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn check_hello(frame: &Frame) -> Result<(), String> {
    let header = &frame.header;
    if header.kind != Kind::Hello || frame.payload() != MAGIC {
        return Err("the other side does not speak this protocol".to_owned());
    }
    if header.count != VERSION {
        let theirs = header.count;
        return Err(format!("the other side speaks version {theirs}, this one {VERSION}"));
    }
    Ok(())
}
