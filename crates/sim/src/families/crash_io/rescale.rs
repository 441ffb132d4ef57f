//! Jobs that go on with another parallelism, again and again: after crashes from what is on record, and
//! as other jobs from savepoints, which they claim or not. The disk is well.
//!
//! What tasks are dealt is what was taken: key groups and splits each once (I9), items of every mode as
//! they are to be, whatever the numbers of tasks were and are.

use super::Script;
use super::life::{Begin, Ledger, Life};
use crate::family::{Family, Scenario};
use crate::trace::Trace;
use millstream_core::ids::JobId;
use millstream_host::disk::simulated::SimulatedDisk;
use millstream_rpc::machine::Rng;

/// State is dealt out among other numbers of tasks.
pub const RESCALE: Family = Family { name: "sim_rescale", scenario: Scenario::Play(play) };

fn play(seed: u64, trace: &mut Trace) {
    let mut rng = Rng::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x11);
    let script = Script::draw(seed);
    let disk = SimulatedDisk::default();
    let _mounted = disk.mount();
    let mut ledger = Ledger::default();
    let mut begin = Begin { job: JobId(1), savepoint: None, claim: false };
    for life in 0..3 + rng.below(4) {
        trace.event(life, 0, || format!("{begin:?}"));
        let snapshots: Vec<bool> = (0..1 + rng.below(3)).map(|_| rng.below(3) == 0).collect();
        let seed = rng.next_u64();
        trace.mix(seed);
        let begun = Life::begin(&script, &disk, &mut ledger, seed, trace, &begin);
        let mut job = begun.expect("nothing fails on a healthy disk");
        job.take(&snapshots).expect("nothing fails on a healthy disk");
        let ends = rng.below(2) == 0;
        if ends {
            job.end().expect("nothing fails on a healthy disk");
        }
        // Another job, from a savepoint if there is one; or the same, from what is on record.
        if ends || rng.below(3) == 0 {
            let (job, claim) = (JobId(begin.job.0 + 1), rng.below(2) == 0);
            begin = Begin { job, savepoint: ledger.savepoint(), claim };
        }
    }
}
