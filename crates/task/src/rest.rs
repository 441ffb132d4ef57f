//! How a slot's thread rests when none of its tasks can move: it looks for a moment, sleeps, and
//! is awake again when a time comes that a task asked for.
//!
//! - **Looking** costs less than a sleep and its end when something comes at once. A thread that
//!   waits for a time as well yields between looks: the scheduler may have put it on one core with
//!   the thread that it hears from, and a thread that only spins there keeps the other out. A thread
//!   that waits for others alone is under load, and does not yield: two processes that exchange
//!   records as fast as they can took twice as long when their slots yielded to the threads of their
//!   connections.
//! - **Sleeping until a time** ends late, on a virtual machine by 20 to 50 µs, many times what a
//!   record needs from source to sink. So the sleep is ended early by a [`Lead`], and the rest of
//!   the time is looked away. The lead is no longer than the sleeps are late here.
//!
//! Without a time and without calls the thread sleeps and costs nothing.

use millstream_shuffle::wake::Wake;
use std::time::{Duration, Instant};

/// How long the thread looks before it sleeps until somebody calls.
#[cfg(not(shuttle))]
const LOOK: Duration = Duration::from_micros(20);

/// Under shuttle time does not pass.
#[cfg(shuttle)]
const LOOK: Duration = Duration::ZERO;

/// How long it looks before it sleeps until a time. Longer was no faster.
const LOOK_BEFORE_TIME: Duration = Duration::from_micros(10);

/// Turns of the processor's pause between two looks of a thread that yields.
const PAUSES: u32 = 16;

/// The thread's way to rest.
#[derive(Default)]
pub(crate) struct Rest {
    lead: Lead,
}

impl Rest {
    /// Rests until somebody calls, the time has come, or `is_idle` says that there is something to
    /// do. It may also return for nothing.
    pub(crate) fn rest(&mut self, wake: &Wake, until: Option<Instant>, is_idle: impl Fn() -> bool) {
        let now = Instant::now();
        match until {
            None if look(now + LOOK, std::hint::spin_loop, &is_idle) => wake.sleep(None, is_idle),
            Some(until) if look(until.min(now + LOOK_BEFORE_TIME), pause_and_yield, &is_idle) => {
                self.sleep_until(until, wake, is_idle);
            }
            _ => (),
        }
    }

    fn sleep_until(&mut self, until: Instant, wake: &Wake, is_idle: impl Fn() -> bool) {
        let early = until - self.lead.get();
        let timeout = early.saturating_duration_since(Instant::now());
        if !timeout.is_zero() {
            wake.sleep(Some(timeout), &is_idle);
            let now = Instant::now();
            if now < early {
                return;
            }
            self.lead.slept(now.duration_since(early));
        }
        look(until, pause_and_yield, is_idle);
    }
}

/// Looks until the time has come; whether there was nothing until then.
fn look(until: Instant, between: fn(), is_idle: impl Fn() -> bool) -> bool {
    while is_idle() {
        if Instant::now() >= until {
            return true;
        }
        between();
    }
    false
}

fn pause_and_yield() {
    (0..PAUSES).for_each(|_| std::hint::spin_loop());
    std::thread::yield_now();
}

/// How much earlier than wanted a sleep is ended: learnt from how late the last ones ended, so that
/// nine of ten are over in time.
struct Lead(Duration);

impl Lead {
    /// So much may be looked away at most per sleep: a machine that is busy makes sleeps end later
    /// still, and looking would keep it busier.
    const MAX: Duration = Duration::from_micros(50);
    /// Added after a sleep that ended too late, taken away after one that did not: nine to one.
    const UP: Duration = Duration::from_nanos(4_500);
    const DOWN: Duration = Duration::from_nanos(500);

    fn get(&self) -> Duration {
        self.0
    }

    /// A sleep has ended so late.
    fn slept(&mut self, late: Duration) {
        self.0 = if late > self.0 {
            (self.0 + Self::UP).min(Self::MAX)
        } else {
            self.0.saturating_sub(Self::DOWN)
        };
    }
}

impl Default for Lead {
    fn default() -> Self {
        Self(Duration::from_micros(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// The lead after so many sleeps that ended so late, in turn.
    fn lead_after(sleeps: usize, late: &[Duration]) -> Duration {
        let mut lead = Lead::default();
        late.iter().cycle().take(sleeps).for_each(|late| lead.slept(*late));
        lead.get()
    }

    #[test]
    fn the_lead_is_what_covers_most_sleeps() {
        let lead = lead_after(10_000, &[us(30)]);
        assert!(us(25) < lead && lead < us(35), "{lead:?}");
        let mostly_short = [us(5), us(5), us(5), us(5), us(5), us(5), us(5), us(5), us(5), us(40)];
        let lead = lead_after(10_000, &mostly_short);
        assert!(lead < us(41), "{lead:?}");
    }

    #[test]
    fn a_machine_that_is_on_time_needs_no_lead() {
        assert_eq!(lead_after(1_000, &[us(0)]), us(0));
    }

    #[test]
    fn a_busy_machine_does_not_make_the_thread_look_for_ever() {
        assert_eq!(lead_after(1_000, &[us(3_000)]), Lead::MAX);
    }

    #[test]
    fn a_call_that_left_no_trace_is_not_slept_over() {
        let wake = Wake::new();
        wake.adopt_current_thread();
        wake.wake();
        Rest::default().rest(&wake, None, || true);
    }

    #[test]
    fn a_call_of_another_thread_ends_the_rest() {
        let wake = Wake::new();
        wake.adopt_current_thread();
        let caller = wake.clone();
        let thread = std::thread::spawn(move || caller.wake());
        Rest::default().rest(&wake, Some(Instant::now() + us(1_000_000_000)), || true);
        thread.join().expect("waking does not panic");
    }

    #[test]
    fn no_rest_with_a_time_ends_before_it() {
        let wake = Wake::new();
        wake.adopt_current_thread();
        let mut rest = Rest::default();
        for gap in [us(0), us(5), us(15), us(60), us(2_000)] {
            let until = Instant::now() + gap;
            rest.rest(&wake, Some(until), || true);
            assert!(Instant::now() >= until, "{gap:?}");
        }
    }
}
