//! Joins of two keyed streams.
//!
//! Both become one stream of [`Either`](crate::either::Either) under the same key, whose records meet in one operator: in the
//! windows that a left and a right record are both in ([`co_group`]), or within an interval around the
//! time of the left ([`interval`]).

pub mod co_group;
pub mod interval;

pub use co_group::{CoGroup, CoGroupFunction, JoinPairs};
pub use interval::{Interval, IntervalJoin};
