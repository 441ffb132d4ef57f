//! Alignment against what it is for: at the moment of an aligned checkpoint every channel stands
//! exactly behind the checkpoint's barrier, or at its end. Over every order in which channels can be
//! read, for small cases; over random ones, for larger cases.

use millstream_checkpoint::alignment::{Aligned, Alignment, Outcome};
use millstream_core::checkpoint::{Alignment as Passage, Barrier, CheckpointId, SnapshotKind};
use millstream_core::time::Mono;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What a channel gives. Records lie between any two of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Barrier(u64),
    Cancel(u64),
    End,
}

fn barrier(id: u64, alignment: Passage) -> Barrier {
    let (checkpoint, kind) = (CheckpointId(id), SnapshotKind::Checkpoint);
    Barrier { checkpoint, timestamp: 1000 + id as i64, kind, alignment }
}

/// A task that reads streams.
#[derive(Clone)]
struct Reader {
    streams: Vec<Vec<Item>>,
    /// How many items of each stream have been read.
    read: Vec<usize>,
    alignment: Alignment,
    passage: Passage,
    now: Mono,
    aligned: Vec<u64>,
    abandoned: BTreeSet<u64>,
}

impl Reader {
    fn new(streams: Vec<Vec<Item>>, passage: Passage) -> Self {
        let (read, alignment) = (vec![0; streams.len()], Alignment::new(streams.len()));
        let (aligned, abandoned) = (Vec::new(), BTreeSet::new());
        Self { streams, read, alignment, passage, now: Mono(0), aligned, abandoned }
    }

    fn can_read(&self, channel: usize) -> bool {
        self.read[channel] < self.streams[channel].len() && !self.alignment.is_blocked(channel)
    }

    fn read(&mut self, channel: usize) {
        let item = self.streams[channel][self.read[channel]];
        self.read[channel] += 1;
        self.now = self.now + 1;
        let outcome = match item {
            Item::Barrier(id) => {
                self.alignment.on_barrier(channel, barrier(id, self.passage), self.now)
            }
            Item::Cancel(id) => self.alignment.on_cancel(CheckpointId(id)),
            Item::End => self.alignment.on_end(channel, self.now),
        };
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        for CheckpointId(id) in outcome.abandoned {
            assert!(!self.aligned.contains(&id), "{id} was taken part in");
            assert!(self.abandoned.insert(id), "{id} was abandoned twice");
        }
        outcome.aligned.into_iter().for_each(|aligned| self.take_part(aligned));
    }

    fn take_part(&mut self, aligned: Aligned) {
        let Aligned { barrier, began, completed, .. } = aligned;
        let id = barrier.checkpoint.0;
        assert!(!self.abandoned.contains(&id), "{id} was abandoned");
        assert!(self.aligned.last().is_none_or(|last| *last < id), "{id} after {:?}", self.aligned);
        assert!(began <= completed && completed == self.now);
        self.aligned.push(id);
        if self.passage == Passage::Aligned {
            self.check_cut(id);
        }
    }

    /// Every channel stands behind the barrier and not beyond, or at its end.
    fn check_cut(&self, id: u64) {
        for (stream, read) in self.streams.iter().zip(&self.read) {
            let last = read.checked_sub(1).map(|last| stream[last]);
            let stands = matches!(last, Some(Item::End)) || last == Some(Item::Barrier(id));
            assert!(stands, "{stream:?} was read up to {read} when {id} was aligned");
        }
    }

    /// At the end: nothing waits, and each checkpoint of which every channel knew was aligned.
    fn check_end(&self) {
        for (stream, read) in self.streams.iter().zip(&self.read) {
            assert_eq!(*read, stream.len(), "a channel stays blocked for ever");
        }
        assert_eq!(self.alignment.pending(), None);
        let ids: BTreeSet<u64> = self.streams.iter().flatten().filter_map(|i| i.id()).collect();
        for id in ids {
            let expected = self.is_due(id);
            assert_eq!(self.aligned.contains(&id), expected, "{id} of {:?}", self.streams);
        }
    }

    /// Every channel gives the barrier, or ends without having passed it by.
    fn is_due(&self, id: u64) -> bool {
        let gives = |stream: &Vec<Item>| stream.contains(&Item::Barrier(id));
        let is_later = |item: &Item| matches!(item, Item::Barrier(of) if *of > id);
        let passes_by = |stream: &Vec<Item>| !gives(stream) && stream.iter().any(is_later);
        let cancelled = self.streams.iter().any(|stream| stream.contains(&Item::Cancel(id)));
        self.streams.iter().any(gives) && !self.streams.iter().any(passes_by) && !cancelled
    }
}

impl Item {
    fn id(self) -> Option<u64> {
        match self {
            Item::Barrier(id) | Item::Cancel(id) => Some(id),
            Item::End => None,
        }
    }
}

/// Reads in every possible order; gives how many there were.
fn explore(reader: &Reader) -> u64 {
    let mut orders = 0;
    for channel in 0..reader.streams.len() {
        if reader.can_read(channel) {
            let mut next = reader.clone();
            next.read(channel);
            orders += explore(&next);
        }
    }
    if orders == 0 {
        reader.check_end();
        return 1;
    }
    orders
}

/// All streams about checkpoints 1 and 2: each is given, passed by or cancelled; then the end.
fn all_streams() -> Vec<Vec<Item>> {
    let choices = |id| [Some(Item::Barrier(id)), Some(Item::Cancel(id)), None];
    let pairs = choices(1).into_iter().flat_map(|first| choices(2).map(|second| [first, second]));
    pairs.map(|pair| pair.into_iter().flatten().chain([Item::End]).collect()).collect()
}

#[test]
fn in_every_order_of_three_channels_every_cut_is_exact_and_nothing_waits_for_ever() {
    let streams = all_streams();
    let mut orders = 0;
    for a in &streams {
        for b in &streams {
            for c in &streams {
                let streams = vec![a.clone(), b.clone(), c.clone()];
                orders += explore(&Reader::new(streams, Passage::Aligned));
            }
        }
    }
    assert!(orders > 50_000, "{orders} orders");
}

/// Barriers of ascending checkpoints, some of them cancelled or passed by; then the end.
fn any_stream() -> impl Strategy<Value = Vec<Item>> {
    let choice = prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)];
    (prop::collection::vec(choice, 0..8)).prop_map(|choices| {
        let item = |(id, choice)| match choice {
            0 => Some(Item::Barrier(id)),
            1 => Some(Item::Cancel(id)),
            _ => None,
        };
        (1..).zip(choices).filter_map(item).chain([Item::End]).collect()
    })
}

/// Reads in the order that the choices name until all is read.
fn read_all(reader: &mut Reader, choices: &[usize]) {
    let mut choices = choices.iter().cycle();
    loop {
        let readable: Vec<usize> =
            (0..reader.streams.len()).filter(|channel| reader.can_read(*channel)).collect();
        if readable.is_empty() {
            return;
        }
        reader.read(readable[choices.next().expect("a cycle") % readable.len()]);
    }
}

proptest! {
    #[test]
    fn every_cut_is_exact_and_nothing_waits_for_ever(
        streams in prop::collection::vec(any_stream(), 1..8),
        choices in prop::collection::vec(any::<usize>(), 1..80),
    ) {
        let mut reader = Reader::new(streams, Passage::Aligned);
        read_all(&mut reader, &choices);
        reader.check_end();
    }

    #[test]
    fn at_least_once_blocks_nothing_and_takes_part_only_when_all_have_given(
        streams in prop::collection::vec(any_stream(), 1..8),
        choices in prop::collection::vec(any::<usize>(), 1..80),
    ) {
        let mut reader = Reader::new(streams, Passage::AtLeastOnce);
        read_all(&mut reader, &choices);
        let all_read = reader.streams.iter().zip(&reader.read).all(|(s, read)| s.len() == *read);
        prop_assert!(all_read);
        // A later checkpoint does not cost an earlier one its barriers.
        reader.check_end();
    }

    #[test]
    fn what_the_master_gives_up_is_not_waited_for_and_not_taken_part_in(
        streams in prop::collection::vec(any_stream(), 2..6),
        choices in prop::collection::vec(any::<usize>(), 1..80),
        aborts in prop::collection::vec((0_usize..40, 1_u64..9), 0..6),
    ) {
        let mut reader = Reader::new(streams, Passage::Aligned);
        let mut choices = choices.iter().cycle();
        let mut given_up = BTreeSet::new();
        for at in 0..200 {
            for (_, id) in aborts.iter().filter(|(when, _)| *when == at) {
                let outcome = reader.alignment.on_aborted(CheckpointId(*id));
                reader.note(outcome);
                let aligned_before = reader.aligned.contains(id);
                if !aligned_before {
                    given_up.insert(*id);
                }
            }
            let readable: Vec<usize> =
                (0..reader.streams.len()).filter(|channel| reader.can_read(*channel)).collect();
            if let Some(choice) = choices.next().filter(|_| !readable.is_empty()) {
                reader.read(readable[choice % readable.len()]);
            }
        }
        for (stream, read) in reader.streams.iter().zip(&reader.read) {
            prop_assert_eq!(*read, stream.len());
        }
        prop_assert!(reader.aligned.iter().all(|id| !given_up.contains(id)));
    }
}

fn aligned(outcome: Outcome) -> Option<u64> {
    outcome.aligned.first().map(|aligned| aligned.barrier.checkpoint.0)
}

#[test]
fn a_task_without_live_channels_takes_its_part_when_it_is_told() {
    let mut source = Alignment::new(0);
    assert_eq!(aligned(source.on_trigger(barrier(3, Passage::Aligned), Mono(5))), Some(3));
    assert_eq!(aligned(source.on_trigger(barrier(3, Passage::Aligned), Mono(6))), None);
    let _ = source.on_aborted(CheckpointId(4));
    assert_eq!(aligned(source.on_trigger(barrier(4, Passage::Aligned), Mono(7))), None);
}

#[test]
fn a_task_that_is_told_and_has_a_live_channel_waits_for_its_barrier_or_its_end() {
    let told = barrier(1, Passage::Aligned);
    let mut task = Alignment::new(2);
    let _ = task.on_end(0, Mono(0));
    assert_eq!(task.on_trigger(told, Mono(1)), Outcome::default());
    assert!(!task.is_blocked(1), "what it still gives belongs to the checkpoint");
    let mut other = task.clone();
    assert_eq!(aligned(task.on_end(1, Mono(2))), Some(1));
    assert_eq!(aligned(other.on_barrier(1, told, Mono(2))), Some(1));
    assert_eq!(other.on_trigger(told, Mono(3)), Outcome::default(), "once is enough");
}

#[test]
fn a_task_that_hears_of_an_abort_first_passes_it_on_once() {
    let mut task = Alignment::new(2);
    let expected = Outcome { abandoned: vec![CheckpointId(7)], ..Outcome::default() };
    assert_eq!(task.on_aborted(CheckpointId(7)), expected);
    assert_eq!(task.on_cancel(CheckpointId(7)), Outcome::default());
    for channel in 0..2 {
        let outcome = task.on_barrier(channel, barrier(7, Passage::Aligned), Mono(1));
        assert_eq!(outcome, Outcome::default());
        assert!(!task.is_blocked(channel));
    }
}

fn ids(aligned: &[Aligned]) -> Vec<u64> {
    aligned.iter().map(|aligned| aligned.barrier.checkpoint.0).collect()
}

#[test]
fn a_task_that_is_told_of_two_checkpoints_takes_part_in_both_when_its_channels_have_ended() {
    let mut task = Alignment::new(1);
    assert!(task.on_trigger(barrier(1, Passage::Aligned), Mono(1)).is_empty());
    assert!(task.on_trigger(barrier(2, Passage::Aligned), Mono(2)).is_empty());
    assert_eq!(ids(&task.on_end(0, Mono(3)).aligned), [1, 2]);
}

#[test]
fn a_barrier_that_overtakes_is_due_when_it_is_seen_and_recorded_when_every_channel_has_it() {
    let mut task = Alignment::new(3);
    let due = task.on_announced(barrier(1, Passage::Unaligned), Mono(1));
    assert!(due.aligned[0].overtakes && ids(&due.aligned) == [1]);
    assert!(task.on_announced(barrier(1, Passage::Unaligned), Mono(1)).is_empty());
    assert!(!task.is_recorded(0), "it has not taken its part");
    assert!(task.on_passed(CheckpointId(1), Mono(2)).is_empty());
    assert!((0..3).all(|channel| task.is_recorded(channel) && !task.is_blocked(channel)));
    assert!(task.on_recorded(0, Mono(3)).is_empty());
    assert!(task.on_barrier(1, barrier(1, Passage::Unaligned), Mono(4)).is_empty());
    assert!(!task.is_recorded(0) && !task.is_recorded(1) && task.is_recorded(2));
    assert_eq!(task.on_end(2, Mono(5)).recorded, Some(CheckpointId(1)));
    assert_eq!((task.recording(), task.pending()), (None, None));
}

#[test]
fn a_barrier_that_has_waited_for_too_long_overtakes_and_is_passed_on_as_one_that_does() {
    // It was triggered when this clock showed 1, and may wait for 50.
    let mut task = Alignment::new(2).with_wall_origin(1000);
    let patient = Barrier { timestamp: 1001, ..barrier(1, Passage::AlignedUntil(50)) };
    assert!(task.on_barrier(0, patient, Mono(20)).is_empty());
    assert!(task.is_blocked(0) && task.deadline() == Some(Mono(51)));
    assert!(task.on_timer(Mono(50)).is_empty());
    let due = task.on_timer(Mono(51));
    assert!(due.aligned[0].overtakes);
    assert_eq!(due.aligned[0].barrier.alignment, Passage::Unaligned);
    assert_eq!(task.deadline(), None);
    assert!(task.on_passed(CheckpointId(1), Mono(52)).is_empty());
    assert!(!task.is_blocked(0) && !task.is_recorded(0) && task.is_recorded(1));
}

#[test]
fn a_barrier_that_came_everywhere_in_time_stays_patient() {
    let mut task = Alignment::new(1);
    let patient = Barrier { timestamp: 0, ..barrier(1, Passage::AlignedUntil(50)) };
    let [aligned] = task.on_barrier(0, patient, Mono(20)).aligned[..] else { panic!("aligned") };
    assert!(!aligned.overtakes && aligned.barrier == patient);
}

#[test]
fn channels_that_cannot_be_overtaken_are_waited_for() {
    let mut task = Alignment::new(2).with_strict([true, false]);
    assert!(task.on_announced(barrier(1, Passage::Unaligned), Mono(1)).is_empty());
    let due = task.on_barrier(0, barrier(1, Passage::Unaligned), Mono(2));
    assert!(due.aligned[0].overtakes && task.is_blocked(0) && !task.is_blocked(1));
}

#[test]
fn a_checkpoint_that_is_given_up_is_neither_due_nor_recorded() {
    let mut task = Alignment::new(2);
    let _ = task.on_announced(barrier(1, Passage::Unaligned), Mono(1));
    assert_eq!(task.on_aborted(CheckpointId(1)).abandoned, [CheckpointId(1)]);
    let due = task.on_announced(barrier(2, Passage::Unaligned), Mono(2));
    assert_eq!(ids(&due.aligned), [2]);
    let _ = task.on_passed(CheckpointId(2), Mono(3));
    let newer = task.on_announced(barrier(3, Passage::Unaligned), Mono(4));
    assert_eq!((newer.abandoned, ids(&newer.aligned)), (vec![CheckpointId(2)], vec![3]));
    assert!(!task.is_recorded(0));
}
