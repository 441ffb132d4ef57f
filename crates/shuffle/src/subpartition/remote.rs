//! What a subpartition is for a consumer in another process.
//!
//! The consumer is bound through an [`Outlet`]. From then on the producer's thread encodes what it
//! pushes, outside of the lock, and frames wait in an [`Outbox`], bounded by bytes. They leave as
//! credit allows and without the producer, which may be busy, or may have ended.
//!
//! Batches that were pushed before the consumer came are moved over by the producer's thread, in the
//! next call that it makes; or, if it has finished and makes no more calls, by the thread that binds
//! the consumer. `moving` keeps the two apart, and so keeps the order.
//!
//! If the connection of a bound consumer breaks before any frame has left, the next one may bind.
//! After that nobody knows what was seen: the subpartition is released, and refuses whoever comes.

use super::Subpartition;
use crate::batch::{AnyBatch, Columns};
use crate::element::{Control, Element};
use crate::in_flight::InFlightRows;
use crate::sync::{Arc, lock};
use crate::wire::buffer::{Buffer, BufferPool};
use crate::wire::frame::{ROW_BYTES_MAX, ROWS_BYTES_MAX};
use crate::wire::outbox::Outbox;
use crate::wire::outlet::{Closing, Outlet};
use crate::wire::sender::Gather;
use millstream_core::checkpoint::CheckpointId;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A row that is too long to be sent: the job cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of {bytes} bytes cannot go to another process, at most {ROW_BYTES_MAX} can")]
pub struct RowTooLong {
    /// Its length.
    pub bytes: usize,
}

/// Guarded by the subpartition's lock.
pub(super) struct Remote {
    outbox: Outbox,
    /// The subscription through which frames leave now.
    outlet: Option<Arc<Outlet>>,
    /// Buffers for frames.
    pool: BufferPool,
    /// A thread moves batches from the queue to the outbox.
    moving: bool,
    /// What was pushed and could not be sent.
    failure: Option<RowTooLong>,
    /// Bytes of rows that were encoded.
    bytes: u64,
}

impl Remote {
    fn new(pool: BufferPool) -> Self {
        let outbox = Outbox::new();
        Self { outbox, outlet: None, pool, moving: false, failure: None, bytes: 0 }
    }

    pub(super) fn has_room(&self, overdraft: usize) -> bool {
        self.outbox.has_room(overdraft)
    }

    pub(super) fn settle(
        &mut self,
        checkpoint: CheckpointId,
        overtake: bool,
        rows: &mut Vec<InFlightRows>,
    ) -> bool {
        self.outbox.settle(checkpoint, overtake, rows)
    }

    pub(super) fn clear(&mut self) {
        self.outbox.clear();
    }

    fn is_bound_to(&self, outlet: &Outlet) -> bool {
        self.outlet.as_ref().is_some_and(|bound| std::ptr::eq(Arc::as_ptr(bound), outlet))
    }

    fn fill(&mut self, channel: u32, gather: &mut Gather) -> Filled {
        self.outbox.fill(channel, gather);
        let filled = Filled { more: self.outbox.is_sendable(), done: self.outbox.is_done() };
        if filled.done {
            self.outlet = None;
        }
        filled
    }

    /// The subscription that has something to send.
    pub(super) fn sendable(&self) -> Option<Arc<Outlet>> {
        self.outlet.clone().filter(|_| self.outbox.is_sendable())
    }
}

/// What a turn to send has done.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filled {
    /// More could be sent at once.
    pub(crate) more: bool,
    /// Nothing will ever follow.
    pub(crate) done: bool,
}

/// For the producer.
impl Subpartition {
    /// Moves over what was pushed before a consumer of another process came. An error if something
    /// that was pushed cannot be sent.
    pub fn pump(&self) -> Result<(), RowTooLong> {
        if self.has_pending() {
            self.move_over();
        }
        let state = lock(&self.state);
        state.remote.as_ref().and_then(|remote| remote.failure).map_or(Ok(()), Err)
    }

    /// Whether a consumer of another process waits for what only the producer's thread can give.
    pub fn has_pending(&self) -> bool {
        lock(&self.state).has_pending()
    }

    /// Bytes of rows that were encoded for another process.
    pub fn remote_bytes(&self) -> u64 {
        lock(&self.state).remote.as_ref().map_or(0, |remote| remote.bytes)
    }

    /// The producer ends before its work is done. A consumer of another process is told so; one of
    /// this process is stopped by whoever stopped the producer.
    pub fn abandon(&self, reason: &str) {
        let outlet = {
            let mut state = lock(&self.state);
            if state.finished || self.is_released() {
                return;
            }
            state.abandoned = Some(reason.to_owned());
            self.fail_outbox(&mut state, reason)
        };
        schedule(outlet);
    }

    fn fail_outbox(&self, state: &mut super::State, reason: &str) -> Option<Arc<Outlet>> {
        let remote = state.remote.as_mut()?;
        remote.outbox.fail(reason);
        remote.sendable()
    }

    /// Encodes the batch on the calling thread: all of it, in as many frames as it takes.
    pub(super) fn encode(&self, batch: &dyn AnyBatch) {
        let Some(pool) = self.encode_pool() else { return };
        let mut from = 0;
        while from < batch.len() {
            let mut rows = pool.take();
            let next = batch.encode(from, ROWS_BYTES_MAX, &mut rows);
            if rows.len() > ROW_BYTES_MAX {
                return self.refuse_row(RowTooLong { bytes: rows.len() });
            }
            self.send_rows(rows, next - from, batch.columns());
            from = next;
        }
    }

    fn encode_pool(&self) -> Option<BufferPool> {
        lock(&self.state).remote.as_ref().map(|remote| remote.pool.clone())
    }

    fn send_rows(&self, rows: Buffer, count: usize, columns: Columns) {
        let outlet = {
            let mut state = lock(&self.state);
            let Some(remote) = state.remote.as_mut().filter(|_| !self.is_released()) else {
                return;
            };
            remote.bytes += rows.len() as u64;
            remote.outbox.push_rows(rows, count, columns);
            remote.sendable()
        };
        schedule(outlet);
    }

    pub(super) fn send_control(&self, control: Control) {
        let outlet = {
            let mut state = lock(&self.state);
            let Some(remote) = &mut state.remote else { return };
            remote.outbox.push_control(control);
            remote.sendable()
        };
        schedule(outlet);
    }

    fn refuse_row(&self, failure: RowTooLong) {
        let outlet = {
            let mut state = lock(&self.state);
            if let Some(remote) = &mut state.remote {
                remote.failure = Some(failure);
            }
            state.abandoned = Some(failure.to_string());
            self.fail_outbox(&mut state, &failure.to_string())
        };
        schedule(outlet);
    }

    /// Moves everything from the queue to the outbox, unless another thread is at it.
    pub(super) fn move_over(&self) {
        let mut mine = false;
        while let Some(element) = self.next_to_move(&mut mine) {
            match element {
                Element::Batch(batch) => self.encode(batch.as_ref()),
                Element::Control(control) => {
                    self.send_control(control);
                    if control.is_urgent() {
                        // Where another thread moves, the producer may wait for its barrier.
                        self.producer.wake();
                    }
                }
            }
        }
    }

    /// The next element of the queue; `mine` says whether this thread has begun to move.
    fn next_to_move(&self, mine: &mut bool) -> Option<Element> {
        let mut state = lock(&self.state);
        let remote = state.remote.as_mut()?;
        if remote.moving && !*mine {
            return None;
        }
        (remote.moving, *mine) = (true, true);
        let element = state.pop();
        if let (None, Some(remote)) = (&element, &mut state.remote) {
            remote.moving = false;
        }
        element
    }
}

/// For a consumer of another process.
impl Subpartition {
    /// Frames leave through this subscription from now on. Refused if the consumer could not see
    /// all of them.
    pub(crate) fn bind(&self, outlet: &Arc<Outlet>, credit: u32) -> Result<(), String> {
        {
            let mut state = lock(&self.state);
            if let Some(reason) = &state.abandoned {
                return Err(reason.clone());
            }
            if state.consumer.is_some() {
                return Err("a consumer in its own process reads it".to_owned());
            }
            let remote = state.remote.get_or_insert_with(|| Remote::new(outlet.pool().clone()));
            if remote.outbox.has_sent() {
                return Err("a part of it was sent over another connection".to_owned());
            }
            if self.is_released() {
                return Err("its consumer has given it up".to_owned());
            }
            // An outlet that is bound belongs to a connection that is about to break.
            remote.outlet = Some(outlet.clone());
            remote.outbox.lose_credit();
            remote.outbox.add_credit(credit);
        }
        self.producer.wake();
        Ok(())
    }

    /// Moves over what a producer that has finished left in the queue. Runs code of records, so a
    /// panic is possible: the consumer is told.
    pub(crate) fn move_over_if_finished(&self) {
        if !lock(&self.state).finished {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| self.move_over())).is_err() {
            let reason = "a record panicked while it was encoded";
            let outlet = self.fail_outbox(&mut lock(&self.state), reason);
            schedule(outlet);
        }
    }

    /// Frames do not leave through this subscription any more.
    pub(crate) fn unbind(&self, outlet: &Outlet, closing: Closing) {
        let release = {
            let mut state = lock(&self.state);
            let Some(remote) = state.remote.as_mut().filter(|r| r.is_bound_to(outlet)) else {
                return;
            };
            remote.outlet = None;
            remote.outbox.lose_credit();
            closing == Closing::Cancelled || remote.outbox.has_sent()
        };
        if release {
            self.release();
        }
    }

    /// Whether frames leave through some subscription.
    #[cfg(all(test, shuttle))]
    pub(crate) fn is_bound(&self) -> bool {
        lock(&self.state).remote.as_ref().is_some_and(|remote| remote.outlet.is_some())
    }

    /// The consumer can take so many more frames; whether there is something to send.
    pub(crate) fn add_credit(&self, outlet: &Outlet, credit: u32) -> bool {
        let mut state = lock(&self.state);
        let Some(remote) = state.remote.as_mut().filter(|r| r.is_bound_to(outlet)) else {
            return false;
        };
        remote.outbox.add_credit(credit);
        remote.outbox.is_sendable()
    }

    /// Adds a turn's frames, for the subscription with the number `channel` on its connection.
    pub(crate) fn fill(&self, outlet: &Outlet, channel: u32, gather: &mut Gather) -> Filled {
        let (filled, wake) = {
            let state = &mut *lock(&self.state);
            let Some(remote) = state.remote.as_mut().filter(|r| r.is_bound_to(outlet)) else {
                return Filled::default();
            };
            let filled = remote.fill(channel, gather);
            let passed = remote.outbox.take_passed();
            let low = remote.outbox.is_low() && std::mem::take(&mut state.producer_waits);
            (filled, passed || low)
        };
        if filled.done {
            self.release();
        } else if wake {
            self.producer.wake();
        }
        filled
    }
}

pub(super) fn schedule(outlet: Option<Arc<Outlet>>) {
    if let Some(outlet) = outlet {
        outlet.schedule();
    }
}
