//! Windows whose function has state: per window, and per key.

use crate::data_stream::DataStream;
use crate::windowed_stream::{WindowedStream, joining_parts, joining_records, kept};
use millstream_core::{Key, Record};
use millstream_operator::context::TaskContext;
use millstream_operator::window::pane_operator::Emit;
use millstream_operator::window::stateful::StatefulWindows;
use millstream_operator::window::window_operator::Kept;
use millstream_operator::window::{AggregateFunction, StatefulWindowFunction};

impl<K: Key, T: Record> WindowedStream<K, T> {
    /// Gives all records of a window to a function that has state per window and per key: see
    /// `docs/event-time.md`. Panics if windows merge and the function has state per window.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// Numbers the windows of each key.
    /// #[derive(Clone)]
    /// struct Numbered;
    ///
    /// #[derive(KeyedState)]
    /// struct Seen {
    ///     windows: u64,
    /// }
    ///
    /// impl StatefulWindowFunction<u64, Vec<(u64, u64)>> for Numbered {
    ///     type WindowState = ();
    ///     type GlobalState = Seen;
    ///     type Out = (u64, Vec<(u64, u64)>);
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: Vec<(u64, u64)>,
    ///         ctx: &mut StatefulWindowContext<'_, u64, (), Seen, Self::Out>,
    ///     ) -> FunctionResult {
    ///         ctx.global_state.windows += 1;
    ///         let number = ctx.global_state.windows;
    ///         ctx.emit((number, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .process_with_state(Numbered)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 6), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(1, vec![(7, 2), (7, 6)]), (2, vec![(7, 3)])]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process_with_state<F: StatefulWindowFunction<K, Vec<T>>>(
        &self,
        function: F,
    ) -> DataStream<F::Out> {
        self.check_window_state(StatefulWindows::<K, Vec<T>, F>::have_own_state());
        let states = StatefulWindows::<K, Vec<T>, F>::states();
        let made = move |context: &TaskContext, evictor: _| {
            let function = StatefulWindows::new(&function, context)?;
            let kept = Kept::<K, T, (), F::Out>::All { evictor, emit: function.emit() };
            Ok((kept, Some(function.boxed())))
        };
        self.windows_with("window_process", true, states, made)
    }

    /// Joins the records of a window and gives what that makes to a function that has state per window and
    /// per key. Panics if windows merge and the function has state per window.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// Numbers the windows of each key.
    /// #[derive(Clone)]
    /// struct Numbered;
    ///
    /// #[derive(KeyedState)]
    /// struct Seen {
    ///     windows: u64,
    /// }
    ///
    /// impl StatefulWindowFunction<u64, (u64, u64)> for Numbered {
    ///     type WindowState = ();
    ///     type GlobalState = Seen;
    ///     type Out = (u64, (u64, u64));
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: (u64, u64),
    ///         ctx: &mut StatefulWindowContext<'_, u64, (), Seen, Self::Out>,
    ///     ) -> FunctionResult {
    ///         ctx.global_state.windows += 1;
    ///         let number = ctx.global_state.windows;
    ///         ctx.emit((number, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .reduce_process_with_state(|a, b| (a.0, a.1 + b.1), Numbered)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 6), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(1, (7, 8)), (2, (7, 3))]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_process_with_state<F: StatefulWindowFunction<K, T>>(
        &self,
        join: impl Fn(T, T) -> T + Clone + Send + 'static,
        function: F,
    ) -> DataStream<F::Out> {
        self.check_window_state(StatefulWindows::<K, T, F>::have_own_state());
        let states = StatefulWindows::<K, T, F>::states();
        let (add, merge) = (joining_records(join.clone()), joining_parts(join));
        let made = move |context: &TaskContext, evictor: _| {
            let function = StatefulWindows::new(&function, context)?;
            let mut process = function.emit();
            let emit: Emit<K, Option<T>, F::Out> =
                Box::new(move |key, window, value, out| match value {
                    Some(value) => process(key, window, value, out),
                    None => Ok(()),
                });
            let kept = kept(|| None, add.clone(), Some(merge.clone()), emit, evictor);
            Ok((kept, Some(function.boxed())))
        };
        let keeps_all = self.evictor.is_some();
        self.windows_with("window_reduce_process", keeps_all, states, made)
    }

    /// What an [`AggregateFunction`] makes of the records, given to a function that has state per window
    /// and per key. Only the accumulator is kept. Panics if windows merge and the function has state per
    /// window.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// The mean.
    /// struct Mean;
    ///
    /// impl AggregateFunction for Mean {
    ///     type In = (u64, u64);
    ///     type Accumulator = (u64, u64);
    ///     type Out = u64;
    ///
    ///     fn create_accumulator() -> (u64, u64) {
    ///         (0, 0)
    ///     }
    ///
    ///     fn add((sum, count): &mut (u64, u64), number: (u64, u64)) {
    ///         (*sum, *count) = (*sum + number.1, *count + 1);
    ///     }
    ///
    ///     fn merge((sum, count): &mut (u64, u64), other: (u64, u64)) {
    ///         (*sum, *count) = (*sum + other.0, *count + other.1);
    ///     }
    ///
    ///     fn get_result((sum, count): &(u64, u64)) -> u64 {
    ///         sum / count
    ///     }
    /// }
    ///
    /// /// Numbers the windows of each key.
    /// #[derive(Clone)]
    /// struct Numbered;
    ///
    /// #[derive(KeyedState)]
    /// struct Seen {
    ///     windows: u64,
    /// }
    ///
    /// impl StatefulWindowFunction<u64, u64> for Numbered {
    ///     type WindowState = ();
    ///     type GlobalState = Seen;
    ///     type Out = (u64, u64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: u64,
    ///         ctx: &mut StatefulWindowContext<'_, u64, (), Seen, Self::Out>,
    ///     ) -> FunctionResult {
    ///         ctx.global_state.windows += 1;
    ///         let number = ctx.global_state.windows;
    ///         ctx.emit((number, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .aggregate_process_with_state(Mean, Numbered)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 6), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(1, 4), (2, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn aggregate_process_with_state<A, F>(
        &self,
        _aggregate: A,
        function: F,
    ) -> DataStream<F::Out>
    where
        A: AggregateFunction<In = T>,
        F: StatefulWindowFunction<K, A::Out>,
    {
        self.check_window_state(StatefulWindows::<K, A::Out, F>::have_own_state());
        let states = StatefulWindows::<K, A::Out, F>::states();
        let made = move |context: &TaskContext, evictor: _| {
            let function = StatefulWindows::new(&function, context)?;
            let mut process = function.emit();
            let emit: Emit<K, A::Accumulator, F::Out> = Box::new(move |key, window, sum, out| {
                process(key, window, A::get_result(&sum), out)
            });
            let kept = kept(A::create_accumulator, A::add, Some(A::merge), emit, evictor);
            Ok((kept, Some(function.boxed())))
        };
        let keeps_all = self.evictor.is_some();
        self.windows_with("window_aggregate_process", keeps_all, states, made)
    }

    /// As in Flink: nobody could say what the state of two windows that become one is.
    #[track_caller]
    fn check_window_state(&self, has_state: bool) {
        assert!(
            !(self.assigner.is_merging() && has_state),
            "windows that merge have no state of their own: keep it per key, in `GlobalState`, and \
             let `WindowState` be `()`"
        );
    }
}
