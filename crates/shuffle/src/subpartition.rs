//! A subpartition: the queue between one producer task and one consumer task of the same process.
//!
//! Bounded by batches: the producer asks for room before it routes ([`Subpartition::has_room`]),
//! so a batch always finds its place. Control elements always go in: each kind can be pending once.
//! Emptied batches travel back, so that a steady flow allocates nothing.
//!
//! One producer, one consumer. Both hold the lock for a push or a pop only, and no code of others
//! runs under it. Wake-ups happen after the lock is released (see [`crate::wake`]).
//!
//! A consumer in another process reads through a [`View`]: the producer's thread then moves batches
//! from here into frames.

use crate::batch::BoxBatch;
use crate::element::{Control, Element};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::wake::Wake;
use crate::wire::view::View;
use std::collections::VecDeque;

/// Batches that may wait in one subpartition.
pub const BATCHES_MAX: usize = 8;

/// Emptied batches that are kept for the producer.
const EMPTIES_MAX: usize = BATCHES_MAX + 2;

/// The queue between two tasks.
pub struct Subpartition {
    state: Mutex<State>,
    /// The producer's thread: woken when there is room again.
    producer: Wake,
    /// The consumer has gone: what is pushed is dropped.
    released: AtomicBool,
    /// The consumer is in another process: read without the lock before each pump.
    viewed: AtomicBool,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Element>,
    /// Batches among the elements of `queue`.
    batches: usize,
    empties: Vec<BoxBatch>,
    /// The consumer's thread: woken when the queue is no longer empty.
    consumer: Option<Wake>,
    /// The consumer's end, if it is in another process.
    view: Option<Arc<View>>,
    /// The producer found no room and waits for it.
    producer_waits: bool,
}

impl Subpartition {
    /// An empty queue of a producer that is woken through `producer`.
    pub fn new(producer: Wake) -> Self {
        let (released, viewed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { state: Mutex::default(), producer, released, viewed }
    }

    /// Names the thread that reads.
    pub fn attach(&self, consumer: Wake) {
        let mut state = lock(&self.state);
        state.consumer = Some(consumer.clone());
        drop(state);
        consumer.wake();
        // A producer that has finished waits until somebody reads.
        self.producer.wake();
    }

    /// Lets a consumer in another process read.
    pub fn attach_view(&self, view: Arc<View>) {
        lock(&self.state).view = Some(view);
        self.viewed.store(true, Ordering::SeqCst);
        self.producer.wake();
    }

    /// The connection of a view is gone. One that has sent something cannot begin anew, and nobody
    /// will read the rest; else the consumer may come again.
    pub fn detach(&self, view: &Arc<View>) {
        {
            let mut state = lock(&self.state);
            if !state.view.as_ref().is_some_and(|current| Arc::ptr_eq(current, view)) {
                return;
            }
            if !view.has_begun() {
                state.view = None;
                self.viewed.store(false, Ordering::SeqCst);
                return;
            }
        }
        self.release();
    }

    /// The consumer's end, if it is in another process.
    pub fn view(&self) -> Option<Arc<View>> {
        if self.viewed.load(Ordering::SeqCst) { lock(&self.state).view.clone() } else { None }
    }

    /// Whether a consumer of this process reads.
    pub fn is_attached(&self) -> bool {
        lock(&self.state).consumer.is_some()
    }

    /// Something changed for the producer: credit has come.
    pub fn wake_producer(&self) {
        self.producer.wake();
    }

    /// Whether one more batch may be pushed. If not, the producer will be woken when it may.
    pub fn has_room(&self) -> bool {
        let mut state = lock(&self.state);
        let room = state.batches < BATCHES_MAX || self.is_released();
        state.producer_waits = !room;
        room
    }

    /// Appends a batch, for which the caller has seen room. Gives an emptied one back if there is one.
    pub fn push(&self, batch: BoxBatch) -> Option<BoxBatch> {
        if self.is_released() {
            let mut batch = batch;
            batch.clear();
            return Some(batch);
        }
        let mut state = lock(&self.state);
        assert!(state.batches < BATCHES_MAX, "the producer pushes only where it saw room");
        state.queue.push_back(Element::Batch(batch));
        state.batches += 1;
        let empty = state.empties.pop();
        let consumer = wake_if_first(&state);
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
        empty
    }

    /// Appends a control element. There is always room.
    pub fn push_control(&self, control: Control) {
        let mut state = lock(&self.state);
        state.queue.push_back(Element::Control(control));
        let consumer = wake_if_first(&state);
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Takes the next element.
    pub fn pop(&self) -> Option<Element> {
        let mut state = lock(&self.state);
        let element = state.queue.pop_front()?;
        let mut wake = false;
        if matches!(element, Element::Batch(_)) {
            state.batches -= 1;
            wake = std::mem::take(&mut state.producer_waits);
        }
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
        let dropped = {
            let mut state = lock(&self.state);
            state.batches = 0;
            state.consumer = None;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.empties))
        };
        // Records may have destructors of their own: not under the lock.
        drop(dropped);
        self.producer.wake();
    }

    /// Whether the consumer has gone.
    pub fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }
}

/// The consumer, if it has to be told of the element just pushed.
fn wake_if_first(state: &State) -> Option<Wake> {
    if state.queue.len() == 1 { state.consumer.clone() } else { None }
}
