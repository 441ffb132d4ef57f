//! A subpartition: the queue between one producer task and one consumer task.
//!
//! The producer asks for room before it routes ([`Subpartition::has_room`]), so a batch always finds
//! its place. Control elements always go in, behind what was pushed before: the end once, barriers up
//! to a number beyond which the oldest is of no use. Emptied batches travel back, so that a steady
//! flow allocates nothing.
//!
//! One producer, one consumer. Both hold the lock for a push or a pop only, and no code of others
//! runs under it. Wake-ups happen after the lock is released (see [`crate::wake`]).
//!
//! A consumer in the same process pops batches as they were pushed; at most [`BATCHES_MAX`] wait.
//! What there is for a consumer in another process: `remote`. How a barrier overtakes what waits here:
//! `overtaking`.

mod overtaking;
pub(crate) mod remote;

pub use remote::RowTooLong;

use crate::batch::BoxBatch;
use crate::element::{Control, Element, make_room, replaces};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};
use crate::wake::Wake;
use remote::Remote;
use std::collections::VecDeque;

/// Batches that may wait in one subpartition.
pub const BATCHES_MAX: usize = 8;

/// Batches that go in beyond that where a barrier is to overtake: the producer gives what it holds in
/// its hands, so that it can take its part in the checkpoint.
pub const OVERDRAFT_BATCHES: usize = 8;

/// Emptied batches that are kept for the producer.
const EMPTIES_MAX: usize = BATCHES_MAX + 2;

/// The queue between two tasks.
pub struct Subpartition {
    state: Mutex<State>,
    /// The producer's thread: woken when there is room again.
    producer: Wake,
    /// The consumer has gone: what is pushed is dropped.
    released: AtomicBool,
    /// Batches that may wait for a consumer of this process.
    batches_max: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Element>,
    /// Batches among the elements of `queue`.
    batches: usize,
    empties: Vec<BoxBatch>,
    /// The consumer's thread: woken when the queue is no longer empty.
    consumer: Option<Wake>,
    /// The producer found no room and waits for it.
    producer_waits: bool,
    /// The end has been pushed: the producer makes no more calls.
    finished: bool,
    /// There will be no end: the producer has failed, or was cancelled.
    abandoned: Option<String>,
    /// Set when a consumer of another process is bound, and then for ever.
    remote: Option<Remote>,
}

/// For the producer.
impl Subpartition {
    /// An empty queue of a producer that is woken through `producer`.
    pub fn new(producer: Wake) -> Self {
        Self::with_bound(producer, BATCHES_MAX)
    }

    /// An empty queue that takes so many batches.
    pub fn with_bound(producer: Wake, batches_max: usize) -> Self {
        assert!(batches_max > 0, "a queue without room never moves");
        Self { state: Mutex::default(), producer, released: AtomicBool::new(false), batches_max }
    }

    /// Whether one more batch may be pushed. If not, the producer will be woken when it may.
    pub fn has_room(&self) -> bool {
        self.has_room_beyond(0)
    }

    /// The same, if so many batches may wait besides, at most [`OVERDRAFT_BATCHES`].
    pub fn has_room_beyond(&self, overdraft: usize) -> bool {
        let mut state = lock(&self.state);
        if state.has_pending() {
            drop(state);
            self.move_over();
            state = lock(&self.state);
        }
        let room = self.is_released()
            || match &state.remote {
                None => state.batches < self.batches_max + overdraft,
                Some(remote) => remote.has_room(overdraft),
            };
        state.producer_waits = !room;
        room
    }

    /// Appends a batch, for which the caller has seen room, and leaves an empty one in its place.
    pub fn push(&self, batch: &mut BoxBatch) {
        if self.is_released() {
            return batch.clear();
        }
        let mut state = lock(&self.state);
        if state.remote.is_some() {
            drop(state);
            self.move_over();
            self.encode(batch.as_ref());
            return batch.clear();
        }
        let most = self.batches_max + OVERDRAFT_BATCHES;
        assert!(state.batches < most, "the producer pushes only where it saw room");
        let empty = state.empties.pop().unwrap_or_else(|| batch.fresh());
        state.batches += 1;
        let consumer = state.push(Element::Batch(std::mem::replace(batch, empty)));
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Appends a control element. There is always room.
    pub fn push_control(&self, control: Control) {
        let mut state = lock(&self.state);
        match control {
            Control::EndOfPartition => state.finished = true,
            _ if self.is_released() => return,
            Control::Watermark(_) if state.replace_last(control) => return,
            Control::Watermark(_) => (),
            _ => make_room(&mut state.queue, Element::is_barrier),
        }
        let first = state.push(Element::Control(control));
        let consumer = state.consumer.clone();
        drop(state);
        match consumer {
            Some(consumer) if control.is_urgent() => consumer.urge(),
            Some(consumer) if first.is_some() => consumer.wake(),
            Some(_) => (),
            None => self.move_over(),
        }
    }
}

/// For a consumer of the same process.
impl Subpartition {
    /// Names the thread that reads.
    pub fn attach(&self, consumer: Wake) {
        let mut state = lock(&self.state);
        state.consumer = Some(consumer.clone());
        drop(state);
        // Barriers may have come before.
        consumer.urge();
        // A producer that has finished may wait until somebody reads.
        self.producer.wake();
    }

    /// Whether a consumer of this process reads.
    pub fn is_attached(&self) -> bool {
        lock(&self.state).consumer.is_some()
    }

    /// Takes the next element.
    pub fn pop(&self) -> Option<Element> {
        let mut state = lock(&self.state);
        let element = state.pop()?;
        let wake =
            matches!(element, Element::Batch(_)) && std::mem::take(&mut state.producer_waits);
        drop(state);
        if wake {
            self.producer.wake();
        }
        Some(element)
    }

    /// Gives an emptied batch back to the producer.
    pub fn recycle(&self, batch: BoxBatch) {
        debug_assert!(batch.is_empty());
        let mut state = lock(&self.state);
        if state.empties.len() < EMPTIES_MAX {
            state.empties.push(batch);
        }
    }

    /// Whether something waits to be read.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).queue.is_empty()
    }

    /// The consumer reads no more: everything here and everything to come is dropped.
    pub fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
        let dropped = lock(&self.state).clear();
        // Records may have destructors of their own: not under the lock.
        drop(dropped);
        self.producer.wake();
    }

    /// Whether the consumer has gone.
    pub fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }
}

impl State {
    /// Whether only the producer's thread can give a consumer of another process what it waits for.
    fn has_pending(&self) -> bool {
        self.remote.is_some() && !self.queue.is_empty() && !self.finished
    }

    /// The consumer's thread, if it has to be told of the element.
    fn push(&mut self, element: Element) -> Option<Wake> {
        self.queue.push_back(element);
        if self.queue.len() == 1 { self.consumer.clone() } else { None }
    }

    /// Lets a control element take the place of the last, if it may.
    fn replace_last(&mut self, next: Control) -> bool {
        match self.queue.back_mut() {
            Some(Element::Control(last)) if replaces(Some(*last), next) => {
                *last = next;
                true
            }
            _ => false,
        }
    }

    fn pop(&mut self) -> Option<Element> {
        let element = self.queue.pop_front()?;
        self.batches -= usize::from(matches!(element, Element::Batch(_)));
        Some(element)
    }

    /// Forgets everything; gives what is to be dropped.
    fn clear(&mut self) -> (VecDeque<Element>, Vec<BoxBatch>) {
        self.batches = 0;
        self.consumer = None;
        if let Some(remote) = &mut self.remote {
            remote.clear();
        }
        (std::mem::take(&mut self.queue), std::mem::take(&mut self.empties))
    }
}
