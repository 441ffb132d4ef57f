//! Event time: where timestamps and watermarks come from, and how watermarks of several inputs meet.
//!
//! - [`strategy`]: [`WatermarkStrategy`], which users put together;
//! - [`generator`]: [`WatermarkGenerator`], which they may write themselves; the built-in ones;
//! - [`idleness`]: how long nothing has come;
//! - [`alignment`]: sources that are to be about equally far;
//! - `splits`: one generator per split of a source, and the least of them;
//! - [`assigner`]: the operator;
//! - [`valve`]: one watermark out of those of all channels.

pub mod alignment;
pub mod assigner;
pub mod generator;
pub mod idleness;
mod splits;
pub mod strategy;
pub mod valve;

pub use alignment::{AlignmentGroups, AlignmentReport};
pub use assigner::AssignTimestampsAndWatermarks;
pub use generator::{WatermarkGenerator, WatermarkOutput};
pub use strategy::WatermarkStrategy;
pub use valve::WatermarkValve;
