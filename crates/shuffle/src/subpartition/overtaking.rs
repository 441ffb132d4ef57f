//! How a barrier overtakes what waits in a subpartition.
//!
//! Barriers always go in behind the data. A consumer of the same process looks into the queue
//! ([`Subpartition::look_ahead`]) and takes a barrier out ahead of its turn; what was before it stays
//! to be read, and is given as rows besides ([`Subpartition::overtake`]). For a consumer in another
//! process the producer does the same with the frames that wait for credit, and the barrier leaves
//! before them ([`Subpartition::settle`]): those rows are the producer's to keep.
//!
//! Rows are written by code of records, so never under the lock: the consumer takes batches out for it
//! and puts them back. Nobody else takes batches out, and what is pushed meanwhile goes behind.

use super::Subpartition;
use super::remote::schedule;
use crate::element::{Ahead, Control, Element};
use crate::in_flight::{InFlightRows, encode_batch};
use crate::sync::lock;
use millstream_core::checkpoint::CheckpointId;

/// For a consumer of the same process.
impl Subpartition {
    /// What waits behind the data.
    pub fn look_ahead(&self) -> Ahead {
        let mut ahead = Ahead::default();
        for element in &lock(&self.state).queue {
            if let Element::Control(control) = element {
                ahead.note(*control);
            }
        }
        ahead
    }

    /// Takes the checkpoint's barrier out and adds rows of all batches before it; if the end comes
    /// first, of all batches before that. Whether there was either.
    pub fn overtake(&self, checkpoint: CheckpointId, rows: &mut Vec<InFlightRows>) -> bool {
        let mut before: Vec<Element> = {
            let queue = &mut lock(&self.state).queue;
            let is_found = |element: &Element| match element {
                Element::Control(Control::EndOfPartition) => true,
                Element::Control(control) => control.is_barrier_of(checkpoint),
                Element::Batch(_) => false,
            };
            let Some(at) = queue.iter().position(is_found) else { return false };
            let before = queue.drain(..at).collect();
            if queue.front().is_some_and(Element::is_barrier) {
                queue.pop_front();
            }
            before
        };
        for element in &before {
            if let Element::Batch(batch) = element {
                encode_batch(batch.as_ref(), rows);
            }
        }
        let queue = &mut lock(&self.state).queue;
        before.drain(..).rev().for_each(|element| queue.push_front(element));
        true
    }
}

/// For the producer.
impl Subpartition {
    /// Whether it is settled what the barrier, which has been pushed, overtakes on the producer's side:
    /// it has left, or is the consumer's business. With `overtake`, it leaves before the frames that
    /// wait for credit, and their rows are added. Where it is not settled the producer is woken when it
    /// may be.
    pub fn settle(
        &self,
        checkpoint: CheckpointId,
        overtake: bool,
        rows: &mut Vec<InFlightRows>,
    ) -> bool {
        if lock(&self.state).has_pending() {
            self.move_over();
        }
        let (settled, outlet) = {
            let mut state = lock(&self.state);
            if self.is_released() || state.consumer.is_some() {
                return true;
            }
            let waits = |element: &Element| match element {
                Element::Control(control) => control.is_barrier_of(checkpoint),
                Element::Batch(_) => false,
            };
            if state.queue.iter().any(waits) {
                // Nobody has come to read, or another thread moves what waits over.
                return false;
            }
            let Some(remote) = &mut state.remote else { return true };
            (remote.settle(checkpoint, overtake, rows), remote.sendable())
        };
        schedule(outlet);
        settled
    }
}
