//! How many frames may wait in this process in all: divided among its channels as they come.
//!
//! A channel gets a full window while much is left, and less as less is left: a sixteenth of the
//! rest. Two frames it always gets, for with less it could not move while it is being read; so the
//! bound is exceeded only by processes with very many channels, by two frames each.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU32, Ordering};

/// What a channel gets at least.
const WINDOW_MIN: u32 = 2;

/// Of what is left, a channel gets so small a part.
const SHARE: u32 = 16;

/// What is left. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Inner>);

struct Inner {
    frames_max: u32,
    granted: AtomicU32,
}

impl Budget {
    /// Nothing is granted yet.
    pub(crate) fn new(frames_max: u32) -> Self {
        Self(Arc::new(Inner { frames_max, granted: AtomicU32::new(0) }))
    }

    /// A part for one channel, at most `window_max`.
    pub(crate) fn grant(&self, window_max: u32) -> Grant {
        let granted = self.0.granted.load(Ordering::Relaxed);
        let share = self.0.frames_max.saturating_sub(granted) / SHARE;
        let frames = window_max.min(share).max(WINDOW_MIN);
        // Two channels that come at once may both see what one of them takes: a window too much.
        self.0.granted.fetch_add(frames, Ordering::Relaxed);
        Grant { frames, budget: self.clone() }
    }
}

/// A channel's part, given back when it is dropped.
pub(crate) struct Grant {
    frames: u32,
    budget: Budget,
}

impl Grant {
    /// How many frames.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.0.granted.fetch_sub(self.frames, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn many_channels_share_what_few_would_have_had() {
        let budget = Budget::new(1000);
        let mut grants: Vec<Grant> = (0..300).map(|_| budget.grant(16)).collect();
        assert_eq!((grants[0].frames(), grants[299].frames()), (16, WINDOW_MIN));
        assert!(grants.iter().map(Grant::frames).sum::<u32>() <= 1000 + 300 * WINDOW_MIN);
        grants.clear();
        assert_eq!(budget.grant(16).frames(), 16);
    }
}
