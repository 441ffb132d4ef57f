//! Planted bugs: one at a time is active on a thread. Each takes one protection away, and the simulator
//! must notice.
//!
//! Which there are, the crates that have them say. Without the feature `mutants` the question is a constant
//! `false` and costs nothing.

/// Whether the planted bug of this name is active on this thread.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn on(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use planted::{active, on, set};

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Whether the planted bug of this name is active on this thread.
    pub fn on(name: &'static str) -> bool {
        ACTIVE.get() == Some(name)
    }

    /// The one that is active on this thread.
    pub fn active() -> Option<&'static str> {
        ACTIVE.get()
    }

    /// Activates one on this thread, or none.
    pub fn set(name: Option<&'static str>) {
        ACTIVE.set(name);
    }
}
