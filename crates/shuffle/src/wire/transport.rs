//! What a connection stands on: bytes in both directions, at once.
//!
//! [`Tcp`] in production; a pipe in memory where threads are checked under shuttle; TLS, when it
//! comes, is a third. A [`Dialer`] makes the connections of a process to others; who accepts is
//! outside of this crate.

use super::counters::Counters;
use crate::sync::Arc;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg, sockopt};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// One connection. One thread reads; writers take turns.
pub trait Transport: Send + Sync {
    /// Reads what is there, waiting until there is something. 0: the other end has closed.
    /// With a timeout in force, an error of kind `WouldBlock` or `TimedOut` ends the wait.
    fn read(&self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// How long a read may wait. `None`: for ever.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Writes some of the bytes, waiting until some can be taken.
    fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes what can be taken now; an error of kind `WouldBlock` if nothing can.
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Says that nothing more will be written. Reading goes on.
    fn close_write(&self);

    /// Ends both directions at once; reads and writes that wait return.
    fn close(&self);
}

/// Makes connections.
pub trait Dialer: Send + Sync {
    /// Connects to `host:port`; called on a thread that may wait.
    fn dial(&self, address: &str) -> io::Result<Arc<dyn Transport>>;
}

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer may leave bytes unacknowledged: a machine that is gone is noticed after so long,
/// a process that only stands still for less is not.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a silent connection is believed in before the kernel asks; how often; how many times.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 4);

/// A TCP connection.
pub struct Tcp {
    stream: TcpStream,
    counters: Arc<Counters>,
}

impl Tcp {
    pub(crate) fn new(stream: TcpStream, counters: Arc<Counters>) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT.as_millis() as u32)?;
        let (idle, interval, count) = KEEP_ALIVE;
        sockopt::set_tcp_keepidle(&stream, idle)?;
        sockopt::set_tcp_keepintvl(&stream, interval)?;
        sockopt::set_tcp_keepcnt(&stream, count)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        counters.opened();
        Ok(Self { stream, counters })
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.counters.closed();
    }
}

impl Transport for Tcp {
    fn read(&self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = (&self.stream).read_vectored(spaces)?;
        self.counters.came_in(read);
        Ok(read)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = (&self.stream).write_vectored(bytes)?;
        self.counters.went_out(written);
        Ok(written)
    }

    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = sendmsg(&self.stream, bytes, &mut SendAncillaryBuffer::default(), flags)?;
        self.counters.went_out(written);
        Ok(written)
    }

    fn close_write(&self) {
        // Fails only where there is nothing left to close.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn close(&self) {
        // As above.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Connects over TCP.
pub(crate) struct TcpDialer {
    pub(crate) counters: Arc<Counters>,
}

impl Dialer for TcpDialer {
    fn dial(&self, address: &str) -> io::Result<Arc<dyn Transport>> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for place in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&place, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(Arc::new(Tcp::new(stream, self.counters.clone())?)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
