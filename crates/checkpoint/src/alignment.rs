//! When a task that reads several channels takes its part of a checkpoint: when the barrier has come
//! on all of them.
//!
//! One [`Alignment`] counts the channels of all gates of a task. A channel that has given the
//! barrier is not read until the others have given it too, so what the task has processed then is
//! exactly what its producers sent before theirs. A channel that has ended counts as having given
//! every barrier: all of it is processed.
//!
//! A task without live channels is told of a checkpoint by its master ([`Alignment::on_trigger`]);
//! so is one whose producers may have ended before they heard of it. A task that is told both ways
//! takes its part once.
//!
//! | what comes | what becomes of the checkpoint that is pending |
//! |---|---|
//! | the barrier of a later one, on any channel | abandoned: that channel will not give its barrier any more |
//! | word that it was given up, from the master or through a channel | abandoned |
//! | the barrier of one that is decided, or known to be given up | nothing |
//!
//! An abandoned checkpoint is not complete without this task, so nothing is lost but time. Barriers
//! that pass data ([`Passage::Unaligned`]) are treated as if they did not.

use millstream_core::checkpoint::{Alignment as Passage, Barrier, CheckpointId};
use millstream_core::time::Mono;
use std::collections::BTreeSet;

/// So many checkpoints are remembered of which it was heard, before their barrier, that they were
/// given up. One that is forgotten is aligned for nothing.
pub const ABORTED_MAX: usize = 64;

/// The barriers of a task's channels.
#[derive(Clone, Debug)]
pub struct Alignment {
    channels: Vec<Channel>,
    /// Channels that have not ended.
    alive: usize,
    pending: Option<Pending>,
    /// This checkpoint and all before it are decided here: taken part in, or abandoned.
    decided: CheckpointId,
    /// Later ones that will never be complete.
    aborted: BTreeSet<CheckpointId>,
}

#[derive(Clone, Debug, Default)]
struct Channel {
    ended: bool,
    /// The newest barrier that was counted; 0 for none.
    given: CheckpointId,
}

/// A checkpoint that some channels have not given the barrier of.
#[derive(Clone, Copy, Debug)]
struct Pending {
    barrier: Barrier,
    began: Mono,
    /// Live channels that have not given the barrier.
    missing: usize,
}

/// What has become of checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// The task takes no part in this one, and nobody has been told yet.
    pub abandoned: Option<CheckpointId>,
    /// The task is to take its part in this one now.
    pub aligned: Option<Aligned>,
}

/// A barrier that all channels have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// The barrier.
    pub barrier: Barrier,
    /// When the first channel gave it.
    pub began: Mono,
    /// When the last one gave it.
    pub completed: Mono,
}

impl Alignment {
    /// So many channels, none of which has given a barrier or ended.
    pub fn new(channels: usize) -> Self {
        Self {
            channels: vec![Channel::default(); channels],
            alive: channels,
            pending: None,
            decided: CheckpointId::default(),
            aborted: BTreeSet::new(),
        }
    }

    /// A channel has given a barrier.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier, now: Mono) -> Outcome {
        let Channel { ended, given } = self.channels[channel];
        if ended || given >= barrier.checkpoint {
            return Outcome::default();
        }
        let id = barrier.checkpoint;
        if self.aborted.contains(&id) && self.pending() < Some(id) {
            // Told already. But older ones are passed by with it.
            let abandoned = self.pending();
            self.decide(id);
            return Outcome { abandoned, aligned: None };
        }
        let Some(mut outcome) = self.begin(barrier, now) else { return Outcome::default() };
        self.channels[channel].given = id;
        self.count_off();
        outcome.aligned = self.take_aligned(now);
        outcome
    }

    /// The master wants the checkpoint, whether or not a channel will give its barrier.
    pub fn on_trigger(&mut self, barrier: Barrier, now: Mono) -> Outcome {
        let Some(mut outcome) = self.begin(barrier, now) else { return Outcome::default() };
        outcome.aligned = self.take_aligned(now);
        outcome
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize, now: Mono) -> Outcome {
        let Channel { ended, given } = &mut self.channels[channel];
        if std::mem::replace(ended, true) {
            return Outcome::default();
        }
        let given = *given;
        self.alive -= 1;
        if self.pending.is_some_and(|pending| given < pending.barrier.checkpoint) {
            self.count_off();
        }
        Outcome { abandoned: None, aligned: self.take_aligned(now) }
    }

    /// A producer takes no part in a checkpoint.
    pub fn on_cancel(&mut self, checkpoint: CheckpointId) -> Outcome {
        self.give_up(checkpoint)
    }

    /// The master has given a checkpoint up.
    pub fn on_aborted(&mut self, checkpoint: CheckpointId) -> Outcome {
        self.give_up(checkpoint)
    }

    /// Whether the channel must not be read now.
    pub fn is_blocked(&self, channel: usize) -> bool {
        let Channel { ended, given } = self.channels[channel];
        self.pending.is_some_and(|Pending { barrier, .. }| {
            barrier.alignment != Passage::AtLeastOnce && !ended && given == barrier.checkpoint
        })
    }

    /// The checkpoint that some channels have not given the barrier of.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.map(|pending| pending.barrier.checkpoint)
    }

    /// Makes this checkpoint the pending one; nothing if it is older, or known to be given up.
    fn begin(&mut self, barrier: Barrier, now: Mono) -> Option<Outcome> {
        let id = barrier.checkpoint;
        if id <= self.decided || self.aborted.contains(&id) || self.pending() > Some(id) {
            return None;
        }
        if self.pending() == Some(id) {
            return Some(Outcome::default());
        }
        let abandoned = self.pending();
        if let Some(older) = abandoned {
            self.decide(older);
        }
        self.pending = Some(Pending { barrier, began: now, missing: self.alive });
        Some(Outcome { abandoned, aligned: None })
    }

    fn count_off(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.missing -= 1;
        }
    }

    fn take_aligned(&mut self, now: Mono) -> Option<Aligned> {
        let Pending { barrier, began, missing } = self.pending?;
        if missing > 0 {
            return None;
        }
        self.decide(barrier.checkpoint);
        Some(Aligned { barrier, began, completed: now })
    }

    fn give_up(&mut self, id: CheckpointId) -> Outcome {
        if self.pending() == Some(id) {
            self.decide(id);
        } else if id <= self.decided || !self.aborted.insert(id) {
            return Outcome::default();
        } else if self.aborted.len() > ABORTED_MAX {
            self.aborted.pop_first();
        }
        Outcome { abandoned: Some(id), aligned: None }
    }

    /// Nothing more will be done for this checkpoint and those before it.
    fn decide(&mut self, id: CheckpointId) {
        self.pending = None;
        self.decided = id;
        self.aborted.retain(|aborted| *aborted > id);
    }
}
