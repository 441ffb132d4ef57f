//! [`Evictor`]: drops records of a window before or after its function sees them.

use super::time_window::TimeWindow;
use millstream_core::time::Timestamp;
use std::time::Duration;

/// Drops records of a window that fires. What is dropped is gone for later firings too. A window with an
/// evictor keeps every record, even where they are added up in the end.
///
/// ```
/// use millstream_operator::window::{Evictor, TimeWindow};
///
/// /// Looks at even numbers only.
/// #[derive(Clone)]
/// struct Even;
///
/// impl Evictor<u64> for Even {
///     fn evict_before(&mut self, elements: &mut Vec<(i64, u64)>, _window: TimeWindow) {
///         elements.retain(|(_time, number)| number % 2 == 0);
///     }
/// }
/// ```
pub trait Evictor<T>: Clone + Send + 'static {
    /// Before the function: the records with their times, in the order in which they came.
    fn evict_before(&mut self, elements: &mut Vec<(Timestamp, T)>, window: TimeWindow);

    /// After the function.
    fn evict_after(&mut self, _elements: &mut Vec<(Timestamp, T)>, _window: TimeWindow) {}
}

/// Keeps so many of the newest records.
#[derive(Clone, Copy, Debug)]
pub struct CountEvictor(usize);

impl CountEvictor {
    /// Keeps the last `count` records.
    pub fn of(count: usize) -> Self {
        Self(count)
    }
}

impl<T> Evictor<T> for CountEvictor {
    fn evict_before(&mut self, elements: &mut Vec<(Timestamp, T)>, _window: TimeWindow) {
        let dropped = elements.len().saturating_sub(self.0);
        elements.drain(..dropped);
    }
}

/// Keeps the records that are at most so much older than the newest.
#[derive(Clone, Copy, Debug)]
pub struct TimeEvictor(i64);

impl TimeEvictor {
    /// Keeps the records of the last `duration`.
    pub fn of(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

impl<T> Evictor<T> for TimeEvictor {
    fn evict_before(&mut self, elements: &mut Vec<(Timestamp, T)>, _window: TimeWindow) {
        let Some(newest) = elements.iter().map(|(time, _)| *time).max() else { return };
        let oldest = newest.saturating_sub(self.0);
        elements.retain(|(time, _)| *time > oldest);
    }
}

/// An evictor, erased.
pub trait AnyEvictor<T>: Send {
    /// See [`Evictor::evict_before`].
    fn evict_before(&mut self, elements: &mut Vec<(Timestamp, T)>, window: TimeWindow);
    /// See [`Evictor::evict_after`].
    fn evict_after(&mut self, elements: &mut Vec<(Timestamp, T)>, window: TimeWindow);
    /// A copy for another subtask.
    fn boxed(&self) -> Box<dyn AnyEvictor<T>>;
}

impl<T, E: Evictor<T>> AnyEvictor<T> for E {
    fn evict_before(&mut self, elements: &mut Vec<(Timestamp, T)>, window: TimeWindow) {
        Evictor::evict_before(self, elements, window);
    }

    fn evict_after(&mut self, elements: &mut Vec<(Timestamp, T)>, window: TimeWindow) {
        Evictor::evict_after(self, elements, window);
    }

    fn boxed(&self) -> Box<dyn AnyEvictor<T>> {
        Box::new(self.clone())
    }
}
