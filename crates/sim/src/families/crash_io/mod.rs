//! Power fails, or a call of the file system, at every single operation of taking, completing,
//! recording and deleting checkpoints, of taking over and of restoring.
//!
//! Straight on and without messages: a coordinator, tasks with state files, the recorder and the record
//! of high availability, all of them shipped, over the shipped storage and the shipped store of
//! records; only the disk under these is simulated
//! ([`SimulatedDisk`]). Whatever the disk lost, the next life
//! must
//! - find a record that names the newest checkpoint that anybody was told of, or a newer one (I6);
//! - read all of it and of every savepoint, with the content that the tasks had at the barrier (I6, I7);
//! - leave nothing behind when the job ends (I15).

mod life;
mod rescale;
mod task;

use crate::family::{Family, Scenario};
use crate::trace::Trace;
use life::{Begin, Ledger, Life, Stopped};
use millstream_core::ids::JobId;
use millstream_host::disk::simulated::{DiskFault, SimulatedDisk};
use millstream_rpc::machine::Rng;
pub use rescale::RESCALE;

/// Every operation on the disk, and what is left after it.
pub const CRASH_AT_EVERY_IO: Family =
    Family { name: "sim_crash_at_every_io", scenario: Scenario::Play(play) };

/// The one job.
const JOB: Begin = Begin { job: JobId(1), savepoint: None, claim: false };

/// So many seeds in a row share a scenario, and sweep all its operations together.
const SHARE: u64 = 32;

/// After so many lives in which something failed one must have succeeded.
const LIVES_MAX: u32 = 6;

/// What the job is like.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) retained_max: u32,
    pub(super) incremental: bool,
    /// State of less than so many bytes travels with its handle.
    pub(super) inline_bytes_max: u32,
    /// What is asked for in the first life; true: a savepoint.
    pub(super) snapshots: Vec<bool>,
    /// Decides what the tasks do.
    pub(super) seed: u64,
}

impl Script {
    fn draw(number: u64) -> Self {
        let mut rng = Rng::new(number.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x10);
        Self {
            retained_max: 1 + rng.below(2) as u32,
            incremental: rng.below(4) > 0,
            inline_bytes_max: [0, 0, 150, 4096][rng.below(4) as usize],
            snapshots: (0..2 + rng.below(3)).map(|_| rng.below(5) == 0).collect(),
            seed: rng.next_u64(),
        }
    }
}

fn play(seed: u64, trace: &mut Trace) {
    let script = Script::draw(seed / SHARE);
    trace.mix(seed);
    let disk = SimulatedDisk::default();
    let mut rng = Rng::new(seed ^ script.seed);
    let operations = {
        let _mounted = disk.mount();
        disk.plan(None);
        let mut ledger = Ledger::default();
        let life = live(&script, &disk, &mut ledger, &script.snapshots, script.seed, trace);
        life.expect("nothing fails on a healthy disk");
        disk.operations()
    };
    for at in (seed % SHARE..=operations).step_by(SHARE as usize) {
        play_with(&script, DiskFault::PowerAfter(at), &mut rng, trace);
        let error = match rng.below(2) {
            0 => DiskFault::ErrorBefore(at + 1),
            _ => DiskFault::ErrorAfter(at + 1),
        };
        play_with(&script, error, &mut rng, trace);
    }
}

/// Lives of one job on one disk: the first meets the fault, the second perhaps another one, and then
/// all is well.
fn play_with(script: &Script, fault: DiskFault, rng: &mut Rng, trace: &mut Trace) {
    trace.event(0, 0, || format!("{script:?} with {fault:?}"));
    let disk = SimulatedDisk::default();
    let _mounted = disk.mount();
    let mut ledger = Ledger::default();
    disk.plan(Some(fault));
    let first = live(script, &disk, &mut ledger, &script.snapshots, script.seed, trace);
    trace.event(1, disk.operations() as usize, || format!("the first life: {first:?}"));
    disk.power_cut(&mut |below| rng.below(below));

    let fault = match rng.below(3) {
        0 => DiskFault::ErrorBefore(1 + rng.below(60)),
        _ => DiskFault::PowerAfter(rng.below(60)),
    };
    disk.plan(Some(fault));
    let second = live(script, &disk, &mut ledger, &[false, false], rng.next_u64(), trace);
    trace.event(2, disk.operations() as usize, || format!("the second, {fault:?}: {second:?}"));
    disk.power_cut(&mut |below| rng.below(below));

    disk.plan(None);
    for _ in 0..LIVES_MAX {
        let last = Life::begin(script, &disk, &mut ledger, rng.next_u64(), trace, &JOB);
        let ended = last.and_then(|mut life| {
            life.take(&[false, true, false])?;
            life.end()
        });
        match ended {
            Ok(()) => return,
            Err(Stopped(reason)) => trace.event(3, 0, || reason),
        }
    }
    panic!("I14: on a healthy disk no life succeeds");
}

/// One life of the job, which is killed when it has taken its snapshots.
fn live(
    script: &Script,
    disk: &SimulatedDisk,
    ledger: &mut Ledger,
    snapshots: &[bool],
    seed: u64,
    trace: &mut Trace,
) -> Result<(), Stopped> {
    Life::begin(script, disk, ledger, seed, trace, &JOB)?.take(snapshots)
}
