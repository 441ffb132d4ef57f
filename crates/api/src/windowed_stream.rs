//! [`WindowedStream`]: records grouped by key and window, and what can be made of them. See
//! `docs/event-time.md`.

use crate::data_stream::DataStream;
use crate::keyed_stream::KeyedStream;
use millstream_core::job_state::DeclaredState;
use millstream_core::{Key, OperatorError, Record};
use millstream_operator::context::TaskContext;
use millstream_operator::process::TimeDomain;
use millstream_operator::side_output::OutputTag;
use millstream_operator::window::assigner::AnyAssigner;
use millstream_operator::window::evictor::AnyEvictor;
use millstream_operator::window::pane_operator::{Emit, PaneOperator, PaneWindows, pane_states};
use millstream_operator::window::stateful::WindowStates;
use millstream_operator::window::trigger::AnyTrigger;
use millstream_operator::window::window_operator::{
    Kept, WindowOperator, WindowSpec, window_states,
};
use millstream_operator::window::{
    AggregateFunction, CountEvictor, CountTrigger, DefaultTrigger, Evictor, GlobalWindows,
    LateRecords, NeverTrigger, ProcessWindowFunction, PurgingTrigger, TimeTrigger, Trigger,
    WindowAssigner, WindowContext, Windowed,
};
use std::ops::AddAssign;
use std::time::Duration;

/// Records of type `T`, grouped by keys of type `K` and by windows.
///
/// A window without records gives nothing. Results have the time of the last millisecond of their
/// window, so that windows of windows work.
pub struct WindowedStream<K, T> {
    keyed: KeyedStream<K, T>,
    pub(crate) assigner: Box<dyn AnyAssigner<T>>,
    trigger: Option<Box<dyn AnyTrigger<T>>>,
    pub(crate) evictor: Option<Box<dyn AnyEvictor<T>>>,
    allowed_lateness: i64,
    /// Where late records go.
    late: Option<OutputTag<T>>,
    /// All records are in one subtask.
    alone: bool,
}

impl<K: Key, T: Record> KeyedStream<K, T> {
    /// Groups the records further, by windows.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .count()
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn window(&self, assigner: impl WindowAssigner<T>) -> WindowedStream<K, T> {
        WindowedStream::new(self.clone(), assigner)
    }

    /// Windows of so many records of a key each. Of the last, which does not become full, nothing is
    /// given.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).count_window(2).reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push([(7, 1), (7, 2), (7, 3), (7, 4), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 3), (7, 7)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn count_window(&self, size: u64) -> WindowedStream<K, T> {
        self.window(GlobalWindows).trigger(PurgingTrigger::of(CountTrigger::of(size)))
    }

    /// With each `slide`-th record of a key a window of the last `size` records.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).count_window_sliding(3, 2).reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push([(7, 1), (7, 2), (7, 3), (7, 4)])?;
    /// assert_eq!(harness.take_output(), [(7, 3), (7, 9)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn count_window_sliding(&self, size: usize, slide: u64) -> WindowedStream<K, T> {
        self.window(GlobalWindows).evictor(CountEvictor::of(size)).trigger(CountTrigger::of(slide))
    }
}

impl<T: Record> DataStream<T> {
    /// Groups all records by windows, in one subtask.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     let minute = TumblingEventTimeWindows::of(Duration::from_secs(60));
    ///     numbers.window_all(minute).reduce(|a, b| a + b)
    /// });
    /// harness.push_at([(1, 1_000), (2, 2_000), (3, 61_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [3, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn window_all(&self, assigner: impl WindowAssigner<T>) -> WindowedStream<(), T> {
        self.key_by(|_| ()).window(assigner).alone()
    }
}

/// What is kept of records, and what state the function has.
pub(crate) type KeptWithState<K, T, V, O> = (Kept<K, T, V, O>, Option<Box<dyn WindowStates<K>>>);

/// Nothing to join values with.
type NoMerge<V> = Option<fn(&mut V, V)>;

impl<K: Key, T: Record> WindowedStream<K, T> {
    pub(crate) fn new(keyed: KeyedStream<K, T>, assigner: impl WindowAssigner<T>) -> Self {
        let assigner = Box::new(assigner);
        let (trigger, evictor, late) = (None, None, None);
        Self { keyed, assigner, trigger, evictor, allowed_lateness: 0, late, alone: false }
    }

    /// All records in one subtask.
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Fires when this trigger says so, and not when time has come to the end of a window.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .trigger(PurgingTrigger::of(CountTrigger::of(2)))
    ///         .count()
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trigger(self, trigger: impl Trigger<T>) -> Self {
        Self { trigger: Some(Box::new(trigger)), ..self }
    }

    /// Drops records when a window fires. All records of a window are then kept.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .evictor(CountEvictor::of(1))
    ///         .reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(7, 5), (7, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn evictor(self, evictor: impl Evictor<T>) -> Self {
        Self { evictor: Some(Box::new(evictor)), ..self }
    }

    /// Keeps windows in event time for so long after they have fired: a late record that comes by then
    /// lets its window fire again. Without this, late records are dropped.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .allowed_lateness(Duration::from_secs(60))
    ///         .reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push_at([((7, 2), 1_000)])?;
    /// harness.advance_watermark(20_000)?;
    /// harness.push_at([((7, 5), 2_000)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 7)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        let allowed_lateness = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        Self { allowed_lateness, ..self }
    }

    /// Gives records that are too late for all of their windows out under a tag, with their times: to
    /// whoever reads `side_output(&tag)` of the stream of results. Without this they are dropped.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let late = OutputTag::new("late");
    /// let tag = late.clone();
    /// let mut harness = Harness::new(move |numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .side_output_late_data(&tag)
    ///         .count()
    /// })
    /// .with_side_output(&late);
    /// harness.advance_watermark(20_000)?;
    /// harness.push_at([((7, 5), 2_000)])?;
    /// assert_eq!(harness.take_side_output(&late)?, [(7, 5)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn side_output_late_data(self, tag: &OutputTag<T>) -> Self {
        Self { late: Some(tag.clone()), ..self }
    }

    /// Joins the records of a window, in the order in which they come.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(7, 7), (7, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce(&self, join: impl Fn(T, T) -> T + Clone + Send + 'static) -> DataStream<T> {
        let emit = |_: &TaskContext| {
            let emit: Emit<K, Option<T>, T> = Box::new(|_, _, value, out| {
                out.extend(value);
                Ok(())
            });
            Ok(emit)
        };
        self.reduced("window_reduce", join, emit)
    }

    /// Joins the records of a window and gives what that makes to a function, with key and window.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// The end of the window, and what is in it.
    /// #[derive(Clone)]
    /// struct Ends;
    ///
    /// impl ProcessWindowFunction<u64, (u64, u64)> for Ends {
    ///     type Out = (Timestamp, (u64, u64));
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: (u64, u64),
    ///         ctx: &mut WindowContext<'_, u64, Self::Out>,
    ///     ) -> FunctionResult {
    ///         let end = ctx.window().end;
    ///         ctx.emit((end, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .reduce_process(|a, b| (a.0, a.1 + b.1), Ends)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(10_000, (7, 7)), (20_000, (7, 3))]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_process<F: ProcessWindowFunction<K, T>>(
        &self,
        join: impl Fn(T, T) -> T + Clone + Send + 'static,
        function: F,
    ) -> DataStream<F::Out> {
        self.reduced("window_reduce_process", join, move |context| {
            let mut process = processing::<K, T, F>(&function, context)?;
            let emit: Emit<K, Option<T>, F::Out> =
                Box::new(move |key, window, value, out| match value {
                    Some(value) => process(key, window, value, out),
                    None => Ok(()),
                });
            Ok(emit)
        })
    }

    #[track_caller]
    pub(crate) fn reduced<O: Record>(
        &self,
        verb: &'static str,
        join: impl Fn(T, T) -> T + Clone + Send + 'static,
        emit: impl Fn(&TaskContext) -> Result<Emit<K, Option<T>, O>, OperatorError>
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O> {
        let (add, merge) = (joining_records(join.clone()), joining_parts(join));
        self.incremental(verb, || None, add, Some(merge), emit)
    }

    /// Changes a value per window with each of its records. `init` makes the value of a new window.
    ///
    /// Values cannot be joined: where windows overlap, each record is added to each of its windows, and
    /// sessions are refused. [`fold_merging`](Self::fold_merging) and [`aggregate`](Self::aggregate) have
    /// neither limit.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .fold(|| 1, |product: &mut u64, number| *product *= number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [10, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn fold<A: Record>(
        &self,
        init: impl Fn() -> A + Clone + Send + 'static,
        add: impl Fn(&mut A, T) + Clone + Send + 'static,
    ) -> DataStream<Windowed<K, A>> {
        let merge: NoMerge<A> = None;
        self.incremental("window_fold", init, add, merge, |_| Ok(named::<K, A>()))
    }

    /// As [`fold`](Self::fold), for values that can be joined: `merge` adds what came later.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(EventTimeSessionWindows::with_gap(Duration::from_secs(10)))
    ///         .fold_merging(
    ///             || 0,
    ///             |most: &mut u64, number| *most = number.1.max(*most),
    ///             |most, other| *most = other.max(*most),
    ///         )
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 8_000), ((7, 3), 30_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [5, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn fold_merging<A: Record>(
        &self,
        init: impl Fn() -> A + Clone + Send + 'static,
        add: impl Fn(&mut A, T) + Clone + Send + 'static,
        merge: impl Fn(&mut A, A) + Clone + Send + 'static,
    ) -> DataStream<Windowed<K, A>> {
        self.incremental("window_fold", init, add, Some(merge), |_| Ok(named::<K, A>()))
    }

    /// The number of records.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .count()
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn count(&self) -> DataStream<Windowed<K, u64>> {
        let merge = |count: &mut u64, other: u64| *count += other;
        let add = |count: &mut u64, _: T| *count += 1;
        self.incremental("window_count", || 0, add, Some(merge), |_| Ok(named::<K, u64>()))
    }

    /// The sum of a number of each record.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .sum(|number| number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [7, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sum<N: Record + AddAssign + Default>(
        &self,
        number: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<Windowed<K, N>> {
        let add = move |sum: &mut N, record: T| *sum += number(&record);
        let merge = |sum: &mut N, other: N| *sum += other;
        self.incremental("window_sum", N::default, add, Some(merge), |_| Ok(named::<K, N>()))
    }

    /// What an [`AggregateFunction`] makes of the records.
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
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .aggregate(Mean)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 6), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [4, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn aggregate<A: AggregateFunction<In = T, Out: Record>>(
        &self,
        _function: A,
    ) -> DataStream<Windowed<K, A::Out>> {
        self.aggregated::<A, _>("window_aggregate", |_| {
            let emit: Emit<K, A::Accumulator, _> = Box::new(|key, window, sum, out| {
                out.push(Windowed { key, window, value: A::get_result(&sum) });
                Ok(())
            });
            Ok(emit)
        })
    }

    /// What an [`AggregateFunction`] makes of the records, given to a function with key and window. Only
    /// the accumulator is kept.
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
    /// /// The end of the window, and what is in it.
    /// #[derive(Clone)]
    /// struct Ends;
    ///
    /// impl ProcessWindowFunction<u64, u64> for Ends {
    ///     type Out = (Timestamp, u64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: u64,
    ///         ctx: &mut WindowContext<'_, u64, Self::Out>,
    ///     ) -> FunctionResult {
    ///         let end = ctx.window().end;
    ///         ctx.emit((end, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .aggregate_process(Mean, Ends)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 6), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(10_000, 4), (20_000, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn aggregate_process<A, F>(&self, _aggregate: A, function: F) -> DataStream<F::Out>
    where
        A: AggregateFunction<In = T>,
        F: ProcessWindowFunction<K, A::Out>,
    {
        self.aggregated::<A, _>("window_aggregate_process", move |context| {
            let mut process = processing::<K, A::Out, F>(&function, context)?;
            let emit: Emit<K, A::Accumulator, F::Out> = Box::new(move |key, window, sum, out| {
                process(key, window, A::get_result(&sum), out)
            });
            Ok(emit)
        })
    }

    #[track_caller]
    fn aggregated<A: AggregateFunction<In = T>, O: Record>(
        &self,
        verb: &'static str,
        emit: impl Fn(&TaskContext) -> Result<Emit<K, A::Accumulator, O>, OperatorError>
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O> {
        self.incremental(verb, A::create_accumulator, A::add, Some(A::merge), emit)
    }

    /// Gives all records of a window to a function. They are kept until then: where a number or a sum
    /// is enough, `aggregate_process` takes far less.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// The end of the window, and what is in it.
    /// #[derive(Clone)]
    /// struct Ends;
    ///
    /// impl ProcessWindowFunction<u64, Vec<(u64, u64)>> for Ends {
    ///     type Out = (Timestamp, Vec<(u64, u64)>);
    ///
    ///     fn process(
    ///         &mut self,
    ///         value: Vec<(u64, u64)>,
    ///         ctx: &mut WindowContext<'_, u64, Self::Out>,
    ///     ) -> FunctionResult {
    ///         let end = ctx.window().end;
    ///         ctx.emit((end, value));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers
    ///         .key_by(|number| number.0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .process(Ends)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let expected = [(10_000, vec![(7, 2), (7, 5)]), (20_000, vec![(7, 3)])];
    /// assert_eq!(harness.take_output(), expected);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: ProcessWindowFunction<K, Vec<T>>>(&self, function: F) -> DataStream<F::Out> {
        let emit = move |context: &TaskContext| processing::<K, Vec<T>, F>(&function, context);
        self.any_windows("window_process", true, move |context, evictor| {
            Ok(Kept::<K, T, (), F::Out>::All { evictor, emit: emit(context)? })
        })
    }

    /// Adds records up as they come.
    #[track_caller]
    pub(crate) fn incremental<V: Record, O: Record>(
        &self,
        verb: &'static str,
        init: impl Fn() -> V + Clone + Send + 'static,
        add: impl Fn(&mut V, T) + Clone + Send + 'static,
        merge: Option<impl Fn(&mut V, V) + Clone + Send + 'static>,
        emit: impl Fn(&TaskContext) -> Result<Emit<K, V, O>, OperatorError> + Clone + Send + 'static,
    ) -> DataStream<O> {
        assert!(
            merge.is_some() || !self.assigner.is_merging(),
            "values of windows that merge have to be joined: use `fold_merging`, `reduce` or \
             `aggregate`"
        );
        let on_grid = self.assigner.panes().filter(|_| self.trigger.is_none());
        match on_grid {
            Some(panes) if self.evictor.is_none() => {
                let selector = self.keyed.selector();
                let domain = domain_of(self.assigner.default_trigger());
                let windows =
                    PaneWindows { panes, domain, allowed_lateness: self.allowed_lateness };
                let late = self.late.clone();
                let sorting = self.keyed.selector();
                let keyed = self.keyed.stream();
                let stream = keyed.keyed_operator(verb, sorting, move |context| {
                    let merge = merge.clone().map(|merge| Box::new(merge) as Box<_>);
                    let how = (init.clone(), add.clone(), merge);
                    let emit = emit(context)?;
                    Ok(PaneOperator::new(
                        windows,
                        selector.boxed(),
                        how,
                        emit,
                        LateRecords::of_task(late.clone(), context)?,
                        context,
                    ))
                });
                self.settled(stream, pane_states::<K, V>())
            }
            _ => self.any_windows(verb, self.evictor.is_some(), move |context, evictor| {
                let (init, add, emit) = (init.clone(), add.clone(), emit(context)?);
                Ok(kept(init, add, merge.clone(), emit, evictor))
            }),
        }
    }

    /// Windows that are no grid, or that somebody has a say in.
    #[track_caller]
    fn any_windows<V: Record, O: Record>(
        &self,
        verb: &'static str,
        keeps_all: bool,
        kept: impl Fn(
            &TaskContext,
            Option<Box<dyn AnyEvictor<T>>>,
        ) -> Result<Kept<K, T, V, O>, OperatorError>
        + Send
        + 'static,
    ) -> DataStream<O> {
        let without_state =
            move |context: &TaskContext, evictor: _| Ok((kept(context, evictor)?, None));
        self.windows_with(verb, keeps_all, Vec::new(), without_state)
    }

    /// Windows of any kind, whose function may have state.
    #[track_caller]
    pub(crate) fn windows_with<V: Record, O: Record>(
        &self,
        verb: &'static str,
        keeps_all: bool,
        own_states: Vec<DeclaredState>,
        kept: impl Fn(
            &TaskContext,
            Option<Box<dyn AnyEvictor<T>>>,
        ) -> Result<KeptWithState<K, T, V, O>, OperatorError>
        + Send
        + 'static,
    ) -> DataStream<O> {
        let selector = self.keyed.selector();
        let (assigner, allowed_lateness) = (self.assigner.boxed(), self.allowed_lateness);
        let trigger = match &self.trigger {
            Some(trigger) => trigger.boxed(),
            None => default_trigger(assigner.default_trigger()),
        };
        let evictor = self.evictor.as_ref().map(|evictor| evictor.boxed());
        let mut states = window_states::<K, T, V>(keeps_all, assigner.is_merging());
        states.extend(own_states);
        let late = self.late.clone();
        let sorting = self.keyed.selector();
        let stream = self.keyed.stream().keyed_operator(verb, sorting, move |context| {
            let (assigner, trigger) = (assigner.boxed(), trigger.boxed());
            let spec = WindowSpec { assigner, trigger, allowed_lateness };
            let (kept, states) = kept(context, evictor.as_ref().map(|evictor| evictor.boxed()))?;
            let late = LateRecords::of_task(late.clone(), context)?;
            let operator = WindowOperator::new(spec, kept, selector.boxed(), late, context);
            Ok(operator.with_states(states))
        });
        self.settled(stream, states)
    }

    fn settled<O: Record>(
        &self,
        stream: DataStream<O>,
        states: Vec<DeclaredState>,
    ) -> DataStream<O> {
        let stream = stream.with_states(states).with_side_outputs();
        if self.alone { stream.set_parallelism(1) } else { stream }
    }
}

/// How a record is joined to what came before it.
pub(crate) fn joining_records<T: 'static>(
    join: impl Fn(T, T) -> T + Clone + Send + 'static,
) -> impl Fn(&mut Option<T>, T) + Clone + Send + 'static {
    move |sum, record| {
        *sum = Some(match sum.take() {
            Some(former) => join(former, record),
            None => record,
        });
    }
}

/// How what came later is joined to what came before it.
pub(crate) fn joining_parts<T: 'static>(
    join: impl Fn(T, T) -> T + Clone + Send + 'static,
) -> impl Fn(&mut Option<T>, Option<T>) + Clone + Send + 'static {
    move |sum, later| {
        *sum = match (sum.take(), later) {
            (Some(former), Some(later)) => Some(join(former, later)),
            (former, later) => former.or(later),
        };
    }
}

/// What is kept of records that are added up: their sum, or, where some are to be dropped, all of them.
pub(crate) fn kept<K: Key, T: Record, V: Record, O: Record>(
    init: impl Fn() -> V + 'static,
    add: impl Fn(&mut V, T) + 'static,
    merge: Option<impl Fn(&mut V, V) + 'static>,
    mut emit: Emit<K, V, O>,
    evictor: Option<Box<dyn AnyEvictor<T>>>,
) -> Kept<K, T, V, O> {
    if evictor.is_some() {
        let emit: Emit<K, Vec<T>, O> = Box::new(move |key, window, records, out| {
            let mut value = init();
            records.into_iter().for_each(|record| add(&mut value, record));
            emit(key, window, value, out)
        });
        return Kept::All { evictor, emit };
    }
    let add = move |value: Option<V>, record: T| {
        let mut value = value.unwrap_or_else(&init);
        add(&mut value, record);
        value
    };
    let merge = merge.map(|merge| {
        let joined = move |mut value: V, later: V| {
            merge(&mut value, later);
            value
        };
        Box::new(joined) as Box<dyn Fn(V, V) -> V>
    });
    Kept::Sum { add: Box::new(add), merge, emit }
}

fn domain_of(trigger: DefaultTrigger) -> TimeDomain {
    match trigger {
        DefaultTrigger::Time(domain) => domain,
        DefaultTrigger::Never => TimeDomain::EventTime,
    }
}

fn default_trigger<T: Record>(trigger: DefaultTrigger) -> Box<dyn AnyTrigger<T>> {
    match trigger {
        DefaultTrigger::Time(TimeDomain::EventTime) => Box::new(TimeTrigger::event_time()),
        DefaultTrigger::Time(TimeDomain::ProcessingTime) => {
            Box::new(TimeTrigger::processing_time())
        }
        DefaultTrigger::Never => Box::new(NeverTrigger),
    }
}

/// Values with their keys and windows.
fn named<K: Key, V: Record>() -> Emit<K, V, Windowed<K, V>> {
    Box::new(|key, window, value, out| {
        out.push(Windowed { key, window, value });
        Ok(())
    })
}

/// Values through a user's function.
fn processing<K: Key, V: 'static, F: ProcessWindowFunction<K, V>>(
    function: &F,
    context: &TaskContext,
) -> Result<Emit<K, V, F::Out>, OperatorError> {
    let mut function = function.clone();
    let opened = function.open(context);
    opened.map_err(|error| OperatorError::from_error(error.as_ref()))?;
    Ok(Box::new(move |key, window, value, out| {
        function.process(value, &mut WindowContext::new(key, window, out))
    }))
}
