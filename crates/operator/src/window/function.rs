//! [`ProcessWindowFunction`]: what a user writes to make results of a whole window.

use super::results::Results;
use super::time_window::TimeWindow;
use crate::context::TaskContext;
use crate::process::FunctionResult;
use crate::side_output::OutputTag;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};

/// Makes results of what a window of a key holds: of all its records, as a `Vec<T>`, or of what they
/// were added up to.
///
/// ```
/// use millstream_operator::process::FunctionResult;
/// use millstream_operator::window::{ProcessWindowFunction, WindowContext};
///
/// /// The median of each window.
/// #[derive(Clone)]
/// struct Median;
///
/// impl ProcessWindowFunction<u64, Vec<i64>> for Median {
///     type Out = (u64, i64, i64);
///
///     fn process(
///         &mut self,
///         mut values: Vec<i64>,
///         ctx: &mut WindowContext<'_, u64, (u64, i64, i64)>,
///     ) -> FunctionResult {
///         values.sort_unstable();
///         let median = values[values.len() / 2];
///         ctx.emit((*ctx.key(), ctx.window().end, median));
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessWindowFunction<K: Key, V>: Clone + Send + 'static {
    /// What it gives.
    type Out: Record;

    /// Before the first window of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A window fires.
    fn process(&mut self, value: V, ctx: &mut WindowContext<'_, K, Self::Out>) -> FunctionResult;
}

/// The key and the window of a call.
pub struct WindowContext<'a, K, O> {
    key: K,
    window: TimeWindow,
    out: Results<'a, O>,
}

impl<'a, K, O> WindowContext<'a, K, O> {
    /// For a call of a function.
    pub fn new(key: K, window: TimeWindow, out: &'a mut Results<'_, O>) -> Self {
        Self { key, window, out: out.again() }
    }

    /// Whose window it is.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Which window it is.
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// Gives a result out. Its time is the last millisecond of the window.
    pub fn emit(&mut self, result: O) {
        self.out.push(result);
    }

    /// Gives a record out under a tag, with the same time: to whoever reads `stream.side_output(&tag)`.
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.out.output(tag, record);
    }

    /// No record at or before this time is to come; `Timestamp::MIN` if nothing is known yet.
    pub fn current_watermark(&self) -> Timestamp {
        self.out.watermark()
    }

    /// The time of the machine.
    pub fn processing_time(&self) -> Timestamp {
        self.out.processing_time()
    }
}
