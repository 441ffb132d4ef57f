//! Barriers that overtake rows between two processes, against what they are for: what the consumer has
//! processed, what it records and what the producer records is what was sent before the barrier, once
//! and in order; and all of it still arrives.

use super::credit_test::{Channel, Step};
use crate::element::Control;
use crate::in_flight::InFlightRows;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Step(Step),
    /// The producer takes its part in a checkpoint, if none is under way.
    Begin,
    /// The barrier has waited for long enough.
    Settle,
    /// The consumer takes its part, if it can see the barrier.
    Overtake,
}

fn any_act() -> impl Strategy<Value = Act> {
    let step = prop_oneof![
        3 => (1_u16..600).prop_map(Step::Push),
        1 => (1_u8..12).prop_map(Step::PushLong),
        3 => Just(Step::Send),
        6 => Just(Step::Arrive),
        5 => Just(Step::Take),
        2 => Just(Step::CreditArrives),
    ];
    prop_oneof![
        20 => step.prop_map(Act::Step),
        2 => Just(Act::Begin),
        2 => Just(Act::Settle),
        3 => Just(Act::Overtake),
    ]
}

/// A checkpoint that is under way.
struct Part {
    id: CheckpointId,
    /// Rows before the barrier.
    sent: u64,
    /// What the producer records, once that is settled.
    of_producer: Option<Vec<InFlightRows>>,
    /// What the consumer has processed, and what it records, once it has taken its part.
    of_consumer: Option<(u64, Vec<InFlightRows>)>,
}

struct World {
    channel: Channel,
    part: Option<Part>,
    next: u64,
    complete: u64,
}

impl World {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Step(step) => self.channel.step(step),
            Act::Begin => self.begin(),
            Act::Settle => self.settle(true),
            Act::Overtake => self.overtake(),
        }
        self.settle(false);
        self.note_given();
        self.complete();
    }

    fn begin(&mut self) {
        if self.part.is_some() {
            return;
        }
        let id = CheckpointId(self.next);
        self.next += 1;
        let alignment = Alignment::AlignedUntil(5);
        let (kind, timestamp) = (SnapshotKind::Checkpoint, 0);
        let barrier = Barrier { checkpoint: id, timestamp, kind, alignment };
        self.channel.outbox.push_control(Control::Barrier(barrier));
        let sent = self.channel.pushed;
        self.part = Some(Part { id, sent, of_producer: None, of_consumer: None });
    }

    fn settle(&mut self, overtake: bool) {
        let Some(part) = self.part.as_mut().filter(|part| part.of_producer.is_none()) else {
            return;
        };
        let mut rows = Vec::new();
        if self.channel.outbox.settle(part.id, overtake, &mut rows) {
            part.of_producer = Some(rows);
        }
    }

    fn overtake(&mut self) {
        let Some(part) = self.part.as_mut().filter(|part| part.of_consumer.is_none()) else {
            return;
        };
        let Channel { inbox, assembly, arrived, .. } = &mut self.channel;
        let ahead = inbox.look_ahead().barrier.map(|barrier| barrier.checkpoint);
        let mut rows = Vec::new();
        let overtaken = inbox.overtake(part.id, assembly, &mut rows);
        assert_eq!(overtaken, ahead == Some(part.id));
        if overtaken {
            part.of_consumer = Some((*arrived, rows));
        }
    }

    /// Everything arrives.
    fn finish(&mut self) {
        self.channel.outbox.push_control(Control::EndOfPartition);
        for _ in 0..100_000 {
            if self.channel.ended {
                return;
            }
            for step in [Step::Send, Step::Arrive, Step::Take, Step::CreditArrives] {
                self.act(&Act::Step(step));
            }
        }
        panic!("the channel stands still");
    }

    /// The barrier was read in its turn.
    fn note_given(&mut self) {
        let (given, arrived) = (self.channel.given, self.channel.arrived);
        if let Some(part) = self.part.as_mut().filter(|part| part.id == given) {
            part.of_consumer.get_or_insert((arrived, Vec::new()));
        }
    }

    fn complete(&mut self) {
        let is_complete = |p: &mut Part| p.of_producer.is_some() && p.of_consumer.is_some();
        let Some(part) = self.part.take_if(is_complete) else { return };
        let (processed, here) = part.of_consumer.expect("complete");
        let there = part.of_producer.expect("complete");
        let rows: Vec<u64> = here.iter().chain(&there).flat_map(numbers).collect();
        assert_eq!(rows, (processed..part.sent).collect::<Vec<u64>>(), "of {}", part.id);
        self.complete += 1;
    }
}

/// The numbers of the rows.
fn numbers(run: &InFlightRows) -> Vec<u64> {
    let mut words = run.rows.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8")));
    if run.count > 1 || run.rows.len() == 8 {
        assert_eq!(run.count as usize * 8, run.rows.len());
        return words.collect();
    }
    let first = words.next().expect("a row");
    assert!(words.all(|word| word == first), "a long row has lost its place");
    vec![first]
}

proptest! {
    #[test]
    fn what_is_processed_and_what_both_sides_record_is_what_was_sent(
        window in 1_u32..20,
        acts in prop::collection::vec(any_act(), 1..300),
    ) {
        let mut world =
            World { channel: Channel::new(window), part: None, next: 1, complete: 0 };
        acts.iter().for_each(|act| world.act(act));
        world.finish();
        prop_assert!(world.part.is_none(), "a barrier was lost");
        prop_assert_eq!(world.channel.arrived, world.channel.pushed);
    }
}

#[test]
fn a_barrier_leaves_without_credit_before_all_that_waits() {
    let mut world = World { channel: Channel::new(1), part: None, next: 1, complete: 0 };
    let steps = [Step::Push(500), Step::Send, Step::Push(4_000), Step::Push(4_000), Step::Arrive];
    steps.into_iter().for_each(|step| world.act(&Act::Step(step)));
    world.begin();
    world.act(&Act::Step(Step::Send));
    world.act(&Act::Overtake);
    assert_eq!(world.complete, 0, "it waits behind rows that have no credit");
    world.act(&Act::Settle);
    world.act(&Act::Step(Step::Send));
    world.act(&Act::Step(Step::Arrive));
    world.act(&Act::Overtake);
    assert_eq!(world.complete, 1);
    world.finish();
}

#[test]
fn a_barrier_waits_for_the_rest_of_a_row_that_has_begun_to_leave() {
    let mut world = World { channel: Channel::new(1), part: None, next: 1, complete: 0 };
    let steps = [Step::PushLong(3), Step::Send, Step::Arrive, Step::Take, Step::Push(9)];
    steps.into_iter().for_each(|step| world.act(&Act::Step(step)));
    world.begin();
    world.act(&Act::Settle);
    let part = world.part.as_ref().expect("it is under way");
    let kept: Vec<u64> = part.of_producer.iter().flatten().flat_map(numbers).collect();
    assert_eq!(kept, (1..10).collect::<Vec<u64>>(), "the long row is on its way");
    for _ in 0..20 {
        for step in [Step::CreditArrives, Step::Send, Step::Arrive] {
            world.act(&Act::Step(step));
        }
        world.act(&Act::Overtake);
        world.act(&Act::Step(Step::Take));
    }
    assert_eq!(world.complete, 1);
    world.finish();
}
