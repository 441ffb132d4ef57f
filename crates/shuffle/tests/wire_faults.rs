//! What happens when connections and peers misbehave.
#![cfg(not(shuttle))]

mod support;

use millstream_shuffle::batch::{Batch, BoxBatch};
use millstream_shuffle::gate::PartitionUnavailable;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{HEADER_BYTES, PREFACE_BYTES};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use support::*;

/// Stands between a consumer and a producer, passes bytes on, and does harm.
struct Proxy {
    address: SocketAddr,
    harm: Arc<Harm>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Harm {
    /// Bytes passed from the producer.
    passed: AtomicU64,
    /// The byte from the producer with this number is flipped.
    flip_at: AtomicU64,
    stop: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn before(producer: SocketAddr) -> Self {
        let listener = TcpListener::bind(any_address()).expect("a port");
        let address = listener.local_addr().expect("bound");
        let harm = Arc::new(Harm { flip_at: AtomicU64::new(u64::MAX), ..Harm::default() });
        let shared = harm.clone();
        let thread = thread::spawn(move || {
            let mut pumps = Vec::new();
            while let Ok((consumer, _)) = listener.accept() {
                if shared.stop.load(Ordering::SeqCst) {
                    break;
                }
                let producer = TcpStream::connect(producer).expect("the producer is there");
                let clone = |stream: &TcpStream| stream.try_clone().expect("cloned");
                shared.open.lock().expect("no panic").extend([clone(&consumer), clone(&producer)]);
                let (from, to) = (clone(&consumer), clone(&producer));
                pumps.push(thread::spawn(move || pass(from, to, None)));
                let harm = shared.clone();
                pumps.push(thread::spawn(move || pass(producer, consumer, Some(&harm))));
            }
            pumps.into_iter().for_each(|pump| pump.join().expect("no panic"));
        });
        Self { address, harm, thread: Some(thread) }
    }

    fn passed(&self) -> u64 {
        self.harm.passed.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        for stream in self.harm.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, harm: Option<&Harm>) {
    let mut buffer = [0; 4096];
    while let Ok(n) = from.read(&mut buffer) {
        if let Some(harm) = harm {
            let begin = harm.passed.fetch_add(n as u64, Ordering::SeqCst);
            let flip = harm.flip_at.load(Ordering::SeqCst);
            if (begin..begin + n as u64).contains(&flip) {
                buffer[(flip - begin) as usize] ^= 0xFF;
            }
        }
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.harm.stop.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
        self.cut();
        self.thread.take().expect("joined once").join().expect("no panic");
    }
}

/// The error that the reader comes to, after whatever it reads before.
fn error_of<T: millstream_core::Record>(reader: &mut Reader<T>) -> PartitionUnavailable {
    loop {
        match reader.next() {
            Ok(batch) => assert!(batch.is_some(), "an end and no error"),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_producer_whose_port_opens_late_is_found() {
    let consumer = ConsumerProcess::start();
    // The port is free: it was just given back.
    let address = TcpListener::bind(any_address()).expect("a port").local_addr().expect("bound");
    let mut reader = consumer.reader::<u64>(&address.to_string(), &[0], 0);
    thread::sleep(Duration::from_millis(150));
    let producer = ProducerProcess::start();
    let _port = Port::open(address, producer.network.clone());
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    write_all(&mut writer, &wake, 10, 0..100_u64);
    assert_eq!(reader.rest_of_records(), Ok((0..100).collect()));
}

#[test]
fn a_port_that_stays_closed_is_unavailable_and_says_why() {
    let mut hasty = config();
    hasty.answer_wait = Duration::from_millis(300);
    let consumer = ConsumerProcess::with(hasty);
    let address = TcpListener::bind(any_address()).expect("a port").local_addr().expect("bound");
    let mut reader = consumer.reader::<u64>(&address.to_string(), &[0], 0);
    let error = reader.next().expect_err("nobody listens");
    assert!(error.reason.contains("Connection refused"), "{error}");
    assert!(error.reason.contains(&address.to_string()), "{error}");
}

#[test]
fn a_connection_that_breaks_before_any_rows_is_made_again() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let proxy = Proxy::before(producer.port.address);
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let mut reader = consumer.reader::<u64>(&proxy.address.to_string(), &[0, 1], 0);
    // Hello and the answer for the partition that is there: 28 and 20 bytes.
    eventually("the producer has answered", || proxy.passed() >= 48);
    proxy.cut();
    eventually("it has answered over the second connection", || proxy.passed() >= 2 * 48);
    let thread = thread::spawn(move || {
        write_all(&mut writer, &wake, 10, 0..100_u64);
        let mut second = writer_for_second(&producer);
        write_all(&mut second.0, &second.1, 10, 100..200_u64);
        producer
    });
    let mut records = reader.rest_of_records().expect("readable");
    records.sort_unstable();
    assert_eq!(records, (0..200).collect::<Vec<_>>());
    thread.join().expect("no panic");
}

fn writer_for_second(
    producer: &ProducerProcess,
) -> (millstream_shuffle::partition::PartitionWriter, Wake) {
    let wake = Wake::new();
    (producer.partition::<u64>(1, 1, &wake), wake)
}

#[test]
fn a_connection_that_breaks_later_fails_its_channels_and_frees_the_producer() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let proxy = Proxy::before(producer.port.address);
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let shared = writer.shared().clone();
    let mut reader = consumer.reader::<u64>(&proxy.address.to_string(), &[0], 0);
    let thread = thread::spawn(move || write_all(&mut writer, &wake, 1000, 0..3_000_000_u64));
    assert!(reader.next().expect("readable").is_some());
    proxy.cut();
    let error = error_of(&mut reader);
    assert_eq!(error.partition, partition_id(0));
    assert!(error.reason.contains(&proxy.address.to_string()), "{error}");
    thread.join().expect("a producer without consumer comes to its end");
    assert!(shared.is_released());
    // Whoever comes next must not read on in the middle.
    producer.registry.register(shared);
    let error = error_of(&mut consumer.reader::<u64>(&producer.address(), &[0], 0));
    assert!(error.reason.contains("sent over another connection"), "{error}");
}

#[test]
fn rows_that_were_changed_on_the_way_are_an_error_that_names_the_channel() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let proxy = Proxy::before(producer.port.address);
    // Hello 28, the answer 20, a header 20, then rows of bool: any byte but 0 and 1 is wrong.
    proxy.harm.flip_at.store(28 + 20 + 20 + 5, Ordering::SeqCst);
    let wake = Wake::new();
    let mut writer = producer.partition::<bool>(0, 1, &wake);
    let mut reader = consumer.reader::<bool>(&proxy.address.to_string(), &[0], 0);
    write_all(&mut writer, &wake, 10, [true; 10]);
    let error = error_of(&mut reader);
    assert!(error.reason.contains("frame 0 of channel 0 is not readable: not a bool"), "{error}");
    assert_eq!(reader.next().expect_err("and stays so"), error);
}

#[test]
fn a_header_that_was_changed_on_the_way_breaks_the_connection() {
    // Byte 3 of the second header is its length, byte 4 its kind, byte 6 reserved, 12 its number.
    for (byte, words) in [(3, "bytes on channel 0"), (4, "unknown kind"), (6, "reserved bits")] {
        let producer = ProducerProcess::start();
        let consumer = ConsumerProcess::start();
        let proxy = Proxy::before(producer.port.address);
        proxy.harm.flip_at.store(28 + 20 + 30 + byte, Ordering::SeqCst);
        let wake = Wake::new();
        let mut writer = producer.partition::<bool>(0, 1, &wake);
        let mut reader = consumer.reader::<bool>(&proxy.address.to_string(), &[0], 0);
        write_all(&mut writer, &wake, 10, [true; 10]);
        let error = error_of(&mut reader);
        assert!(error.reason.contains(words), "{error}");
    }
}

/// A producer's process that says what the test wants, after the hello.
fn impostor(
    hello: Vec<u8>,
    then: impl Fn() -> Vec<u8> + Send + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind(any_address()).expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the consumer comes");
        // Preface, hello, subscription.
        let mut heard = [0; PREFACE_BYTES + 28 + 80];
        stream.read_exact(&mut heard).expect("the consumer speaks first");
        stream.write_all(&hello).expect("open");
        stream.write_all(&then()).expect("open");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    (address, thread)
}

const HELLO: u8 = 1;
const SUBSCRIBED: u8 = 16;
const DATA: u8 = 17;
const END: u8 = 18;

/// A frame as the documentation of the format describes it.
fn frame(kind: u8, channel: u32, sequence: u32, count: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
    bytes.extend([kind, 0, 0, 0]);
    for word in [channel, sequence, count] {
        bytes.extend(word.to_le_bytes());
    }
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.extend(payload);
    bytes
}

fn hello(version: u32) -> Vec<u8> {
    frame(HELLO, 0, 0, version, b"millwire")
}

/// What a consumer makes of these frames.
#[track_caller]
fn check(frames: &[Vec<u8>], expected: &str) {
    let bytes: Vec<u8> = [&[frame(SUBSCRIBED, 0, 0, 0, &[])], frames].concat().concat();
    let sent = 28 + bytes.len() as u64;
    let (address, thread) = impostor(hello(2), move || bytes.clone());
    let consumer = ConsumerProcess::start();
    let mut reader = consumer.reader::<u64>(&address, &[0], 0);
    // Nothing is taken, and so no credit given, before all has come.
    eventually("all has come", || consumer.network.counters().bytes_in >= sent);
    let error = error_of(&mut reader);
    assert!(error.reason.contains(expected), "{error}");
    drop((reader, consumer));
    thread.join().expect("no panic");
}

#[test]
fn breaches_of_the_protocol_name_their_channel() {
    let row = 7_u64.to_le_bytes();
    let data = |sequence| frame(DATA, 0, sequence, 1, &row);
    check(&[data(0), data(2)], "channel 0: frame 2 came for 1");
    check(&[data(0), data(0)], "channel 0: frame 0 came for 1");
    check(&[data(0), frame(END, 0, 5, 0, &[])], "channel 0: frame 5 came for 1");
    check(&(0..17).map(data).collect::<Vec<_>>(), "channel 0: frame 16 came without credit");
    check(&[frame(DATA, 0, 0, 0, &row)], "channel 0: frame 0 has no record");
    check(&[data(0), frame(SUBSCRIBED, 0, 0, 0, &[])], "channel 0: a frame Subscribed came");
    check(&[data(0), frame(DATA, 9, 0, 1, &row)], "channel 9, which is unknown");
    check(&[data(0), frame(4, 0, 0, 0, &[])], "channel 0: a frame Cancel came");
    check(&[frame(DATA, 0, 0, 2, &row)], "frame 0 of channel 0 is not readable: row ends early");
    check(&[frame(DATA, 0, 0, 1, &[1; 9])], "frame 0 of channel 0 is not readable: 1 bytes left");
    check(&[data(0), frame(99, 0, 0, 0, &[])], "unknown kind 99");
}

#[test]
fn a_frame_that_claims_more_than_a_frame_may_have_is_refused() {
    let row = 7_u64.to_le_bytes();
    let mut claim = frame(DATA, 0, 1, 1, &[]);
    claim[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    check(&[frame(DATA, 0, 0, 1, &row), claim], "4294967295 bytes on channel 0, at most 32768");
}

#[test]
fn a_peer_of_another_version_or_kind_is_named_in_the_error() {
    for (hello, words) in [
        (hello(1), "speaks version 1, this one 2"),
        (frame(HELLO, 0, 0, 2, b"otherone"), "does not speak this protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "frame of unknown kind 47"),
    ] {
        let (address, thread) = impostor(hello, Vec::new);
        let consumer = ConsumerProcess::start();
        let mut reader = consumer.reader::<u64>(&address, &[0], 0);
        let error = reader.next().expect_err("it cannot be read");
        assert!(error.reason.contains(words), "{error}");
        drop((reader, consumer));
        thread.join().expect("no panic");
    }
}

#[test]
fn a_consumer_that_breaks_the_protocol_loses_its_connection_and_frees_the_producer() {
    let producer = ProducerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let mut stream = TcpStream::connect(producer.port.address).expect("open");
    let preface = millstream_shuffle::wire::Preface {
        job: millstream_core::ids::JobId(42),
        incarnation: 0,
        nonce: 0,
    };
    stream.write_all(&preface.encode()).expect("open");
    stream.write_all(&hello(2)).expect("open");
    let id = partition_id(0);
    let mut subscription = Vec::new();
    for part in [id.data_set.0, id.producer.graph.0, id.producer.vertex.0] {
        subscription.extend(part.to_le_bytes());
    }
    for part in [0_u32, 0, 0] {
        subscription.extend(part.to_le_bytes());
    }
    stream.write_all(&frame(2, 0, 0, 4, &subscription)).expect("open");
    let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![1; 10]));
    await_room(&mut writer, &wake);
    writer.write(&mut batch);
    eventually("a frame left", || {
        writer.flush();
        producer.network.counters().bytes_out >= 28 + 20 + 20 + 80
    });
    assert!(!writer.shared().is_released());
    stream.write_all(&frame(DATA, 0, 0, 1, &[0; 8])).expect("open");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("closed by the producer");
    assert_eq!(heard.len(), 28 + 20 + 20 + 80);
    eventually("the producer is free", || writer.shared().is_released());
}

#[test]
fn a_peer_that_says_nothing_takes_a_thread_for_a_while_only() {
    let producer = ProducerProcess::start();
    let stream = TcpStream::connect(producer.port.address).expect("open");
    // No preface: the port gives up after a second, and serves others meanwhile or then.
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    write_all(&mut writer, &wake, 10, 0..10_u64);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    assert_eq!(reader.rest_of_records(), Ok((0..10).collect()));
    drop(stream);
}
