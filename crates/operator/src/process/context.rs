//! [`ProcessContext`]: what a user's function sees of its key, its state and its surroundings.

use super::timer_service::TimerService;
use crate::side_output::{OutputTag, SideOutputs};
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_shuffle::batch::stamp;
use millstream_state::KeyedState;
use millstream_state::keyed_state::store::Cleared;

/// The key of a call, its state, and what can be done there.
pub struct ProcessContext<'a, K, S, O> {
    /// The state of the key. Changes are kept when the call returns `Ok`.
    pub state: &'a mut S,
    pub(super) cleared: &'a mut Cleared,
    pub(super) hash: u64,
    pub(super) key: &'a K,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) timers: &'a mut TimerService<K>,
    pub(super) sides: &'a mut SideOutputs,
    pub(super) out: &'a mut Vec<O>,
    /// The times of what is in `out`; those of this call, which began at `first`, come later.
    pub(super) times: &'a mut Vec<Timestamp>,
    pub(super) first: usize,
}

impl<K: Key, S: KeyedState, O> ProcessContext<'_, K, S, O> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &K {
        self.key
    }

    /// Gives a record out.
    #[inline]
    pub fn emit(&mut self, record: O) {
        self.out.push(record);
    }

    /// Gives a record out that has a time of its own. It should not be behind the watermark: who reads it
    /// would find it late.
    pub fn emit_at(&mut self, record: O, time: Timestamp) {
        stamp(self.times, self.first..self.out.len(), self.timestamp);
        self.out.push(record);
        stamp(self.times, self.out.len() - 1..self.out.len(), Some(time));
    }

    /// Gives a record out under a tag: to whoever reads `stream.side_output(&tag)`.
    #[inline]
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, record);
    }

    /// The time of the record, or that of the event timer: what is given out in this call has it too.
    /// Nothing, if the stream has no event time, and in timers of processing time.
    #[inline]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Forgets the key: all fields are as those of a new key, and unless they are changed again in this
    /// call, nothing of the key is kept. Its timers stay.
    pub fn clear_state(&mut self) {
        self.cleared.clear(self.state);
    }

    /// No record at or before this time is to come; [`Timestamp::MIN`] if nothing is known yet.
    #[inline]
    pub fn current_watermark(&self) -> Timestamp {
        self.timers.watermark
    }

    /// The time of the machine: the same for all calls of one batch.
    #[inline]
    pub fn processing_time(&self) -> Timestamp {
        self.timers.now
    }

    /// Calls `on_timer` for this key once the watermark has reached this time. The same time counts
    /// once.
    pub fn register_event_timer(&mut self, time: Timestamp) {
        self.timers.event.register(self.hash, self.key, (), time);
    }

    /// Calls `on_timer` for this key once the machine's clock has reached this time. The same time
    /// counts once.
    pub fn register_processing_timer(&mut self, time: Timestamp) {
        self.timers.processing.register(self.hash, self.key, (), time);
    }

    /// Withdraws a timer; whether there was one.
    pub fn delete_event_timer(&mut self, time: Timestamp) -> bool {
        self.timers.event.delete(self.hash, self.key, (), time)
    }

    /// Withdraws a timer; whether there was one.
    pub fn delete_processing_timer(&mut self, time: Timestamp) -> bool {
        self.timers.processing.delete(self.hash, self.key, (), time)
    }
}
