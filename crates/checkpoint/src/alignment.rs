//! Decides when a task with inputs takes its part of a checkpoint: when every channel has given the
//! barrier or has ended.
//!
//! Pure: barriers and ends go in, what follows comes out. Not polling a blocked channel and taking
//! the snapshot are the task's.
//!
//! Channels are first in, first out. So a channel that gives barrier `n` will never give an older one
//! that it has not given yet: an older checkpoint that waits for this channel can never be aligned
//! here and is given up. That makes lost notices harmless: the next checkpoint clears the way.
//!
//! Besides barriers there are direct triggers ([`Alignment::on_trigger`]): a task all of whose
//! producers have come to the end of their data is triggered by the coordinator itself, since no
//! barrier will come. Records may still be in its channels then: the trigger waits until every
//! channel has ended. A trigger and a barrier of one checkpoint are one and the same.

use millstream_core::checkpoint::{Alignment as Passing, Barrier, CheckpointId};
use std::collections::{BTreeMap, BTreeSet};

/// Checkpoints that may be pending or remembered as cancelled; beyond, the oldest is given up.
const CHECKPOINTS_MAX: usize = 64;

/// What follows from an event; in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct AlignmentEvent {
    /// These can never be aligned here: their channels are free again. The task declines them.
    pub aborted: Vec<CheckpointId>,
    /// All records before these barriers have been read, and none after: the task passes the barrier
    /// on and takes its snapshot. Several only if a channel ended.
    pub aligned: Vec<Aligned>,
}

/// A checkpoint whose barrier has come from everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// The barrier.
    pub barrier: Barrier,
    /// When it came first.
    pub first_ms: u64,
}

/// The barriers of one task.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// Channels that have ended: they count as having given every barrier.
    ended: Vec<bool>,
    /// Checkpoints that some channel has given, or that were triggered, and that wait for others.
    pending: BTreeMap<CheckpointId, Pending>,
    /// This one and all before it are through: aligned or given up.
    through: CheckpointId,
    /// Above `through`: cancelled from outside, perhaps before their first barrier came.
    cancelled: BTreeSet<CheckpointId>,
}

#[derive(Clone, Debug)]
struct Pending {
    barrier: Barrier,
    /// Which channels have given it.
    given: Vec<bool>,
    first_ms: u64,
}

impl Alignment {
    /// So many channels, over all gates of the task; none has given anything.
    pub fn new(channels: usize) -> Self {
        Self {
            ended: vec![false; channels],
            pending: BTreeMap::new(),
            through: CheckpointId::default(),
            cancelled: BTreeSet::new(),
        }
    }

    /// A channel has given a barrier.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier, now_ms: u64) -> AlignmentEvent {
        let mut event = AlignmentEvent::default();
        let id = barrier.checkpoint;
        let skipped = self.pending.iter().filter(|(other, p)| **other < id && !p.given[channel]);
        let skipped: Vec<CheckpointId> = skipped.map(|(other, _)| *other).collect();
        for other in skipped {
            self.pending.remove(&other);
            event.aborted.push(other);
        }
        if self.is_open(id) {
            let channels = self.ended.len();
            let pending = self.pending.entry(id);
            let pending = pending.or_insert_with(|| Pending::new(barrier, channels, now_ms));
            pending.given[channel] = true;
        }
        self.settle(&mut event);
        event
    }

    /// The coordinator triggers this task itself, since its producers have come to their ends.
    pub fn on_trigger(&mut self, barrier: Barrier, now_ms: u64) -> AlignmentEvent {
        let mut event = AlignmentEvent::default();
        if self.is_open(barrier.checkpoint) {
            let channels = self.ended.len();
            let pending = self.pending.entry(barrier.checkpoint);
            pending.or_insert_with(|| Pending::new(barrier, channels, now_ms));
        }
        self.settle(&mut event);
        event
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize) -> AlignmentEvent {
        let mut event = AlignmentEvent::default();
        self.ended[channel] = true;
        self.settle(&mut event);
        event
    }

    /// The checkpoint will never be complete: its channels are free again, and what comes of it
    /// later is ignored.
    pub fn on_cancel(&mut self, checkpoint: CheckpointId) {
        self.pending.remove(&checkpoint);
        if checkpoint > self.through {
            self.cancelled.insert(checkpoint);
        }
        if self.cancelled.len() > CHECKPOINTS_MAX {
            self.cancelled.pop_first();
        }
    }

    /// The channel has given a barrier that others have not: it must not be read now.
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.pending.values().any(|pending| pending.blocks() && pending.given[channel])
    }

    /// Every channel has ended: a trigger is a snapshot at once.
    pub fn has_ended(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// The oldest checkpoint that waits for barriers, and since when.
    pub fn pending(&self) -> Option<Aligned> {
        let (_, oldest) = self.pending.first_key_value()?;
        Some(Aligned { barrier: oldest.barrier, first_ms: oldest.first_ms })
    }

    /// The checkpoint can still be aligned here. A newer one that some channel has given was given
    /// instead of it, unless it is pending already.
    fn is_open(&self, id: CheckpointId) -> bool {
        let newer = self.pending.range(CheckpointId(id.0 + 1)..);
        let overtaken = newer.into_iter().any(|(_, pending)| pending.given.contains(&true));
        id > self.through
            && !self.cancelled.contains(&id)
            && (!overtaken || self.pending.contains_key(&id))
    }

    /// Takes out what is aligned, oldest first, and what cannot be any more.
    fn settle(&mut self, event: &mut AlignmentEvent) {
        while let Some(id) = self.first_complete() {
            // Whatever is older waits for barriers that will not come: channels keep their order.
            while let Some((older, pending)) = self.pending.pop_first() {
                if older == id {
                    let Pending { barrier, first_ms, .. } = pending;
                    event.aligned.push(Aligned { barrier, first_ms });
                    break;
                }
                event.aborted.push(older);
            }
            self.through = id;
            self.cancelled.retain(|cancelled| *cancelled > id);
        }
        while self.pending.len() > CHECKPOINTS_MAX {
            event.aborted.extend(self.pending.pop_first().map(|(id, _)| id));
        }
    }

    fn first_complete(&self) -> Option<CheckpointId> {
        let complete = |pending: &Pending| {
            let mut channels = pending.given.iter().zip(&self.ended);
            channels.all(|(given, ended)| *given || *ended)
        };
        self.pending.iter().find(|(_, pending)| complete(pending)).map(|(id, _)| *id)
    }
}

impl Pending {
    fn new(barrier: Barrier, channels: usize, first_ms: u64) -> Self {
        Self { barrier, given: vec![false; channels], first_ms }
    }

    fn blocks(&self) -> bool {
        self.barrier.alignment != Passing::AtLeastOnce
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::checkpoint::SnapshotKind;
    use proptest::prelude::*;

    fn barrier(id: u64, alignment: Passing) -> Barrier {
        let kind = SnapshotKind::Checkpoint;
        Barrier { checkpoint: CheckpointId(id), timestamp: 0, kind, alignment }
    }

    /// Feeds `channel:id` (a barrier), `channel.` (an end), `!id` (cancelled), `t:id` (triggered),
    /// and tells what came: `+id` aligned, `-id` aborted; then which channels are blocked.
    #[track_caller]
    fn check(alignment: Passing, channels: usize, events: &str, expected: &str) {
        let mut task = Alignment::new(channels);
        let mut told = Vec::new();
        for event in events.split_whitespace() {
            let number = |text: &str| text.parse::<u64>().expect("a number");
            let found = if let Some(id) = event.strip_prefix('!') {
                task.on_cancel(CheckpointId(number(id)));
                AlignmentEvent::default()
            } else if let Some(id) = event.strip_prefix("t:") {
                task.on_trigger(barrier(number(id), alignment), 7)
            } else if let Some(channel) = event.strip_suffix('.') {
                task.on_end(number(channel) as usize)
            } else {
                let (channel, id) = event.split_once(':').expect("channel:id");
                task.on_barrier(number(channel) as usize, barrier(number(id), alignment), 7)
            };
            told.extend(found.aborted.iter().map(|id| format!("-{id}")));
            told.extend(found.aligned.iter().map(|a| format!("+{}", a.barrier.checkpoint)));
        }
        let blocked = (0..channels).filter(|c| task.is_blocked(*c)).map(|c| format!("#{c}"));
        told.extend(blocked);
        assert_eq!(told.join(" "), expected, "{events}");
    }

    #[test]
    fn a_checkpoint_is_aligned_when_the_last_channel_has_given_it_and_blocks_until_then() {
        check(Passing::Aligned, 1, "0:1", "+1");
        check(Passing::Aligned, 3, "0:1 2:1", "#0 #2");
        check(Passing::Aligned, 3, "0:1 2:1 1:1", "+1");
        check(Passing::Aligned, 2, "0:1 1:1 1:2 0:2", "+1 +2");
    }

    #[test]
    fn ended_channels_count_as_having_given_it() {
        check(Passing::Aligned, 2, "0. 1:1", "+1");
        check(Passing::Aligned, 2, "0:1 1.", "+1");
        check(Passing::Aligned, 2, "0:1 0.", "#0");
    }

    #[test]
    fn a_newer_checkpoint_takes_the_place_of_one_that_a_channel_has_skipped() {
        check(Passing::Aligned, 2, "0:1 1:2", "-1 #1");
        check(Passing::Aligned, 2, "0:1 1:2 0:2", "-1 +2");
        check(Passing::Aligned, 3, "0:1 1:1 2:2", "-1 #2");
    }

    #[test]
    fn old_barriers_are_ignored() {
        check(Passing::Aligned, 2, "0:2 1:2 0:1 1:1", "+2");
        check(Passing::Aligned, 2, "0:2 1:1", "#0");
        check(Passing::Aligned, 2, "0:2 1:1 1:2", "+2");
    }

    #[test]
    fn a_cancelled_checkpoint_blocks_nobody_and_stays_cancelled() {
        check(Passing::Aligned, 2, "0:1 !1", "");
        check(Passing::Aligned, 2, "!1 0:1 1:1 0:2", "#0");
        check(Passing::Aligned, 2, "0:1 !1 1:1 0:2 1:2", "+2");
    }

    #[test]
    fn at_least_once_never_blocks_and_keeps_several_pending() {
        check(Passing::AtLeastOnce, 2, "0:1", "");
        check(Passing::AtLeastOnce, 2, "0:1 0:2 1:1 1:2", "+1 +2");
        check(Passing::AtLeastOnce, 2, "0:1 0:2 1:2", "-1 +2");
        check(Passing::AtLeastOnce, 2, "0:1 0:2 1.", "+1 +2");
    }

    #[test]
    fn a_trigger_waits_until_every_channel_has_ended() {
        check(Passing::Aligned, 0, "t:1", "+1");
        check(Passing::Aligned, 2, "0. 1. t:1", "+1");
        check(Passing::Aligned, 2, "0. t:1", "");
        check(Passing::Aligned, 2, "0. t:1 1.", "+1");
        check(Passing::Aligned, 2, "t:1 0:1 1.", "+1");
        check(Passing::Aligned, 2, "0:1 1:1 t:1 0. 1.", "+1");
        check(Passing::Aligned, 2, "t:2 0:1 1:1 0. 1.", "+1 +2");
    }

    #[derive(Clone, Debug)]
    enum Event {
        Next(usize, bool),
        End(usize),
        Cancel(u64),
        Trigger(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            8 => (0..4_usize, any::<bool>()).prop_map(|(c, skip)| Event::Next(c, skip)),
            1 => (0..4_usize).prop_map(Event::End),
            1 => (1..12_u64).prop_map(Event::Cancel),
            1 => (1..12_u64).prop_map(Event::Trigger),
        ];
        proptest::collection::vec(event, 0..60)
    }

    proptest! {
        #[test]
        fn aligned_ids_grow_and_each_was_given_by_every_live_channel(
            events in events(), at_least_once: bool,
        ) {
            let passing = if at_least_once { Passing::AtLeastOnce } else { Passing::Aligned };
            let mut task = Alignment::new(4);
            let (mut next, mut ended) = ([1_u64; 4], [false; 4]);
            let mut given: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); 4];
            let mut last = 0;
            for event in events {
                let found = match event {
                    Event::Next(channel, skip) => {
                        if ended[channel] || task.is_blocked(channel) {
                            continue;
                        }
                        next[channel] += u64::from(skip);
                        let id = next[channel];
                        next[channel] += 1;
                        given[channel].insert(id);
                        task.on_barrier(channel, barrier(id, passing), 0)
                    }
                    Event::End(channel) => {
                        if task.is_blocked(channel) {
                            continue;
                        }
                        ended[channel] = true;
                        task.on_end(channel)
                    }
                    Event::Cancel(id) => {
                        task.on_cancel(CheckpointId(id));
                        AlignmentEvent::default()
                    }
                    Event::Trigger(id) => task.on_trigger(barrier(id, passing), 0),
                };
                for aligned in found.aligned {
                    let id = aligned.barrier.checkpoint.0;
                    prop_assert!(id > last, "{id} after {last}");
                    last = id;
                    for channel in 0..4 {
                        prop_assert!(ended[channel] || given[channel].contains(&id));
                    }
                }
                // Not all live channels are blocked: the task can always go on.
                let mut live = (0..4).filter(|c| !ended[*c]).peekable();
                prop_assert!(live.peek().is_none() || live.any(|c| !task.is_blocked(c)));
            }
        }
    }
}
