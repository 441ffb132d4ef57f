//! Exchanges between processes: frames, credit and connections.
//!
//! # A frame's way
//!
//! The producer's thread pushes a batch. Its [subpartition](crate::subpartition) is bound to an
//! `outlet`, so the thread encodes the batch at once, into buffers of 32 KiB from a pool
//! (`buffer`), and puts the frames into an `outbox`. A frame with rows leaves when the consumer
//! has given credit for it; barriers of checkpoints and watermarks, which keep their place among the rows,
//! need none. It is written by whoever finds the connection free (`sender`): most
//! often the producer's thread itself, else the connection's writer. At the other end the
//! connection's reader cuts the bytes into frames (`frame`), puts each into its channel's
//! `inbox`, and wakes the consumer's thread, which decodes it (`channel`) and gives the credit
//! back.
//!
//! # Bounds
//!
//! A channel has a window of frames (16, fewer where there are very many channels: `budget`): so
//! many may be on their way or waiting at the consumer. Another 8 may wait at the producer before it
//! has to; one batch of very long rows may go beyond that by its own size. A row that is longer than
//! a frame travels in pieces. Nothing else is queued anywhere: a connection's queue holds channels,
//! not frames.
//!
//! # Threads
//!
//! Per connection one reader and one writer, at each end. They move bytes. Records are encoded and
//! decoded by data threads, with one exception: what a producer left behind that had finished before
//! its consumer came is encoded by the reader that brings the consumer.
//!
//! # Ends
//!
//! | what happens | the other side sees |
//! |---|---|
//! | the producer finishes, even its task ends | everything that was pushed, then the end |
//! | the producer's partition is removed from the registry unfinished | a failure with the reason |
//! | the consumer drops its channel | the subpartition is released, the producer goes on |
//! | the connection breaks before any rows came | nothing: it is made and asked again |
//! | the connection breaks later | consumer: unavailable; producer: released |
//! | no answer within [`NetworkConfig::answer_wait`] | unavailable, with what hindered it |
//!
//! In reading order: `network` (the whole), `link` and `server` (the two ends of a
//! connection), `conversation` (what they share), `channel`, `inlet` and `inbox` (a channel
//! at the consumer), `outlet` and `outbox` (at the producer), `sender`, `transport`,
//! `frame`, `barrier`, `watermark`, `preface`, `buffer`, `budget`, `counters`.

mod barrier;
mod budget;
pub(crate) mod buffer;
mod channel;
mod conversation;
mod counters;
pub(crate) mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod inlet;
mod link;
mod network;
pub(crate) mod outbox;
pub(crate) mod outlet;
mod preface;
pub(crate) mod sender;
mod server;
mod shared;
mod transport;
mod watermark;

#[cfg(all(test, shuttle))]
mod conc_test;
#[cfg(all(test, not(shuttle)))]
mod credit_test;
#[cfg(all(test, not(shuttle)))]
mod frame_test;
#[cfg(all(test, not(shuttle)))]
mod overtake_test;

pub use buffer::PoolCounters;
pub use channel::RemoteChannel;
pub use counters::NetworkCounters;
pub use frame::{FrameError, HEADER_BYTES, ROW_BYTES_MAX, ROWS_BYTES_MAX};
pub use network::Network;
pub use preface::{PREFACE_BYTES, Preface};
pub use shared::NetworkConfig;
pub use transport::{Dialer, Tcp, Transport};
