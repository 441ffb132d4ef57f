//! The 32 bytes in clear with which a connection to a TaskManager's data port begins.
//!
//! Whoever accepts reads them, decides which job process the connection is for, and hands the socket
//! over; what follows (one day: TLS) is between the two job processes. So a reader takes these 32
//! bytes and not one more.

use millstream_core::ids::JobId;
use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a preface.
pub const PREFACE_BYTES: usize = 32;

/// Says for whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// The job whose data is wanted.
    pub job: JobId,
    /// Which life of the job's process on that TaskManager is meant; 0: the current one.
    pub incarnation: u64,
    /// What the dialler was told by the job's master; the TaskManager may check it.
    pub nonce: u64,
}

impl Preface {
    /// Job, incarnation and nonce, little-endian.
    pub fn encode(&self) -> [u8; PREFACE_BYTES] {
        let mut bytes = [0; PREFACE_BYTES];
        bytes[..16].copy_from_slice(&self.job.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Every 32 bytes are a preface; whether there is such a job is for others to say.
    pub fn decode(bytes: &[u8; PREFACE_BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            job: JobId(u128::from(word(0)) | u128::from(word(8)) << 64),
            incarnation: word(16),
            nonce: word(24),
        }
    }

    /// Reads the preface off a connection that was just accepted. Waits at most for `timeout`, also
    /// for a peer that sends byte by byte; leaves the socket blocking and without a timeout.
    pub fn read(stream: &mut TcpStream, timeout: Duration) -> io::Result<Self> {
        let until = Instant::now() + timeout;
        let mut bytes = [0; PREFACE_BYTES];
        let mut filled = 0;
        stream.set_nonblocking(false)?;
        while filled < PREFACE_BYTES {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no preface came in time"));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(error) if is_pause(&error) => (),
                Err(error) => return Err(error),
            }
        }
        stream.set_read_timeout(None)?;
        Ok(Self::decode(&bytes))
    }
}

/// Nothing came, which is not a failure of the connection.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_has_its_fields_in_order_and_little_endian() {
        let preface = Preface { job: JobId(0x0102), incarnation: 3, nonce: 0x0405 };
        let bytes = preface.encode();
        assert_eq!(bytes[..3], [2, 1, 0]);
        assert_eq!((bytes[16], bytes[24], bytes[25]), (3, 5, 4));
        assert_eq!(Preface::decode(&bytes), preface);
        let high = Preface { job: JobId(u128::MAX - 7), incarnation: u64::MAX, nonce: 0 };
        assert_eq!(Preface::decode(&high.encode()), high);
    }
}
