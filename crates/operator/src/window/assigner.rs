//! [`WindowAssigner`]: into which windows a record falls; the assigners that come with the engine.

use super::panes::Panes;
use super::time_window::TimeWindow;
use crate::process::TimeDomain;
use millstream_core::time::Timestamp;
use std::time::Duration;

/// Says into which windows a record falls.
///
/// ```
/// use millstream_operator::process::TimeDomain;
/// use millstream_operator::window::{DefaultTrigger, TimeWindow, WindowAssigner};
///
/// /// Powers of two of seconds: short windows at first, long ones later.
/// #[derive(Clone)]
/// struct Doubling;
///
/// impl<T> WindowAssigner<T> for Doubling {
///     fn assign(&self, _record: &T, time: i64, windows: &mut Vec<TimeWindow>) {
///         let start = (time / 1_000).max(1).ilog2();
///         windows.push(TimeWindow::new(1_000 << start, 2_000 << start));
///     }
///
///     fn default_trigger(&self) -> DefaultTrigger {
///         DefaultTrigger::Time(TimeDomain::EventTime)
///     }
/// }
///
/// let mut windows = Vec::new();
/// Doubling.assign(&"record", 5_500, &mut windows);
/// assert_eq!(windows, [TimeWindow::new(4_000, 8_000)]);
/// ```
pub trait WindowAssigner<T>: Clone + Send + 'static {
    /// Adds the windows of a record that has this time.
    fn assign(&self, record: &T, time: Timestamp, windows: &mut Vec<TimeWindow>);

    /// When its windows fire, if nobody says otherwise; with it, what time it speaks of.
    fn default_trigger(&self) -> DefaultTrigger;

    /// Windows of a key that overlap or touch become one.
    fn is_merging(&self) -> bool {
        false
    }

    /// The grid on which its windows lie, if they lie on one: they then share the work.
    fn panes(&self) -> Option<Panes> {
        None
    }
}

/// When the windows of an assigner fire, if nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultTrigger {
    /// When this kind of time has come to their end.
    Time(TimeDomain),
    /// Never: global windows need a trigger.
    Never,
}

/// An assigner, erased.
pub trait AnyAssigner<T>: Send {
    /// See [`WindowAssigner::assign`].
    fn assign(&self, record: &T, time: Timestamp, windows: &mut Vec<TimeWindow>);
    /// See [`WindowAssigner::default_trigger`].
    fn default_trigger(&self) -> DefaultTrigger;
    /// See [`WindowAssigner::is_merging`].
    fn is_merging(&self) -> bool;
    /// See [`WindowAssigner::panes`].
    fn panes(&self) -> Option<Panes>;
    /// A copy for another subtask.
    fn boxed(&self) -> Box<dyn AnyAssigner<T>>;
}

impl<T, A: WindowAssigner<T>> AnyAssigner<T> for A {
    fn assign(&self, record: &T, time: Timestamp, windows: &mut Vec<TimeWindow>) {
        WindowAssigner::assign(self, record, time, windows);
    }

    fn default_trigger(&self) -> DefaultTrigger {
        WindowAssigner::default_trigger(self)
    }

    fn is_merging(&self) -> bool {
        WindowAssigner::is_merging(self)
    }

    fn panes(&self) -> Option<Panes> {
        WindowAssigner::panes(self)
    }

    fn boxed(&self) -> Box<dyn AnyAssigner<T>> {
        Box::new(self.clone())
    }
}

#[track_caller]
fn millis(what: &str, duration: Duration) -> i64 {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    assert!(
        (1..=i64::MAX / 8).contains(&millis),
        "the {what} of a window is {duration:?}: it must be a millisecond at least"
    );
    millis
}

/// An assigner whose windows lie on a grid.
macro_rules! grid {
    ($name:ident, $domain:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(Panes);

        impl $name {
            /// Shifts all windows: days of another time zone begin hours before or after those of UTC.
            pub fn with_offset_millis(self, offset: i64) -> Self {
                Self(self.0.with_offset(offset))
            }
        }

        impl<T> WindowAssigner<T> for $name {
            fn assign(&self, _record: &T, time: Timestamp, windows: &mut Vec<TimeWindow>) {
                self.0.windows_of(time, windows);
            }

            fn default_trigger(&self) -> DefaultTrigger {
                DefaultTrigger::Time(TimeDomain::$domain)
            }

            fn panes(&self) -> Option<Panes> {
                Some(self.0)
            }
        }
    };
}

grid!(TumblingEventTimeWindows, EventTime, "Windows of one length, one after the other.");
grid!(
    TumblingProcessingTimeWindows,
    ProcessingTime,
    "Windows of one length, one after the other, in the time of the machine."
);
grid!(
    SlidingEventTimeWindows,
    EventTime,
    "Windows of one length that begin at regular distances. They share the work where they overlap."
);
grid!(
    SlidingProcessingTimeWindows,
    ProcessingTime,
    "Windows of one length that begin at regular distances, in the time of the machine."
);

macro_rules! tumbling {
    ($name:ident) => {
        impl $name {
            /// Windows of this length.
            #[track_caller]
            pub fn of(size: Duration) -> Self {
                let size = millis("size", size);
                Self(Panes::new(size, size))
            }
        }
    };
}

tumbling!(TumblingEventTimeWindows);
tumbling!(TumblingProcessingTimeWindows);

macro_rules! sliding {
    ($name:ident) => {
        impl $name {
            /// Windows of this length, of which one begins each `slide`.
            #[track_caller]
            pub fn of(size: Duration, slide: Duration) -> Self {
                Self(Panes::new(millis("size", size), millis("slide", slide)))
            }
        }
    };
}

sliding!(SlidingEventTimeWindows);
sliding!(SlidingProcessingTimeWindows);

macro_rules! sessions {
    ($name:ident, $domain:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            gap: i64,
        }

        impl $name {
            /// A session ends when nothing has come for so long.
            #[track_caller]
            pub fn with_gap(gap: Duration) -> Self {
                Self { gap: millis("gap", gap) }
            }
        }

        impl<T> WindowAssigner<T> for $name {
            fn assign(&self, _record: &T, time: Timestamp, windows: &mut Vec<TimeWindow>) {
                windows.push(TimeWindow::new(time, time.saturating_add(self.gap)));
            }

            fn default_trigger(&self) -> DefaultTrigger {
                DefaultTrigger::Time(TimeDomain::$domain)
            }

            fn is_merging(&self) -> bool {
                true
            }
        }
    };
}

sessions!(
    EventTimeSessionWindows,
    EventTime,
    "Windows that last as long as records of the key come, and end with a pause."
);
sessions!(
    ProcessingTimeSessionWindows,
    ProcessingTime,
    "Windows that last as long as records of the key come, and end with a pause, in the time of the \\
     machine."
);

/// One window for all of time. It fires only through a trigger, such as one that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalWindows;

impl GlobalWindows {
    /// One window for all of time.
    pub fn create() -> Self {
        Self
    }
}

impl<T> WindowAssigner<T> for GlobalWindows {
    fn assign(&self, _record: &T, _time: Timestamp, windows: &mut Vec<TimeWindow>) {
        windows.push(TimeWindow::GLOBAL);
    }

    fn default_trigger(&self) -> DefaultTrigger {
        DefaultTrigger::Never
    }
}
