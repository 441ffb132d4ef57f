//! A sink of lines to a TCP server, for trying things out (`nc -lk 9999`).

use super::format::{DisplayLines, Format, JsonLines};
use crate::connect::connect;
use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// So much is gathered before it is sent, while records keep coming.
const BUFFER_BYTES: usize = 64 * 1024;

/// A server that takes nothing for so long has failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends lines to a TCP server. Made by [`socket_text`].
#[derive(Clone, Debug)]
pub struct SocketText<F> {
    address: String,
    format: F,
}

/// Connects to `host:port` and sends each record as a line, as `{}` shows it. One subtask only.
/// What was sent cannot be taken back: after a failure the server gets lines again.
///
/// ```no_run
/// use millstream_connectors::sink::socket_text;
///
/// let lines = socket_text("localhost:9999");
/// ```
pub fn socket_text(address: impl Into<String>) -> SocketText<DisplayLines> {
    SocketText { address: address.into(), format: DisplayLines }
}

impl<F> SocketText<F> {
    /// Sends JSON.
    pub fn json(self) -> SocketText<JsonLines> {
        self.format(JsonLines)
    }

    /// Sends records in this format.
    pub fn format<G>(self, format: G) -> SocketText<G> {
        SocketText { address: self.address, format }
    }
}

impl<T, F: Format<T>> Sink<T> for SocketText<F> {
    fn writer(&self, _context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        let stream = connect(&self.address)?;
        let prepared =
            stream.set_write_timeout(Some(WRITE_TIMEOUT)).and_then(|()| stream.set_nodelay(true));
        prepared.map_err(|error| write_failure(&self.address, &error))?;
        let mut format = self.format.clone();
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        format.begin(&mut buffer);
        Ok(Box::new(Writer { address: self.address.clone(), format, buffer, stream }))
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

struct Writer<F> {
    address: String,
    format: F,
    /// Lines that have not been sent.
    buffer: Vec<u8>,
    stream: TcpStream,
}

impl<F> Writer<F> {
    fn send(&mut self) -> Result<(), OperatorError> {
        let sent = self.stream.write_all(&self.buffer);
        self.buffer.clear();
        sent.map_err(|error| write_failure(&self.address, &error))
    }
}

impl<T, F: Format<T>> SinkWriter<T> for Writer<F> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        for record in records.iter() {
            self.format.write(record, &mut self.buffer)?;
            if self.buffer.len() >= BUFFER_BYTES {
                self.send()?;
            }
        }
        records.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), OperatorError> {
        self.send()
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        self.send()?;
        self.stream.shutdown(Shutdown::Write).map_err(|error| write_failure(&self.address, &error))
    }
}

fn write_failure(address: &str, error: &io::Error) -> OperatorError {
    let attempted = format_args!("send lines to `{address}`");
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => failure(
            attempted,
            format_args!("it took nothing for {} s", WRITE_TIMEOUT.as_secs()),
            "check that the server reads",
        ),
        _ => failure(attempted, error, "check the server and the network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::write_all;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn the_server_gets_each_record_as_a_line() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let serve = move || {
            let (mut stream, _) = listener.accept().expect("someone connects");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it is text");
            text
        };
        let server = std::thread::Builder::new().name("server".to_owned()).spawn(serve);
        write_all(&socket_text(&address), 0..50_000).expect("the server reads");
        let text = server.expect("a thread starts").join().expect("it does not panic");
        assert!(text.lines().map(str::parse).eq((0..50_000).map(Ok)));
    }

    #[test]
    fn a_refused_connection_is_told_with_address_and_advice() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let error = write_all(&socket_text(&address), [1]).expect_err("nobody listens");
        assert!(error.message.contains(&address), "{error}");
        assert!(error.message.contains("nc -lk"), "{error}");
    }
}
