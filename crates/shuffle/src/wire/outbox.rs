//! The producer's end of a channel to another process: frames that wait, and the credit to send them.
//!
//! Pure: rows and credit go in, numbered frames come out. [`crate::subpartition`] keeps it under its
//! lock.
//!
//! A frame with rows needs a credit, everything else only its turn. Frames that wait are filled up
//! before new ones are begun, so a slow consumer gets few large frames and not many small ones.
//!
//! Invariants: `frames` counts the items with rows; a sequence number is given when a frame is
//! taken, so the numbers of what was taken have no gap.

use super::barrier::{encode_barrier, encode_cancel};
use super::buffer::Buffer;
use super::frame::{GOES_ON, Header, Kind, ROWS_BYTES_MAX, TEXT_BYTES_MAX, columns_of, flags_of};
use super::sender::{Gather, Payload, TURN_FRAMES};
use super::watermark::encode_watermark;
use crate::batch::{BATCH_RECORDS_MAX, Columns};
use crate::element::{Control, make_room, replaces};
use crate::in_flight::InFlightRows;
use crate::sync::Arc;
use millstream_core::checkpoint::{Alignment, CheckpointId};
use std::collections::VecDeque;

/// Frames with rows that may wait before the producer has to: 256 KiB. One batch of long rows may
/// go beyond that, by its own size.
pub(crate) const FRAMES_WAITING_MAX: usize = 8;

/// The producer is woken when so few are left, so that it does not come for each frame.
const FRAMES_WAITING_LOW: usize = FRAMES_WAITING_MAX / 2;

/// More credit than any consumer gives.
const CREDIT_MAX: u32 = 1 << 16;

/// What waits to be sent on one channel.
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// Items with rows.
    frames: usize,
    /// Frames with rows that the consumer can take.
    credit: u32,
    /// The number of the next frame.
    sequence: u32,
    /// A frame has been taken.
    sent: bool,
    /// The last item has been taken.
    done: bool,
    /// A barrier that may overtake has been taken, and nobody has asked since.
    passed: bool,
}

enum Item {
    Rows { payload: Payload, count: u32, flags: u8 },
    Control(Control),
    Failed(String),
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            items: VecDeque::new(),
            frames: 0,
            credit: 0,
            sequence: 0,
            sent: false,
            done: false,
            passed: false,
        }
    }

    /// Whether the producer may encode one more batch, if so many frames may wait besides.
    pub(crate) fn has_room(&self, overdraft: usize) -> bool {
        self.frames < FRAMES_WAITING_MAX + overdraft
    }

    /// Whether a barrier that may overtake has been taken since the last time.
    pub(crate) fn take_passed(&mut self) -> bool {
        std::mem::take(&mut self.passed)
    }

    /// Whether a producer that waits for room is to be woken.
    pub(crate) fn is_low(&self) -> bool {
        self.frames <= FRAMES_WAITING_LOW
    }

    /// Whether something can be taken now.
    pub(crate) fn is_sendable(&self) -> bool {
        match self.items.front() {
            None => false,
            Some(Item::Rows { .. }) => self.credit > 0,
            Some(Item::Control(_) | Item::Failed(_)) => true,
        }
    }

    /// Whether the consumer may have seen something of this.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Whether the end or the failure has been taken: nothing will follow.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Adds the rows of `count` records.
    pub(crate) fn push_rows(&mut self, rows: Buffer, count: usize, columns: Columns) {
        let flags = flags_of(columns);
        if rows.len() > ROWS_BYTES_MAX {
            assert!(count == 1, "only a single row is longer than a frame");
            return self.push_pieces(rows, flags);
        }
        let count = u32::try_from(count).expect("a frame has room for fewer records than 2^32");
        if !self.fill_up(&rows, count, flags) {
            self.push_frame(Payload::Rows(rows), count, flags);
        }
    }

    fn push_frame(&mut self, payload: Payload, count: u32, flags: u8) {
        self.items.push_back(Item::Rows { payload, count, flags });
        self.frames += 1;
    }

    /// One row in pieces: they share its bytes.
    fn push_pieces(&mut self, row: Buffer, flags: u8) {
        let row = Arc::new(row);
        let mut start = 0;
        while start < row.len() {
            let end = row.len().min(start + ROWS_BYTES_MAX);
            let (count, goes_on) = if end == row.len() { (1, 0) } else { (0, GOES_ON) };
            self.push_frame(Payload::Piece(row.clone(), start..end), count, flags | goes_on);
            start = end;
        }
    }

    /// Adds the rows to the frame that waits last, if they fit there and do not make a batch of
    /// unusual size.
    fn fill_up(&mut self, rows: &[u8], more: u32, with: u8) -> bool {
        match self.items.back_mut() {
            Some(Item::Rows { payload: Payload::Rows(last), count, flags })
                if *flags == with
                    && last.len() + rows.len() <= ROWS_BYTES_MAX
                    && *count + more <= BATCH_RECORDS_MAX as u32 =>
            {
                last.extend_from_slice(rows);
                *count += more;
                true
            }
            _ => false,
        }
    }

    /// Adds a control element; after the end nothing will follow.
    pub(crate) fn push_control(&mut self, control: Control) {
        if control.is_barrier() {
            make_room(&mut self.items, |item| match item {
                Item::Control(control) => control.is_barrier(),
                Item::Rows { .. } | Item::Failed(_) => false,
            });
        }
        if let Some(Item::Control(last)) = self.items.back_mut()
            && replaces(Some(*last), control)
        {
            *last = control;
            return;
        }
        self.items.push_back(Item::Control(control));
    }

    /// Whether the checkpoint's barrier waits no more, or is where it need not wait: with `overtake` it
    /// goes before all rows, of which copies are given, but behind the rest of a row that has begun to
    /// leave.
    pub(crate) fn settle(
        &mut self,
        checkpoint: CheckpointId,
        overtake: bool,
        rows: &mut Vec<InFlightRows>,
    ) -> bool {
        let is_it = |item: &Item| match item {
            Item::Control(control) => control.is_barrier_of(checkpoint),
            Item::Rows { .. } | Item::Failed(_) => false,
        };
        let Some(at) = self.items.iter().position(is_it) else { return true };
        if !overtake {
            return false;
        }
        let to = self.begun_row().min(at);
        self.items.range(to..at).for_each(|item| item.copy_rows(rows));
        if let Some(Item::Control(Control::Barrier(mut barrier))) = self.items.remove(at) {
            barrier.alignment = Alignment::Unaligned;
            self.items.insert(to, Item::Control(Control::Barrier(barrier)));
        }
        true
    }

    /// Items with the rest of a row of which some has been taken.
    fn begun_row(&self) -> usize {
        let goes_on = |item: &Item| match item {
            Item::Rows { flags, .. } => flags & GOES_ON != 0,
            Item::Control(_) | Item::Failed(_) => false,
        };
        match self.items.front() {
            Some(Item::Rows { payload: Payload::Piece(_, range), .. }) if range.start > 0 => {
                self.items.iter().take_while(|item| goes_on(item)).count() + 1
            }
            _ => 0,
        }
    }

    /// Drops what waits and tells the consumer why there will be no more.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.clear();
        if !self.done {
            self.items.push_back(Item::Failed(reason.to_owned()));
        }
    }

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.frames = 0;
    }

    /// The consumer can take so many more.
    pub(crate) fn add_credit(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT_MAX);
    }

    /// The connection is gone, and with it what the consumer could take.
    pub(crate) fn lose_credit(&mut self) {
        self.credit = 0;
    }

    /// Moves a turn's frames to a connection on which this channel has the number `channel`.
    pub(crate) fn fill(&mut self, channel: u32, gather: &mut Gather) {
        for _ in 0..TURN_FRAMES {
            if gather.is_full() || !self.is_sendable() {
                return;
            }
            let Some(item) = self.items.pop_front() else { return };
            self.send(item, channel, gather);
        }
    }

    fn send(&mut self, item: Item, channel: u32, gather: &mut Gather) {
        let (kind, payload, count, flags) = match item {
            Item::Rows { payload, count, flags } => {
                self.frames -= 1;
                self.credit -= 1;
                (Kind::Data, payload, count, flags)
            }
            Item::Control(control) => {
                let (kind, payload) = frame_of(control);
                (kind, payload, 0, 0)
            }
            Item::Failed(reason) => (Kind::Failed, Payload::text(&reason), 0, 0),
        };
        self.sent = true;
        self.passed |= kind == Kind::Barrier;
        self.done |= matches!(kind, Kind::EndOfPartition | Kind::Failed);
        let header = Header { length: 0, kind, flags, channel, sequence: self.sequence, count };
        self.sequence = self.sequence.wrapping_add(1);
        gather.push(header, payload);
    }
}

impl Item {
    /// A row in pieces is copied with its first one.
    fn copy_rows(&self, to: &mut Vec<InFlightRows>) {
        let Item::Rows { payload, count, flags } = self else { return };
        let (rows, count) = match payload {
            Payload::Piece(row, range) if range.start == 0 => (row.to_vec(), 1),
            Payload::Rows(rows) => (rows.to_vec(), *count),
            Payload::Piece(..) | Payload::None | Payload::Small(_) => return,
        };
        to.push(InFlightRows { columns: columns_of(*flags), count, rows });
    }
}

fn frame_of(control: Control) -> (Kind, Payload) {
    match control {
        Control::Barrier(barrier) => (Kind::Barrier, Payload::Small(encode_barrier(&barrier))),
        Control::CancelBarrier(checkpoint) => {
            (Kind::CancelBarrier, Payload::Small(encode_cancel(checkpoint)))
        }
        Control::Watermark(watermark) => {
            (Kind::Watermark, Payload::Small(encode_watermark(watermark)))
        }
        Control::EndOfPartition => (Kind::EndOfPartition, Payload::None),
    }
}

impl Payload {
    /// An explanation, cut to what a frame may carry.
    pub(crate) fn text(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Payload::Small(text.as_bytes()[..end].to_vec())
    }
}
