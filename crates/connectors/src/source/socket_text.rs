//! A source of the lines that a TCP server sends, for trying things out (`nc -lk 9999`).
//!
//! A thread of its own connects and reads; runs of whole lines wait in a bounded queue, and the
//! task is woken for each. A full queue makes the thread wait, and through TCP the server. Dropping
//! the reader shuts the connection down, which ends the thread.

use crate::connect::connect;
use crate::failure::failure;
use crate::text::Line;
use crate::text::block::{Block, text_of};
use crate::text::lines_of_block::LinesOfBlock;
use memchr::memrchr;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream_shuffle::wake::Wake;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// So much is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A longer line is an error.
const LINE_BYTES_MAX: usize = 64 << 20;

/// So many runs of lines may wait: 4 MiB of lines of ordinary length.
const RUNS_WAITING_MAX: usize = 64;

/// The lines that a TCP server sends. Made by [`socket_text`].
#[derive(Clone, Debug)]
pub struct SocketText {
    address: String,
}

/// Connects to `host:port` and gives the lines that come, as
/// [`text_files`](crate::source::text_files()) does those of a file, until the server closes the
/// connection. One subtask only. Nothing can be read again: after a failure lines are missing.
///
/// ```no_run
/// use millstream_connectors::source::socket_text;
///
/// let lines = socket_text("localhost:9999");
/// ```
pub fn socket_text(address: impl Into<String>) -> SocketText {
    SocketText { address: address.into() }
}

impl Source<Line> for SocketText {
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<Line>>, OperatorError> {
        let (sender, runs) = sync_channel(RUNS_WAITING_MAX);
        let connection = Arc::new(Mutex::new(Connection::Opening));
        let fetcher = Fetcher {
            address: self.address.clone(),
            connection: Arc::clone(&connection),
            runs: sender,
            wake: context.wake.clone(),
        };
        thread::Builder::new()
            .name("socket-source".to_owned())
            .spawn(move || fetcher.run())
            .map_err(|error| {
                failure(
                    format_args!("start a thread that reads from `{}`", self.address),
                    error,
                    "raise the limit of threads, or run fewer tasks on this machine",
                )
            })?;
        Ok(Box::new(Reader { connection, runs, lines: None }))
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn can_replay(&self) -> bool {
        false
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

/// What the thread and the reader share.
enum Connection {
    Opening,
    Open(TcpStream),
    /// The reader is gone.
    Unwanted,
}

struct Reader {
    connection: Arc<Mutex<Connection>>,
    runs: Receiver<Result<Arc<Block>, OperatorError>>,
    lines: Option<LinesOfBlock>,
}

impl SourceReader<Line> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<Line>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let mut room = room;
        loop {
            if let Some(lines) = &mut self.lines {
                room -= lines.take(out, room);
                if room == 0 {
                    return Ok(Poll::More);
                }
            }
            self.lines = match self.runs.try_recv() {
                Ok(run) => Some(LinesOfBlock::new(run?)),
                Err(TryRecvError::Empty) => return Ok(Poll::Idle),
                Err(TryRecvError::Disconnected) => return Ok(Poll::End),
            };
        }
    }

    /// Nothing can be read again, so there is nothing to remember: lines that came after the checkpoint
    /// are missing after a failure.
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Connection::Open(stream) = &*connection {
            // It may have been closed by the server already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        *connection = Connection::Unwanted;
    }
}

/// The thread's part.
struct Fetcher {
    address: String,
    connection: Arc<Mutex<Connection>>,
    runs: SyncSender<Result<Arc<Block>, OperatorError>>,
    wake: Wake,
}

impl Fetcher {
    fn run(self) {
        let result = self.connect().and_then(|stream| match stream {
            Some(stream) => self.read(stream),
            None => Ok(()),
        });
        if let Err(error) = result {
            // If the reader is gone, so is whoever the error is for.
            let _ = self.runs.send(Err(error));
        }
        // The end is seen when the queue has no sender any more.
        let Self { runs, wake, .. } = self;
        drop(runs);
        wake.wake();
    }

    /// Nothing: the reader is gone.
    fn connect(&self) -> Result<Option<TcpStream>, OperatorError> {
        let stream = connect(&self.address)?;
        let handle = stream.try_clone().map_err(|error| self.read_failure(&error))?;
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*connection, Connection::Unwanted) {
            return Ok(None);
        }
        *connection = Connection::Open(handle);
        Ok(Some(stream))
    }

    fn read(&self, mut stream: TcpStream) -> Result<(), OperatorError> {
        let mut bytes = vec![0; READ_BYTES];
        let mut filled = 0;
        loop {
            if filled == bytes.len() {
                self.check_line(filled)?;
                bytes.resize(2 * filled, 0);
            }
            let count = match stream.read(&mut bytes[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_failure(&error)),
            };
            let newline = memrchr(b'\n', &bytes[filled..filled + count]);
            let lines_end = newline.map(|newline| filled + newline + 1);
            filled += count;
            let lines_end = if count == 0 { Some(filled) } else { lines_end };
            if let Some(lines_end) = lines_end {
                if !self.send(&bytes[..lines_end]) || count == 0 {
                    return Ok(());
                }
                bytes.copy_within(lines_end..filled, 0);
                filled -= lines_end;
            }
        }
    }

    /// No: the reader is gone.
    fn send(&self, lines: &[u8]) -> bool {
        if lines.is_empty() {
            return true;
        }
        // A block of the run's own size: someone may keep one line of a slow conversation for long.
        let sent = self.runs.send(Ok(Block::of(text_of(lines.to_vec())))).is_ok();
        self.wake.wake();
        sent
    }

    fn check_line(&self, bytes: usize) -> Result<(), OperatorError> {
        if bytes < LINE_BYTES_MAX {
            return Ok(());
        }
        Err(failure(
            format_args!("read a line from `{}`", self.address),
            format_args!("it is longer than {} MiB", LINE_BYTES_MAX >> 20),
            "check that the server sends text with newlines",
        ))
    }

    fn read_failure(&self, error: &io::Error) -> OperatorError {
        failure(
            format_args!("read from `{}`", self.address),
            error,
            "check the server and the network; this source does not connect again",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{context, read_all};
    use std::io::Write;
    use std::net::TcpListener;

    /// A server that sends these pieces to the first who connects, and then closes.
    fn serve(pieces: Vec<Vec<u8>>) -> SocketText {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let serve = move || {
            let (mut stream, _) = listener.accept().expect("someone connects");
            for piece in pieces {
                // The reader may have gone away.
                let _ = stream.write_all(&piece);
            }
        };
        thread::Builder::new().name("server".to_owned()).spawn(serve).expect("a thread starts");
        socket_text(address)
    }

    #[test]
    fn lines_come_whole_however_they_were_sent() {
        let source = serve(vec![b"to be\nor n".into(), b"ot\r\n".into(), b"\nlast".into()]);
        assert_eq!(read_all(&source, 1).expect("it is served"), ["to be", "or not", "", "last"]);
    }

    #[test]
    fn many_lines_and_long_ones_come_in_order() {
        let long = "x".repeat(3 * READ_BYTES);
        let mut text: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
        text.push_str(&long);
        let lines = read_all(&serve(vec![text.clone().into_bytes()]), 1).expect("it is served");
        let joined: Vec<&str> = lines.iter().map(Line::as_str).collect();
        assert!(joined.join("\n") == text);
    }

    #[test]
    fn a_refused_connection_is_told_with_address_and_advice() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let error = read_all(&socket_text(&address), 1).expect_err("nobody listens");
        let expected = format!("could not connect to `{address}`: Connection refused");
        assert!(error.message.starts_with(&expected), "{error}");
        assert!(error.message.contains("nc -lk"), "{error}");
    }

    #[test]
    fn an_address_without_a_port_is_told() {
        let error = read_all(&socket_text("localhost"), 1).expect_err("no port");
        assert!(error.message.starts_with("could not connect to `localhost`: "), "{error}");
    }

    #[test]
    fn dropping_the_reader_ends_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let reader = socket_text(address).reader(&context(0, 1)).expect("a thread starts");
        let (mut stream, _) = listener.accept().expect("it connects");
        drop(reader);
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}
