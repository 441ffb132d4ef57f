//! Clients that send too much, too slowly, or come in too great a number.

use crate::cluster::{Cluster, Setup};
use crate::fixtures::RUNNING;
use crate::http::{Connection, Request};
use millstream_rest::RestConfig;
use std::io;
use std::time::{Duration, Instant};

fn cluster_with(change: impl FnOnce(&mut RestConfig)) -> Cluster {
    let mut setup = Setup::default();
    change(&mut setup.config);
    Cluster::with(setup)
}

#[test]
fn a_json_body_above_the_limit_is_refused() {
    let cluster = Cluster::start();
    let target = format!("/jars/{RUNNING}/run");
    let long = format!("{{\"entryClass\": \"{}\"}}", "x".repeat(1 << 20));
    let refusal = cluster.send(&Request::new("POST", &target).json(&long)).refusal(413);
    assert_eq!(refusal, "the body is longer than 1048576 bytes");
    // In chunks, so that no length announces it.
    let mut chunked = Request::new("POST", &target)
        .header("content-type", "application/json")
        .header("transfer-encoding", "chunked");
    chunked.body = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).into_bytes();
    cluster.send(&chunked).refusal(413);
}

#[test]
fn headers_above_the_limit_are_refused() {
    let cluster = Cluster::start();
    let request = Request::new("GET", "/overview").header("x-long", "x".repeat(20_000));
    assert_eq!(cluster.send(&request).status, 431);
}

#[test]
fn a_client_that_is_slow_with_its_headers_is_hung_up_on() {
    let cluster = cluster_with(|config| config.header_timeout = Duration::from_millis(400));
    let began = Instant::now();
    let mut silent = Connection::open(cluster.address);
    let mut slow = Connection::open(cluster.address);
    slow.write(b"GET /overview HTTP/1.1\r\nhost: ");
    assert!(silent.is_closed() && slow.is_closed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_connection_that_is_not_used_any_more_is_closed() {
    let cluster = cluster_with(|config| config.header_timeout = Duration::from_millis(400));
    let mut connection = Connection::open(cluster.address);
    assert_eq!(connection.send(&Request::new("GET", "/overview")).status, 200);
    assert!(connection.is_closed());
}

#[test]
fn a_client_that_pauses_within_a_body_is_told_so() {
    let cluster = cluster_with(|config| config.idle_timeout = Duration::from_millis(100));
    let head = |target: &str, content_type: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\n\
             content-length: 100\r\n\r\n",
            cluster.address
        )
    };
    let mut json = Connection::open(cluster.address);
    json.write(head(&format!("/jars/{RUNNING}/run"), "application/json").as_bytes());
    json.write(b"{");
    assert!(json.receive().expect("an answer").refusal(408).contains("in time"));
    let mut form = Connection::open(cluster.address);
    form.write(head("/jars/upload", "multipart/form-data; boundary=x").as_bytes());
    form.write(b"--x\r\n");
    assert!(form.receive().expect("an answer").refusal(408).contains("paused"));
}

#[test]
fn a_client_that_takes_no_answers_is_hung_up_on() {
    let cluster = cluster_with(|config| config.idle_timeout = Duration::from_millis(200));
    let mut connection = Connection::open(cluster.address);
    let request = format!("GET /jobs/{RUNNING} HTTP/1.1\r\nhost: {}\r\n\r\n", cluster.address);
    let many = request.repeat(64).into_bytes();
    // Answers fill the buffers of both sides; then nothing moves, and the server gives up.
    let error = loop {
        if let Err(error) = connection.try_write(&many) {
            break error;
        }
    };
    let hung_up = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(hung_up.contains(&error.kind()), "{error}");
}

#[test]
fn one_connection_too_many_is_told_503_and_the_others_go_on() {
    let cluster = cluster_with(|config| config.connections_max = 2);
    let mut kept: Vec<_> = (0..2).map(|_| Connection::open(cluster.address)).collect();
    for connection in &mut kept {
        assert_eq!(connection.send(&Request::new("GET", "/overview")).status, 200);
    }
    assert!(cluster.get("/overview").refusal(503).contains("too many connections"));
    assert_eq!(kept[0].send(&Request::new("GET", "/overview")).status, 200);
    kept.clear();
    // The server has to notice first that they are gone.
    let free = || cluster.get("/overview").status == 200;
    assert!((0..200).any(|_| free() || {
        std::thread::sleep(Duration::from_millis(10));
        false
    }));
}
