//! Both ends of the credit protocol against a naive model: whatever the order in which frames and
//! credit travel, every record arrives once and in order, and no bound is passed.

use super::buffer::BufferPool;
use super::frame::{Frame, HEADER_BYTES, Header, Kind, ROWS_BYTES_MAX};
use super::inbox::{Inbox, Taken};
use super::outbox::{FRAMES_WAITING_MAX, Outbox};
use super::sender::Gather;
use crate::batch::Columns;
use crate::element::{BARRIERS_MAX, Control};
use millstream_core::checkpoint::CheckpointId;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The producer pushes so many short rows, if there is room.
    Push(u16),
    /// The producer pushes one row of so many frames, if there is room.
    PushLong(u8),
    /// The producer says something about the next checkpoint, room or not.
    PushBarrier,
    /// What may leave leaves.
    Send,
    /// The oldest frame that is under way arrives.
    Arrive,
    /// The consumer takes one frame.
    Take,
    /// The oldest credit that is under way arrives.
    CreditArrives,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u16..600).prop_map(Step::Push),
        1 => (1_u8..12).prop_map(Step::PushLong),
        1 => Just(Step::PushBarrier),
        3 => Just(Step::Send),
        6 => Just(Step::Arrive),
        6 => Just(Step::Take),
        3 => Just(Step::CreditArrives),
    ]
}

/// A channel, and all that is under way.
pub(super) struct Channel {
    window: u32,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    encode: BufferPool,
    read: BufferPool,
    frames: VecDeque<Frame>,
    credits: VecDeque<u32>,
    /// Rows are numbers of 8 bytes; a long row repeats its own.
    pub(super) pushed: u64,
    pub(super) arrived: u64,
    /// The last barrier that was read in its turn.
    pub(super) given: CheckpointId,
    /// How many rows were pushed before each barrier.
    barriers: Vec<u64>,
    /// Barriers that arrived, by their place in `barriers`.
    passed: Vec<u64>,
    pub(super) assembly: Vec<u8>,
    waiting_max: usize,
    pub(super) ended: bool,
}

impl Channel {
    pub(super) fn new(window: u32) -> Self {
        let mut channel = Self {
            window,
            outbox: Outbox::new(),
            inbox: Inbox::new(window),
            encode: BufferPool::for_encoding(),
            read: BufferPool::for_reading(),
            frames: VecDeque::new(),
            credits: VecDeque::new(),
            pushed: 0,
            arrived: 0,
            given: CheckpointId::default(),
            barriers: Vec::new(),
            passed: Vec::new(),
            assembly: Vec::new(),
            waiting_max: 0,
            ended: false,
        };
        let credit = channel.inbox.ask();
        channel.outbox.add_credit(credit);
        let subscribed = Frame { header: Header::bare(Kind::Subscribed, 0, 0), buffer: None };
        channel.inbox.receive(subscribed).expect("asked");
        channel
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Push(rows) if self.outbox.has_room(0) => self.push(u64::from(*rows)),
            Step::PushLong(frames) if self.outbox.has_room(0) => self.push_long(*frames),
            Step::Push(_) | Step::PushLong(_) => (),
            Step::PushBarrier => {
                let checkpoint = CheckpointId(self.barriers.len() as u64);
                self.barriers.push(self.pushed);
                self.outbox.push_control(Control::CancelBarrier(checkpoint));
            }
            Step::Send => self.send(),
            Step::Arrive => {
                if let Some(frame) = self.frames.pop_front() {
                    self.inbox.receive(frame).expect("the producer keeps to the protocol");
                }
            }
            Step::Take => self.take(),
            Step::CreditArrives => {
                if let Some(credit) = self.credits.pop_front() {
                    self.outbox.add_credit(credit);
                }
            }
        }
        self.check();
    }

    fn push(&mut self, rows: u64) {
        let mut buffer = self.encode.take();
        for row in self.pushed..self.pushed + rows {
            buffer.extend_from_slice(&row.to_le_bytes());
        }
        self.pushed += rows;
        self.outbox.push_rows(buffer, rows as usize, Columns::NONE);
    }

    fn push_long(&mut self, frames: u8) {
        let mut buffer = self.encode.take();
        let words = usize::from(frames) * ROWS_BYTES_MAX / 8 + 1;
        buffer.extend(std::iter::repeat_n(self.pushed.to_le_bytes(), words).flatten());
        self.pushed += 1;
        self.outbox.push_rows(buffer, 1, Columns::NONE);
        self.waiting_max = FRAMES_WAITING_MAX + usize::from(frames) + 1;
    }

    fn send(&mut self) {
        let mut gather = Gather::default();
        self.outbox.fill(0, &mut gather);
        let mut bytes = Vec::new();
        while gather.write(|slices| Ok(copy(slices, &mut bytes))).expect("memory") > 0 {}
        let mut bytes = &bytes[..];
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::decode(header).expect("as written");
            let (payload, rest) = rest.split_at(header.length as usize);
            let pool = if header.kind == Kind::Data {
                self.read.clone()
            } else {
                BufferPool::for_reading()
            };
            let mut buffer = pool.take();
            buffer[..payload.len()].copy_from_slice(payload);
            self.frames.push_back(Frame { header, buffer: Some(buffer) });
            bytes = rest;
        }
    }

    fn take(&mut self) {
        let (taken, announce) = self.inbox.take();
        match taken {
            Taken::Rows(frame) => self.consume(&frame),
            Taken::Control(Control::CancelBarrier(CheckpointId(number))) => {
                assert_eq!(self.arrived, self.barriers[number as usize], "it has lost its place");
                assert!(self.assembly.is_empty(), "it is in the middle of a row");
                assert!(self.passed.last().is_none_or(|last| *last < number));
                self.passed.push(number);
            }
            Taken::Control(Control::Barrier(barrier)) => {
                assert!(self.assembly.is_empty(), "it is in the middle of a row");
                self.given = barrier.checkpoint;
            }
            Taken::End => self.ended = true,
            Taken::Empty => (),
            _ => panic!("the channel is broken"),
        }
        if announce {
            let credit = self.inbox.announce().expect("it was due");
            self.credits.push_back(credit);
        }
    }

    fn consume(&mut self, frame: &Frame) {
        match frame.header.count {
            0 => self.assembly.extend_from_slice(frame.payload()),
            1 if !self.assembly.is_empty() => {
                self.assembly.extend_from_slice(frame.payload());
                let row = self.arrived.to_le_bytes();
                assert!(self.assembly.chunks(8).all(|word| word == row));
                self.assembly.clear();
                self.arrived += 1;
            }
            count => {
                let expected = self.arrived..self.arrived + u64::from(count);
                let rows = frame.payload().chunks(8);
                assert!(rows.eq(expected.map(u64::to_le_bytes)), "out of order");
                self.arrived += u64::from(count);
            }
        }
    }

    /// The bounds that hold after every step.
    fn check(&self) {
        let counters = self.read.counters();
        let here = counters.taken - counters.returned;
        assert!(here <= u64::from(self.window) + 1, "{here} frames under way or waiting");
        let counters = self.encode.counters();
        let waiting = (counters.taken - counters.returned) as usize;
        assert!(waiting <= FRAMES_WAITING_MAX.max(self.waiting_max), "{waiting} frames wait");
    }

    fn finish(&mut self) {
        self.outbox.push_control(Control::EndOfPartition);
        for _ in 0..100_000 {
            if self.ended {
                return;
            }
            for step in [Step::Send, Step::Arrive, Step::Take, Step::CreditArrives] {
                self.step(&step);
            }
        }
        panic!("the channel stands still");
    }
}

fn copy(slices: &[std::io::IoSlice<'_>], to: &mut Vec<u8>) -> usize {
    let before = to.len();
    slices.iter().for_each(|slice| to.extend_from_slice(slice));
    to.len() - before
}

proptest! {
    #[test]
    fn every_record_arrives_once_and_in_order_within_all_bounds(
        window in 1_u32..20,
        steps in prop::collection::vec(any_step(), 1..150),
    ) {
        let mut channel = Channel::new(window);
        steps.iter().for_each(|step| channel.step(step));
        channel.finish();
        prop_assert_eq!(channel.arrived, channel.pushed);
        prop_assert!(channel.outbox.is_done());
        let all = channel.barriers.len();
        prop_assert!(all > BARRIERS_MAX || channel.passed.len() == all, "a barrier was lost");
    }
}

#[test]
fn barriers_need_no_credit_and_are_bounded_at_both_ends() {
    let mut channel = Channel::new(1);
    for _ in 0..3 {
        channel.push(1);
        channel.send();
    }
    (0..100).for_each(|_| channel.step(&Step::PushBarrier));
    channel.finish();
    let newest: Vec<u64> = (100 - BARRIERS_MAX as u64..100).collect();
    assert_eq!(channel.passed, newest);

    let mut channel = Channel::new(1);
    for _ in 0..100 {
        channel.step(&Step::PushBarrier);
        channel.step(&Step::Send);
        channel.step(&Step::Arrive);
    }
    channel.finish();
    assert_eq!(channel.passed, newest);
}

#[test]
fn a_failure_drops_what_waits_and_is_the_last() {
    let mut channel = Channel::new(1);
    channel.push(10);
    channel.send();
    channel.push(10);
    channel.outbox.fail("because");
    channel.send();
    while let Some(frame) = channel.frames.pop_front() {
        channel.inbox.receive(frame).expect("a producer may fail");
    }
    assert!(matches!(channel.inbox.take().0, Taken::Rows(_)));
    assert!(matches!(channel.inbox.take().0, Taken::Failed(reason) if reason == "because"));
    assert!(channel.outbox.is_done());
}

#[test]
fn an_explanation_is_cut_between_characters() {
    let mut outbox = Outbox::new();
    outbox.fail(&"é".repeat(5000));
    let mut gather = Gather::default();
    outbox.fill(0, &mut gather);
    let mut bytes = Vec::new();
    gather.write(|slices| Ok(copy(slices, &mut bytes))).expect("memory");
    assert_eq!(std::str::from_utf8(&bytes[HEADER_BYTES..]).map(str::len), Ok(4096));
}
