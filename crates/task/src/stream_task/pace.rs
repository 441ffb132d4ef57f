//! How much a turn takes on: as much as fills a batch, less where user code is slow, so that a
//! turn takes about a millisecond and nothing has to wait long for the task.

use std::time::{Duration, Instant};

/// About how long a turn may take.
const TURN: Duration = Duration::from_millis(1);

/// Adapts the number of records per turn to what they cost.
pub(super) struct Pace {
    room: usize,
    room_max: usize,
    /// Records that the last poll gave, and when it was: its turn ends at the next poll.
    last: Option<(usize, Instant)>,
    polled_at: Option<Instant>,
}

impl Pace {
    /// Begins with full batches.
    pub(super) fn new(room_max: usize) -> Self {
        Self { room: room_max, room_max, last: None, polled_at: None }
    }

    /// Never takes on more than so many.
    pub(super) fn at_most(&mut self, room_max: usize) {
        self.room_max = self.room_max.min(room_max.max(1));
        self.room = self.room.min(self.room_max);
    }

    /// How many records the next poll may give. Learns from the turn that ends here.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        if let Some((records, began)) = self.last.take() {
            self.learn(records, now.duration_since(began));
        }
        self.polled_at = Some(now);
        self.room
    }

    fn learn(&mut self, records: usize, took: Duration) {
        if took > 2 * TURN {
            let affordable = records as u128 * TURN.as_nanos() / took.as_nanos().max(1);
            self.room = (affordable as usize).clamp(1, self.room_max);
        } else if self.room < self.room_max && took < TURN {
            self.room = (self.room * 2).min(self.room_max);
        }
    }

    /// The poll gave so many records.
    pub(super) fn took(&mut self, records: usize) {
        self.last = self.polled_at.filter(|_| records > 0).map(|at| (records, at));
    }

    /// The task rests: the time until the next poll is not work.
    pub(super) fn rested(&mut self) {
        self.last = None;
    }
}
