//! Millstream: stateful stream processing in Rust, embedded or on a cluster.
//!
//! A job is an ordinary program: its `main` declares a graph of streams and calls `execute`. Started
//! by hand it runs embedded, with everything in its own process; started with `millstream run` the
//! same file runs on a cluster.
//!
//! ```
//! use millstream::prelude::*;
//! use millstream::{sink, source};
//!
//! fn main() -> Result<()> {
//!     let env = Env::from_args()?;
//!     let counts = sink::collect();
//!     env.source("words", source::collection(["to", "be", "or", "not", "to", "be"].map(Str::new)))
//!         .key_by_ref(|word| word)
//!         .count()
//!         .name("count")
//!         .sink("counts", counts.clone());
//!     env.execute("words")?;
//!     assert!(counts.take().contains(&(Str::new("be"), 2)));
//!     Ok(())
//! }
//! ```
//!
//! In reading order: [`prelude`]; [`entry`] (how a program learns what it was started for);
//! [`launch`]; [`embedded`] (with `interrupt`: Ctrl-C), [`submission`] with [`session`], [`planning`],
//! [`job_process`] (what becomes of its jobs in each launch mode); `resume` (whether the program can
//! read a savepoint); [`state_backend`]; [`process`] (what clusters are put together from); [`testing`]
//! (tests of functions and whole programs); `async_runtime` (who makes asynchronous calls); `cached_files`
//! (files that travel with a job).

#[doc(hidden)]
pub use millstream_core as core;

mod async_runtime;
mod cached_files;
pub mod clock;
pub mod embedded;
pub mod entry;
mod interrupt;
pub mod job_process;
pub mod launch;
pub mod planning;
pub mod process;
mod resume;
pub mod session;
pub mod state_backend;
pub mod submission;
pub mod testing;

pub use millstream_api as api;
pub use millstream_connectors as connectors;
pub use millstream_connectors::{sink, source};
pub use millstream_core::record::Serde;
pub use millstream_core::{OperatorError, Str};
pub use millstream_operator as operator;
#[doc(hidden)]
pub use millstream_rpc as rpc;
pub use millstream_state::keyed_state as state;
pub use millstream_state::operator_state;

/// The examples of the page on state are programs that compile and pass.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/state.md")]
struct StateGuide;

/// And those of the page on event time.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/event-time.md")]
struct EventTimeGuide;

/// And those of the page on asynchronous calls.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/async.md")]
struct AsyncGuide;

/// And those of the page on functions.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/functions.md")]
struct FunctionGuide;

/// And those of the page on tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing.md")]
struct TestingGuide;

/// Says which job link this program speaks: the CLI looks for it before it submits the file.
#[used]
static JOB_LINK: [u8; 32] = millstream_host::artefact::job_link_marker(
    millstream_rpc::protocol::job_link::JOB_LINK_VERSION,
);

#[cfg(feature = "allocator")]
#[doc(hidden)]
pub use mimalloc::MiMalloc;

/// Chooses the allocator of a program: records are often made on one thread and dropped on another,
/// which the system's allocator is slow at. Once, anywhere in the program. Without the feature
/// `allocator` it chooses nothing; the library itself never does.
///
/// ```
/// millstream::allocator!();
/// ```
#[cfg(feature = "allocator")]
#[macro_export]
macro_rules! allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::MiMalloc = $crate::MiMalloc;
    };
}

/// Chooses the allocator of a program, with the feature `allocator`; without it, nothing.
#[cfg(not(feature = "allocator"))]
#[macro_export]
macro_rules! allocator {
    () => {};
}

/// What a program needs.
pub mod prelude {
    pub use crate::entry::{Env, EnvFromArgs};
    pub use millstream_api::{
        CombinedStream, ConnectedStreams, DataStream, Error, JobClient, JobResult, KeyedStream,
        Result, RuntimeExecutionMode, StreamExecutionEnvironment, WindowedStream,
    };
    pub use millstream_core::time::Timestamp;
    pub use millstream_core::{Key, Record, Str};
    pub use millstream_operator::asynchronous::{
        AsyncFunction, AsyncOptions, AsyncResult, AsyncRetry,
    };
    pub use millstream_operator::change::Change;
    pub use millstream_operator::context::TaskContext;
    pub use millstream_operator::join::CoGroupFunction;
    pub use millstream_operator::process::{
        BroadcastProcessFunction, CoProcessFunction, FunctionResult, KeyedBroadcastProcessFunction,
        KeyedCoProcessFunction, KeyedProcessFunction, OperatorContext, ProcessContext,
        ProcessFunction, TimeDomain, Timer,
    };
    pub use millstream_operator::side_output::OutputTag;
    pub use millstream_operator::watermark::{
        WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
    };
    pub use millstream_operator::window::{
        ContinuousTrigger, CountEvictor, CountTrigger, DefaultTrigger, EndedWindow,
        EventTimeSessionWindows, Evictor, GlobalWindows, NeverTrigger, ProcessWindowFunction,
        ProcessingTimeSessionWindows, PurgingTrigger, SlidingEventTimeWindows,
        SlidingProcessingTimeWindows, StatefulWindowContext, StatefulWindowFunction, TimeEvictor,
        TimeTrigger, TimeWindow, Trigger, TriggerContext, TriggerResult, TumblingEventTimeWindows,
        TumblingProcessingTimeWindows, WindowAssigner, WindowContext, Windowed,
    };
    pub use millstream_state::{
        AggregateFunction, AggregatingState, BroadcastState, KeyedState, ListState, MapState,
        OperatorState, ReducingState, SplitListState, UnionListState, ValueState,
    };
}
