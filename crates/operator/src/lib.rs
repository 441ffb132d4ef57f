//! What runs inside a task: operators, sources, sinks, and the plan that builds them.
//!
//! In reading order:
//! - [`context`]: what an operator knows of its place; [`clock`]: and of processing time;
//!   [`accumulators`]: numbers that its functions add up; [`metrics`]: what they show while they work;
//! - [`operator`], [`source`], [`sink`]: the three contracts;
//! - [`item`]: how they write what they have to know after a restore;
//! - [`either`]: two inputs as one;
//! - [`side_output`]: further streams that an operator gives;
//! - [`sink_operator`]: a sink at the end of a chain, and its committer; `pre_commit`: what takes its time
//!   before;
//! - [`map`], [`flat_map`], [`key`], [`aggregate`], [`combine`], [`partitioner`]: the operators;
//! - [`change`]: results that change; [`top_n`], [`deduplicate`], which give them, and [`materialize`],
//!   which makes rows of them;
//! - [`process`]: the user's own, with state and timers; [`asynchronous`]: those that ask somebody outside;
//! - [`watermark`]: times of records, and how far time is; [`window`]: records by stretches of time;
//!   [`join`]: of two streams;
//! - [`batch`]: records sorted by keys, in BATCH mode;
//! - [`plan`]: factories for all of a job's vertices;
//! - [`harness`]: drives an operator alone, for tests; [`inspect`]: what they may see of it.

pub mod accumulators;
pub mod aggregate;
pub mod asynchronous;
pub mod batch;
pub mod change;
pub mod clock;
pub mod combine;
pub mod context;
pub mod deduplicate;
pub mod either;
pub mod flat_map;
pub mod harness;
pub mod inspect;
pub mod item;
pub mod join;
pub mod key;
pub mod map;
pub mod materialize;
pub mod metrics;
pub mod operator;
pub mod partitioner;
pub mod plan;
mod pre_commit;
pub mod process;
mod row_state;
pub mod side_output;
pub mod sink;
pub mod sink_operator;
pub mod source;
pub mod top_n;
pub mod watermark;
pub mod window;
