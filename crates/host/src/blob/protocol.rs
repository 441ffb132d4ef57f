//! What client and server of blobs say to each other. One request per connection.
//!
//! ```text
//! request   magic "MSB1", verb (1 put, 2 get), 3 zero bytes, secret 32, job 16, hash 16, length 8
//! reply     status 1, words' length 2, number 8, words
//! chunk     length 4 (1 to 65536), bytes
//!
//! get       request, reply (number = length), chunks, reply
//! put       request, reply: Proceed, chunks, reply: Done
//!           request, reply: Done                            it is there already
//! ```
//!
//! All numbers are little-endian. Each length is checked against its bound before anything is
//! allocated or believed; the content is checked against its name at the end, on both sides.
//!
//! [`serve`] and [`Request`] work on any stream; time-outs are the stream's.

use super::error::BlobError;
use super::store::BlobStore;
use super::transfer::{self, CHUNK_BYTES_MAX, Sink};
use crate::artefact::ARTEFACT_BYTES_MAX;
use millstream_core::hash::Hasher128;
use millstream_core::ids::{ContentHash, JobId};
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;

const MAGIC: [u8; 4] = *b"MSB1";

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 80;

const REPLY_BYTES: usize = 11;
const WORDS_BYTES_MAX: usize = 1024;

/// What members of one cluster share. Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The cluster's secret.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Secret(bytes)
    }

    /// Takes as long for a wrong secret as for the right one.
    fn is(&self, other: &Secret) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Put or get.
    pub verb: Verb,
    /// Says that it may ask.
    pub secret: Secret,
    /// Who needs the blob. Only a put says so.
    pub job: JobId,
    /// The blob.
    pub hash: ContentHash,
    /// How long it is. Only a put says so.
    pub bytes: u64,
}

impl Request {
    /// As it goes over the connection.
    pub fn encode(&self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = if self.verb == Verb::Put { 1 } else { 2 };
        bytes[8..40].copy_from_slice(&self.secret.0);
        bytes[40..56].copy_from_slice(&self.job.0.to_le_bytes());
        bytes[56..72].copy_from_slice(&self.hash.0.to_le_bytes());
        bytes[72..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// What came over the connection.
    pub fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<Self, BlobError> {
        if bytes[..4] != MAGIC {
            return Err(BlobError::Protocol("speaks something else, or another version"));
        }
        let verb = match bytes[4] {
            1 => Verb::Put,
            2 => Verb::Get,
            _ => return Err(BlobError::Protocol("wants something unknown")),
        };
        if bytes[5..8] != [0; 3] {
            return Err(BlobError::Protocol("says something unknown"));
        }
        Ok(Request {
            verb,
            secret: Secret(array(&bytes[8..40])),
            job: JobId(u128::from_le_bytes(array(&bytes[40..56]))),
            hash: ContentHash(u128::from_le_bytes(array(&bytes[56..72]))),
            bytes: u64::from_le_bytes(array(&bytes[72..80])),
        })
    }
}

/// What is to be done with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It goes to the server.
    Put,
    /// It comes from the server.
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Done,
    Proceed,
    Denied,
    Unknown,
    Quota,
    Damaged,
    Failed,
}

const STATUSES: [Status; 7] = [
    Status::Done,
    Status::Proceed,
    Status::Denied,
    Status::Unknown,
    Status::Quota,
    Status::Damaged,
    Status::Failed,
];

struct Reply {
    status: Status,
    number: u64,
    words: String,
}

/// Something that both sides can read and write.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Answers one request. `progress` is called for the request and for each chunk that goes or comes,
/// so that the caller can tell a slow client from a dead one.
pub fn serve(
    store: &BlobStore,
    secret: &Secret,
    stream: &mut dyn Stream,
    progress: &mut dyn FnMut(),
) -> Result<(), BlobError> {
    let request = read_request(stream)?;
    progress();
    let served = if !secret.is(&request.secret) {
        Err(BlobError::Denied)
    } else if request.verb == Verb::Put {
        serve_put(store, &request, stream, progress)
    } else {
        serve_get(store, &request, stream, progress)
    };
    let reply = match &served {
        Ok(()) => Reply { status: Status::Done, number: 0, words: String::new() },
        // It would not be understood, or not arrive.
        Err(BlobError::Protocol(_) | BlobError::Transfer { .. }) => return served,
        Err(error) => error_reply(error),
    };
    let told = write_reply(stream, request.hash, &reply);
    if served.is_err() {
        // What the client was about to send is thrown away, up to a bound: closing a connection with
        // unread bytes would reset it and take our reply along.
        discard_rest(stream, progress);
    }
    served.and(told)
}

/// Sends what `content` gives, under the name `request.hash`; `path` is for messages.
pub fn send(
    request: &Request,
    stream: &mut dyn Stream,
    content: &mut dyn Read,
    path: &Path,
) -> Result<(), BlobError> {
    write_request(stream, request)?;
    let hash = request.hash;
    match check_reply(hash, read_reply(stream, hash)?)?.status {
        Status::Done => return Ok(()),
        Status::Proceed => (),
        _ => return Err(BlobError::Protocol("answered what was not asked")),
    }
    let read_error = |cause| BlobError::file("read", path)(cause);
    let mut sink = |chunk: &[u8]| write_chunk(stream, hash, chunk);
    let sent = transfer::copy(content, read_error, &mut sink);
    // A server that gives up says why before it stops to read.
    if matches!(sent, Err(BlobError::Transfer { .. })) {
        check_reply(hash, read_reply(stream, hash)?)?;
    }
    let (bytes, found) = sent?;
    // It would wait for more.
    if bytes < request.bytes {
        return Err(BlobError::Damaged { expected: hash, found });
    }
    check_reply(hash, read_reply(stream, hash)?).map(|_| ())
}

/// Receives the blob `request.hash` into `sink`, whose path is for messages; returns its length. The
/// content has been checked.
pub fn receive(
    request: &Request,
    stream: &mut dyn Stream,
    sink: &mut dyn Write,
    path: &Path,
) -> Result<u64, BlobError> {
    write_request(stream, request)?;
    let hash = request.hash;
    let bytes = check_reply(hash, read_reply(stream, hash)?)?.number;
    if ARTEFACT_BYTES_MAX < bytes {
        return Err(BlobError::Protocol("announced a blob that is too long"));
    }
    let mut write = |chunk: &[u8]| transfer::write_all(sink, path, chunk);
    let found = read_chunks(stream, hash, bytes, &mut write, &mut || ())?;
    check_reply(hash, read_reply(stream, hash)?)?;
    transfer::verify(hash, found)?;
    Ok(bytes)
}

fn serve_put(
    store: &BlobStore,
    request: &Request,
    stream: &mut dyn Stream,
    progress: &mut dyn FnMut(),
) -> Result<(), BlobError> {
    let Request { job, hash, bytes, .. } = *request;
    if store.add_reference(job, hash)? {
        return Ok(());
    }
    if ARTEFACT_BYTES_MAX < bytes {
        return Err(BlobError::Quota { needed: bytes, used: 0, quota: ARTEFACT_BYTES_MAX });
    }
    let mut incoming = store.begin(bytes)?;
    let proceed = Reply { status: Status::Proceed, number: 0, words: String::new() };
    write_reply(stream, hash, &proceed)?;
    let found = read_chunks(stream, hash, bytes, &mut incoming, progress)?;
    transfer::verify(hash, found)?;
    incoming.finish(job, hash)
}

fn serve_get(
    store: &BlobStore,
    request: &Request,
    stream: &mut dyn Stream,
    progress: &mut dyn FnMut(),
) -> Result<(), BlobError> {
    let hash = request.hash;
    let (bytes, mut file) = store.get(hash)?;
    if file.metadata().is_ok_and(|found| found.len() != bytes) {
        store.discard(hash);
        return Err(BlobError::Damaged { expected: hash, found: ContentHash::default() });
    }
    let announce = Reply { status: Status::Done, number: bytes, words: String::new() };
    write_reply(stream, hash, &announce)?;
    let read_error = |_| BlobError::Protocol("could not read a blob");
    let mut sink = |chunk: &[u8]| {
        progress();
        write_chunk(stream, hash, chunk)
    };
    let (sent, found) = transfer::copy(&mut file, read_error, &mut sink)?;
    if sent != bytes {
        return Err(BlobError::Protocol("has lost a part of a blob"));
    }
    let result = transfer::verify(hash, found);
    if result.is_err() {
        // It is damaged on our disk. The next put heals it.
        store.discard(hash);
    }
    result
}

fn error_reply(error: &BlobError) -> Reply {
    let (status, number) = match error {
        BlobError::Denied => (Status::Denied, 0),
        BlobError::Unknown(_) => (Status::Unknown, 0),
        BlobError::Quota { used, quota, .. } => (Status::Quota, quota.saturating_sub(*used)),
        BlobError::Damaged { .. } => (Status::Damaged, 0),
        _ => (Status::Failed, 0),
    };
    let mut words = error.to_string();
    if let BlobError::File { cause, .. } = error {
        words.push_str(&format!(": {cause}"));
    }
    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
    Reply { status, number, words }
}

fn check_reply(hash: ContentHash, reply: Reply) -> Result<Reply, BlobError> {
    match reply.status {
        Status::Done | Status::Proceed => Ok(reply),
        Status::Denied => Err(BlobError::Denied),
        Status::Unknown => Err(BlobError::Unknown(hash)),
        Status::Damaged => {
            Err(BlobError::Damaged { expected: hash, found: ContentHash::default() })
        }
        Status::Quota | Status::Failed => Err(BlobError::Server(reply.words)),
    }
}

fn write_request(stream: &mut dyn Stream, request: &Request) -> Result<(), BlobError> {
    stream.write_all(&request.encode()).map_err(BlobError::transfer(request.hash))
}

fn read_request(stream: &mut dyn Stream) -> Result<Request, BlobError> {
    let mut bytes = [0; REQUEST_BYTES];
    stream.read_exact(&mut bytes).map_err(BlobError::transfer(ContentHash::default()))?;
    Request::decode(&bytes)
}

fn write_reply(stream: &mut dyn Stream, hash: ContentHash, reply: &Reply) -> Result<(), BlobError> {
    let mut bytes = Vec::with_capacity(REPLY_BYTES + reply.words.len());
    bytes.push(reply.status as u8);
    bytes.extend_from_slice(&(reply.words.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&reply.number.to_le_bytes());
    bytes.extend_from_slice(reply.words.as_bytes());
    stream.write_all(&bytes).map_err(BlobError::transfer(hash))
}

fn read_reply(stream: &mut dyn Stream, hash: ContentHash) -> Result<Reply, BlobError> {
    let mut bytes = [0; REPLY_BYTES];
    stream.read_exact(&mut bytes).map_err(BlobError::transfer(hash))?;
    let status = STATUSES.get(usize::from(bytes[0])).copied();
    let status = status.ok_or(BlobError::Protocol("answered with an unknown status"))?;
    let words_bytes = usize::from(u16::from_le_bytes(array(&bytes[1..3])));
    if WORDS_BYTES_MAX < words_bytes {
        return Err(BlobError::Protocol("is too talkative"));
    }
    let mut words = vec![0; words_bytes];
    stream.read_exact(&mut words).map_err(BlobError::transfer(hash))?;
    let number = u64::from_le_bytes(array(&bytes[3..11]));
    Ok(Reply { status, number, words: String::from_utf8_lossy(&words).into_owned() })
}

fn write_chunk(stream: &mut dyn Stream, hash: ContentHash, chunk: &[u8]) -> Result<(), BlobError> {
    debug_assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES_MAX);
    let failed = BlobError::transfer(hash);
    stream.write_all(&(chunk.len() as u32).to_le_bytes()).map_err(&failed)?;
    stream.write_all(chunk).map_err(&failed)
}

/// Reads chunks of `bytes` bytes in all; returns their hash.
fn read_chunks(
    stream: &mut dyn Stream,
    hash: ContentHash,
    bytes: u64,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(),
) -> Result<ContentHash, BlobError> {
    let failed = BlobError::transfer(hash);
    let mut hasher = Hasher128::new();
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    let mut left = bytes;
    while 0 < left {
        let mut length = [0; 4];
        stream.read_exact(&mut length).map_err(&failed)?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || CHUNK_BYTES_MAX < length || left < length as u64 {
            return Err(BlobError::Protocol("sent a chunk of an impossible length"));
        }
        stream.read_exact(&mut chunk[..length]).map_err(&failed)?;
        progress();
        hasher.update(&chunk[..length]);
        sink.accept(&chunk[..length])?;
        left -= length as u64;
    }
    Ok(ContentHash(hasher.finish()))
}

fn discard_rest(stream: &mut dyn Stream, progress: &mut dyn FnMut()) {
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    let mut left = 16 << 20;
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        progress();
        left -= count as i64;
        if left < 0 {
            return;
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut it to this length")
}
