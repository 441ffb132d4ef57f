//! One channel from another process, as shared by the connection's reader and the consumer's thread.
//!
//! The reader puts frames in and wakes the consumer; the consumer takes them and announces credit.
//! What the channel has to say to the producer ([`Wishes`]) leaves through an [`Uplink`], of which
//! there is one per connection that ever carried the channel.
//!
//! Lock order: link, then inlet. The inlet's lock is not held while a sender is called or a thread
//! is woken.

use super::barrier;
use super::budget::Grant;
use super::frame::{Frame, Header, Kind, Subscription};
use super::inbox::{Inbox, Taken};
use super::sender::{Gather, Payload, Sender, Source};
use crate::element::{Ahead, Control};
use crate::in_flight::InFlightRows;
use crate::sync::atomic::AtomicBool;
use crate::sync::{Arc, Mutex, Weak, lock};
use crate::wake::Wake;
use millstream_core::checkpoint::CheckpointId;

/// One channel.
pub(crate) struct Inlet {
    pub(crate) channel: u32,
    subscription: Subscription,
    /// The consumer's thread.
    wake: Wake,
    /// Its part of what may wait in this process.
    _window: Grant,
    state: Mutex<State>,
}

struct State {
    inbox: Inbox,
    wishes: Wishes,
    /// The connection of now. The link owns the uplink, and so does a sender while it is queued.
    uplink: Weak<Uplink>,
}

/// What the producer is to be told at the next opportunity; credit is asked of the inbox.
#[derive(Default)]
struct Wishes {
    subscribe: bool,
    cancel: bool,
}

impl Inlet {
    /// Nothing has been asked yet.
    pub(crate) fn new(channel: u32, subscription: Subscription, window: Grant, wake: Wake) -> Self {
        let inbox = Inbox::new(window.frames());
        let state = State { inbox, wishes: Wishes::default(), uplink: Weak::new() };
        Self { channel, subscription, wake, _window: window, state: Mutex::new(state) }
    }

    /// From now on frames come and go over this connection; the producer is asked. The uplink that
    /// is given has to be scheduled.
    pub(crate) fn bind(self: &Arc<Self>, sender: &Arc<Sender>) -> Arc<Uplink> {
        let uplink = Arc::new(Uplink {
            inlet: self.clone(),
            sender: sender.clone(),
            queued: AtomicBool::new(false),
        });
        let mut state = lock(&self.state);
        state.wishes.subscribe = true;
        state.uplink = Arc::downgrade(&uplink);
        drop(state);
        uplink
    }

    /// A frame has come.
    pub(crate) fn receive(&self, frame: Frame) -> Result<(), String> {
        let urgent = match frame.header.kind {
            Kind::EndOfPartition => true,
            Kind::Barrier => barrier::decode(&frame).is_ok_and(Control::is_urgent),
            _ => false,
        };
        lock(&self.state).inbox.receive(frame)?;
        if urgent {
            self.wake.urge();
        } else {
            self.wake.wake();
        }
        Ok(())
    }

    /// What waits behind the rows.
    pub(crate) fn look_ahead(&self) -> Ahead {
        lock(&self.state).inbox.look_ahead()
    }

    /// See [`Inbox::overtake`].
    pub(crate) fn overtake(
        &self,
        checkpoint: CheckpointId,
        begun: &[u8],
        rows: &mut Vec<InFlightRows>,
    ) -> bool {
        lock(&self.state).inbox.overtake(checkpoint, begun, rows)
    }

    /// What there is for the task.
    pub(crate) fn take(&self) -> Taken {
        let (taken, uplink) = {
            let mut state = lock(&self.state);
            let (taken, announce) = state.inbox.take();
            (taken, if announce { state.uplink.upgrade() } else { None })
        };
        schedule(uplink);
        taken
    }

    /// Whether the task would find nothing new.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).inbox.is_empty()
    }

    /// The producer is asked again.
    pub(crate) fn ask_again(&self) {
        let uplink = {
            let mut state = lock(&self.state);
            state.inbox.ask();
            state.wishes.subscribe = true;
            state.uplink.upgrade()
        };
        schedule(uplink);
    }

    /// The task reads no more: the producer is told, if there is still something to tell.
    pub(crate) fn cancel(&self) {
        let uplink = {
            let mut state = lock(&self.state);
            let asked = !std::mem::take(&mut state.wishes.subscribe);
            state.wishes.cancel = asked && !state.inbox.is_over();
            state.uplink.upgrade().filter(|_| state.wishes.cancel)
        };
        schedule(uplink);
    }

    /// A connection could not be made; it will be tried again, unless the task has waited enough.
    pub(crate) fn hindered(&self, reason: &str) {
        lock(&self.state).inbox.hindered(reason);
        self.wake.wake();
    }

    /// The connection is gone; whether another one can carry the channel on.
    pub(crate) fn disconnected(&self, reason: &str) -> bool {
        let carries_on = {
            let mut state = lock(&self.state);
            state.uplink = Weak::new();
            state.inbox.disconnected(reason)
        };
        self.wake.wake();
        carries_on
    }

    /// Nothing will come any more.
    pub(crate) fn fail(&self, reason: &str) {
        {
            let mut state = lock(&self.state);
            state.uplink = Weak::new();
            state.inbox.fail(reason.to_owned());
        }
        self.wake.wake();
    }
}

/// How one channel's wishes leave over one connection.
pub(crate) struct Uplink {
    inlet: Arc<Inlet>,
    sender: Arc<Sender>,
    queued: AtomicBool,
}

impl Uplink {
    /// There is something to say. Not under a lock.
    pub(crate) fn schedule(self: &Arc<Self>) {
        self.sender.schedule(self.clone());
    }
}

fn schedule(uplink: Option<Arc<Uplink>>) {
    if let Some(uplink) = uplink {
        uplink.schedule();
    }
}

impl Source for Uplink {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }

    fn fill(&self, gather: &mut Gather) -> bool {
        let (inlet, channel) = (&self.inlet, self.inlet.channel);
        let mut state = lock(&inlet.state);
        if !std::ptr::eq(state.uplink.as_ptr(), self) {
            return false;
        }
        if std::mem::take(&mut state.wishes.subscribe) {
            let header = Header::bare(Kind::Subscribe, channel, state.inbox.ask());
            gather.push(header, Payload::Small(inlet.subscription.encode()));
        }
        if std::mem::take(&mut state.wishes.cancel) {
            gather.push(Header::bare(Kind::Cancel, channel, 0), Payload::None);
        } else if let Some(credit) = state.inbox.announce() {
            gather.push(Header::bare(Kind::Credit, channel, credit), Payload::None);
        }
        false
    }
}
