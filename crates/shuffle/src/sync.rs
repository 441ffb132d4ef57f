//! Locks, atomics and threads for everything that two threads share: std in production, shuttle
//! under `--cfg shuttle`. Structures of this crate name these and nothing else.

#[cfg(shuttle)]
pub use shuttle::{sync::*, thread};
#[cfg(not(shuttle))]
pub use std::{sync::*, thread};

/// Locks; a thread that panicked while holding the lock is a bug that the lock does not hide.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no user code runs under this lock")
}
