//! The DataStream API: a program builds a stream graph; `execute` translates it to a plan and hands
//! it to whoever runs plans in this process.
//!
//! In reading order:
//! - [`environment`]: where a program begins and ends;
//! - [`data_stream`], [`keyed_stream`], [`windowed_stream`], [`joined_streams`]: typed handles on the nodes of the graph;
//!   `best_of_key`: the best, first and last of each key; `window_extremes`, `stateful_windows`: of each window,
//!   and functions of windows that have state;
//! - [`connected_streams`]: two streams for one operator;
//! - [`stream_graph`]: the graph itself, untyped;
//! - [`translate`]: from the stream graph to a job graph with its factories;
//! - [`settings`]: what the program and its command line set;
//! - [`executor`]: what runs a plan, and the handle on a running job;
//! - [`args`], [`error`]: command-line arguments and errors for people.

pub mod args;
mod best_of_key;
pub mod connected_streams;
pub mod data_stream;
pub mod environment;
pub mod error;
pub mod executor;
pub mod joined_streams;
pub mod keyed_stream;
pub mod settings;
mod stateful_windows;
pub mod stream_graph;
pub mod translate;
mod window_extremes;
pub mod windowed_stream;

pub use connected_streams::{
    BroadcastConnectedStream, ConnectedStreams, KeyedBroadcastConnectedStream,
    KeyedConnectedStreams,
};
pub use data_stream::{DataStream, DataStreamSink};
pub use environment::StreamExecutionEnvironment;
pub use error::{Error, Result};
pub use executor::{JobClient, JobResult, PipelineExecutor};
pub use joined_streams::{IntervalJoined, JoinedStreams, JoinedWindows};
pub use keyed_stream::{CombinedStream, KeyedStream};
pub use settings::RuntimeExecutionMode;
pub use windowed_stream::WindowedStream;
