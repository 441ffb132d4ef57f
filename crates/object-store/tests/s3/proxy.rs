//! Stands between client and server, and can do what networks do: let nothing through, take its time,
//! or swallow answers, so that a request arrives and whoever made it learns nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// It goes through.
    Open,
    /// Requests do, answers do not.
    NoAnswers,
    /// Nothing does: connections are closed.
    Closed,
    /// Answers come late, by [`DELAY`] each.
    Slow,
}

/// How late.
pub(crate) const DELAY: Duration = Duration::from_millis(1500);

/// A way to the server.
pub(crate) struct Proxy {
    pub endpoint: String,
    way: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) fn start(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let way = Arc::new(AtomicU8::new(Way::Open as u8));
        let seen = way.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !is(&seen, Way::Closed) {
                    let server = TcpStream::connect(&target).expect("it listens");
                    join(&client, &server, &seen);
                }
            }
        });
        Self { endpoint, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }
}

fn is(way: &AtomicU8, expected: Way) -> bool {
    way.load(Ordering::SeqCst) == expected as u8
}

fn join(client: &TcpStream, server: &TcpStream, way: &Arc<AtomicU8>) {
    let both = || (client.try_clone().expect("open"), server.try_clone().expect("open"));
    let (from, to) = both();
    let seen = way.clone();
    thread::spawn(move || relay(from, to, |_| !is(&seen, Way::Closed)));
    let (to, from) = both();
    let seen = way.clone();
    let answers = move |is_first: bool| {
        if is_first && is(&seen, Way::Slow) {
            thread::sleep(DELAY);
        }
        !is(&seen, Way::Closed) && !is(&seen, Way::NoAnswers)
    };
    thread::spawn(move || relay(from, to, answers));
}

/// Passes on what comes, as long as it may; `may` learns whether this is the begin of something, that
/// is, a short piece or one after a short piece.
fn relay(mut from: TcpStream, mut to: TcpStream, may: impl Fn(bool) -> bool) {
    let mut bytes = [0; 4096];
    let mut is_first = true;
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if !may(is_first) || to.write_all(&bytes[..n]).is_err() {
            break;
        }
        is_first = n < bytes.len();
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
