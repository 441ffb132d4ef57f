//! The mailbox of a thread that sleeps when it has nothing to do.
//!
//! Posting never waits. The reader looks at a flag, without the lock, as often as it likes; it parks
//! through [`Wake`], whose question it answers with [`Mailbox::is_empty`]. A poster fills the box,
//! raises the flag and then wakes; the reader lowers the flag before it empties the box: so whatever
//! is in the box while the reader sleeps has its flag, and whatever is posted after its last look
//! wakes it.

use millstream_shuffle::sync::atomic::{AtomicBool, Ordering};
use millstream_shuffle::sync::{Mutex, lock};
use millstream_shuffle::wake::Wake;
use std::collections::VecDeque;

/// Mails for one thread.
pub struct Mailbox<M> {
    mails: Mutex<VecDeque<M>>,
    /// There is mail.
    filled: AtomicBool,
    wake: Wake,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self { mails: Mutex::default(), filled: AtomicBool::new(false), wake: Wake::new() }
    }
}

impl<M> Mailbox<M> {
    /// Puts a mail into the box and wakes the reader. Never waits.
    pub fn post(&self, mail: M) {
        lock(&self.mails).push_back(mail);
        self.filled.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Everything that has been posted, in order.
    pub fn take(&self) -> VecDeque<M> {
        match self.filled.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *lock(&self.mails)),
            false => VecDeque::new(),
        }
    }

    /// Whether nothing has been posted since the last [`Mailbox::take`].
    pub fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Acquire)
    }

    /// What wakes the reader, and what it sleeps by.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }
}
