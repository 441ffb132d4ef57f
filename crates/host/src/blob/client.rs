//! Puts and gets blobs over TCP, one connection each.

use super::error::BlobError;
use super::protocol::{self, Request, Secret, Verb};
use super::transfer;
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{ContentHash, JobId};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for the server's next bytes, usually.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// Knows where the blob server is.
#[derive(Clone, Debug)]
pub struct BlobClient {
    address: SocketAddr,
    secret: Secret,
    patience: Duration,
}

impl BlobClient {
    /// A client of the server at `address`. It waits `patience` for a connection, and as long for
    /// each further sign of life.
    pub fn new(address: SocketAddr, secret: Secret, patience: Duration) -> Self {
        BlobClient { address, secret, patience }
    }

    /// Puts a file into the store for a job. If the store has it already, nothing is sent.
    pub fn put_file(&self, job: JobId, path: &Path) -> Result<ContentHash, BlobError> {
        let hash = transfer::hash_of(path)?;
        let mut file = File::open(path).map_err(BlobError::file("read", path))?;
        let bytes = file.metadata().map_err(BlobError::file("read", path))?.len();
        self.put(job, hash, bytes, &mut file, path)?;
        Ok(hash)
    }

    /// Puts bytes into the store for a job.
    pub fn put_bytes(&self, job: JobId, mut bytes: &[u8]) -> Result<ContentHash, BlobError> {
        let (hash, length) = (ContentHash(xxh3_128(bytes)), bytes.len() as u64);
        self.put(job, hash, length, &mut bytes, Path::new("memory"))?;
        Ok(hash)
    }

    /// Gets a blob; returns its length. It has been checked by then, but not before: on an error the
    /// sink holds a part, or something else. `path` is what messages call the sink.
    pub fn get(
        &self,
        hash: ContentHash,
        sink: &mut dyn Write,
        path: &Path,
    ) -> Result<u64, BlobError> {
        let request = self.request(Verb::Get, JobId::default(), hash, 0);
        protocol::receive(&request, &mut self.connect()?, sink, path)
    }

    fn put(
        &self,
        job: JobId,
        hash: ContentHash,
        bytes: u64,
        content: &mut dyn Read,
        path: &Path,
    ) -> Result<(), BlobError> {
        let request = self.request(Verb::Put, job, hash, bytes);
        protocol::send(&request, &mut self.connect()?, content, path)
    }

    fn request(&self, verb: Verb, job: JobId, hash: ContentHash, bytes: u64) -> Request {
        Request { verb, secret: self.secret.clone(), job, hash, bytes }
    }

    fn connect(&self) -> Result<TcpStream, BlobError> {
        let failed = |cause| BlobError::Connect { address: self.address, cause: Arc::new(cause) };
        let stream = TcpStream::connect_timeout(&self.address, self.patience).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(self.patience)).map_err(failed)?;
        stream.set_write_timeout(Some(self.patience)).map_err(failed)?;
        Ok(stream)
    }
}
