//! Records of 100 bytes from one process to another over loopback, written 64 KiB at a time.

use std::hint::black_box;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::peer::Peer;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::wide;

const BUFFER_BYTES: usize = 64 << 10;

/// The receiving process, which starts the sending one.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records: u64 = arguments.value("records", 20_000_000)?;
    arguments.finish()?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let clock = Clock::start();
    let number = records.to_string();
    let sender = ["tcp_sender", "--to", &address, "--records", &number].map(str::to_owned);
    let sender = Peer::spawn(&sender)?;
    let (stream, _) = listener.accept()?;
    let received = receive(stream)?;
    sender.finish()?;
    let cost = clock.stop();

    if received != records {
        return Err(format!("{received} records arrived of {records}").into());
    }
    Throughput::new(("shuffle", "loop", "one-way"), 2, received, cost).print();
    Ok(())
}

fn receive(stream: TcpStream) -> Result<u64> {
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let mut record = [0; wide::BYTES];
    let mut received = 0;
    loop {
        match stream.read_exact(&mut record) {
            Ok(()) => received += 1,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(received),
            Err(error) => return Err(error.into()),
        }
        black_box(&record);
    }
}

/// The sending process.
pub(crate) fn send(mut arguments: Arguments) -> Result<()> {
    let address = arguments.required("to")?;
    let records: u64 = arguments.value("records", 0)?;
    arguments.finish()?;

    let mut stream = BufWriter::with_capacity(BUFFER_BYTES, TcpStream::connect(address)?);
    for number in 0..records {
        let mut record = [number as u8; wide::BYTES];
        record[..8].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&record)?;
    }
    Ok(stream.flush()?)
}
