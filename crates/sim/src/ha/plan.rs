//! What goes wrong, drawn from the seed. A run with every fault at once hides bugs, so each seed
//! draws some of its family's.

use millstream_rpc::machine::Rng;

/// How much of what a family is about. Chances in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emphasis {
    /// Crashes, pauses, orderly stops: how many of them in a run.
    pub faults: u64,
    /// Of these: so many are crashes, so many pauses; the rest are stops in good order.
    pub crashes: u64,
    /// See `crashes`.
    pub pauses: u64,
    /// Writes whose outcome is not known.
    pub unknown: u64,
    /// Writes and reads that fail.
    pub failed: u64,
    /// Writes and reads that take up to a whole lease.
    pub slow: u64,
    /// What a dispatcher has done takes up to so many thousandths of a lease.
    pub work: u64,
    /// Clocks run at half to double speed.
    pub odd_clocks: bool,
}

/// What goes wrong in one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many processes contend.
    pub contenders: usize,
    /// The lease, in milliseconds.
    pub lease_ms: u64,
    /// How much of what.
    pub emphasis: Emphasis,
    /// The speed of each clock, in thousandths.
    pub rates: Vec<u64>,
    /// What happens to whom, and when in milliseconds.
    pub faults: Vec<(u64, usize, Fault)>,
    /// Submissions: when in milliseconds, how long the job runs, whether it is cancelled.
    pub jobs: Vec<(u64, u64, bool)>,
    /// Nothing goes wrong from then on, in milliseconds.
    pub heal_at_ms: u64,
    /// The end of the run, in milliseconds.
    pub end_at_ms: u64,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It dies, and is started again after so many milliseconds.
    Crash(u64),
    /// It does nothing for so many milliseconds.
    Pause(u64),
    /// It is asked to end, and is started again after so many milliseconds.
    Stop(u64),
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(rng: &mut Rng, most: Emphasis) -> Self {
        let lease_ms = 300 + rng.below(2700);
        let end_at_ms = lease_ms * 40;
        let heal_at_ms = end_at_ms / 2;
        let contenders = 2 + rng.below(2) as usize;
        let emphasis = thin_out(rng, most);
        let odd_clocks = emphasis.odd_clocks;
        let mut rate = || if odd_clocks { 500 + rng.below(1501) } else { 1000 };
        let rates = (0..contenders).map(|_| rate()).collect();
        let faults = (0..rng.below(emphasis.faults + 1))
            .map(|_| {
                let at = rng.below(heal_at_ms);
                let process = rng.below(contenders as u64) as usize;
                (at, process, fault(rng, emphasis, lease_ms))
            })
            .collect();
        let jobs = (0..1 + rng.below(4))
            .map(|_| {
                let (at, lasts) = (rng.below(heal_at_ms), 1 + rng.below(8 * lease_ms));
                (at, lasts, rng.below(4) == 0)
            })
            .collect();
        Self { contenders, lease_ms, emphasis, rates, faults, jobs, heal_at_ms, end_at_ms }
    }
}

/// Each kind of trouble is there or not, and less or more.
fn thin_out(rng: &mut Rng, most: Emphasis) -> Emphasis {
    let mut some = |most: u64| if rng.below(3) == 0 { 0 } else { rng.below(most + 1) };
    Emphasis {
        faults: most.faults,
        crashes: most.crashes,
        pauses: most.pauses,
        unknown: some(most.unknown),
        failed: some(most.failed),
        slow: some(most.slow),
        work: 1 + some(most.work),
        odd_clocks: most.odd_clocks && rng.below(2) == 0,
    }
}

fn fault(rng: &mut Rng, emphasis: Emphasis, lease_ms: u64) -> Fault {
    let luck = rng.below(1000);
    let later = rng.below(2 * lease_ms);
    match luck {
        _ if luck < emphasis.crashes => Fault::Crash(later),
        _ if luck < emphasis.crashes + emphasis.pauses => Fault::Pause(rng.below(3 * lease_ms)),
        _ => Fault::Stop(later),
    }
}
