//! Two processes in one, over loopback.
#![cfg(not(shuttle))]

mod support;

use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::partition::PartitionWriter;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{ROW_BYTES_MAX, ROWS_BYTES_MAX};
use std::thread;
use std::time::Duration;
use support::*;

#[test]
fn every_record_arrives_once_and_in_order_on_each_channel() {
    for direct in [true, false] {
        let mut config = config();
        config.direct_writes = direct;
        let producer = ProducerProcess::with(config.clone());
        let consumer = ConsumerProcess::with(config);
        let writers: Vec<_> = (0..3)
            .map(|number| {
                let wake = Wake::new();
                let mut writer = producer.partition::<(u32, u64)>(number, 2, &wake);
                thread::spawn(move || {
                    let records = (0..50_000_u64).map(|i| (number, i));
                    write_all(&mut writer, &wake, 700, records);
                    writer.records()
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|part| {
                let mut reader =
                    consumer.reader::<(u32, u64)>(&producer.address(), &[0, 1, 2], part);
                thread::spawn(move || reader.rest_of_records().expect("readable"))
            })
            .collect();
        for writer in writers {
            assert_eq!(writer.join().expect("no panic"), 50_000);
        }
        let mut count = 0;
        for reader in readers {
            let mut last = [None; 3];
            for (number, i) in reader.join().expect("no panic") {
                assert!(last[number as usize] < Some(i), "record {i} of {number} is out of order");
                last[number as usize] = Some(i);
                count += 1;
            }
        }
        assert_eq!(count, 150_000);
        let counters = consumer.network.counters();
        assert_eq!(counters.connections_ever, 1, "channels share their connection");
    }
}

#[test]
fn keys_hashes_travel_beside_their_records() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<String>(0, 1, &wake);
    let items: Vec<String> = (0..100).map(|i| "x".repeat(i)).collect();
    let hashes: Vec<u64> = (0..100).map(|i| i * 3).collect();
    let mut batch: BoxBatch =
        Box::new(Batch { hashes: hashes.clone(), ..Batch::of(items.clone()) });
    await_room(&mut writer, &wake);
    writer.write(&mut batch);
    writer.flush();
    writer.finish();
    let mut reader = consumer.reader::<String>(&producer.address(), &[0], 0);
    let mut buffer: BoxBatch = Box::new(Batch::<String>::new());
    eventually("the batch comes", || {
        reader.gate.poll(&mut buffer, std::time::Instant::now()).expect("readable");
        !buffer.is_empty()
    });
    let batch = cast::<String>(buffer.as_mut());
    assert_eq!((&batch.items, &batch.hashes), (&items, &hashes));
    assert_eq!(reader.next(), Ok(None));
}

#[test]
fn a_slow_consumer_stops_its_producer_and_bounds_what_waits() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<[u64; 16]>(0, 1, &wake);
    let mut reader = consumer.reader::<[u64; 16]>(&producer.address(), &[0], 0);
    let mut batch: BoxBatch = Box::new(Batch::<[u64; 16]>::new());
    let mut written = 0_u64;
    let mut write_what_fits = |writer: &mut PartitionWriter| {
        while writer.has_room() {
            let next = (0..256).map(|i| [written + i; 16]);
            cast::<[u64; 16]>(batch.as_mut()).items.extend(next);
            writer.write(&mut batch);
            written += 256;
        }
        written
    };
    // The consumer reads nothing: 16 frames fit its window, 8 wait, and not a batch more goes in.
    eventually("the window is full", || write_what_fits(&mut writer) >= 24 * 256);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(write_what_fits(&mut writer), 24 * 256);
    let held = producer.network.counters().encode_buffers;
    assert!(held.taken - held.returned <= 9, "{held:?}");
    let read = consumer.network.counters().read_buffers;
    assert!(read.taken - read.returned <= 17, "{read:?}");
    assert!(consumer.network.counters().bytes_in < 18 * ROWS_BYTES_MAX as u64);
    // It goes on as the consumer does.
    for i in 0..24 {
        let records = reader.next().expect("readable").expect("not the end");
        assert_eq!(records[0][0], i * 256);
    }
    eventually("there is room again", || write_what_fits(&mut writer) >= 40 * 256);
}

#[test]
fn small_flushes_of_a_stopped_producer_fill_frames() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    // Credit for 16 frames; the rest of 400 single records waits in one.
    let mut batch: BoxBatch = Box::new(Batch::<u64>::new());
    eventually("the consumer is bound", || producer.network.counters().connections == 1);
    thread::sleep(Duration::from_millis(50));
    for i in 0..400 {
        assert!(writer.has_room());
        cast::<u64>(batch.as_mut()).items.push(i);
        writer.write(&mut batch);
        assert!(writer.flush());
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 400 {
        sizes.push(reader.next().expect("readable").expect("not the end").len());
    }
    assert!(sizes.len() <= 18, "{sizes:?}");
}

#[test]
fn a_consumer_that_leaves_lets_its_producer_go_on() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let other = consumer.reader::<u64>(&producer.address(), &[1], 0);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    let thread = thread::spawn(move || {
        write_all(&mut writer, &wake, 1000, 0..2_000_000_u64);
        writer.shared().is_released()
    });
    reader.next().expect("readable");
    drop(reader);
    assert!(thread.join().expect("no panic"), "what nobody reads is dropped");
    assert_eq!(consumer.network.counters().connections, 1, "the other channel is still there");
    drop(other);
    eventually("the last channel ends the connection", || {
        consumer.network.counters().connections == 0 && producer.network.counters().connections == 0
    });
}

#[test]
fn a_task_may_end_before_its_consumer_comes() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<String>(0, 1, &wake);
    let records: Vec<String> = (0..3000).map(|i| format!("record {i}")).collect();
    write_all(&mut writer, &wake, 1000, records.clone());
    let shared = writer.shared().clone();
    drop(writer);
    assert!(!shared.is_released());
    let mut reader = consumer.reader::<String>(&producer.address(), &[0], 0);
    assert_eq!(reader.rest_of_records(), Ok(records));
    assert!(shared.is_released(), "the registry may forget it");
}

#[test]
fn a_task_may_end_before_its_consumer_has_read_all() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    let thread = thread::spawn(move || {
        write_all(&mut writer, &wake, 1000, 0..100_000_u64);
        assert!(!writer.has_pending());
    });
    let first = reader.next().expect("readable").expect("not the end");
    let mut rest = Vec::new();
    while rest.len() + first.len() < 60_000 {
        rest.extend(reader.next().expect("readable").expect("not the end"));
    }
    thread::sleep(Duration::from_millis(20));
    rest.extend(reader.rest_of_records().expect("readable"));
    thread.join().expect("no panic");
    assert_eq!(first.len() + rest.len(), 100_000);
}

#[test]
fn a_partition_that_comes_late_is_read() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    eventually("the request is there", || producer.network.counters().bytes_in > 0);
    thread::sleep(Duration::from_millis(100));
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    write_all(&mut writer, &wake, 10, 0..100_u64);
    assert_eq!(reader.rest_of_records(), Ok((0..100).collect()));
}

#[test]
fn a_partition_that_was_not_found_is_asked_for_again() {
    let mut hasty = config();
    hasty.partition_wait = Duration::from_millis(20);
    let producer = ProducerProcess::with(hasty);
    let consumer = ConsumerProcess::start();
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        let wake = Wake::new();
        let mut writer = producer.partition::<u64>(0, 1, &wake);
        write_all(&mut writer, &wake, 10, 0..100_u64);
        producer
    });
    assert_eq!(reader.rest_of_records(), Ok((0..100).collect()));
    late.join().expect("no panic");
}

#[test]
fn a_partition_that_never_comes_is_unavailable_after_the_wait() {
    for partition_wait in [Duration::from_millis(50), Duration::from_secs(60)] {
        let (mut here, mut there) = (config(), config());
        here.answer_wait = Duration::from_millis(400);
        there.partition_wait = partition_wait;
        let producer = ProducerProcess::with(there);
        let consumer = ConsumerProcess::with(here);
        let mut reader = consumer.reader::<u64>(&producer.address(), &[3], 0);
        let began = std::time::Instant::now();
        let error = reader.next().expect_err("it is not there");
        assert!(began.elapsed() >= Duration::from_millis(400));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(error.partition, partition_id(3));
        assert!(error.reason.contains("its producer did not appear"), "{error}");
        assert!(error.reason.contains(&producer.address()), "{error}");
    }
}

#[test]
fn a_part_that_the_partition_does_not_have_is_unavailable() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let _writer = producer.partition::<u64>(0, 1, &Wake::new());
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 5);
    let error = reader.next().expect_err("there is one part");
    assert!(error.reason.contains("it has no part 5"), "{error}");
}

#[test]
fn a_producer_that_fails_is_told_to_its_consumers() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<u64>(0, 2, &wake);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    let mut batch: BoxBatch = Box::new(Batch::<u64>::of((0..10).collect()));
    await_room(&mut writer, &wake);
    writer.write(&mut batch);
    assert!(writer.flush());
    writer.pump().expect("nothing is wrong");
    eventually("the producer has been bound", || {
        writer.pump().expect("nothing is wrong");
        producer.network.counters().bytes_out > 60
    });
    let partition = writer.shared().clone();
    producer.registry.remove(partition_id(0));
    drop(writer);
    let error = loop {
        match reader.next() {
            Ok(batch) => assert!(batch.is_some(), "not the end"),
            Err(error) => break error,
        }
    };
    assert!(error.reason.contains("its producer has stopped"), "{error}");
    // Who holds the shared half and comes now hears the same.
    producer.registry.register(partition);
    let mut late = consumer.reader::<u64>(&producer.address(), &[0], 1);
    let error = late.next().expect_err("it has failed");
    assert!(error.reason.contains("its producer has stopped"), "{error}");
}

#[test]
fn a_row_of_five_megabytes_arrives_between_short_ones() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<String>(0, 1, &wake);
    let mut reader = consumer.reader::<String>(&producer.address(), &[0], 0);
    let long: String = (0..5_000_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let records: Vec<String> =
        (0..100).map(|i| if i % 50 == 20 { long.clone() } else { format!("{i}") }).collect();
    let expected = records.clone();
    let thread = thread::spawn(move || write_all(&mut writer, &wake, 7, records));
    assert!(reader.rest_of_records() == Ok(expected), "records differ");
    thread.join().expect("no panic");
    let read = consumer.network.counters().read_buffers;
    assert!(read.allocated <= 18, "pieces need no more than a window: {read:?}");
}

#[test]
fn a_row_that_is_too_long_fails_both_sides_and_names_the_partition() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<String>(4, 1, &wake);
    let mut reader = consumer.reader::<String>(&producer.address(), &[4], 0);
    let items = vec!["x".repeat(ROW_BYTES_MAX + 1)];
    let mut batch: BoxBatch = Box::new(Batch::of(items));
    await_room(&mut writer, &wake);
    writer.write(&mut batch);
    writer.flush();
    let mut failure = None;
    eventually("the producer hears of it", || {
        failure = writer.pump().err();
        failure.is_some()
    });
    let failure = failure.expect("just seen").to_string();
    assert!(failure.contains(&partition_id(4).to_string()), "{failure}");
    assert!(failure.contains("a row of 67108869 bytes"), "{failure}");
    let error = reader.next().expect_err("it cannot come");
    assert!(error.reason.contains("a row of 67108869 bytes"), "{error}");
}

#[test]
fn hundreds_of_channels_share_one_connection() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let numbers: Vec<u32> = (0..300).collect();
    let mut writers: Vec<_> =
        numbers.iter().map(|number| producer.partition::<u64>(*number, 1, &wake)).collect();
    let mut reader = consumer.reader::<u64>(&producer.address(), &numbers, 0);
    let thread = thread::spawn(move || {
        for round in 0..20_u64 {
            for writer in &mut writers {
                let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![round; 50]));
                await_room(writer, &wake);
                writer.write(&mut batch);
                writer.flush();
            }
        }
        writers.iter_mut().for_each(PartitionWriter::finish);
    });
    let records = reader.rest_of_records().expect("readable");
    thread.join().expect("no panic");
    assert_eq!(records.len(), 300 * 20 * 50);
    assert_eq!(consumer.network.counters().connections_ever, 1);
}

#[test]
fn a_network_that_shuts_down_breaks_its_channels_and_takes_no_more() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let _writer = producer.partition::<u64>(0, 1, &wake);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    eventually("there is a connection", || producer.network.counters().connections == 1);
    consumer.network.shutdown();
    let error = reader.next().expect_err("it was shut down");
    assert!(error.reason.contains("shut down"), "{error}");
    let error = consumer.reader::<u64>(&producer.address(), &[0], 0).next().expect_err("as before");
    assert!(error.reason.contains("shut down"), "{error}");
    let mut stream = std::net::TcpStream::connect(producer.port.address).expect("open");
    consumer.network.serve(stream.try_clone().expect("cloned"));
    let mut heard = Vec::new();
    producer.network.shutdown();
    std::io::Read::read_to_end(&mut stream, &mut heard).expect("closed");
    assert!(heard.is_empty(), "a network that was shut down says nothing");
}

#[test]
fn a_process_without_network_says_so() {
    let consumer = ConsumerProcess { network: Default::default() };
    let error = consumer.reader::<u64>("127.0.0.1:1", &[0], 0).next().expect_err("no network");
    assert!(error.reason.contains("has no network"), "{error}");
}
