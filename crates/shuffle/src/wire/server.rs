//! The connection of another process to this one: it subscribes, gives credit and cancels; what it
//! has subscribed to leaves through an [`Outlet`].
//!
//! A request for a partition that is not registered waits in the registry, for a time; the reader
//! looks at the clock when it has read what came, and at the latest when the first wait is over.

use super::conversation::{Listener, converse, greet};
use super::frame::{Frame, Kind, Subscription};
use super::outlet::{Closing, Outlet};
use super::sender::Sender;
use super::shared::Shared;
use super::transport::Transport;
use crate::sync::Arc;
use millstream_core::ids::PartitionId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Channels of one connection that are open at once.
const CHANNELS_MAX: usize = 1 << 16;

/// Answers one connection until it ends. Runs on a thread of its own.
pub(crate) fn serve(transport: Arc<dyn Transport>, shared: &Shared) {
    if greet(transport.as_ref(), &[]).is_err() {
        return;
    }
    let sender = Arc::new(Sender::new(transport.clone(), shared.config.direct_writes));
    let mut reception =
        Reception { shared, sender: sender.clone(), outlets: BTreeMap::new(), waiting: Vec::new() };
    // The consumer tells its task why; here, those who lost their consumer find out by themselves.
    converse(&transport, &sender, shared, &mut reception);
    reception.close();
}

/// What the producer's process makes of a consumer's frames.
struct Reception<'a> {
    shared: &'a Shared,
    sender: Arc<Sender>,
    /// By channel.
    outlets: BTreeMap<u32, Arc<Outlet>>,
    /// Those whose partition was not there.
    waiting: Vec<Waiting>,
}

struct Waiting {
    partition: PartitionId,
    outlet: Arc<Outlet>,
    until: Instant,
}

impl Reception<'_> {
    fn subscribe(&mut self, frame: &Frame) -> Result<(), String> {
        let (channel, credit) = (frame.header.channel, frame.header.count);
        let Subscription { partition, subpartition } =
            Subscription::decode(frame.payload()).map_err(|error| error.to_string())?;
        self.outlets.retain(|_, outlet| !outlet.is_over());
        if self.outlets.contains_key(&channel) || self.outlets.len() >= CHANNELS_MAX {
            return Err(format!("channel {channel} cannot be opened"));
        }
        let pool = self.shared.encode_buffers.clone();
        let outlet = Outlet::new(channel, subpartition, credit, self.sender.clone(), pool);
        let outlet = Arc::new(outlet);
        self.outlets.insert(channel, outlet.clone());
        let stored = self.shared.registry.stored();
        match stored.and_then(|stored| stored.open(partition, subpartition)) {
            Some(Ok(reader)) => {
                outlet.attach_stored(reader);
                return Ok(());
            }
            Some(Err(error)) => {
                outlet.fail(error.to_string());
                return Ok(());
            }
            None => (),
        }
        match self.shared.registry.find_for(partition, &outlet) {
            Some(found) => outlet.attach(&found),
            None => {
                let until = Instant::now() + self.shared.config.partition_wait;
                self.waiting.push(Waiting { partition, outlet, until });
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        for waiting in &self.waiting {
            self.shared.registry.forget_request(waiting.partition, &waiting.outlet);
        }
        for outlet in self.outlets.values() {
            outlet.close(Closing::Disconnected);
        }
    }
}

impl Listener for Reception<'_> {
    fn receive(&mut self, frame: Frame) -> Result<(), String> {
        let channel = frame.header.channel;
        let outlet = self.outlets.get(&channel);
        // A channel that has ended here may not have ended there: what comes for it is dropped.
        match frame.header.kind {
            Kind::Subscribe => self.subscribe(&frame)?,
            Kind::Credit => {
                if let Some(outlet) = outlet {
                    outlet.add_credit(frame.header.count);
                }
            }
            Kind::Cancel => {
                if let Some(outlet) = outlet {
                    outlet.close(Closing::Cancelled);
                }
            }
            kind => return Err(format!("a consumer sent {kind:?} on channel {channel}")),
        }
        Ok(())
    }

    fn paused(&mut self) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let (now, registry) = (Instant::now(), &self.shared.registry);
        self.waiting.retain(|waiting| {
            let patient = now < waiting.until;
            if !patient || !waiting.outlet.is_waiting() {
                registry.forget_request(waiting.partition, &waiting.outlet);
                waiting.outlet.expire();
                return false;
            }
            true
        });
        let until = self.waiting.iter().map(|waiting| waiting.until).min()?;
        Some(until.saturating_duration_since(now).max(Duration::from_millis(1)))
    }
}
