//! The second process of a two-process run: this very program with other arguments.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::usage;

/// The other process. Its standard output is ours to read.
pub struct Peer(Child);

impl Peer {
    /// Starts this program once more.
    pub fn spawn(arguments: &[String]) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Waits until it has ended; returns the last line that it printed.
    pub fn finish(mut self) -> Result<String> {
        let mut output = self.0.stdout.take().expect("the output was piped");
        let text = std::io::read_to_string(&mut output)?;
        let (status, _) = usage::wait(self.0)?;
        if !status.success() {
            return Err(format!("the second process failed: {status}").into());
        }
        Ok(text.lines().last().unwrap_or_default().to_owned())
    }
}

/// Two ports of loopback that nobody uses at this moment.
pub fn free_ports() -> Result<[u16; 2]> {
    // Both are held at once, so that they differ.
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [first, second] = listeners.map(|listener| listener.local_addr());
    Ok([first?.port(), second?.port()])
}
