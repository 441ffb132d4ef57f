//! Two streams that one operator reads: [`ConnectedStreams`], [`KeyedConnectedStreams`], and the
//! broadcast pattern, [`BroadcastConnectedStream`] and [`KeyedBroadcastConnectedStream`].

use crate::data_stream::DataStream;
use crate::keyed_stream::KeyedStream;
use millstream_core::{Key, Record};
use millstream_operator::either::Either;
use millstream_operator::flat_map::FlatMap;
use millstream_operator::key::KeySelector;
use millstream_operator::map::Map;
use millstream_operator::process::{
    BroadcastProcessFunction, CoProcessFunction, EitherSelector, KeyedBroadcastProcess,
    KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedProcess, OfBroadcast, OfEither,
    Process,
};

impl<T: Record> DataStream<T> {
    /// This stream and another one, for one operator with two inputs.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, words: DataStream<Str>| {
    ///     numbers.connect(&words).map(|n| n, |word| word.len() as u64)
    /// });
    /// harness.push_left([7])?;
    /// harness.push_right(["to".into()])?;
    /// assert_eq!(harness.take_output(), [7, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<U: Record>(&self, other: &DataStream<U>) -> ConnectedStreams<T, U> {
        ConnectedStreams::new(self, other)
    }

    /// This stream, and another one of which every subtask of the operator gets all records.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Adds what was broadcast last.
    /// #[derive(Clone)]
    /// struct Adding(u64);
    ///
    /// impl BroadcastProcessFunction<u64, u64> for Adding {
    ///     type Broadcast = ();
    ///     type Out = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         _broadcast: &(),
    ///         ctx: &mut OperatorContext<'_, (), u64>,
    ///     ) -> FunctionResult {
    ///         ctx.emit(n + self.0);
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         n: u64,
    ///         _ctx: &mut OperatorContext<'_, (), u64>,
    ///     ) -> FunctionResult {
    ///         self.0 = n;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, added: DataStream<u64>| {
    ///     numbers.connect_broadcast(&added).process(Adding(0))
    /// })
    /// .with_parallelism(2);
    /// harness.push_right([10])?;
    /// harness.push_left([1, 2])?;
    /// let mut sums = harness.take_output();
    /// sums.sort_unstable();
    /// assert_eq!(sums, [11, 12]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_broadcast<B: Record>(
        &self,
        broadcast: &DataStream<B>,
    ) -> BroadcastConnectedStream<T, B> {
        BroadcastConnectedStream::new(self, broadcast)
    }
}

impl<K: Key, T: Record> KeyedStream<K, T> {
    /// This stream and another one with the same type of keys, for one operator with two inputs.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Gives every record on, whichever side it comes from.
    /// #[derive(Clone)]
    /// struct Both;
    ///
    /// type Ctx<'a> = ProcessContext<'a, u64, (), u64>;
    ///
    /// impl KeyedCoProcessFunction<u64, u64, (u64, u64)> for Both {
    ///     type State = ();
    ///     type Out = u64;
    ///
    ///     fn process_first(&mut self, n: u64, ctx: &mut Ctx<'_>) -> FunctionResult {
    ///         ctx.emit(n);
    ///         Ok(())
    ///     }
    ///
    ///     fn process_second(&mut self, pair: (u64, u64), ctx: &mut Ctx<'_>) -> FunctionResult {
    ///         ctx.emit(pair.1);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|left: DataStream<u64>, right: DataStream<(u64, u64)>| {
    ///     left.key_by(|n| *n).connect(&right.key_by(|pair| pair.0)).process(Both)
    /// });
    /// harness.push_left([1])?;
    /// harness.push_right([(1, 5)])?;
    /// assert_eq!(harness.take_output(), [1, 5]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<U: Record>(&self, other: &KeyedStream<K, U>) -> KeyedConnectedStreams<K, T, U> {
        KeyedConnectedStreams::new(self, other)
    }

    /// This stream, and another one of which every subtask of the operator gets all records.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Adds what was broadcast last.
    /// #[derive(Clone)]
    /// struct Adding(u64);
    ///
    /// impl KeyedBroadcastProcessFunction<u64, u64, u64> for Adding {
    ///     type State = ();
    ///     type Broadcast = ();
    ///     type Out = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         _broadcast: &(),
    ///         ctx: &mut ProcessContext<'_, u64, (), u64>,
    ///     ) -> FunctionResult {
    ///         ctx.emit(n + self.0);
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         n: u64,
    ///         _ctx: &mut OperatorContext<'_, (), u64>,
    ///     ) -> FunctionResult {
    ///         self.0 = n;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, added: DataStream<u64>| {
    ///     numbers.key_by(|n| *n).connect_broadcast(&added).process(Adding(0))
    /// })
    /// .with_parallelism(2);
    /// harness.push_right([10])?;
    /// harness.push_left([1, 2])?;
    /// let mut sums = harness.take_output();
    /// sums.sort_unstable();
    /// assert_eq!(sums, [11, 12]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_broadcast<B: Record>(
        &self,
        broadcast: &DataStream<B>,
    ) -> KeyedBroadcastConnectedStream<K, T, B> {
        KeyedBroadcastConnectedStream::new(self, broadcast)
    }
}

/// Two streams, of records `A` and `B`, for one operator. It reads whichever has something.
pub struct ConnectedStreams<A, B> {
    marked: DataStream<Either<A, B>>,
}

impl<A: Record, B: Record> ConnectedStreams<A, B> {
    pub(crate) fn new(first: &DataStream<A>, second: &DataStream<B>) -> Self {
        Self { marked: DataStream::marked(first, second) }
    }

    /// Applies a function to each record: which one, says the stream that it came with.
    ///
    /// ```
    /// # use millstream_api::DataStream;
    /// fn lines(words: DataStream<String>, numbers: DataStream<u64>) -> DataStream<String> {
    ///     words.connect(&numbers).map(|word| word, |number| number.to_string())
    /// }
    /// ```
    #[track_caller]
    pub fn map<U: Record>(
        &self,
        first: impl Fn(A) -> U + Clone + Send + 'static,
        second: impl Fn(B) -> U + Clone + Send + 'static,
    ) -> DataStream<U> {
        self.marked.operator("co_map", false, move |_| {
            let (first, second) = (first.clone(), second.clone());
            Map::new(move |record| match record {
                Either::First(record) => first(record),
                Either::Second(record) => second(record),
            })
        })
    }

    /// Applies a function that gives any number of records: which one, says the stream that the record
    /// came with.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, limits: DataStream<u64>| {
    ///     numbers.connect(&limits).flat_map(|n| [n, n], |limit| 0..limit)
    /// });
    /// harness.push_left([7])?;
    /// harness.push_right([2])?;
    /// assert_eq!(harness.take_output(), [7, 7, 0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map<U: Record, I, J>(
        &self,
        first: impl Fn(A) -> I + Clone + Send + 'static,
        second: impl Fn(B) -> J + Clone + Send + 'static,
    ) -> DataStream<U>
    where
        I: IntoIterator<Item = U, IntoIter: 'static> + 'static,
        J: IntoIterator<Item = U, IntoIter: 'static> + 'static,
    {
        self.marked.operator("co_flat_map", false, move |_| {
            let (first, second) = (first.clone(), second.clone());
            FlatMap::new(move |record| {
                let (first, second) = match record {
                    Either::First(record) => (Some(first(record)), None),
                    Either::Second(record) => (None, Some(second(record))),
                };
                first.into_iter().flatten().chain(second.into_iter().flatten())
            })
        })
    }

    /// Handles each record with a function that has a method per stream, and state of the subtask.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Counts what comes from either side.
    /// #[derive(Clone, Default)]
    /// struct Counts(u64, u64);
    ///
    /// impl CoProcessFunction<u64, Str> for Counts {
    ///     type State = ();
    ///     type Out = (u64, u64);
    ///
    ///     fn process_first(
    ///         &mut self,
    ///         _n: u64,
    ///         ctx: &mut OperatorContext<'_, (), Self::Out>,
    ///     ) -> FunctionResult {
    ///         self.0 += 1;
    ///         ctx.emit((self.0, self.1));
    ///         Ok(())
    ///     }
    ///
    ///     fn process_second(
    ///         &mut self,
    ///         _word: Str,
    ///         ctx: &mut OperatorContext<'_, (), Self::Out>,
    ///     ) -> FunctionResult {
    ///         self.1 += 1;
    ///         ctx.emit((self.0, self.1));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, words: DataStream<Str>| {
    ///     numbers.connect(&words).process(Counts::default())
    /// });
    /// harness.push_left([7])?;
    /// harness.push_right(["to".into()])?;
    /// assert_eq!(harness.take_output(), [(1, 0), (1, 1)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: CoProcessFunction<A, B>>(&self, function: F) -> DataStream<F::Out> {
        let function = OfEither(function);
        let stream = self.marked.try_operator("co_process", true, move |context| {
            Process::<Either<A, B>, _>::new(function.clone(), context)
        });
        let states = Process::<Either<A, B>, OfEither<F>>::states();
        stream.with_states(states).with_side_outputs()
    }
}

/// Two streams that are grouped by keys of the same type, for one operator: records of both with the
/// same key come to the same place.
pub struct KeyedConnectedStreams<K, A, B> {
    marked: DataStream<Either<A, B>>,
    first: Box<dyn KeySelector<K, A>>,
    second: Box<dyn KeySelector<K, B>>,
}

impl<K: Key, A: Record, B: Record> KeyedConnectedStreams<K, A, B> {
    pub(crate) fn new(first: &KeyedStream<K, A>, second: &KeyedStream<K, B>) -> Self {
        let marked = DataStream::marked(first.stream(), second.stream());
        Self { marked, first: first.selector(), second: second.selector() }
    }

    /// Handles each record with a function that has a method per stream, and state and timers per key
    /// that both share: see `docs/state.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Lets pass what is on no list.
    /// #[derive(Clone)]
    /// struct Unlisted;
    ///
    /// #[derive(KeyedState)]
    /// struct Listed {
    ///     times: u64,
    /// }
    ///
    /// type Ctx<'a> = ProcessContext<'a, u64, Listed, u64>;
    ///
    /// impl KeyedCoProcessFunction<u64, u64, u64> for Unlisted {
    ///     type State = Listed;
    ///     type Out = u64;
    ///
    ///     fn process_first(&mut self, n: u64, ctx: &mut Ctx<'_>) -> FunctionResult {
    ///         if ctx.state.times == 0 {
    ///             ctx.emit(n);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_second(&mut self, _listed: u64, ctx: &mut Ctx<'_>) -> FunctionResult {
    ///         ctx.state.times += 1;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, list: DataStream<u64>| {
    ///     numbers.key_by(|n| *n).connect(&list.key_by(|n| *n)).process(Unlisted)
    /// });
    /// harness.push_right([8])?;
    /// harness.push_left([7, 8])?;
    /// assert_eq!(harness.take_output(), [7]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: KeyedCoProcessFunction<K, A, B>>(&self, function: F) -> DataStream<F::Out> {
        let selector = EitherSelector { first: self.first.boxed(), second: self.second.boxed() };
        let (function, sorting) = (OfEither(function), selector.boxed());
        let stream = self.marked.keyed_operator("co_process", sorting, move |context| {
            KeyedProcess::<K, Either<A, B>, _>::new(selector.boxed(), function.clone(), context)
        });
        let states = KeyedProcess::<K, Either<A, B>, OfEither<F>>::states();
        stream.with_states(states).with_side_outputs()
    }
}

/// A stream, and another one that every subtask of the operator sees in whole.
pub struct BroadcastConnectedStream<T, B> {
    marked: DataStream<Either<T, B>>,
}

impl<T: Record, B: Record> BroadcastConnectedStream<T, B> {
    pub(crate) fn new(stream: &DataStream<T>, broadcast: &DataStream<B>) -> Self {
        Self { marked: DataStream::marked(stream, &broadcast.broadcast()) }
    }

    /// Handles the records of the stream with what is kept of the broadcast one: see `docs/state.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Lets pass what is allowed.
    /// #[derive(Clone)]
    /// struct Allowed;
    ///
    /// #[derive(OperatorState)]
    /// struct Rules {
    ///     allowed: BroadcastState<u64, bool>,
    /// }
    ///
    /// impl BroadcastProcessFunction<u64, u64> for Allowed {
    ///     type Broadcast = Rules;
    ///     type Out = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         rules: &Rules,
    ///         ctx: &mut OperatorContext<'_, (), u64>,
    ///     ) -> FunctionResult {
    ///         if rules.allowed.get(&n) == Some(&true) {
    ///             ctx.emit(n);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         n: u64,
    ///         ctx: &mut OperatorContext<'_, Rules, u64>,
    ///     ) -> FunctionResult {
    ///         ctx.state.allowed.insert(n, true);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, allowed: DataStream<u64>| {
    ///     numbers.connect_broadcast(&allowed).process(Allowed)
    /// });
    /// harness.push_right([7])?;
    /// harness.push_left([7, 8])?;
    /// assert_eq!(harness.take_output(), [7]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: BroadcastProcessFunction<T, B>>(&self, function: F) -> DataStream<F::Out> {
        let function = OfBroadcast(function);
        let stream = self.marked.try_operator("broadcast_process", true, move |context| {
            Process::<Either<T, B>, _>::new(function.clone(), context)
        });
        let states = Process::<Either<T, B>, OfBroadcast<F>>::states();
        stream.with_states(states).with_side_outputs()
    }
}

/// A keyed stream, and another one that every subtask of the operator sees in whole.
pub struct KeyedBroadcastConnectedStream<K, T, B> {
    marked: DataStream<Either<T, B>>,
    selector: Box<dyn KeySelector<K, T>>,
}

impl<K: Key, T: Record, B: Record> KeyedBroadcastConnectedStream<K, T, B> {
    pub(crate) fn new(stream: &KeyedStream<K, T>, broadcast: &DataStream<B>) -> Self {
        let marked = DataStream::marked(stream.stream(), &broadcast.broadcast());
        Self { marked, selector: stream.selector() }
    }

    /// Handles the records of the keyed stream, with state and timers per key, with what is kept of the
    /// broadcast one: see `docs/state.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// /// Lets pass what is allowed.
    /// #[derive(Clone)]
    /// struct Allowed;
    ///
    /// #[derive(OperatorState)]
    /// struct Rules {
    ///     allowed: BroadcastState<u64, bool>,
    /// }
    ///
    /// impl KeyedBroadcastProcessFunction<u64, u64, u64> for Allowed {
    ///     type State = ();
    ///     type Broadcast = Rules;
    ///     type Out = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         rules: &Rules,
    ///         ctx: &mut ProcessContext<'_, u64, (), u64>,
    ///     ) -> FunctionResult {
    ///         if rules.allowed.get(&n) == Some(&true) {
    ///             ctx.emit(n);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         n: u64,
    ///         ctx: &mut OperatorContext<'_, Rules, u64>,
    ///     ) -> FunctionResult {
    ///         ctx.state.allowed.insert(n, true);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = TwoInputHarness::new(|numbers: DataStream<u64>, allowed: DataStream<u64>| {
    ///     numbers.key_by(|n| *n).connect_broadcast(&allowed).process(Allowed)
    /// });
    /// harness.push_right([7])?;
    /// harness.push_left([7, 8])?;
    /// assert_eq!(harness.take_output(), [7]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: KeyedBroadcastProcessFunction<K, T, B>>(
        &self,
        function: F,
    ) -> DataStream<F::Out> {
        let selector = self.selector.boxed();
        let stream = self.marked.try_operator("broadcast_process", true, move |context| {
            KeyedBroadcastProcess::new(selector.boxed(), function.clone(), context)
        });
        let states = KeyedBroadcastProcess::<K, T, B, F>::states();
        stream.with_states(states).with_side_outputs()
    }
}
