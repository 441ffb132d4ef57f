//! What the blob server and its clients say to each other.

use crate::limits::{PLAIN, within};
use millstream_core::ids::{ContentHash, JobId};
use millstream_host::blob::protocol::{REQUEST_BYTES, Request, Secret, Verb, receive};
use std::io::{self, Read, Write};
use std::path::Path;

/// What a client asks for.
pub(crate) fn blob_request(bytes: &[u8]) -> bool {
    let Some((bytes, _)) = bytes.split_first_chunk::<REQUEST_BYTES>() else { return false };
    match within(bytes.len(), PLAIN, || Request::decode(bytes)) {
        Ok(request) => {
            assert_eq!(request.encode(), *bytes, "there is one way to write a request");
            true
        }
        Err(_) => false,
    }
}

/// All that a server says to a client that wants a blob: its name is in front.
pub(crate) fn blob_reply(bytes: &[u8]) -> bool {
    let Some((name, said)) = bytes.split_first_chunk() else { return false };
    let hash = ContentHash(u128::from_le_bytes(*name));
    let request =
        Request { verb: Verb::Get, secret: Secret::new([7; 32]), job: JobId(1), hash, bytes: 0 };
    let mut blob = Vec::new();
    let mut server = Server { said, asked: Vec::new() };
    // The buffer for chunks alone has 64 KiB.
    let received = within(bytes.len() + (8 << 10), PLAIN, || {
        receive(&request, &mut server, &mut blob, Path::new("blob"))
    });
    assert_eq!(server.asked, request.encode());
    match received {
        Ok(length) => {
            assert_eq!(blob.len() as u64, length);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Says what it says, whatever it is asked.
struct Server<'a> {
    said: &'a [u8],
    asked: Vec<u8>,
}

impl Read for Server<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.said.read(bytes)
    }
}

impl Write for Server<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
