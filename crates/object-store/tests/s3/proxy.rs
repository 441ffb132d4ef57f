//! Stands between client and server, and can swallow answers: the request arrives, and whoever made
//! it learns nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A way to the server.
pub(crate) struct Proxy {
    pub endpoint: String,
    swallow: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let swallow = Arc::new(AtomicBool::new(false));
        let swallowing = swallow.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&target).expect("it listens");
                join(&client, &server, &swallowing);
            }
        });
        Self { endpoint, swallow }
    }

    pub(crate) fn swallow_answers(&self, swallow: bool) {
        self.swallow.store(swallow, Ordering::SeqCst);
    }
}

fn join(client: &TcpStream, server: &TcpStream, swallow: &Arc<AtomicBool>) {
    let both = || (client.try_clone().expect("open"), server.try_clone().expect("open"));
    let (mut from, mut to) = both();
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut to, mut from) = both();
    let swallow = swallow.clone();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            if swallow.load(Ordering::SeqCst) || to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
