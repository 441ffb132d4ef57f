//! The producers' end of a connection: subscriptions, credit and cancellations come in.

use super::frame::{FrameError, Header, Kind, WIRE_VERSION, decode_subscription, read_frame};
use super::outbox::Outbox;
use super::view::View;
use crate::registry::PartitionRegistry;
use crate::subpartition::Subpartition;
use crate::sync::{Arc, Mutex, lock};
use crate::wake::Wake;
use millstream_core::ids::PartitionId;
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long a subscription waits for its producer to appear.
const PARTITION_WAIT: Duration = Duration::from_secs(10);

/// Channels of one connection.
type Channels = Arc<Mutex<BTreeMap<u32, (Arc<View>, Arc<Subpartition>)>>>;

/// Serves one connection until it closes: what its reader thread does.
pub(super) fn serve(stream: TcpStream, registry: &PartitionRegistry) {
    // Without this small frames would wait for others.
    let _ = stream.set_nodelay(true);
    let outbox = Arc::new(Outbox::new());
    let Ok(mut writing) = stream.try_clone() else { return };
    let writer = outbox.clone();
    let thread = std::thread::Builder::new().name("wire-writer".to_owned()).spawn(move || {
        // Whatever ends it, the reader sees the connection close.
        let _ = writer.write_to(&mut writing);
        let _ = writing.shutdown(Shutdown::Both);
        writer.close();
    });
    if thread.is_err() {
        return;
    }
    outbox.send(Header::bare(Kind::Hello, 0, WIRE_VERSION).encode().to_vec());
    let channels = Channels::default();
    let connection = Connection { outbox: outbox.clone(), channels: channels.clone() };
    // Why it closed is for the consumer to say.
    let _ = connection.read(stream, registry);
    outbox.close();
    for (view, queue) in std::mem::take(&mut *lock(&channels)).into_values() {
        queue.detach(&view);
    }
}

/// What the reader and the threads that wait for partitions share.
#[derive(Clone)]
struct Connection {
    outbox: Arc<Outbox>,
    channels: Channels,
}

impl Connection {
    fn read(&self, mut stream: TcpStream, registry: &PartitionRegistry) -> Result<(), FrameError> {
        let mut payload = Vec::new();
        let hello = read_frame(&mut stream, &mut payload)?;
        if hello.kind != Kind::Hello || hello.count != WIRE_VERSION {
            return Err(FrameError::Protocol("the consumer speaks another version".to_owned()));
        }
        loop {
            let header = read_frame(&mut stream, &mut payload)?;
            match header.kind {
                Kind::Subscribe => {
                    let (partition, subpartition) = decode_subscription(&payload)?;
                    self.subscribe(header.channel, header.count, partition, subpartition, registry);
                }
                Kind::Credit => {
                    let channel = lock(&self.channels).get(&header.channel).cloned();
                    if let Some((view, queue)) = channel {
                        view.add_credit(header.count);
                        queue.wake_producer();
                    }
                }
                Kind::Cancel => {
                    let channel = lock(&self.channels).remove(&header.channel);
                    if let Some((_, queue)) = channel {
                        queue.release();
                    }
                }
                other => {
                    let message = format!("a consumer does not send {other:?}");
                    return Err(FrameError::Protocol(message));
                }
            }
        }
    }

    /// Attaches the channel; if the producer is not there yet, a thread of its own waits for it.
    fn subscribe(
        &self,
        channel: u32,
        credit: u32,
        partition: PartitionId,
        subpartition: u32,
        registry: &PartitionRegistry,
    ) {
        if self.attach(channel, credit, partition, subpartition, registry, &Wake::new()) {
            return;
        }
        let (connection, registry) = (self.clone(), registry.clone());
        let builder = std::thread::Builder::new().name("wire-await".to_owned());
        let waiting = builder.spawn(move || {
            let wake = Wake::new();
            wake.adopt_current_thread();
            let deadline = Instant::now() + PARTITION_WAIT;
            while !connection.outbox.is_closed() {
                if connection.attach(channel, credit, partition, subpartition, &registry, &wake) {
                    return;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let missing = || registry.find(partition, &wake).is_none();
                wake.sleep(Some(left.min(Duration::from_secs(1))), missing);
            }
            registry.forget_wait(partition);
            connection.not_found(channel);
        });
        if waiting.is_err() {
            self.not_found(channel);
        }
    }

    fn attach(
        &self,
        channel: u32,
        credit: u32,
        partition: PartitionId,
        subpartition: u32,
        registry: &PartitionRegistry,
        wake: &Wake,
    ) -> bool {
        let Some(partition) = registry.find(partition, wake) else { return false };
        let Some(queue) = partition.subpartitions.get(subpartition as usize) else {
            self.not_found(channel);
            return true;
        };
        let view = Arc::new(View::new(channel, self.outbox.clone(), credit));
        lock(&self.channels).insert(channel, (view.clone(), queue.clone()));
        queue.attach_view(view);
        true
    }

    fn not_found(&self, channel: u32) {
        self.outbox.send(Header::bare(Kind::NotFound, channel, 0).encode().to_vec());
    }
}
