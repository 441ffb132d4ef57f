//! Connects to a TCP server.

use crate::failure::failure;
use millstream_core::OperatorError;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A server that does not answer is given up after so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `host:port`, at the first of the name's addresses that answers.
pub(crate) fn connect(address: &str) -> Result<TcpStream, OperatorError> {
    connect_to_any(address).map_err(|error| {
        failure(
            format_args!("connect to `{address}`"),
            error,
            "check host and port, and that the server runs (for a try: nc -lk 9999)",
        )
    })
}

fn connect_to_any(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
