//! The preface of a data connection: 32 clear bytes that tell a worker which job process is meant.
//! The worker reads them and hands the socket on; everything after them is between job processes.

use millstream_core::ids::JobId;
use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// The job.
    pub job: JobId,
    /// Which start of its process; 0: the current one.
    pub incarnation: u64,
    /// Known to the processes of the job alone.
    pub nonce: u64,
}

/// Bytes of a preface.
pub const PREFACE_BYTES: usize = 32;

impl Preface {
    /// The bytes.
    pub fn encode(&self) -> [u8; PREFACE_BYTES] {
        let mut bytes = [0; PREFACE_BYTES];
        bytes[..16].copy_from_slice(&self.job.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// What [`Preface::encode`] wrote.
    pub fn decode(bytes: &[u8; PREFACE_BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let job = u128::from(word(0)) | u128::from(word(8)) << 64;
        Self { job: JobId(job), incarnation: word(16), nonce: word(24) }
    }

    /// Reads the preface of a fresh connection, for at most so long.
    pub fn read(stream: &mut TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        let mut bytes = [0; PREFACE_BYTES];
        stream.read_exact(&mut bytes)?;
        stream.set_read_timeout(None)?;
        Ok(Self::decode(&bytes))
    }
}
