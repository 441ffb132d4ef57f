//! A channel from another process, for the task that reads it: decoding, waiting, giving up.
//!
//! Rows are decoded here, on the task's thread. So are the waits decided: a channel that the
//! producer's process has not answered is given up after a while, whatever the reason; a partition
//! that is not there is asked for again, at growing intervals. Time comes in with each poll.

use super::frame::{Frame, GOES_ON, ROW_BYTES_MAX, columns_of};
use super::inbox::Taken;
use super::inlet::Inlet;
use super::link::Link;
use crate::batch::{BoxBatch, Columns};
use crate::element::{Ahead, Control, Found};
use crate::gate::PartitionUnavailable;
use crate::in_flight::InFlightRows;
use crate::sync::Arc;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::PartitionId;
use std::time::{Duration, Instant};

/// The first pause before a partition is asked for again; each next one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A row's assembly keeps so much memory for the next one.
const ASSEMBLY_KEPT_MAX: usize = 1024 * 1024;

/// The consumer's end of a queue in another process.
pub struct RemoteChannel {
    partition: PartitionId,
    link: Source,
    wait: Wait,
    /// The pieces so far of a row that is longer than a frame.
    assembly: Vec<u8>,
    /// Bytes of rows that were decoded.
    bytes: u64,
}

/// Where frames come from.
enum Source {
    Link(Arc<Link>, Arc<Inlet>),
    /// Nothing will come: the reason.
    Broken(String),
}

/// How long there has been no answer.
struct Wait {
    /// How long it may take.
    bound: Duration,
    since: Option<Instant>,
    /// When the partition is asked for again.
    retry_at: Option<Instant>,
    pause: Duration,
}

impl RemoteChannel {
    pub(super) fn new(
        partition: PartitionId,
        link: Arc<Link>,
        inlet: Arc<Inlet>,
        bound: Duration,
    ) -> Self {
        Self::over(partition, Source::Link(link, inlet), bound)
    }

    /// A channel that says why it cannot be read.
    pub(super) fn broken(partition: PartitionId, reason: &str) -> Self {
        Self::over(partition, Source::Broken(reason.to_owned()), Duration::ZERO)
    }

    fn over(partition: PartitionId, link: Source, bound: Duration) -> Self {
        let wait = Wait { bound, since: None, retry_at: None, pause: RETRY_PAUSE };
        Self { partition, link, wait, assembly: Vec::new(), bytes: 0 }
    }

    /// Fills the buffer, which is empty, with the next batch, if that is what comes next.
    pub fn poll(
        &mut self,
        buffer: &mut BoxBatch,
        now: Instant,
    ) -> Result<Found, PartitionUnavailable> {
        loop {
            let (link, inlet) = match &self.link {
                Source::Link(link, inlet) => (link, inlet),
                Source::Broken(reason) => return Err(self.unavailable(reason.clone())),
            };
            match inlet.take() {
                Taken::Rows(frame) => {
                    let channel = inlet.channel;
                    if let Err(reason) = self.accept(&frame, buffer) {
                        buffer.clear();
                        let number = frame.header.sequence;
                        return Err(self.give_up(format!(
                            "frame {number} of channel {channel} is not readable: {reason}"
                        )));
                    }
                    if !buffer.is_empty() {
                        return Ok(Found::Batch);
                    }
                }
                Taken::Empty => {
                    self.wait.answered();
                    return Ok(Found::Empty);
                }
                Taken::Control(_) if !self.assembly.is_empty() => {
                    return Err(
                        self.give_up("a control element came in the middle of a row".to_owned())
                    );
                }
                Taken::Control(control) => return Ok(Found::Control(control)),
                Taken::End => return Ok(Found::Control(Control::EndOfPartition)),
                Taken::NotFound => {
                    if self.wait.is_retry_due(now) {
                        inlet.ask_again();
                    }
                    return self.wait_on(now, None);
                }
                Taken::Unanswered(hindrance) => return self.wait_on(now, hindrance),
                Taken::Failed(reason) => {
                    let address = link.address().to_owned();
                    return Err(self.give_up(format!("{reason} (at {address})")));
                }
                Taken::Disconnected(reason) => {
                    let address = link.address().to_owned();
                    let unavailable = self.give_up(format!("{reason} (at {address})"));
                    return Err(PartitionUnavailable { disconnected: true, ..unavailable });
                }
            }
        }
    }

    /// What waits behind the rows.
    pub fn look_ahead(&self) -> Ahead {
        match &self.link {
            Source::Link(_, inlet) => inlet.look_ahead(),
            Source::Broken(_) => Ahead::default(),
        }
    }

    /// Takes the checkpoint's barrier out and adds copies of all rows before it, or before the end if
    /// that is there; whether there was either.
    pub fn overtake(&self, checkpoint: CheckpointId, rows: &mut Vec<InFlightRows>) -> bool {
        match &self.link {
            Source::Link(_, inlet) => inlet.overtake(checkpoint, &self.assembly, rows),
            Source::Broken(_) => false,
        }
    }

    /// Puts the frame's records into the buffer, once a row is complete.
    fn accept(&mut self, frame: &Frame, buffer: &mut BoxBatch) -> Result<(), String> {
        let (header, rows) = (&frame.header, frame.payload());
        self.bytes += rows.len() as u64;
        let columns = columns_of(header.flags);
        let goes_on = header.flags & GOES_ON != 0;
        if !goes_on && self.assembly.is_empty() {
            return decode(buffer, header.count, columns, rows);
        }
        if self.assembly.len() + rows.len() > ROW_BYTES_MAX {
            return Err(format!("a row is longer than {ROW_BYTES_MAX} bytes"));
        }
        self.assembly.extend_from_slice(rows);
        if goes_on {
            return Ok(());
        }
        let decoded = decode(buffer, header.count, columns, &self.assembly);
        self.assembly.clear();
        self.assembly.shrink_to(ASSEMBLY_KEPT_MAX);
        decoded
    }

    /// Nothing now; an error if that has lasted too long.
    fn wait_on(
        &mut self,
        now: Instant,
        hindrance: Option<String>,
    ) -> Result<Found, PartitionUnavailable> {
        if !self.wait.is_over(now) {
            return Ok(Found::Empty);
        }
        let bound = self.wait.bound;
        let address = match &self.link {
            Source::Link(link, _) => link.address().to_owned(),
            Source::Broken(_) => String::new(),
        };
        let why = hindrance.unwrap_or_else(|| "its producer did not appear".to_owned());
        Err(self.give_up(format!("no answer from {address} within {bound:?}: {why}")))
    }

    /// The producer is told, and every further poll says the same.
    fn give_up(&mut self, reason: String) -> PartitionUnavailable {
        self.let_go();
        self.link = Source::Broken(reason.clone());
        self.unavailable(reason)
    }

    fn unavailable(&self, reason: String) -> PartitionUnavailable {
        PartitionUnavailable { partition: self.partition, reason, disconnected: false }
    }

    fn let_go(&self) {
        if let Source::Link(link, inlet) = &self.link {
            link.forget(inlet);
        }
    }

    /// Whether a poll would find nothing.
    pub fn is_empty(&self) -> bool {
        match &self.link {
            Source::Link(_, inlet) => inlet.is_empty() || self.wait.retry_at.is_some(),
            Source::Broken(_) => false,
        }
    }

    /// When a poll will find something, whatever comes: the end of the wait for an answer, or the
    /// time to ask again.
    pub fn deadline(&self) -> Option<Instant> {
        let end = self.wait.since.map(|since| since + self.wait.bound);
        self.wait.retry_at.into_iter().chain(end).min()
    }

    /// Bytes of rows that came in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn decode(buffer: &mut BoxBatch, count: u32, columns: Columns, rows: &[u8]) -> Result<(), String> {
    buffer.decode(count as usize, columns, rows).map_err(|error| error.to_string())
}

impl Wait {
    fn answered(&mut self) {
        (self.since, self.retry_at, self.pause) = (None, None, RETRY_PAUSE);
    }

    fn is_over(&mut self, now: Instant) -> bool {
        now.duration_since(*self.since.get_or_insert(now)) >= self.bound
    }

    /// The partition is not there: whether to ask again now.
    fn is_retry_due(&mut self, now: Instant) -> bool {
        match self.retry_at {
            Some(at) if at <= now => {
                (self.retry_at, self.pause) = (None, self.pause * 2);
                true
            }
            Some(_) => false,
            None => {
                self.retry_at = Some(now + self.pause);
                false
            }
        }
    }
}

impl Drop for RemoteChannel {
    /// The producer goes on without this consumer.
    fn drop(&mut self) {
        self.let_go();
    }
}
