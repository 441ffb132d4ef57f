//! Hands out the parts of a bounded source one by one; each part is in one place.
//!
//! A part is open, in the hands of one attempt, or settled. What an attempt was given after the newest
//! completed checkpoint comes back when its subtask is reset: what it has read of that does not count.
//! What it was given before is settled: the checkpoint knows where its reader was, and the next attempt
//! goes on from there. A checkpoint says so by a number, since each attempt gets its parts in order.
//! Only the attempts of the restarted region give back; parts that a subtask of another region has
//! read stay read.
//!
//! An ask may be delivered twice, and then gets the same part twice. An ask that is *repeated* is
//! a new ask: an asker whose answer was lost must fail its attempt instead, so that the part comes
//! back.

use crate::mutant;
use millstream_core::ids::ExecutionAttemptId;
use millstream_rpc::machine::ReplyTo;
use std::collections::{BTreeMap, BTreeSet};

/// A part that an attempt has been given.
#[derive(Clone, Debug)]
struct Handed {
    number: u32,
    /// The ask that it answered: a second delivery of that ask gets it again.
    asked_by: Option<ReplyTo>,
}

/// What one attempt has been given.
#[derive(Clone, Debug, Default)]
struct Hand {
    /// In the order in which it got them.
    parts: Vec<Handed>,
    /// The first so many are part of a completed checkpoint.
    kept: usize,
    /// It was told that there is no more, and believes it: a part that came back later is not for
    /// it, even if its last ask is delivered once more.
    ended: bool,
}

/// Who has which part of one vertex's input.
#[derive(Clone, Debug)]
pub struct SplitAssigner {
    /// How many parts there are, numbered from 0; set once.
    total: u32,
    /// Parts that nobody has; handed out from the least.
    open: BTreeSet<u32>,
    /// What each attempt has been given.
    handed: BTreeMap<ExecutionAttemptId, Hand>,
    /// Parts that former attempts were given, and that no attempt is given again.
    settled: BTreeSet<u32>,
}

impl SplitAssigner {
    /// All parts are open.
    pub fn new(total: u32) -> Self {
        let open = (0..total).collect();
        Self { total, open, handed: BTreeMap::new(), settled: BTreeSet::new() }
    }

    /// Gives the next open part to the attempt; nothing: that was all.
    pub fn next(&mut self, attempt: ExecutionAttemptId, asked_by: Option<&ReplyTo>) -> Option<u32> {
        let hand = self.handed.entry(attempt).or_default();
        let mut parts = hand.parts.iter();
        let again = parts.find(|part| asked_by.is_some() && part.asked_by.as_ref() == asked_by);
        if let Some(part) = again {
            return Some(part.number);
        }
        let open = self.open.first().copied();
        let Some(number) = open.filter(|_| !hand.ended) else {
            hand.ended = true;
            return None;
        };
        if !mutant::on("split_handed_twice") {
            self.open.remove(&number);
        }
        hand.parts.push(Handed { number, asked_by: asked_by.cloned() });
        Some(number)
    }

    /// A checkpoint is complete that knows the first so many parts of the attempt.
    pub fn keep(&mut self, attempt: ExecutionAttemptId, count: u32) {
        if let Some(hand) = self.handed.get_mut(&attempt) {
            hand.kept = hand.kept.max(count as usize).min(hand.parts.len());
        }
    }

    /// The parts that have been given away, when of each attempt's only the first so many count.
    pub fn seen(&self, counts: &[(ExecutionAttemptId, u32)]) -> BTreeSet<u32> {
        let counted = counts.iter().flat_map(|(attempt, count)| {
            let parts = self.handed.get(attempt).map_or(&[][..], |hand| &hand.parts);
            parts.iter().take(*count as usize).map(|part| part.number)
        });
        counted.chain(self.settled.iter().copied()).collect()
    }

    /// The job goes on from a checkpoint that knows these parts.
    pub fn settle(&mut self, seen: &BTreeSet<u32>) {
        assert!(self.handed.is_empty(), "parts were handed out before the checkpoint was read");
        self.settled = seen.iter().copied().filter(|number| self.open.remove(number)).collect();
    }

    /// The attempt is over, and its work since the newest completed checkpoint does not count: what
    /// it was given since is open again.
    pub fn take_back(&mut self, attempt: ExecutionAttemptId) {
        let hand = self.handed.remove(&attempt).unwrap_or_default();
        let lost = mutant::on("splits_not_returned");
        for (index, part) in hand.parts.into_iter().enumerate() {
            let target = if index < hand.kept || lost { &mut self.settled } else { &mut self.open };
            target.insert(part.number);
        }
    }

    /// Every part is in one place.
    pub fn check(&self) {
        let parts = self.handed.values().flat_map(|hand| &hand.parts);
        let handed = parts.map(|part| part.number);
        let places = self.open.iter().chain(&self.settled).copied().chain(handed);
        let places: Vec<u32> = places.collect();
        let distinct: BTreeSet<u32> = places.iter().copied().collect();
        assert!(
            places.len() == self.total as usize && distinct.len() == places.len(),
            "{} splits are in {} places: {self:?}",
            self.total,
            places.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::attempt;

    fn ask(correlation: u64) -> ReplyTo {
        ReplyTo { process: "tm".to_owned(), correlation }
    }

    #[test]
    fn each_part_is_handed_out_once_and_then_there_is_no_more() {
        let mut splits = SplitAssigner::new(3);
        let (a, b) = (attempt(1, 0, 0), attempt(1, 1, 0));
        let got = [a, b, a, b, a].map(|who| splits.next(who, None));
        assert_eq!(got, [Some(0), Some(1), Some(2), None, None]);
        splits.check();
    }

    #[test]
    fn what_a_failed_attempt_had_is_handed_out_again_and_nothing_else() {
        let mut splits = SplitAssigner::new(4);
        let (a, b) = (attempt(1, 0, 0), attempt(1, 1, 0));
        for who in [a, b, a] {
            splits.next(who, None);
        }
        splits.take_back(a);
        splits.take_back(a);
        splits.check();
        let again = attempt(1, 0, 1);
        let got = [again; 4].map(|who| splits.next(who, None));
        assert_eq!(got, [Some(0), Some(2), Some(3), None]);
        splits.check();
    }

    #[test]
    fn what_a_completed_checkpoint_knows_is_not_handed_out_again() {
        let mut splits = SplitAssigner::new(6);
        let (a, b) = (attempt(1, 0, 0), attempt(1, 1, 0));
        for who in [a, b, a, a] {
            splits.next(who, None);
        }
        assert_eq!(splits.seen(&[(a, 2), (b, 0)]), [0, 2].into());
        splits.keep(a, 2);
        splits.keep(a, 1);
        splits.take_back(a);
        splits.check();
        let again = attempt(1, 0, 1);
        assert_eq!(splits.next(again, None), Some(3));
        // The next checkpoint counts anew for the new attempt.
        assert_eq!(splits.seen(&[(again, 1), (b, 1)]), [0, 1, 2, 3].into());
        splits.take_back(again);
        splits.check();
        assert_eq!(splits.seen(&[]), [0, 2].into());
        assert_eq!(splits.next(b, None), Some(3));
    }

    #[test]
    fn a_job_that_goes_on_hands_out_only_what_was_not_seen() {
        let mut splits = SplitAssigner::new(4);
        splits.settle(&[0, 2, 9].into());
        splits.check();
        let got = [attempt(1, 0, 0); 3].map(|who| splits.next(who, None));
        assert_eq!(got, [Some(1), Some(3), None]);
    }

    #[test]
    fn an_ask_that_is_delivered_twice_gets_the_same_part() {
        let mut splits = SplitAssigner::new(3);
        let a = attempt(1, 0, 0);
        assert_eq!(splits.next(a, Some(&ask(7))), Some(0));
        assert_eq!(splits.next(a, Some(&ask(8))), Some(1));
        assert_eq!(splits.next(a, Some(&ask(7))), Some(0));
        assert_eq!(splits.next(a, Some(&ask(9))), Some(2));
        splits.check();
    }

    #[test]
    fn an_attempt_that_was_told_the_end_gets_nothing_more() {
        let mut splits = SplitAssigner::new(1);
        let (a, b) = (attempt(1, 0, 0), attempt(1, 1, 0));
        assert_eq!(splits.next(a, Some(&ask(1))), Some(0));
        assert_eq!(splits.next(b, Some(&ask(2))), None);
        splits.take_back(a);
        assert_eq!(splits.next(b, Some(&ask(2))), None);
        assert_eq!(splits.next(attempt(1, 0, 1), Some(&ask(3))), Some(0));
        splits.check();
    }
}
