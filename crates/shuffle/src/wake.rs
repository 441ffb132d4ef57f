//! Waking a slot thread: it sleeps when none of its tasks can move, and whoever changes that wakes it.
//!
//! The story of one sleep. The sleeper announces itself (`asleep`), looks at its queues once more,
//! and only then parks. A waker changes a queue first and then looks at `asleep`. Whatever the
//! order, one of the two sees the other: both sides put a sequentially consistent fence between
//! their write and their read. Some changes leave no trace that the sleeper could look at (a source's
//! own thread has something): so a wake-up is also remembered, and the next sleep is skipped.
//!
//! A task that must look at something at once, however much else there is to do, is *urged*: the wake
//! then has a flag of the task's own besides ([`Wake::with_urgency`]), which the task looks at in every
//! turn.

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, Mutex, lock};
use std::time::Duration;

/// A handle on a thread that may sleep. Cheap to clone.
#[derive(Clone, Default)]
pub struct Wake {
    inner: Arc<Inner>,
    /// Something is to be looked at before anything else.
    urgent: Arc<AtomicBool>,
}

#[derive(Default)]
struct Inner {
    /// The thread has looked at everything and is about to park, or has.
    asleep: AtomicBool,
    /// Somebody has called since the last sleep began.
    called: AtomicBool,
    /// Whom to unpark; set by the thread itself when it begins.
    thread: Mutex<Option<Thread>>,
}

impl Wake {
    /// Nobody sleeps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same thread, with an urgency of its own.
    pub fn with_urgency(&self) -> Self {
        Self { inner: self.inner.clone(), urgent: Arc::default() }
    }

    /// Something has come that cannot wait for its turn. Call it after the change.
    pub fn urge(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether somebody has urged since the last time.
    #[inline]
    pub fn take_urgency(&self) -> bool {
        self.urgent.load(Ordering::Relaxed) && self.urgent.swap(false, Ordering::SeqCst)
    }

    /// Makes the calling thread the one that is woken.
    pub fn adopt_current_thread(&self) {
        *lock(&self.inner.thread) = Some(thread::current());
    }

    /// Whether both wake the same thread.
    pub fn is_same(&self, other: &Wake) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Something changed: wakes the thread if it sleeps. Call it after the change.
    #[inline]
    pub fn wake(&self) {
        self.inner.called.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.inner.asleep.load(Ordering::Relaxed) {
            self.wake_sleeper();
        }
    }

    #[cold]
    fn wake_sleeper(&self) {
        if self.inner.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = lock(&self.inner.thread).as_ref()
        {
            thread.unpark();
        }
    }

    /// Sleeps until woken or for so long, unless `idle`, asked after the announcement, says that
    /// there is something to do.
    pub fn sleep(&self, timeout: Option<Duration>, idle: impl FnOnce() -> bool) {
        self.inner.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let called = self.inner.called.swap(false, Ordering::Relaxed);
        if !called && idle() {
            match timeout {
                None => self.park_until_woken(),
                Some(timeout) => park_timeout(timeout),
            }
        }
        self.inner.asleep.store(false, Ordering::Relaxed);
    }

    /// Parking may end by itself; without a timeout only a wake-up counts.
    fn park_until_woken(&self) {
        while self.inner.asleep.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

#[cfg(not(shuttle))]
fn park_timeout(timeout: Duration) {
    thread::park_timeout(timeout);
}

/// Under shuttle time does not pass; a sleep with a timeout may end at once.
#[cfg(shuttle)]
fn park_timeout(_timeout: Duration) {
    thread::yield_now();
}
