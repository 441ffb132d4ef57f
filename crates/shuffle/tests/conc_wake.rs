//! Sleeping and waking, under every order of steps that shuttle tries. A wake-up that is lost shows
//! as a deadlock, which is a failure.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-shuffle --test conc_wake`
#![cfg(shuttle)]

use millstream_shuffle::sync::atomic::{AtomicU32, Ordering};
use millstream_shuffle::sync::{Arc, thread};
use millstream_shuffle::wake::Wake;

const SCHEDULES: usize = 20_000;

#[test]
fn conc_a_change_before_the_wake_is_seen_or_wakes() {
    shuttle::check_random(
        || {
            let wake = Wake::new();
            let changes = Arc::new(AtomicU32::new(0));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (wake, changes) = (wake.clone(), changes.clone());
                    thread::spawn(move || {
                        for _ in 0..2 {
                            changes.fetch_add(1, Ordering::Relaxed);
                            wake.wake();
                        }
                    })
                })
                .collect();
            wake.adopt_current_thread();
            let mut seen = 0;
            while seen < 4 {
                wake.sleep(None, || changes.load(Ordering::Relaxed) == seen);
                seen = changes.load(Ordering::Relaxed);
            }
            wakers.into_iter().for_each(|waker| waker.join().expect("no panic"));
        },
        SCHEDULES,
    );
}

#[test]
fn conc_a_waker_of_the_round_before_does_not_cost_the_next_wake_up() {
    shuttle::check_random(
        || {
            let (here, there) = (Wake::new(), Wake::new());
            let turn = Arc::new(AtomicU32::new(0));
            let other = {
                let (here, there, turn) = (here.clone(), there.clone(), turn.clone());
                thread::spawn(move || {
                    there.adopt_current_thread();
                    for round in [1, 3, 5] {
                        while turn.load(Ordering::Relaxed) != round {
                            there.sleep(None, || turn.load(Ordering::Relaxed) != round);
                        }
                        turn.store(round + 1, Ordering::Relaxed);
                        here.wake();
                    }
                })
            };
            here.adopt_current_thread();
            for round in [0, 2, 4] {
                turn.store(round + 1, Ordering::Relaxed);
                there.wake();
                while turn.load(Ordering::Relaxed) != round + 2 {
                    here.sleep(None, || turn.load(Ordering::Relaxed) != round + 2);
                }
            }
            other.join().expect("no panic");
        },
        SCHEDULES,
    );
}

#[test]
fn conc_a_wake_up_is_kept_for_a_sleeper_that_asks_nothing() {
    shuttle::check_random(
        || {
            let wake = Wake::new();
            let changes = Arc::new(AtomicU32::new(0));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (wake, changes) = (wake.clone(), changes.clone());
                    thread::spawn(move || {
                        for _ in 0..2 {
                            changes.fetch_add(1, Ordering::Relaxed);
                            wake.wake();
                        }
                    })
                })
                .collect();
            wake.adopt_current_thread();
            while changes.load(Ordering::Relaxed) < 4 {
                wake.sleep(None, || true);
            }
            wakers.into_iter().for_each(|waker| waker.join().expect("no panic"));
        },
        SCHEDULES,
    );
}
