//! [`SplitsAtOnce`]: a reader that has several splits open and gives a batch of each in turn, so that event
//! time is as far as the least of them.

use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::source::{Poll, SourceClock, SourceReader, SplitChange, SplitNumber};
use std::collections::VecDeque;

/// Several readers, each of which has one split open at a time.
pub(super) struct SplitsAtOnce<R> {
    lanes: Vec<Lane<R>>,
    /// The lane whose turn is next.
    next: usize,
    /// The lane that waits for a split.
    asking: Option<usize>,
    /// The split that was read last.
    reading: Option<SplitNumber>,
    /// There is no further split.
    exhausted: bool,
    changes: VecDeque<SplitChange>,
}

struct Lane<R> {
    reader: R,
    /// The split that it has open.
    split: Option<SplitNumber>,
    ended: bool,
}

/// A reader of so many splits at once, each of which one of these reads.
pub(super) fn reader<T, R: SourceReader<T> + 'static>(
    at_once: usize,
    mut make: impl FnMut() -> R,
) -> Box<dyn SourceReader<T>> {
    if at_once == 1 {
        return Box::new(make());
    }
    let lane = |_| Lane { reader: make(), split: None, ended: false };
    Box::new(SplitsAtOnce {
        lanes: (0..at_once).map(lane).collect(),
        next: 0,
        asking: None,
        reading: None,
        exhausted: false,
        changes: VecDeque::new(),
    })
}

impl<R> SplitsAtOnce<R> {
    /// What a lane says of its splits becomes what the whole says: it opens them, and which is read is
    /// told with each turn.
    fn take_changes<T>(&mut self, lane: usize)
    where
        R: SourceReader<T>,
    {
        while let Some(change) = self.lanes[lane].reader.take_split_change() {
            match change {
                SplitChange::Opened(split) | SplitChange::Reading(split) => {
                    let split = self.numbered(lane, split);
                    self.lanes[lane].split = Some(split);
                    self.changes.push_back(SplitChange::Opened(split));
                }
                SplitChange::Ended(split) => {
                    self.lanes[lane].split = None;
                    let split = self.numbered(lane, split);
                    self.changes.push_back(SplitChange::Ended(split));
                }
            }
        }
    }

    /// Lanes count their splits on their own.
    fn numbered(&self, lane: usize, SplitNumber(split): SplitNumber) -> SplitNumber {
        SplitNumber(split * self.lanes.len() as u64 + lane as u64)
    }

    /// One poll of one lane.
    fn poll_lane<T>(
        &mut self,
        lane: usize,
        out: &mut Vec<T>,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError>
    where
        R: SourceReader<T>,
    {
        let before = self.lanes[lane].split;
        let polled = self.lanes[lane].reader.poll(out, room, clock)?;
        // A lane that went on with a split of a former reader has opened it just now.
        let told = self.changes.len();
        self.take_changes::<T>(lane);
        let read = self.changes.iter().skip(told).rev().find_map(|change| match change {
            SplitChange::Opened(split) => Some(*split),
            _ => None,
        });
        if let Some(read) = read.or(before)
            && self.reading != Some(read)
        {
            self.reading = Some(read);
            self.changes.insert(told, SplitChange::Reading(read));
        }
        Ok(polled)
    }
}

impl<T, R: SourceReader<T>> SourceReader<T> for SplitsAtOnce<R> {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        for _ in 0..self.lanes.len() {
            let lane = self.next;
            self.next = if lane + 1 == self.lanes.len() { 0 } else { lane + 1 };
            if self.lanes[lane].ended {
                continue;
            }
            match self.poll_lane::<T>(lane, out, room, clock)? {
                Poll::NeedSplit if self.exhausted => self.lanes[lane].reader.add_split(None)?,
                Poll::NeedSplit => {
                    // Before it has its split, nobody's records come: they could overtake its own.
                    (self.asking, self.next) = (Some(lane), lane);
                    return Ok(Poll::NeedSplit);
                }
                Poll::End => {
                    self.lanes[lane].ended = true;
                    continue;
                }
                polled => return Ok(polled),
            }
            return Ok(Poll::More);
        }
        Ok(Poll::End)
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        self.exhausted |= split.is_none();
        let Some(lane) = self.asking.take() else { return Ok(()) };
        let opened = split.is_some();
        self.lanes[lane].reader.add_split(split)?;
        self.take_changes::<T>(lane);
        if opened {
            // All lanes have a split before the first record of any comes.
            let wants = |at: &usize| self.lanes[*at].split.is_none() && !self.lanes[*at].ended;
            self.next = (0..self.lanes.len()).find(wants).unwrap_or(self.next);
        }
        Ok(())
    }

    fn take_split_change(&mut self) -> Option<SplitChange> {
        self.changes.pop_front()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let items: Result<Vec<_>, _> =
            self.lanes.iter_mut().map(|lane| lane.reader.snapshot()).collect();
        Ok(items?.concat())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let mut shares = vec![Vec::new(); self.lanes.len()];
        for (at, item) in items.into_iter().enumerate() {
            let lane = at % shares.len();
            shares[lane].push(item);
        }
        for (lane, share) in shares.into_iter().enumerate() {
            if !share.is_empty() {
                // The first that it will open.
                let split = self.numbered(lane, SplitNumber(0));
                self.changes.push_back(SplitChange::Opened(split));
            }
            self.lanes[lane].reader.restore(share)?;
        }
        Ok(())
    }
}
