//! A long run of the families about state: `long_run [SEEDS [FIRST]]` plays so many seeds, from the
//! first on, shared by all families of checkpoints, recovery, rescaling, stores and leadership.
//!
//! Prints a row per family. The first seed that fails is told with its whole story.

use millstream_sim::families::{
    AMBIGUOUS_PUT, BOUNDED_TAIL, CHECKPOINT_ALIGNED, COMPLETION_AFTER_REVOKE, CRASH_AT_EVERY_IO,
    LEADER_CHANGE, LEADER_TAKEOVER, NO_DANGLING_REFERENCE, RECOVERY, RESCALE, STORE_HISTORY,
    SUSPEND_ANYWHERE, TWO_LEADERS,
};
use millstream_sim::family::Family;
use std::time::Instant;

const FAMILIES: [&Family; 13] = [
    &CHECKPOINT_ALIGNED,
    &RECOVERY,
    &NO_DANGLING_REFERENCE,
    &BOUNDED_TAIL,
    &LEADER_TAKEOVER,
    &CRASH_AT_EVERY_IO,
    &RESCALE,
    &STORE_HISTORY,
    &LEADER_CHANGE,
    &TWO_LEADERS,
    &AMBIGUOUS_PUT,
    &COMPLETION_AFTER_REVOKE,
    &SUSPEND_ANYWHERE,
];

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let seeds = numbers.next().map_or(100_000, |n| n.expect("the number of seeds"));
    let first = numbers.next().map_or(0, |n| n.expect("the first seed"));
    let began = Instant::now();
    let (mut played, mut all_events) = (0, 0);
    for (index, family) in (0_u64..).zip(FAMILIES) {
        let share = |index: u64| seeds * index / FAMILIES.len() as u64;
        let count = share(index + 1) - share(index);
        let started = Instant::now();
        let (failed, events, _) = family.search(first..first + count);
        if let Some(seed) = failed {
            let keep = millstream_sim::family::Keep { record: true, print: false };
            let failure = family.run(seed, keep).expect_err("it is deterministic");
            let story = failure.last_events.join("\n");
            panic!("{story}\n{} seed {seed}: {}", family.name, failure.message);
        }
        (played, all_events) = (played + count, all_events + events);
        let seconds = started.elapsed().as_secs_f64();
        println!("| `{}` | {count} | {events} | {seconds:.1} s |", family.name);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{played} seeds, {all_events} events, {seconds:.0} s, nothing found");
}
