//! What happened in a run: a hash of everything (the same seed gives the same hash), and, when asked
//! for, the last events as text.
//!
//! Texts are expensive and only wanted after a failure, so a failing seed is simply run again with
//! recording on: determinism makes the second run the same.

use serde::Serialize;
use std::collections::VecDeque;

/// How many events a failure shows.
pub const LAST_EVENTS: usize = 200;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    last: Option<VecDeque<String>>,
    /// Print each event as it happens.
    print: bool,
}

impl Trace {
    /// Nothing has happened. `record`: keep the last events as text; `print`: print all.
    pub fn new(record: bool, print: bool) -> Self {
        Self {
            hash: 0x9E37_79B9_7F4A_7C15,
            events: 0,
            last: (record || print).then(VecDeque::new),
            print,
        }
    }

    /// Something happened at that microsecond to that process.
    pub fn event(&mut self, at_us: u64, process: usize, text: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(at_us);
        self.mix(process as u64);
        self.remark(at_us, text);
    }

    /// Something to be read with the events; it is not part of the hash, as it follows from them.
    pub fn remark(&mut self, at_us: u64, text: impl FnOnce() -> String) {
        let Some(last) = &mut self.last else {
            return;
        };
        let line = format!("{:>12.3} ms  {}", at_us as f64 / 1000.0, text());
        if self.print {
            println!("{line}");
        }
        if last.len() == LAST_EVENTS {
            last.pop_front();
        }
        last.push_back(line);
    }

    /// Makes a value part of the hash.
    pub fn value(&mut self, value: &impl Serialize) {
        let sink = Sink { hash: self.hash };
        // Cannot fail: the sink takes everything, and our messages are plain data.
        if let Ok(hash) = postcard::serialize_with_flavor(value, sink) {
            self.hash = hash;
        }
    }

    /// Makes a number part of the hash.
    pub fn mix(&mut self, word: u64) {
        self.hash = mix(self.hash, word);
    }

    /// The hash of everything that happened.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How much happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last events, oldest first.
    pub fn last_events(&self) -> impl Iterator<Item = &str> {
        self.last.iter().flatten().map(String::as_str)
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 32)
}

/// Takes the bytes of a value into the hash without storing them.
struct Sink {
    hash: u64,
}

impl postcard::ser_flavors::Flavor for Sink {
    type Output = u64;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.hash = mix(self.hash, u64::from(byte));
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.hash = mix(self.hash, u64::from_le_bytes(word));
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.hash)
    }
}
