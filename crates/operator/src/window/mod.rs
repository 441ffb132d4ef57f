//! Windows: stretches of time in which the records of a key are taken together.
//!
//! - [`time_window`]: a window, and a result with its key and window;
//! - [`assigner`]: into which windows a record falls; [`panes`]: the grid of those that lie on one;
//! - [`trigger`]: when a window fires, and what it remembers (`trigger_state`); [`evictor`]: what is dropped then;
//! - [`function`]: what users write to make results of a whole window; [`stateful`]: and to have state there;
//! - [`pane_operator`]: windows on a grid, added up by the batch; [`window_operator`]: all others;
//! - [`results`]: where a window that fires gives them;
//! - [`late`]: what becomes of late records; `progress`: how far windows have fired, as state.

pub mod assigner;
pub mod evictor;
pub mod function;
pub mod late;
pub mod pane_operator;
pub mod panes;
mod progress;
pub mod results;
pub mod stateful;
pub mod time_window;
pub mod trigger;
mod trigger_state;
pub mod window_operator;

pub use assigner::{
    DefaultTrigger, EventTimeSessionWindows, GlobalWindows, ProcessingTimeSessionWindows,
    SlidingEventTimeWindows, SlidingProcessingTimeWindows, TumblingEventTimeWindows,
    TumblingProcessingTimeWindows, WindowAssigner,
};
pub use evictor::{CountEvictor, Evictor, TimeEvictor};
pub use function::{ProcessWindowFunction, WindowContext};
pub use late::LateRecords;
pub use millstream_state::AggregateFunction;
pub use stateful::{EndedWindow, StatefulWindowContext, StatefulWindowFunction};
pub use time_window::{TimeWindow, Windowed};
pub use trigger::{
    ContinuousTrigger, CountTrigger, NeverTrigger, PurgingTrigger, TimeTrigger, Trigger,
    TriggerContext, TriggerResult, TriggerState,
};
