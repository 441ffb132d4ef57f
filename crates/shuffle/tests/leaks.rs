//! After everything is dropped, no thread and no socket is left. Alone in its process, which it
//! counts.
#![cfg(all(target_os = "linux", not(shuttle)))]

mod support;

use millstream_shuffle::wake::Wake;
use std::net::TcpListener;
use std::thread;
use support::*;

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("Linux").count()
}

/// One round of everything that begins threads and opens sockets.
fn round() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    // A channel that is read to its end, one that is given up, one that nobody answers, one whose
    // port is closed.
    let mut read = producer.partition::<u64>(0, 1, &wake);
    let mut dropped = producer.partition::<u64>(1, 1, &wake);
    let closed = TcpListener::bind(any_address()).expect("a port").local_addr().expect("bound");
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    let mut leaver = consumer.reader::<u64>(&producer.address(), &[1], 0);
    let _unanswered = consumer.reader::<u64>(&producer.address(), &[2], 0);
    let _refused = consumer.reader::<u64>(&closed.to_string(), &[0], 0);
    let writers = thread::spawn(move || {
        write_all(&mut read, &wake, 1000, 0..100_000_u64);
        write_all(&mut dropped, &wake, 1000, 0..1_000_000_u64);
    });
    assert_eq!(reader.rest_of_records().expect("readable").len(), 100_000);
    leaver.next().expect("readable");
    drop(leaver);
    writers.join().expect("no panic");
}

#[test]
fn nothing_is_left_of_networks_that_were_dropped() {
    round();
    let (threads, files) = (count("/proc/self/task"), count("/proc/self/fd"));
    for _ in 0..20 {
        round();
    }
    eventually("threads return to the base line", || count("/proc/self/task") <= threads);
    eventually("descriptors return to the base line", || count("/proc/self/fd") <= files);

    // A channel that ends takes its connection along, and the network lives on.
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let before = (count("/proc/self/task"), count("/proc/self/fd"));
    for number in 0..20 {
        let wake = Wake::new();
        let mut writer = producer.partition::<u64>(number, 1, &wake);
        write_all(&mut writer, &wake, 10, 0..10_u64);
        let mut reader = consumer.reader::<u64>(&producer.address(), &[number], 0);
        assert_eq!(reader.rest_of_records().expect("readable").len(), 10);
    }
    eventually("threads end", || count("/proc/self/task") <= before.0);
    eventually("sockets close", || count("/proc/self/fd") <= before.1);
    assert!(consumer.network.counters().connections_ever >= 1);
}
