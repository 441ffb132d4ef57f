//! Several processes read and write one record of the shipped [`DirectoryStore`], operation by operation
//! of the disk in turns; some are killed in the middle, a call may fail before or after its effect, and
//! in the end the power fails.
//!
//! Each writer appends marks of its own to what it has read. What must hold of what they were told, and
//! of what is there in the end:
//! - a version is made once, and follows the one that it is based on (single-key linearisability);
//! - who looks after somebody was told of a version sees that or a newer one;
//! - what was told to be written is there, once, and survives the power cut; so is what was read;
//! - what was refused or has failed is not there.

use crate::family::{Family, Scenario};
use crate::trace::Trace;
use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use millstream_host::disk::simulated::{DiskFault, SimulatedDisk};
use millstream_host::disk::turns::Turns;
use millstream_host::pointer::DirectoryStore;
use millstream_rpc::machine::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Compare-and-set in a directory, by processes that race.
pub const STORE_HISTORY: Family =
    Family { name: "sim_store_history", scenario: Scenario::Play(play) };

const DIRECTORY: &str = "/ha";
const KEY: &str = "leader";

/// What everybody was told, in the order in which it was.
#[derive(Default)]
struct History {
    /// The newest version of which anybody was told.
    told: u64,
    /// What each version holds, as far as anybody knows.
    contents: BTreeMap<u64, Vec<u8>>,
    /// Marks that were told to be written, and in which version.
    written: BTreeMap<u8, u64>,
    /// Marks that were told not to be.
    refused: BTreeSet<u8>,
    problem: Option<String>,
}

impl History {
    fn claim(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds && self.problem.is_none() {
            self.problem = Some(problem());
        }
    }

    /// Somebody has looked. `since`: what had been told when the look began.
    fn on_read(&mut self, version: u64, content: &[u8], since: u64) {
        self.claim(version >= since, || format!("{version} was read after {since} was told"));
        self.on_known(version, content);
    }

    fn on_known(&mut self, version: u64, content: &[u8]) {
        let known = self.contents.entry(version).or_insert_with(|| content.to_vec()).clone();
        self.claim(known == content, || format!("version {version} is {known:?} and {content:?}"));
        self.told = self.told.max(version);
    }

    fn on_put(&mut self, mark: u8, base: u64, content: &[u8], put: &Put) {
        match put {
            Put::Written(version) => {
                let version = number(version);
                self.claim(version == base + 1, || format!("{version} follows {base}"));
                self.on_known(version, content);
                self.written.insert(mark, version);
            }
            Put::Conflict | Put::Failed(_) => drop(self.refused.insert(mark)),
            Put::Unknown(_) => {}
        }
    }
}

fn number(version: &Version) -> u64 {
    version.0.parse().expect("a number")
}

/// What a process does in its life.
#[derive(Clone, Copy, Debug)]
struct Writer {
    number: u8,
    turns: u8,
    only_reads: bool,
    /// It is killed when it has done so many calls.
    dies_after: Option<u8>,
}

fn play(seed: u64, trace: &mut Trace) {
    let mut rng = Rng::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x12);
    let disk = SimulatedDisk::default();
    let history = Mutex::new(History::default());
    {
        let _mounted = disk.mount();
        DirectoryStore::create(Path::new(DIRECTORY)).expect("the disk is well");
    }
    let fault = match rng.below(8) {
        0 => Some(DiskFault::ErrorBefore(1 + rng.below(60))),
        1 => Some(DiskFault::ErrorAfter(1 + rng.below(60))),
        2 => None,
        _ => Some(DiskFault::PowerAfter(rng.below(40))),
    };
    disk.plan(fault);
    let count = 2 + rng.below(2) as u8;
    let writers = (0..count + 1).map(|number| {
        let dies_after = (rng.below(4) == 0).then(|| rng.below(4) as u8);
        let only_reads = number == count;
        let turns = if only_reads { 15 } else { 2 + rng.below(4) as u8 };
        Writer { number, turns, only_reads, dies_after }
    });
    let writers: Vec<Writer> = writers.collect();
    trace.event(0, 0, || format!("{writers:?} with {fault:?}"));
    let mut draws = Rng::new(rng.next_u64());
    let turns = Turns::new(writers.len(), move |below| draws.below(below));
    let mutant = millstream_core::mutant::active();
    std::thread::scope(|scope| {
        for writer in &writers {
            let (turns, history, shared) =
                (turns.clone(), &history, disk.with_turns(turns.clone()));
            scope.spawn(move || {
                millstream_core::mutant::set(mutant);
                let _mounted = shared.mount();
                let _turn = turns.join(usize::from(writer.number));
                write(*writer, history);
            });
        }
    });
    disk.power_cut(&mut |below| rng.below(below));
    let mut history = history.into_inner().unwrap_or_else(PoisonError::into_inner);
    let _mounted = disk.mount();
    check_end(&mut history);
    for (version, content) in &history.contents {
        trace.event(*version, content.len(), || format!("version {version}: {content:?}"));
    }
    trace.mix(seed);
    assert!(history.problem.is_none(), "{}", history.problem.unwrap_or_default());
}

/// Reads, appends its mark, and tries again with the next one.
fn write(writer: Writer, history: &Mutex<History>) {
    let lock = || history.lock().unwrap_or_else(PoisonError::into_inner);
    let store = DirectoryStore::at(Path::new(DIRECTORY));
    for put in 0..writer.turns {
        // Nobody hears what the last call of a process that is killed has done.
        let dies = writer.dies_after == Some(put);
        let since = lock().told;
        let Ok(read) = store.read(KEY) else { continue };
        let (version, mut content) = match read {
            Some((version, content)) => {
                lock().on_read(number(&version), &content, since);
                (Some(version), content)
            }
            None => {
                lock().claim(since == 0, || format!("nothing was read after {since} was told"));
                (None, Vec::new())
            }
        };
        if writer.only_reads {
            continue;
        }
        let base = version.as_ref().map_or(0, number);
        let mark = writer.number * 16 + put;
        content.push(mark);
        let made = store.put_if(KEY, &content, version.as_ref());
        if dies {
            return;
        }
        lock().on_put(mark, base, &content, &made);
    }
}

/// What is there after the power cut.
fn check_end(history: &mut History) {
    let store = DirectoryStore::create(Path::new(DIRECTORY)).expect("the disk is well");
    let (version, content) = match store.read(KEY).expect("the disk is well") {
        Some((version, content)) => (number(&version), content),
        None => (0, Vec::new()),
    };
    let told = history.told;
    history.claim(version >= told, || format!("{version} is left of {told}"));
    let marks: BTreeSet<u8> = content.iter().copied().collect();
    history.claim(marks.len() == content.len(), || format!("marks are doubled: {content:?}"));
    for (mark, made) in history.written.clone() {
        let there = content.get(made as usize - 1) == Some(&mark);
        history.claim(there, || format!("mark {mark} of version {made} is not in {content:?}"));
    }
    for mark in history.refused.clone() {
        history.claim(!marks.contains(&mark), || format!("mark {mark} was refused: {content:?}"));
    }
}
