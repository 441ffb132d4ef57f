//! One subscription of a consumer in another process, as the producer's process sees it.
//!
//! Its life: it waits for its partition; then it is attached to a subpartition, whose frames it
//! hands to the connection; then it is closed. The registry attaches it (on the thread that registers
//! the partition), the connection's reader closes it (the consumer cancels, the connection breaks,
//! the wait was too long), the slot thread and the reader make its frames leave: in any order.
//!
//! Lock order: the outlet's lock is never held while the subpartition is called, or a sender.
//! So [`Outlet::attach`] looks again, after it has bound the subpartition, whether the outlet was
//! closed meanwhile; whoever closes unbinds what it finds attached. One of the two sees the other.

use super::buffer::BufferPool;
use super::frame::{Header, Kind};
use super::sender::{Gather, Payload, Sender, Source};
use crate::partition::ResultPartition;
use crate::stored::StoredReader;
use crate::stored::outlet::StoredOutlet;
use crate::subpartition::Subpartition;
use crate::sync::atomic::AtomicBool;
use crate::sync::{Arc, Mutex, lock};

/// One subscription, on one connection.
pub(crate) struct Outlet {
    channel: u32,
    /// Which queue of the partition.
    subpartition: u32,
    /// What the consumer could take when it subscribed.
    credit: u32,
    sender: Arc<Sender>,
    /// Buffers for frames of this process.
    pool: BufferPool,
    queued: AtomicBool,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// What the consumer has to be told before any data.
    answer: Option<Answer>,
}

enum Phase {
    Waiting,
    Attached(Arc<Subpartition>),
    /// To what a producer that has finished left on disk.
    Stored(Arc<StoredOutlet>),
    Closed(Closing),
}

/// Where frames come from.
enum Attached {
    Queue(Arc<Subpartition>),
    Stored(Arc<StoredOutlet>),
}

enum Answer {
    Subscribed,
    NotFound,
    Failed(String),
}

/// How a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The consumer reads no more.
    Cancelled,
    /// Nobody knows what the consumer has seen of what was sent.
    Disconnected,
    /// The consumer has been told that nothing will follow.
    Over,
}

impl Outlet {
    /// Waits for its partition.
    pub(crate) fn new(
        channel: u32,
        subpartition: u32,
        credit: u32,
        sender: Arc<Sender>,
        pool: BufferPool,
    ) -> Self {
        let queued = AtomicBool::new(false);
        let state = Mutex::new(State { phase: Phase::Waiting, answer: None });
        Self { channel, subpartition, credit, sender, pool, queued, state }
    }

    /// Buffers for frames of this process.
    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// The partition is there.
    pub(crate) fn attach(self: &Arc<Self>, partition: &ResultPartition) {
        let Some(queue) = partition.subpartitions.get(self.subpartition as usize) else {
            return self.refuse(Answer::Failed(format!("it has no part {}", self.subpartition)));
        };
        {
            let mut state = lock(&self.state);
            let Phase::Waiting = state.phase else { return };
            state.phase = Phase::Attached(queue.clone());
            state.answer = Some(Answer::Subscribed);
        }
        if let Err(reason) = queue.bind(self, self.credit) {
            return self.refuse(Answer::Failed(reason));
        }
        if let Some(closing) = self.closing() {
            return queue.unbind(self, closing);
        }
        self.schedule();
        queue.move_over_if_finished();
    }

    /// The partition is on disk.
    pub(crate) fn attach_stored(self: &Arc<Self>, reader: StoredReader) {
        let stored = StoredOutlet::new(reader, self.pool.clone(), self.credit);
        {
            let mut state = lock(&self.state);
            let Phase::Waiting = state.phase else { return };
            state.phase = Phase::Stored(Arc::new(stored));
            state.answer = Some(Answer::Subscribed);
        }
        self.schedule();
    }

    /// The partition is there, and cannot be read.
    pub(crate) fn fail(self: &Arc<Self>, reason: String) {
        self.refuse(Answer::Failed(reason));
    }

    /// The partition has not come in time.
    pub(crate) fn expire(self: &Arc<Self>) {
        if self.is_waiting() {
            self.refuse(Answer::NotFound);
        }
    }

    fn refuse(self: &Arc<Self>, answer: Answer) {
        {
            let mut state = lock(&self.state);
            if let Phase::Closed(_) = state.phase {
                return;
            }
            *state = State { phase: Phase::Closed(Closing::Over), answer: Some(answer) };
        }
        self.schedule();
    }

    /// Whether the partition has not come yet.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Waiting)
    }

    /// Whether nothing will leave through it any more.
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        matches!(state.phase, Phase::Closed(_)) && state.answer.is_none()
    }

    /// Nothing is to leave through it any more.
    pub(crate) fn close(&self, closing: Closing) {
        let former = {
            let mut state = lock(&self.state);
            if let Phase::Closed(_) = state.phase {
                return;
            }
            state.answer = None;
            std::mem::replace(&mut state.phase, Phase::Closed(closing))
        };
        if let Phase::Attached(queue) = former {
            queue.unbind(self, closing);
        }
    }

    /// The consumer can take so many more frames.
    pub(crate) fn add_credit(self: &Arc<Self>, credit: u32) {
        let sendable = match self.source() {
            Some(Attached::Queue(queue)) => queue.add_credit(self, credit),
            Some(Attached::Stored(stored)) => stored.add_credit(credit),
            None => false,
        };
        if sendable {
            self.schedule();
        }
    }

    fn closing(&self) -> Option<Closing> {
        match lock(&self.state).phase {
            Phase::Closed(closing) => Some(closing),
            Phase::Waiting | Phase::Attached(_) | Phase::Stored(_) => None,
        }
    }

    fn source(&self) -> Option<Attached> {
        match &lock(&self.state).phase {
            Phase::Attached(queue) => Some(Attached::Queue(queue.clone())),
            Phase::Stored(stored) => Some(Attached::Stored(stored.clone())),
            Phase::Waiting | Phase::Closed(_) => None,
        }
    }

    /// There is something to send. Not under a lock.
    pub(crate) fn schedule(self: &Arc<Self>) {
        self.sender.schedule(self.clone());
    }

    /// The subpartition has given its last frame.
    fn done(&self) {
        let mut state = lock(&self.state);
        if let Phase::Attached(_) | Phase::Stored(_) = state.phase {
            state.phase = Phase::Closed(Closing::Over);
        }
    }

    fn answer(&self, answer: Answer, gather: &mut Gather) {
        let (kind, payload) = match answer {
            Answer::Subscribed => (Kind::Subscribed, Payload::None),
            Answer::NotFound => (Kind::NotFound, Payload::None),
            Answer::Failed(reason) => (Kind::Failed, Payload::text(&reason)),
        };
        gather.push(Header::bare(kind, self.channel, 0), payload);
    }
}

impl Source for Outlet {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }

    fn fill(&self, gather: &mut Gather) -> bool {
        let answer = lock(&self.state).answer.take();
        if let Some(answer) = answer {
            self.answer(answer, gather);
        }
        let filled = match self.source() {
            Some(Attached::Queue(queue)) => queue.fill(self, self.channel, gather),
            Some(Attached::Stored(stored)) => stored.fill(self.channel, gather),
            None => return false,
        };
        if filled.done {
            self.done();
        }
        filled.more
    }
}
