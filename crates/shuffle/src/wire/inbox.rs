//! The consumer's end of a channel from another process: frames that came, and the credit for more.
//!
//! Pure: frames of the connection go in, frames for the task and announcements of credit come out.
//! [`super::inlet`] keeps it under its lock.
//!
//! The producer may send a frame with rows for each credit; a frame that the task takes gives the
//! credit back, and half a window at a time is announced. So at most a window of frames waits here,
//! and a producer that sends more breaks the protocol.
//!
//! Barriers take no credit; those that nobody takes are bounded by their number. Nor do watermarks, of
//! which one takes the place of the one before it.
//!
//! Invariant: credit held by the producer + frames here + credit not yet announced = window, from
//! the subscription to the end of the connection.

use super::barrier;
use super::frame::{Frame, GOES_ON, Kind, columns_of};
use super::watermark;
use crate::element::{Ahead, Control, make_room, replaces};
use crate::in_flight::InFlightRows;
use millstream_core::checkpoint::CheckpointId;
use std::collections::VecDeque;

/// How far the subscription has come on the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The producer has not answered.
    Asked,
    /// The producer has no such partition; the task will ask again.
    NotFound,
    /// Frames come.
    Open,
    /// No frame will come: the end was the last.
    Ended,
    /// No frame will come: see `failure`.
    Failed,
}

/// What the task finds.
pub(crate) enum Taken {
    /// Rows.
    Rows(Frame),
    /// A barrier, a cancellation or a watermark.
    Control(Control),
    /// Nothing now, and the producer has answered.
    Empty,
    /// Nothing: the producer has not answered, or there is no connection yet. With a cause, if one
    /// is known.
    Unanswered(Option<String>),
    /// The producer has no such partition.
    NotFound,
    /// Nothing will ever come.
    End,
    /// The channel is broken.
    Failed(String),
    /// The channel is broken, because its connection is.
    Disconnected(String),
}

/// What came in on one channel.
pub(crate) struct Inbox {
    items: VecDeque<Item>,
    phase: Phase,
    failure: String,
    /// Its connection broke, and that is the failure.
    disconnected: bool,
    /// Why there is no answer so far.
    hindrance: Option<String>,
    /// Frames with rows that the producer may hold at once.
    window: u32,
    /// Frames with rows that the producer may still send.
    held: u32,
    /// Frames that were taken and not yet announced.
    unannounced: u32,
    /// The number of the next frame.
    sequence: u32,
    /// A frame with rows, a barrier or a watermark came, on whatever connection.
    received: bool,
}

enum Item {
    Rows(Frame),
    Control(Control),
}

impl Inbox {
    /// Nothing has come; the producer has not been asked.
    pub(crate) fn new(window: u32) -> Self {
        assert!(window > 0, "a channel without credit never moves");
        Self {
            items: VecDeque::new(),
            phase: Phase::Asked,
            failure: String::new(),
            disconnected: false,
            hindrance: None,
            window,
            held: 0,
            unannounced: 0,
            sequence: 0,
            received: false,
        }
    }

    /// The producer is asked (again); gives the credit that goes with it.
    pub(crate) fn ask(&mut self) -> u32 {
        debug_assert!(!self.received && self.items.is_empty());
        self.phase = Phase::Asked;
        (self.held, self.unannounced, self.sequence) = (self.window, 0, 0);
        self.window
    }

    /// A frame has come. An error is a breach of the protocol.
    pub(crate) fn receive(&mut self, frame: Frame) -> Result<(), String> {
        match (frame.header.kind, self.phase) {
            (Kind::Subscribed, Phase::Asked) => {
                self.phase = Phase::Open;
                self.hindrance = None;
            }
            (Kind::NotFound, Phase::Asked) => self.phase = Phase::NotFound,
            (Kind::Failed, Phase::Asked | Phase::Open) => {
                self.fail(String::from_utf8_lossy(frame.payload()).into_owned());
            }
            (Kind::EndOfPartition, Phase::Open) => {
                self.check_sequence(&frame)?;
                self.phase = Phase::Ended;
            }
            (Kind::Data, Phase::Open) => self.receive_rows(frame)?,
            (Kind::Barrier | Kind::CancelBarrier, Phase::Open) => self.receive_barrier(&frame)?,
            (Kind::Watermark, Phase::Open) => self.receive_watermark(&frame)?,
            (kind, phase) => return Err(format!("a frame {kind:?} came when it was {phase:?}")),
        }
        Ok(())
    }

    fn receive_rows(&mut self, frame: Frame) -> Result<(), String> {
        self.check_sequence(&frame)?;
        let goes_on = frame.header.flags & GOES_ON != 0;
        if (frame.header.count == 0) != goes_on {
            return Err(format!("frame {} has no record", frame.header.sequence));
        }
        match self.held.checked_sub(1) {
            None => return Err(format!("frame {} came without credit", frame.header.sequence)),
            Some(held) => self.held = held,
        }
        self.received = true;
        self.items.push_back(Item::Rows(frame));
        Ok(())
    }

    fn receive_barrier(&mut self, frame: &Frame) -> Result<(), String> {
        self.check_sequence(frame)?;
        let control = barrier::decode(frame).map_err(|error| error.to_string())?;
        self.received = true;
        make_room(&mut self.items, |item| match item {
            Item::Control(control) => control.is_barrier(),
            Item::Rows(_) => false,
        });
        self.items.push_back(Item::Control(control));
        Ok(())
    }

    fn receive_watermark(&mut self, frame: &Frame) -> Result<(), String> {
        self.check_sequence(frame)?;
        let control = watermark::decode(frame).map_err(|error| error.to_string())?;
        self.received = true;
        match self.items.back_mut() {
            Some(Item::Control(last)) if replaces(Some(*last), control) => *last = control,
            _ => self.items.push_back(Item::Control(control)),
        }
        Ok(())
    }

    fn check_sequence(&mut self, frame: &Frame) -> Result<(), String> {
        let (found, expected) = (frame.header.sequence, self.sequence);
        self.sequence = expected.wrapping_add(1);
        if found == expected { Ok(()) } else { Err(format!("frame {found} came for {expected}")) }
    }

    /// What there is for the task, and whether credit has to be announced.
    pub(crate) fn take(&mut self) -> (Taken, bool) {
        match self.items.pop_front() {
            Some(Item::Rows(frame)) => {
                self.unannounced += 1;
                return (Taken::Rows(frame), self.is_announcement_due());
            }
            Some(Item::Control(control)) => return (Taken::Control(control), false),
            None => (),
        }
        let taken = match self.phase {
            Phase::Asked => Taken::Unanswered(self.hindrance.clone()),
            Phase::NotFound => Taken::NotFound,
            Phase::Open => Taken::Empty,
            Phase::Ended => Taken::End,
            Phase::Failed if self.disconnected => Taken::Disconnected(self.failure.clone()),
            Phase::Failed => Taken::Failed(self.failure.clone()),
        };
        (taken, false)
    }

    /// What waits behind the rows.
    pub(crate) fn look_ahead(&self) -> Ahead {
        let mut ahead = Ahead { barrier: None, end: self.phase == Phase::Ended };
        for item in &self.items {
            if let Item::Control(control) = item {
                ahead.note(*control);
            }
        }
        ahead
    }

    /// Takes the checkpoint's barrier out and copies all rows before it, or before the end if that is
    /// there; whether there was either. `begun` holds the pieces of a row of which the task has taken
    /// some.
    pub(crate) fn overtake(
        &mut self,
        checkpoint: CheckpointId,
        begun: &[u8],
        rows: &mut Vec<InFlightRows>,
    ) -> bool {
        let is_it = |item: &Item| match item {
            Item::Control(control) => control.is_barrier_of(checkpoint),
            Item::Rows(_) => false,
        };
        let barrier = self.items.iter().position(is_it);
        let end = (self.phase == Phase::Ended).then_some(self.items.len());
        let Some(at) = barrier.or(end) else { return false };
        let mut row = begun.to_vec();
        for item in self.items.range(..at) {
            let Item::Rows(frame) = item else { continue };
            row.extend_from_slice(frame.payload());
            if frame.header.flags & GOES_ON == 0 {
                let columns = columns_of(frame.header.flags);
                let (count, rows_of_frame) = (frame.header.count, std::mem::take(&mut row));
                rows.push(InFlightRows { columns, count, rows: rows_of_frame });
            }
        }
        if barrier.is_some() {
            self.items.remove(at);
        }
        true
    }

    fn is_announcement_due(&self) -> bool {
        self.unannounced >= self.window.div_ceil(2) && self.phase == Phase::Open
    }

    /// The credit to announce, if it is time.
    pub(crate) fn announce(&mut self) -> Option<u32> {
        if !self.is_announcement_due() {
            return None;
        }
        let credit = std::mem::take(&mut self.unannounced);
        self.held += credit;
        Some(credit)
    }

    /// Whether the task would find nothing new.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && matches!(self.phase, Phase::Asked | Phase::Open)
    }

    /// Whether nothing more will come by itself.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Failed)
    }

    /// The connection could not be made, for this reason; it will be tried again.
    pub(crate) fn hindered(&mut self, reason: &str) {
        self.hindrance = Some(reason.to_owned());
    }

    /// The connection is gone: what came before is still there for the task. Whether another
    /// connection can carry the channel on.
    pub(crate) fn disconnected(&mut self, reason: &str) -> bool {
        if self.is_over() {
            return false;
        }
        if self.received {
            self.disconnected = true;
            self.fail(reason.to_owned());
            return false;
        }
        self.phase = Phase::Asked;
        self.hindered(reason);
        true
    }

    /// Nothing more will come, for this reason.
    pub(crate) fn fail(&mut self, reason: String) {
        if !self.is_over() {
            (self.phase, self.failure) = (Phase::Failed, reason);
        }
    }
}
