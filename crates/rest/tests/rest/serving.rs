//! Binding, stopping, and how fast it is.

use crate::cluster::{Cluster, Setup};
use crate::fixtures::RUNNING;
use crate::http::{Connection, Request};
use millstream_core::config::Configuration;
use millstream_core::ids::FencingToken;
use millstream_rest::{Port, RestConfig, RestServer};
use millstream_rpc::protocol::Message;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::shell::RpcSystem;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

async fn start(config: RestConfig) -> io::Result<RestServer> {
    let (rpc, nothing) = (RpcSystem::local("here"), Configuration::default());
    let quiet = RestConfig { log: std::sync::Arc::new(|_| ()), ..config };
    RestServer::start(quiet, rpc, "here".to_owned(), FencingToken(0), nothing, None).await
}

fn at(port: Port) -> RestConfig {
    RestConfig { port, ..RestConfig::default() }
}

#[test]
fn the_default_is_loopback() {
    assert_eq!(RestConfig::default().bind_host, "127.0.0.1");
    let from_nothing = RestConfig::from_configuration(&Configuration::default());
    let config = from_nothing.expect("defaults can be read");
    assert_eq!((config.bind_host.as_str(), config.insecure), ("127.0.0.1", false));
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = taken.local_addr().expect("bound").port();
    let error = start(at(Port::Exactly(port))).await.err().expect("the port is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let message = error.to_string();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(message.contains("another process listens there"), "{message}");
    assert!(message.contains("rest.port"), "{message}");
}

#[tokio::test]
async fn the_first_free_port_is_found() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = taken.local_addr().expect("bound").port();
    let server = start(at(Port::FirstFreeFrom(port))).await.expect("one of the next is free");
    assert!(server.address().port() > port);
    assert_eq!(server.url(), format!("http://{}", server.address()));
}

#[tokio::test]
async fn nothing_listens_beyond_loopback_unless_that_is_said_to_be_safe() {
    let open =
        |insecure| RestConfig { bind_host: "0.0.0.0".to_owned(), insecure, ..at(Port::Exactly(0)) };
    let error = start(open(false)).await.err().expect("refused");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("security.insecure"), "{error}");
    let server = start(open(true)).await.expect("allowed");
    assert!(server.address().ip().is_unspecified());
}

#[tokio::test]
async fn a_host_that_is_not_here_is_told() {
    let config =
        RestConfig { bind_host: "no.such.host.invalid".to_owned(), ..at(Port::Exactly(0)) };
    let error = start(config).await.err().expect("refused");
    assert!(error.to_string().contains("rest.bind-address"), "{error}");
}

#[test]
fn a_cluster_that_is_not_there_is_told_with_503() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(start(at(Port::Exactly(0)))).expect("loopback is there");
    let response = crate::http::send(server.address(), &Request::new("GET", "/jobs"));
    assert!(response.refusal(503).contains("cannot be reached"));
}

#[test]
fn stopping_frees_the_port_and_finishes_what_is_under_way() {
    let mut cluster = Cluster::start();
    let address = cluster.address;
    let mut idle = Connection::open(address);
    assert_eq!(idle.send(&Request::new("GET", "/overview")).status, 200);
    let waiting = std::thread::spawn(move || {
        let target = format!("/jobs/{RUNNING}/execution-result?wait-ms=300");
        crate::http::send(address, &Request::new("GET", &target)).status
    });
    let wait = Message::Dispatcher(ToDispatcher::AwaitJobEnd { job: RUNNING });
    while !cluster.has_heard(&wait) {
        std::thread::yield_now();
    }
    cluster.stop();
    assert!(idle.is_closed());
    assert_eq!(waiting.join().expect("no panic"), 200);
    assert!(TcpStream::connect(address).is_err());
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let mut setup = Setup::default();
    setup.config.stop_timeout = Duration::from_millis(50);
    let mut cluster = Cluster::with(setup);
    let mut stuck = Connection::open(cluster.address);
    let target = format!("/jobs/{RUNNING}/execution-result?wait-ms=60000");
    let head = format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", cluster.address);
    stuck.write(head.as_bytes());
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    cluster.stop();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(stuck.is_closed());
}

/// Not a benchmark: prints how it is, and fails only if something waits that should not.
#[test]
fn a_poller_is_answered_at_once() {
    let cluster = Cluster::start();
    let mut connection = Connection::open(cluster.address);
    let mut times: Vec<Duration> = (0..2_000)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(connection.send(&Request::new("GET", "/jobs/overview")).status, 200);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100];
    let total: Duration = times.iter().sum();
    println!(
        "GET /jobs/overview, one connection: p50 {:?}, p99 {:?}, {:.0} requests/s",
        at(50),
        at(99),
        times.len() as f64 / total.as_secs_f64()
    );
    assert!(at(50) < Duration::from_millis(20), "{:?}", at(50));
    // Several at a time.
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(cluster.address);
                for _ in 0..500 {
                    connection.send(&Request::new("GET", "/jobs/overview"));
                }
            });
        }
    });
    let rate = 2_000.0 / began.elapsed().as_secs_f64();
    println!("GET /jobs/overview, four connections: {rate:.0} requests/s");
}
