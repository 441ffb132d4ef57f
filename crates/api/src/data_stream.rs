//! [`DataStream`]: a typed handle on records of the graph, and its verbs.

use crate::environment::StreamExecutionEnvironment;
use crate::keyed_stream::KeyedStream;
use crate::stream_graph::{
    Chaining, NodeBody, NodeId, Ship, SideTag, StreamEdge, StreamNode, forward,
};
use millstream_core::error::Location;
use millstream_core::job_graph::ShipStrategy;
use millstream_core::job_state::DeclaredState;
use millstream_core::{Key, OperatorError, Record};
use millstream_operator::asynchronous::{AsyncFn, AsyncFunction, AsyncOptions, AsyncWait};
use millstream_operator::batch::SortedInput;
use millstream_operator::batch::sorted_input::is_sorted;
use millstream_operator::context::{RoutingFunction, TaskContext};
use millstream_operator::either::{Either, Lift};
use millstream_operator::flat_map::{FlatMap, FlatMapWith, Out};
use millstream_operator::key::{ByRef, ByValue, KeySelector};
use millstream_operator::map::{Filter, FilterMap, Map, TryMap};
use millstream_operator::operator::Operator;
use millstream_operator::partitioner::CustomRouter;
use millstream_operator::plan::{Factory, RouterContext};
use millstream_operator::process::{Process, ProcessFunction};
use millstream_operator::side_output::OutputTag;
use millstream_operator::sink::Sink;
use millstream_operator::sink_operator::SinkOperator;
use millstream_operator::watermark::{AssignTimestampsAndWatermarks, WatermarkStrategy};
use millstream_shuffle::partition::{
    BatchPrototype, BroadcastRouter, RoundRobinRouter, Router, ShuffleRouter,
};
use std::marker::PhantomData;

/// Records of type `T`, on their way from one operator to the next.
///
/// One type for every stream of `T`s: it can be named, returned and stored. The type is here for
/// the user's compiler; the graph below knows nothing of it. Settings like [`DataStream::name`]
/// speak of the operator that was declared last.
pub struct DataStream<T> {
    env: StreamExecutionEnvironment,
    upstream: Vec<Upstream>,
    _record: PhantomData<fn() -> T>,
}

/// A node whose records are meant, and how they are to travel.
struct Upstream {
    node: NodeId,
    side: Option<SideTag>,
    lift: Option<Lift>,
    ship: Option<MakeShip>,
}

/// A stream may be used more than once; each use makes its own routers.
type MakeShip = std::rc::Rc<dyn Fn() -> Ship>;

impl<T> Clone for DataStream<T> {
    /// A second use of the same records: each consumer gets all of them.
    fn clone(&self) -> Self {
        let copy = |u: &Upstream| Upstream {
            node: u.node,
            side: u.side.clone(),
            lift: u.lift.clone(),
            ship: u.ship.clone(),
        };
        let upstream = self.upstream.iter().map(copy).collect();
        Self { env: self.env.clone(), upstream, _record: PhantomData }
    }
}

impl<T: Record> DataStream<T> {
    pub(crate) fn of_node(env: StreamExecutionEnvironment, node: NodeId) -> Self {
        Self {
            env,
            upstream: vec![Upstream { node, side: None, lift: None, ship: None }],
            _record: PhantomData,
        }
    }

    /// Applies a function to each record.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| numbers.map(|n| n * 2));
    /// harness.push([1, 2])?;
    /// assert_eq!(harness.take_output(), [2, 4]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map<U: Record>(
        &self,
        function: impl Fn(T) -> U + Clone + Send + 'static,
    ) -> DataStream<U> {
        self.operator("map", false, move |_| Map::new(function.clone()))
    }

    /// Applies a function that can fail. The first error fails the task, with the operator's name
    /// and line.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|words: DataStream<Str>| {
    ///     words.try_map(|word| word.parse::<u64>()).name("to numbers")
    /// });
    /// harness.push(["7".into()])?;
    /// assert_eq!(harness.take_output(), [7]);
    /// let error = harness.push(["seven".into()]).expect_err("it is no number");
    /// assert!(error.to_string().contains("to numbers"));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn try_map<U: Record, E: Into<Box<dyn std::error::Error>>>(
        &self,
        function: impl Fn(T) -> Result<U, E> + Clone + Send + 'static,
    ) -> DataStream<U> {
        self.operator("try_map", false, move |_| {
            let function = function.clone();
            TryMap::new(move |record| {
                function(record).map_err(|error| OperatorError::from_error(error.into().as_ref()))
            })
        })
    }

    /// Applies a function that gives one record or none.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.filter_map(|n| n.checked_sub(2)));
    /// harness.push([1, 5])?;
    /// assert_eq!(harness.take_output(), [3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn filter_map<U: Record>(
        &self,
        function: impl Fn(T) -> Option<U> + Clone + Send + 'static,
    ) -> DataStream<U> {
        self.operator("filter_map", false, move |_| FilterMap::new(function.clone()))
    }

    /// Keeps the records for which the predicate is true.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| numbers.filter(|n| n % 2 == 0));
    /// harness.push([1, 2, 3, 4])?;
    /// assert_eq!(harness.take_output(), [2, 4]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn filter(&self, predicate: impl Fn(&T) -> bool + Clone + Send + 'static) -> DataStream<T> {
        self.operator("filter", false, move |_| Filter::new(predicate.clone()))
    }

    /// Applies a function that gives any number of records. It may give very many: the engine takes
    /// them as there is room.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| numbers.flat_map(|n| 0..n));
    /// harness.push([1, 3])?;
    /// assert_eq!(harness.take_output(), [0, 0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map<I: IntoIterator<Item: Record, IntoIter: 'static> + 'static>(
        &self,
        function: impl Fn(T) -> I + Clone + Send + 'static,
    ) -> DataStream<I::Item> {
        self.operator("flat_map", false, move |_| FlatMap::new(function.clone()))
    }

    /// Applies a function that pushes any number of records, and may borrow from its input while it
    /// does. All that it pushes for one record is held in memory.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|lines: DataStream<Str>| {
    ///     lines.flat_map_with(|line, out| line.split(' ').for_each(|word| out.push(word.len() as u64)))
    /// });
    /// harness.push(["to be or".into(), "not".into()])?;
    /// assert_eq!(harness.take_output(), [2, 2, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map_with<U: Record>(
        &self,
        function: impl Fn(&T, &mut Out<'_, U>) + Clone + Send + 'static,
    ) -> DataStream<U> {
        self.operator("flat_map_with", false, move |_| FlatMapWith::new(function.clone()))
    }

    /// Gives each record a time and makes watermarks: from here on the stream has event time. Watermarks
    /// that come in go no further. See `docs/event-time.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|events: DataStream<(u64, Timestamp)>| {
    ///     let strategy = WatermarkStrategy::for_monotonous_timestamps()
    ///         .with_timestamp_assigner(|event: &(u64, Timestamp)| event.1);
    ///     events.assign_timestamps_and_watermarks(strategy)
    /// });
    /// harness.push([(7, 1_000)])?;
    /// assert_eq!(harness.take_timed_output(), [((7, 1_000), Some(1_000))]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn assign_timestamps_and_watermarks(
        &self,
        strategy: WatermarkStrategy<T>,
    ) -> DataStream<T> {
        self.try_operator("assign_timestamps_and_watermarks", false, move |context| {
            AssignTimestampsAndWatermarks::new(strategy.clone(), context)
        })
    }

    /// Groups the records by a key that is computed.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| numbers.key_by(|n| n % 2).count());
    /// harness.push([1, 2, 3])?;
    /// assert_eq!(harness.take_output(), [(1, 1), (0, 1), (1, 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn key_by<K: Key>(
        &self,
        key: impl Fn(&T) -> K + Clone + Send + 'static,
    ) -> KeyedStream<K, T> {
        KeyedStream::new(self.clone(), Box::new(ByValue(key)))
    }

    /// Groups the records by a key that they contain.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|words: DataStream<Str>| words.key_by_ref(|word| word).count());
    /// harness.push(["to".into(), "to".into()])?;
    /// assert_eq!(harness.take_output(), [("to".into(), 1), ("to".into(), 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn key_by_ref<K: Key>(
        &self,
        key: impl for<'a> Fn(&'a T) -> &'a K + Clone + Send + 'static,
    ) -> KeyedStream<K, T> {
        KeyedStream::new(self.clone(), Box::new(ByRef(key)))
    }

    /// What the function that gives this stream gave out under a tag, with `ctx.output(&tag, record)`.
    ///
    /// ```
    /// use millstream_operator::process::{FunctionResult, KeyedProcessFunction, ProcessContext};
    /// use millstream_operator::side_output::OutputTag;
    /// # use millstream_api::DataStream;
    ///
    /// #[derive(Clone)]
    /// struct Split {
    ///     odd: OutputTag<u64>,
    /// }
    ///
    /// impl KeyedProcessFunction<u64, u64> for Split {
    ///     type State = ();
    ///     type Out = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         ctx: &mut ProcessContext<'_, u64, (), u64>,
    ///     ) -> FunctionResult {
    ///         if n % 2 == 0 { ctx.emit(n) } else { ctx.output(&self.odd, n) }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn both(numbers: DataStream<u64>) -> (DataStream<u64>, DataStream<u64>) {
    ///     let odd = OutputTag::new("odd");
    ///     let even = numbers.key_by(|n| n % 10).process(Split { odd: odd.clone() }).name("split");
    ///     (even.clone(), even.side_output(&odd))
    /// }
    /// ```
    pub fn side_output<S: Record>(&self, tag: &OutputTag<S>) -> DataStream<S> {
        let [Upstream { node, side: None, .. }] = &self.upstream[..] else {
            panic!("only an operator has side outputs: ask the stream that it gives for `{tag:?}`")
        };
        let (side, lift) = (Some(SideTag::of(tag)), None);
        let upstream = Upstream { node: *node, side, lift, ship: None };
        DataStream { env: self.env.clone(), upstream: vec![upstream], _record: PhantomData }
    }

    /// The operator that was declared last has this state: it is named in the job graph, so that the
    /// program is held against a savepoint before anything starts.
    pub(crate) fn with_states(self, states: Vec<DeclaredState>) -> Self {
        self.change(|node| node.states = Some(states))
    }

    /// The operator that was declared last can have side outputs.
    pub(crate) fn with_side_outputs(self) -> Self {
        self.change(|node| node.gives_sides = true)
    }

    /// Handles each record with a function that has side outputs, and state of the subtask: see
    /// `docs/state.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// /// Drops what comes a second time in a row.
    /// #[derive(Clone, Default)]
    /// struct Changes(Option<u64>);
    ///
    /// impl ProcessFunction<u64> for Changes {
    ///     type State = ();
    ///     type Out = u64;
    ///
    ///     fn process(&mut self, n: u64, ctx: &mut OperatorContext<'_, (), u64>) -> FunctionResult {
    ///         if self.0.replace(n) != Some(n) {
    ///             ctx.emit(n);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| numbers.process(Changes::default()));
    /// harness.push([1, 1, 2, 2, 1])?;
    /// assert_eq!(harness.take_output(), [1, 2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: ProcessFunction<T>>(&self, function: F) -> DataStream<F::Out> {
        let stream = self.try_operator("process", true, move |context| {
            Process::<T, F>::new(function.clone(), context)
        });
        stream.with_states(Process::<T, F>::states()).with_side_outputs()
    }

    /// Asks somebody outside about each record, without waiting for one answer before the next question:
    /// see `docs/async.md`. The future runs in the `tokio` runtime of the job process.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|users: DataStream<u64>| {
    ///     let options = AsyncOptions::ordered().capacity(100);
    ///     // In place of a call over the network.
    ///     users.async_map(options, |user| async move { Ok::<_, std::io::Error>((user, user * 10)) })
    /// });
    /// harness.push([1, 2])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(1, 10), (2, 20)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn async_map<U, E, Fut>(
        &self,
        options: AsyncOptions,
        function: impl Fn(T) -> Fut + Clone + Send + 'static,
    ) -> DataStream<U>
    where
        U: Record,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        Fut: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.async_operator("async_map", options, AsyncFn(function))
    }

    /// The same with a function that has a beginning and an end, and says what to give when no answer
    /// comes.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// /// In place of a service.
    /// #[derive(Clone)]
    /// struct Prices;
    ///
    /// impl AsyncFunction<u64> for Prices {
    ///     type Out = (u64, u64);
    ///
    ///     fn call(
    ///         &mut self,
    ///         thing: u64,
    ///     ) -> impl Future<Output = AsyncResult<(u64, u64)>> + Send + 'static {
    ///         async move { Ok((thing, thing * 100)) }
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|things: DataStream<u64>| {
    ///     things.async_process(AsyncOptions::unordered(), Prices)
    /// });
    /// harness.push([3])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(3, 300)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn async_process<F: AsyncFunction<T>>(
        &self,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<F::Out> {
        self.async_operator("async_process", options, function)
    }

    #[track_caller]
    fn async_operator<F: AsyncFunction<T>>(
        &self,
        verb: &'static str,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<F::Out> {
        let stream = self.try_operator(verb, true, move |context| {
            AsyncWait::<T, F>::new(function.clone(), options.clone(), context)
        });
        // It reads only what it can take, so nothing may stand between it and its input.
        stream.with_states(AsyncWait::<T, F>::states()).start_new_chain()
    }

    /// The records of several streams. Order is kept per stream only.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TwoInputHarness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     TwoInputHarness::new(|a: DataStream<u64>, b: DataStream<u64>| a.union(&[&b]).map(|n| n));
    /// harness.push_left([1])?;
    /// harness.push_right([2])?;
    /// assert_eq!(harness.take_output(), [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn union(&self, others: &[&DataStream<T>]) -> DataStream<T> {
        let mut union = self.clone();
        for other in others {
            union.upstream.extend(DataStream::clone(other).upstream);
        }
        union
    }

    /// To all subtasks of the next operator in turn.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.rebalance().map(|n| n)).with_parallelism(2);
    /// harness.push([1, 2, 3])?;
    /// let mut all = harness.take_output();
    /// all.sort_unstable();
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebalance(&self) -> DataStream<T> {
        self.shipped(|| {
            Ship::new(ShipStrategy::Rebalance, "rebalance", |edge: &RouterContext| {
                Box::new(RoundRobinRouter::new(edge.task.subtask))
            })
        })
    }

    /// In turn to a share of the next operator's subtasks: less traffic than [`Self::rebalance`].
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.rescale().map(|n| n)).with_parallelism(2);
    /// harness.push([1, 2, 3])?;
    /// let mut all = harness.take_output();
    /// all.sort_unstable();
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rescale(&self) -> DataStream<T> {
        self.shipped(|| {
            Ship::new(ShipStrategy::Rescale, "rescale", |_: &RouterContext| {
                Box::new(RoundRobinRouter::new(0))
            })
        })
    }

    /// To subtasks of the next operator at random.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.shuffle().map(|n| n)).with_parallelism(2);
    /// harness.push([1, 2, 3])?;
    /// let mut all = harness.take_output();
    /// all.sort_unstable();
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shuffle(&self) -> DataStream<T> {
        self.shipped(|| {
            Ship::new(ShipStrategy::Shuffle, "shuffle", |edge: &RouterContext| {
                Box::new(ShuffleRouter::new(u64::from(edge.task.subtask)))
            })
        })
    }

    /// To every subtask of the next operator.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.broadcast().map(|n| n)).with_parallelism(2);
    /// harness.push([1, 2])?;
    /// let mut all = harness.take_output();
    /// all.sort_unstable();
    /// assert_eq!(all, [1, 1, 2, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast(&self) -> DataStream<T> {
        self.shipped(|| {
            Ship::new(ShipStrategy::Broadcast, "broadcast", |_: &RouterContext| {
                Box::new(BroadcastRouter)
            })
        })
    }

    /// To the subtask of the same index; both operators must have the same parallelism.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     numbers.forward().map(|n| n + 1).set_parallelism(1)
    /// });
    /// harness.push([1])?;
    /// assert_eq!(harness.take_output(), [2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forward(&self) -> DataStream<T> {
        self.shipped(forward)
    }

    /// To the first subtask of the next operator.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.global().map(|n| n)).with_parallelism(2);
    /// harness.push([1, 2, 3])?;
    /// let mut all = harness.take_output();
    /// all.sort_unstable();
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn global(&self) -> DataStream<T> {
        self.partition(ShipStrategy::Global, "global", |_, _| 0)
    }

    /// To the subtask that the function chooses: a number below its second argument, which is the
    /// parallelism of the next operator.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     numbers.partition_custom(|n, subtasks| *n as u32 % subtasks).map(|n| n)
    /// })
    /// .with_parallelism(2);
    /// harness.push([1, 2, 3, 4])?;
    /// // What has come out, by subtask.
    /// assert_eq!(harness.take_output(), [2, 4, 1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn partition_custom(
        &self,
        partitioner: impl Fn(&T, u32) -> u32 + Clone + Send + 'static,
    ) -> DataStream<T> {
        self.partition(ShipStrategy::Custom, "custom", partitioner)
    }

    #[track_caller]
    fn partition(
        &self,
        strategy: ShipStrategy,
        signature: &'static str,
        partitioner: impl Fn(&T, u32) -> u32 + Clone + Send + 'static,
    ) -> DataStream<T> {
        let function = RoutingFunction { what: "partitioner", declared_at: Location::caller() };
        self.shipped(move || {
            let partitioner = partitioner.clone();
            let make = move |_: &RouterContext| -> Box<dyn Router> {
                Box::new(CustomRouter::new(partitioner.clone()))
            };
            Ship::new(strategy, signature, make).calling(function.clone())
        })
    }

    /// The same records, to travel in this way.
    pub(crate) fn shipped(&self, ship: impl Fn() -> Ship + 'static) -> DataStream<T> {
        let ship: MakeShip = std::rc::Rc::new(ship);
        let mut stream = self.clone();
        for upstream in &mut stream.upstream {
            upstream.ship = Some(ship.clone());
        }
        stream
    }

    /// The same records, without a choice of how they travel.
    pub(crate) fn straight(&self) -> DataStream<T> {
        let mut stream = self.clone();
        for upstream in &mut stream.upstream {
            upstream.ship = None;
        }
        stream
    }

    /// Ends the stream in a sink.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let seen = sink::collect();
    /// test.env().source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// test.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sink<S: Sink<T>>(&self, name: &str, sink: S) -> DataStreamSink {
        let parallelism_max = sink.parallelism_max();
        let body = NodeBody::Operator {
            factory: Factory::new(move |context| {
                let operator = SinkOperator::new(sink.writer(context)?, context)?;
                Ok(Box::new(operator) as Box<dyn Operator>)
            }),
            input_type: BatchPrototype::of::<T>(),
        };
        let kind = format!("sink <- {}", T::schema());
        let node = self.add::<()>(name, true, false, kind, body);
        self.env.change(node, |node| node.parallelism_max = parallelism_max);
        DataStreamSink { env: self.env.clone(), node }
    }

    #[track_caller]
    pub(crate) fn operator<U: Record, O>(
        &self,
        verb: &'static str,
        stateful: bool,
        mut make: impl FnMut(&TaskContext) -> O + Send + 'static,
    ) -> DataStream<U>
    where
        O: Operator + 'static,
    {
        self.try_operator(verb, stateful, move |context| Ok(make(context)))
    }

    /// An operator that may fail to begin.
    #[track_caller]
    pub(crate) fn try_operator<U: Record, O>(
        &self,
        verb: &'static str,
        stateful: bool,
        make: impl FnMut(&TaskContext) -> Result<O, OperatorError> + Send + 'static,
    ) -> DataStream<U>
    where
        O: Operator + 'static,
    {
        let kind = format!("{verb} {} -> {}", T::schema(), U::schema());
        let node = self.add::<U>(verb, false, stateful, kind, NodeBody::operator::<T, O>(make));
        DataStream::of_node(self.env.clone(), node)
    }

    /// An operator with state per key that may fail to begin: in BATCH mode its records come sorted by
    /// keys.
    #[track_caller]
    pub(crate) fn keyed_operator<K: Key, U: Record, O>(
        &self,
        verb: &'static str,
        selector: Box<dyn KeySelector<K, T>>,
        mut make: impl FnMut(&TaskContext) -> Result<O, OperatorError> + Send + 'static,
    ) -> DataStream<U>
    where
        O: Operator + 'static,
    {
        let body = NodeBody::Operator {
            factory: Factory::new(move |context| {
                let operator = make(context)?;
                let operator: Box<dyn Operator> = match is_sorted(context)? {
                    true => Box::new(SortedInput::new(operator, selector.boxed(), context)?),
                    false => Box::new(operator),
                };
                Ok(operator)
            }),
            input_type: BatchPrototype::of::<T>(),
        };
        let kind = format!("{verb} {} -> {}", T::schema(), U::schema());
        let node = self.add::<U>(verb, false, true, kind, body);
        DataStream::of_node(self.env.clone(), node)
    }

    #[track_caller]
    fn add<U: Record>(
        &self,
        name: &str,
        named: bool,
        stateful: bool,
        kind: String,
        body: NodeBody,
    ) -> NodeId {
        let inputs = self.upstream.iter().map(|upstream| StreamEdge {
            from: upstream.node,
            side: upstream.side.clone(),
            lift: upstream.lift.clone(),
            ship: upstream.ship.as_ref().map(|make| make()),
        });
        self.env.add(StreamNode {
            kind,
            name: name.to_owned(),
            named,
            stateful,
            states: (!stateful && !named).then(Vec::new),
            gives_sides: false,
            uid: None,
            declared_at: Location::caller(),
            parallelism: None,
            parallelism_max: None,
            max_parallelism: None,
            slot_sharing_group: None,
            chaining: Chaining::Always,
            inputs: inputs.collect(),
            body,
            output_type: BatchPrototype::of::<U>(),
        })
    }

    fn change(self, change: impl FnOnce(&mut StreamNode)) -> Self {
        let [upstream @ Upstream { side: None, .. }] = &self.upstream[..] else {
            panic!(
                "a union or a side output is no operator: \
                 name or configure the operator that gives or reads it"
            )
        };
        self.env.change(upstream.node, change);
        self
    }
}

impl<A: Record, B: Record> DataStream<Either<A, B>> {
    /// The records of two streams, marked with which of them they are of.
    pub(crate) fn marked(first: &DataStream<A>, second: &DataStream<B>) -> Self {
        let lifted = |upstream: Vec<Upstream>, lift: fn() -> Lift| {
            upstream.into_iter().map(move |u| Upstream { lift: Some(lift()), ..u })
        };
        let upstream = lifted(first.clone().upstream, Lift::first::<A, B>)
            .chain(lifted(second.clone().upstream, Lift::second::<A, B>));
        Self { env: first.env.clone(), upstream: upstream.collect(), _record: PhantomData }
    }
}

/// The settings that operators and sinks have in common.
macro_rules! settings {
    () => {
        /// What people see: in logs, errors, REST and metrics. A named operator keeps its identity
        /// when the program around it changes.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).name("increments")
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn name(self, name: &str) -> Self {
            self.change(|node| {
                node.name = name.to_owned();
                node.named = true;
            })
        }

        /// The operator's identity for state and savepoints, independent of its name.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).uid("increments-1")
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn uid(self, uid: &str) -> Self {
            self.change(|node| node.uid = Some(uid.to_owned()))
        }

        /// In how many subtasks the operator runs.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).set_parallelism(1)
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn set_parallelism(self, parallelism: u32) -> Self {
            self.change(|node| node.parallelism = Some(parallelism))
        }

        /// How many key groups the operator has.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).max_parallelism(720)
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn max_parallelism(self, groups: u32) -> Self {
            self.change(|node| node.max_parallelism = Some(groups))
        }

        /// Subtasks of operators of different groups never share a slot. Operators that set none
        /// are in the group of their inputs, else in `default`.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).slot_sharing_group("heavy")
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn slot_sharing_group(self, group: &str) -> Self {
            self.change(|node| node.slot_sharing_group = Some(group.to_owned()))
        }

        /// Does not run the operator in one task with the one before it.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).start_new_chain()
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn start_new_chain(self) -> Self {
            self.change(|node| node.chaining = Chaining::Head)
        }

        /// Runs the operator in tasks of its own.
        ///
        /// ```
        /// # use millstream::prelude::*;
        /// # use millstream::testing::Harness;
        /// # fn main() -> Result<()> {
        /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
        ///     numbers.map(|n| n + 1).disable_chaining()
        /// });
        /// harness.push([1])?;
        /// assert_eq!(harness.take_output(), [2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn disable_chaining(self) -> Self {
            self.change(|node| node.chaining = Chaining::Never)
        }
    };
}

impl<T: Record> DataStream<T> {
    settings!();
}

/// The end of a stream: settings of a sink.
pub struct DataStreamSink {
    env: StreamExecutionEnvironment,
    node: NodeId,
}

impl DataStreamSink {
    settings!();

    fn change(self, change: impl FnOnce(&mut StreamNode)) -> Self {
        self.env.change(self.node, change);
        self
    }
}
