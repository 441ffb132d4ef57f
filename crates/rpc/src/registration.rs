//! Registration with retry: how one endpoint makes itself known to another. Pure.
//!
//! The owner carries out what [`Registration`] says next: ask with this timeout, or wait until
//! then. Timeouts double from 100 ms to 30 s; a refusal, an error and a rejection each have their
//! own consequence. A registration that was started anew ignores answers to the former one: each
//! start draws a new attempt number, and the owner tags its asks with it.

use millstream_core::time::Mono;

/// Flink's `cluster.registration.*`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// `initial-timeout`: the first ask waits so long.
    pub initial_timeout_ms: u64,
    /// `max-timeout`: no ask waits longer.
    pub max_timeout_ms: u64,
    /// `error-delay`: the pause after an unreachable or unreadable peer.
    pub error_delay_ms: u64,
    /// `refused-registration-delay`: the pause after a refusal.
    pub refused_delay_ms: u64,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            initial_timeout_ms: 100,
            max_timeout_ms: 30_000,
            error_delay_ms: 10_000,
            refused_delay_ms: 30_000,
        }
    }
}

/// What came of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Registered.
    Success,
    /// Not now.
    Refused,
    /// Never.
    Rejected,
    /// No answer in time.
    Timeout,
    /// Nobody there, or nonsense came back.
    Error,
}

/// What the owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask, and wait so long for the answer.
    Ask {
        /// Milliseconds.
        timeout_ms: u64,
    },
    /// Call [`Registration::on_wake`] then.
    WakeAt(Mono),
    /// Registered: nothing more to do.
    Registered,
    /// Rejected for good: give up.
    GiveUp,
    /// The input belonged to a former attempt.
    Ignore,
}

/// One endeavour to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    config: RegistrationConfig,
    attempt: u64,
    timeout_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Asking,
    Waiting(Mono),
    Registered,
    Rejected,
}

impl Registration {
    /// Nothing has been asked yet.
    pub fn new(config: RegistrationConfig) -> Self {
        let timeout_ms = config.initial_timeout_ms;
        Self { config, attempt: 0, timeout_ms, state: State::Idle }
    }

    /// The number of the current endeavour; asks are tagged with it.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Whether the last endeavour succeeded.
    pub fn is_registered(&self) -> bool {
        self.state == State::Registered
    }

    /// Begins anew, whatever went on before.
    pub fn start(&mut self) -> Next {
        self.attempt += 1;
        self.timeout_ms = self.config.initial_timeout_ms;
        self.ask()
    }

    /// Gives up; later answers and wake-ups are ignored.
    pub fn cancel(&mut self) {
        self.attempt += 1;
        self.state = State::Idle;
    }

    /// An ask of the given attempt has ended.
    pub fn on_outcome(&mut self, attempt: u64, outcome: Outcome, now: Mono) -> Next {
        if attempt != self.attempt || self.state != State::Asking {
            return Next::Ignore;
        }
        match outcome {
            Outcome::Success => {
                self.state = State::Registered;
                Next::Registered
            }
            Outcome::Rejected => {
                self.state = State::Rejected;
                Next::GiveUp
            }
            Outcome::Timeout => {
                self.timeout_ms = (self.timeout_ms * 2).min(self.config.max_timeout_ms);
                self.ask()
            }
            Outcome::Refused => {
                self.timeout_ms = self.config.initial_timeout_ms;
                self.wait(now + self.config.refused_delay_ms)
            }
            Outcome::Error => self.wait(now + self.config.error_delay_ms),
        }
    }

    /// A wait is over (or a stale timer fired).
    pub fn on_wake(&mut self, now: Mono) -> Next {
        match self.state {
            State::Waiting(until) if until <= now => self.ask(),
            State::Waiting(until) => Next::WakeAt(until),
            _ => Next::Ignore,
        }
    }

    fn ask(&mut self) -> Next {
        self.state = State::Asking;
        Next::Ask { timeout_ms: self.timeout_ms }
    }

    fn wait(&mut self, until: Mono) -> Next {
        self.state = State::Waiting(until);
        Next::WakeAt(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_double_up_to_the_bound() {
        let mut registration = Registration::new(RegistrationConfig::default());
        let mut next = registration.start();
        let mut waits = Vec::new();
        for _ in 0..11 {
            let Next::Ask { timeout_ms } = next else { panic!("{next:?}") };
            waits.push(timeout_ms);
            next = registration.on_outcome(registration.attempt(), Outcome::Timeout, Mono(0));
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[9..], [30_000, 30_000]);
    }

    #[test]
    fn a_success_of_a_cancelled_attempt_is_ignored() {
        let mut registration = Registration::new(RegistrationConfig::default());
        registration.start();
        let former = registration.attempt();
        registration.start();
        assert_eq!(registration.on_outcome(former, Outcome::Success, Mono(0)), Next::Ignore);
        assert!(!registration.is_registered());
    }

    #[test]
    fn a_refusal_waits_and_starts_over_with_the_first_timeout() {
        let mut registration = Registration::new(RegistrationConfig::default());
        registration.start();
        let attempt = registration.attempt();
        registration.on_outcome(attempt, Outcome::Timeout, Mono(0));
        let next = registration.on_outcome(attempt, Outcome::Refused, Mono(5));
        assert_eq!(next, Next::WakeAt(Mono(30_005)));
        assert_eq!(registration.on_wake(Mono(29_000)), Next::WakeAt(Mono(30_005)));
        assert_eq!(registration.on_wake(Mono(30_005)), Next::Ask { timeout_ms: 100 });
    }

    #[test]
    fn a_rejection_is_final() {
        let mut registration = Registration::new(RegistrationConfig::default());
        registration.start();
        let attempt = registration.attempt();
        assert_eq!(registration.on_outcome(attempt, Outcome::Rejected, Mono(0)), Next::GiveUp);
        assert_eq!(registration.on_wake(Mono(1 << 40)), Next::Ignore);
    }
}
