//! Joins of two keyed streams: in windows ([`JoinedStreams`]) and by intervals ([`IntervalJoined`]).

use crate::data_stream::DataStream;
use crate::keyed_stream::KeyedStream;
use crate::windowed_stream::WindowedStream;
use millstream_core::{Key, Record};
use millstream_operator::either::Either;
use millstream_operator::join::{CoGroup, CoGroupFunction, Interval, IntervalJoin, JoinPairs};
use millstream_operator::process::EitherSelector;
use millstream_operator::window::{Trigger, WindowAssigner};
use std::time::Duration;

/// Two streams with keys of one type.
pub struct JoinedStreams<K, L, R> {
    both: KeyedStream<K, Either<L, R>>,
}

/// Two streams, grouped by keys of one type and by windows.
pub struct JoinedWindows<K, L, R> {
    windows: WindowedStream<K, Either<L, R>>,
}

/// Two streams whose records meet if their times are near each other.
pub struct IntervalJoined<K, L, R> {
    both: KeyedStream<K, Either<L, R>>,
    interval: Interval,
}

impl<K: Key, L: Record> KeyedStream<K, L> {
    /// Brings another stream with the same keys together with this one, to be joined in windows.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(
    ///     |orders: DataStream<(u64, u64)>, prices: DataStream<(u64, u64)>| {
    ///         let (orders, prices) = (orders.key_by(|order| order.0), prices.key_by(|price| price.0));
    ///         orders
    ///             .join(&prices)
    ///             .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///             .apply(|order, price| order.1 * price.1)
    ///     },
    /// );
    /// harness.push_left_at([((7, 3), 1_000)])?;
    /// harness.push_right_at([((7, 20), 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [60]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn join<R: Record>(&self, other: &KeyedStream<K, R>) -> JoinedStreams<K, L, R> {
        JoinedStreams { both: self.either(other) }
    }

    /// Pairs of records of the two streams: the time of the other stream's record is at least that of
    /// this stream's and `lower_ms`, and at most that and `upper_ms`, which may be negative. Each pair is
    /// given once, with the greater of its times. Late records find no partners.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(
    ///     |orders: DataStream<(u64, u64)>, prices: DataStream<(u64, u64)>| {
    ///         let (orders, prices) = (orders.key_by(|order| order.0), prices.key_by(|price| price.0));
    ///         orders
    ///             .interval_join(&prices, 0, 5_000)
    ///             .process(|order, price| order.1 * price.1)
    ///     },
    /// );
    /// harness.push_left_at([((7, 3), 1_000)])?;
    /// harness.push_right_at([((7, 20), 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [60]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn interval_join<R: Record>(
        &self,
        other: &KeyedStream<K, R>,
        lower_ms: i64,
        upper_ms: i64,
    ) -> IntervalJoined<K, L, R> {
        assert!(
            lower_ms <= upper_ms,
            "an interval from {lower_ms} to {upper_ms} ms has no time in it"
        );
        let interval = Interval { lower: lower_ms, upper: upper_ms };
        IntervalJoined { both: self.either(other), interval }
    }

    /// The records of both streams, by their keys.
    fn either<R: Record>(&self, other: &KeyedStream<K, R>) -> KeyedStream<K, Either<L, R>> {
        let marked = DataStream::marked(self.stream(), other.stream());
        let selector = EitherSelector { first: self.selector(), second: other.selector() };
        KeyedStream::of_grouped(marked, Box::new(selector))
    }
}

impl<K: Key, L: Record, R: Record> JoinedStreams<K, L, R> {
    /// Records meet in windows.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(|left: DataStream<u64>, right: DataStream<u64>| {
    ///     left.key_by(|n| *n)
    ///         .join(&right.key_by(|n| *n))
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .apply(|a, b| a + b)
    /// });
    /// harness.push_left_at([(7, 1_000)])?;
    /// harness.push_right_at([(7, 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [14]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn window(&self, assigner: impl WindowAssigner<Either<L, R>>) -> JoinedWindows<K, L, R> {
        JoinedWindows { windows: self.both.window(assigner) }
    }
}

impl<K: Key, L: Record, R: Record> JoinedWindows<K, L, R> {
    /// See [`WindowedStream::trigger`].
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(|left: DataStream<u64>, right: DataStream<u64>| {
    ///     left.key_by(|n| *n)
    ///         .join(&right.key_by(|n| *n))
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .trigger(CountTrigger::of(2))
    ///         .apply(|a, b| a + b)
    /// });
    /// harness.push_left_at([(7, 1_000)])?;
    /// harness.push_right_at([(7, 2_000)])?;
    /// assert_eq!(harness.take_output(), [14]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trigger(self, trigger: impl Trigger<Either<L, R>>) -> Self {
        Self { windows: self.windows.trigger(trigger) }
    }

    /// See [`WindowedStream::allowed_lateness`].
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(|left: DataStream<u64>, right: DataStream<u64>| {
    ///     left.key_by(|n| *n)
    ///         .join(&right.key_by(|n| *n))
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .allowed_lateness(Duration::from_secs(60))
    ///         .apply(|a, b| a + b)
    /// });
    /// harness.push_left_at([(7, 1_000)])?;
    /// harness.advance_watermark(20_000)?;
    /// harness.push_right_at([(7, 2_000)])?;
    /// assert_eq!(harness.take_output(), [14]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { windows: self.windows.allowed_lateness(lateness) }
    }

    /// Gives what the function makes of each pair: an inner join.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(
    ///     |orders: DataStream<(u64, u64)>, prices: DataStream<(u64, u64)>| {
    ///         let (orders, prices) = (orders.key_by(|order| order.0), prices.key_by(|price| price.0));
    ///         orders
    ///             .join(&prices)
    ///             .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///             .apply(|order, price| order.1 * price.1)
    ///     },
    /// );
    /// harness.push_left_at([((7, 3), 1_000)])?;
    /// harness.push_right_at([((7, 20), 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [60]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn apply<O: Record>(
        &self,
        function: impl Fn(&L, &R) -> O + Clone + Send + 'static,
    ) -> DataStream<O> {
        self.windows.process(JoinPairs::new(function))
    }

    /// Gives all records of both streams at once to a function: outer joins and others of one's own.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// /// Orders without a price.
    /// #[derive(Clone)]
    /// struct WithoutPrice;
    ///
    /// impl CoGroupFunction<u64, u64, u64> for WithoutPrice {
    ///     type Out = u64;
    ///
    ///     fn co_group(
    ///         &mut self,
    ///         orders: Vec<u64>,
    ///         prices: Vec<u64>,
    ///         ctx: &mut WindowContext<'_, u64, u64>,
    ///     ) -> FunctionResult {
    ///         if prices.is_empty() {
    ///             orders.into_iter().for_each(|order| ctx.emit(order));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|orders: DataStream<u64>, prices: DataStream<u64>| {
    ///     orders
    ///         .key_by(|order| *order)
    ///         .join(&prices.key_by(|price| *price))
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
    ///         .co_group(WithoutPrice)
    /// });
    /// harness.push_left_at([(7, 1_000), (8, 1_000)])?;
    /// harness.push_right_at([(7, 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [8]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn co_group<F: CoGroupFunction<K, L, R>>(&self, function: F) -> DataStream<F::Out> {
        self.windows.process(CoGroup(function))
    }
}

impl<K: Key, L: Record, R: Record> IntervalJoined<K, L, R> {
    /// Gives what the function makes of each pair.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(
    ///     |orders: DataStream<(u64, u64)>, prices: DataStream<(u64, u64)>| {
    ///         let (orders, prices) = (orders.key_by(|order| order.0), prices.key_by(|price| price.0));
    ///         orders
    ///             .interval_join(&prices, 0, 5_000)
    ///             .process(|order, price| order.1 * price.1)
    ///     },
    /// );
    /// harness.push_left_at([((7, 3), 1_000)])?;
    /// harness.push_right_at([((7, 20), 2_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [60]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<O: Record>(
        &self,
        function: impl Fn(&L, &R) -> O + Clone + Send + 'static,
    ) -> DataStream<O> {
        self.both.process(IntervalJoin::new(self.interval, function))
    }
}
