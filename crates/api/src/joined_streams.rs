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
    pub fn join<R: Record>(&self, other: &KeyedStream<K, R>) -> JoinedStreams<K, L, R> {
        JoinedStreams { both: self.either(other) }
    }

    /// Pairs of records of the two streams: the time of the other stream's record is at least that of
    /// this stream's and `lower_ms`, and at most that and `upper_ms`, which may be negative. Each pair is
    /// given once, with the greater of its times. Late records find no partners.
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
    pub fn window(&self, assigner: impl WindowAssigner<Either<L, R>>) -> JoinedWindows<K, L, R> {
        JoinedWindows { windows: self.both.window(assigner) }
    }
}

impl<K: Key, L: Record, R: Record> JoinedWindows<K, L, R> {
    /// See [`WindowedStream::trigger`].
    pub fn trigger(self, trigger: impl Trigger<Either<L, R>>) -> Self {
        Self { windows: self.windows.trigger(trigger) }
    }

    /// See [`WindowedStream::allowed_lateness`].
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { windows: self.windows.allowed_lateness(lateness) }
    }

    /// Gives what the function makes of each pair: an inner join.
    #[track_caller]
    pub fn apply<O: Record>(
        &self,
        function: impl Fn(&L, &R) -> O + Clone + Send + 'static,
    ) -> DataStream<O> {
        self.windows.process(JoinPairs::new(function))
    }

    /// Gives all records of both streams at once to a function: outer joins and others of one's own.
    #[track_caller]
    pub fn co_group<F: CoGroupFunction<K, L, R>>(&self, function: F) -> DataStream<F::Out> {
        self.windows.process(CoGroup(function))
    }
}

impl<K: Key, L: Record, R: Record> IntervalJoined<K, L, R> {
    /// Gives what the function makes of each pair.
    #[track_caller]
    pub fn process<O: Record>(
        &self,
        function: impl Fn(&L, &R) -> O + Clone + Send + 'static,
    ) -> DataStream<O> {
        self.both.process(IntervalJoin::new(self.interval, function))
    }
}
