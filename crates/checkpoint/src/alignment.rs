//! When a task that reads several channels takes its part of a checkpoint: when the barrier has come
//! on all of them, or earlier, if barriers may overtake data.
//!
//! One [`Alignment`] counts the channels of all gates of a task. A channel that has given the
//! barrier is not read until the others have given it too, so what the task has processed then is
//! exactly what its producers sent before theirs. A channel that has ended counts as having given
//! every barrier: all of it is processed.
//!
//! A barrier that may overtake data is seen before it is read ([`Alignment::on_announced`]). The task
//! then takes its part at once, or when the barrier has been under way for too long, and *records*:
//! what a channel holds before its barrier, and what it still gives before it, becomes part of the
//! checkpoint. When every channel has given its barrier, or what is before it is recorded, the part is
//! complete. Some channels cannot be overtaken ([`Alignment::with_strict`]): their barriers are waited
//! for first, as if all were aligned.
//!
//! | stage of a pending checkpoint | the task |
//! |---|---|
//! | waiting | waits for barriers; channels that have given theirs are not read |
//! | due | is on the way to take its part, though barriers are missing |
//! | recording | has taken its part; reads all channels, and records those that lack the barrier |
//!
//! A task without live channels is told of a checkpoint by its master ([`Alignment::on_trigger`]);
//! so is one whose producers may have ended before they heard of it. A task that is told both ways
//! takes its part once. Several checkpoints may be pending: where no channel waits for another (at
//! least once), and where the master speaks to a task whose channels have not ended. They are decided
//! in order, for channels give barriers in order.
//!
//! | what comes | what becomes of a checkpoint that is pending |
//! |---|---|
//! | the barrier of a later one, on a channel that has not given its own | abandoned: it never will |
//! | a later one that overtakes | abandoned: those are taken one at a time, so the master is through with it |
//! | word that it was given up, from the master or through a channel | abandoned |
//! | the barrier of one that is decided, or known to be given up | nothing |
//!
//! An abandoned checkpoint is not complete without this task, so nothing is lost but time.

use crate::mutant;
use millstream_core::checkpoint::{Alignment as Passage, Barrier, CheckpointId};
use millstream_core::time::{Mono, Timestamp};
use std::collections::{BTreeSet, VecDeque};

/// So many checkpoints are remembered of which it was heard, before their barrier, that they were
/// given up. One that is forgotten is aligned for nothing.
pub const ABORTED_MAX: usize = 64;

/// So many checkpoints are pending; beyond that the oldest is abandoned. More than are taken at once.
pub const PENDING_MAX: usize = 16;

/// The barriers of a task's channels.
#[derive(Clone, Debug)]
pub struct Alignment {
    channels: Vec<Channel>,
    /// Channels that have not ended.
    alive: usize,
    /// In ascending order.
    pending: VecDeque<Pending>,
    /// This checkpoint and all before it are decided here: taken part in, or abandoned.
    decided: CheckpointId,
    /// Others that will never be complete.
    aborted: BTreeSet<CheckpointId>,
    /// What the wall clock shows at the origin of monotonic time.
    wall_origin: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Channel {
    /// Barriers do not overtake its data.
    strict: bool,
    ended: bool,
    /// The newest barrier that was counted; 0 for none.
    given: CheckpointId,
}

/// A checkpoint that some channels have not given the barrier of, or that the task is on the way to.
#[derive(Clone, Copy, Debug)]
struct Pending {
    barrier: Barrier,
    began: Mono,
    /// Live channels that have not given the barrier.
    missing: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Due,
    Recording,
}

/// What has become of checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// The task takes no part in these, and nobody has been told yet.
    pub abandoned: Vec<CheckpointId>,
    /// The task is to take its part in these now, one after the other.
    pub aligned: Vec<Aligned>,
    /// Everything that the task had to record for this one is recorded.
    pub recorded: Option<CheckpointId>,
}

impl Outcome {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.abandoned.is_empty() && self.aligned.is_empty() && self.recorded.is_none()
    }
}

/// A barrier that is to pass the task: all channels have given it, or it overtakes what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// The barrier, as it is to be passed on.
    pub barrier: Barrier,
    /// When it was first seen.
    pub began: Mono,
    /// When its time had come.
    pub completed: Mono,
    /// Some channels have not given it: the task says when it has taken its part
    /// ([`Alignment::on_passed`]), and records.
    pub overtakes: bool,
}

impl Aligned {
    /// The barrier has been under way for too long: from now on it overtakes.
    pub fn hurry(&mut self) {
        self.barrier.alignment = Passage::Unaligned;
    }
}

impl Alignment {
    /// So many channels, none of which has given a barrier or ended.
    pub fn new(channels: usize) -> Self {
        Self {
            channels: vec![Channel::default(); channels],
            alive: channels,
            pending: VecDeque::new(),
            decided: CheckpointId::default(),
            aborted: BTreeSet::new(),
            wall_origin: 0,
        }
    }

    /// Whether barriers do not overtake the data of each channel.
    pub fn with_strict(mut self, strict: impl IntoIterator<Item = bool>) -> Self {
        for (channel, strict) in self.channels.iter_mut().zip(strict) {
            channel.strict = strict;
        }
        self
    }

    /// What the wall clock shows at the origin of monotonic time: barriers say when they were triggered.
    pub fn with_wall_origin(mut self, wall_origin: Timestamp) -> Self {
        self.wall_origin = wall_origin;
        self
    }

    /// A channel has given a barrier: what was before it is processed.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier, now: Mono) -> Outcome {
        let Channel { ended, given, .. } = self.channels[channel];
        let id = barrier.checkpoint;
        let mut outcome = Outcome::default();
        if ended || given >= id {
            return outcome;
        }
        self.channels[channel].given = id;
        self.pass_by(|pending| pending > given && pending < id, &mut outcome);
        match self.find(id) {
            Some(at) => self.pending[at].missing -= 1,
            None => self.begin(barrier, now, &mut outcome),
        }
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// A barrier that may overtake data waits in some channel.
    pub fn on_announced(&mut self, barrier: Barrier, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        if !barrier.alignment.may_overtake() || mutant::on("barrier_waits_its_turn") {
            return outcome;
        }
        let id = barrier.checkpoint;
        if self.find(id).is_none() && id > self.decided && !self.aborted.contains(&id) {
            self.pass_by(|pending| pending < id, &mut outcome);
            self.begin(barrier, now, &mut outcome);
        }
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// The master wants the checkpoint, whether or not a channel will give its barrier.
    pub fn on_trigger(&mut self, barrier: Barrier, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        if self.find(barrier.checkpoint).is_none() {
            self.begin(barrier, now, &mut outcome);
        }
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        let Channel { ended, given, .. } = &mut self.channels[channel];
        if std::mem::replace(ended, true) {
            return outcome;
        }
        let given = *given;
        self.alive -= 1;
        for pending in self.pending.iter_mut().filter(|p| given < p.barrier.checkpoint) {
            pending.missing -= 1;
        }
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// Time has passed: see [`Alignment::deadline`].
    pub fn on_timer(&mut self, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// The task has taken its part in a checkpoint whose barrier some channels have not given.
    pub fn on_passed(&mut self, checkpoint: CheckpointId, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(at) = self.find(checkpoint) {
            self.pending[at].stage = Stage::Recording;
        }
        self.take_ready(now, &mut outcome);
        outcome
    }

    /// All that is before the barrier in this channel, or before its end, is recorded.
    pub fn on_recorded(&mut self, channel: usize, now: Mono) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(id) = self.recording().filter(|_| self.lacks_barrier(channel)) else {
            return outcome;
        };
        self.channels[channel].given = id;
        if let Some(at) = self.find(id) {
            self.pending[at].missing -= 1;
        }
        self.take_ready(now, &mut outcome);
        outcome
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
        let Channel { ended, given, .. } = self.channels[channel];
        let blocks = |Pending { barrier, stage, .. }: &Pending| {
            *stage != Stage::Recording
                && barrier.alignment != Passage::AtLeastOnce
                && given == barrier.checkpoint
        };
        !ended && self.pending.iter().any(blocks)
    }

    /// Whether what the channel gives is to be recorded.
    pub fn is_recorded(&self, channel: usize) -> bool {
        let after_the_barrier = mutant::on("recorded_after_the_barrier");
        self.recording().is_some() && (self.lacks_barrier(channel) || after_the_barrier)
    }

    /// The checkpoint for which the task records.
    pub fn recording(&self) -> Option<CheckpointId> {
        let recording = |pending: &&Pending| pending.stage == Stage::Recording;
        self.pending.iter().find(recording).map(|pending| pending.barrier.checkpoint)
    }

    /// The oldest checkpoint that some channels have not given the barrier of.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.pending.front().map(|pending| pending.barrier.checkpoint)
    }

    /// When the pending checkpoint is to overtake, if it is a matter of time alone.
    pub fn deadline(&self) -> Option<Mono> {
        let front = self.pending.front().filter(|front| front.stage == Stage::Waiting)?;
        let at = self.overtakes_at(&front.barrier)?;
        self.strict_have_given(front.barrier.checkpoint).then_some(at)
    }

    /// When a barrier that is under way overtakes; nothing for one that never does.
    pub fn overtakes_at(&self, barrier: &Barrier) -> Option<Mono> {
        let since_origin = |wall: Timestamp| {
            Mono(u64::try_from(wall.saturating_sub(self.wall_origin)).unwrap_or_default())
        };
        match barrier.alignment {
            Passage::Unaligned => Some(Mono::default()),
            Passage::AlignedUntil(_) if mutant::on("barrier_timeout_not_propagated") => None,
            Passage::AlignedUntil(ms) => {
                Some(since_origin(barrier.timestamp.saturating_add(i64::from(ms))))
            }
            Passage::Aligned | Passage::AtLeastOnce => None,
        }
    }

    /// Makes this checkpoint a pending one, unless it is older, or known to be given up. It is not
    /// pending already.
    fn begin(&mut self, barrier: Barrier, now: Mono, outcome: &mut Outcome) {
        let id = barrier.checkpoint;
        if id <= self.decided || self.aborted.contains(&id) {
            return;
        }
        if self.channels.iter().any(|channel| channel.given > id) {
            // A channel has given a later one, and will not give this one.
            return self.abandon(id, outcome);
        }
        let missing = self.channels.iter().filter(|c| !c.ended && c.given < id).count();
        let at = self.pending.partition_point(|pending| pending.barrier.checkpoint < id);
        self.pending.insert(at, Pending { barrier, began: now, missing, stage: Stage::Waiting });
        if self.pending.len() > PENDING_MAX
            && let Some(oldest) = self.pending()
        {
            self.pass_by(|pending| pending == oldest, outcome);
        }
    }

    fn find(&self, id: CheckpointId) -> Option<usize> {
        self.pending.iter().position(|pending| pending.barrier.checkpoint == id)
    }

    /// The channel lives and has not given the barrier of the checkpoint that is recorded.
    fn lacks_barrier(&self, channel: usize) -> bool {
        let Channel { ended, given, .. } = self.channels[channel];
        !ended && self.recording().is_some_and(|id| given < id)
    }

    fn strict_have_given(&self, id: CheckpointId) -> bool {
        let overtaken = mutant::on("strict_channel_overtaken");
        self.channels.iter().all(|c| !c.strict || c.ended || c.given >= id || overtaken)
    }

    /// Moves on what can move on, oldest first.
    fn take_ready(&mut self, now: Mono, outcome: &mut Outcome) {
        while let Some(front) = self.pending.front().copied() {
            let Pending { barrier, began, missing, stage } = front;
            let aligned = Aligned { barrier, began, completed: now, overtakes: false };
            match stage {
                Stage::Waiting if missing == 0 => outcome.aligned.push(aligned),
                Stage::Waiting if self.is_to_overtake(&barrier, now) => {
                    self.pending[0].stage = Stage::Due;
                    let mut aligned = Aligned { overtakes: true, ..aligned };
                    aligned.hurry();
                    return outcome.aligned.push(aligned);
                }
                Stage::Recording if missing == 0 => outcome.recorded = Some(barrier.checkpoint),
                Stage::Waiting | Stage::Due | Stage::Recording => return,
            }
            self.pending.pop_front();
            self.decide(barrier.checkpoint);
        }
    }

    fn is_to_overtake(&self, barrier: &Barrier, now: Mono) -> bool {
        self.overtakes_at(barrier).is_some_and(|at| at <= now)
            && self.strict_have_given(barrier.checkpoint)
    }

    /// Abandons those pending checkpoints.
    fn pass_by(&mut self, which: impl Fn(CheckpointId) -> bool, outcome: &mut Outcome) {
        let passed = self.pending.iter().map(|pending| pending.barrier.checkpoint);
        let passed: Vec<CheckpointId> = passed.filter(|id| which(*id)).collect();
        for id in passed {
            self.abandon(id, outcome);
        }
    }

    fn abandon(&mut self, id: CheckpointId, outcome: &mut Outcome) {
        self.pending.retain(|pending| pending.barrier.checkpoint != id);
        self.aborted.insert(id);
        if self.aborted.len() > ABORTED_MAX {
            self.aborted.pop_first();
        }
        outcome.abandoned.push(id);
    }

    fn give_up(&mut self, id: CheckpointId) -> Outcome {
        let mut outcome = Outcome::default();
        if id > self.decided && !self.aborted.contains(&id) {
            self.abandon(id, &mut outcome);
        }
        outcome
    }

    /// Nothing more will be done for this checkpoint and those before it.
    fn decide(&mut self, id: CheckpointId) {
        self.decided = self.decided.max(id);
        self.aborted.retain(|aborted| *aborted > id);
    }
}
