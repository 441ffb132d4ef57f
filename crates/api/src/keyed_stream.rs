//! [`KeyedStream`]: records grouped by key, and their rolling aggregates.
//!
//! Aggregates give the key with its value. In STREAMING mode every record gives the value as it
//! then is; in BATCH mode each key gives its final value once. [`KeyedStream::reduce`] gives
//! records of the stream's own type, without the key.

use crate::data_stream::DataStream;
use crate::stream_graph::Ship;
use millstream_core::error::Location;
use millstream_core::job_graph::ShipStrategy;
use millstream_core::{Key, Record};
use millstream_operator::aggregate::{Fold, Reduce, aggregate_states};
use millstream_operator::combine::{AlreadyHashed, Combine};
use millstream_operator::context::RoutingFunction;
use millstream_operator::key::{ByRef, KeySelector, SelectorKeying};
use millstream_operator::plan::RouterContext;
use millstream_operator::process::{KeyedProcess, KeyedProcessFunction};
use millstream_shuffle::partition::HashRouter;
use std::ops::AddAssign;
use std::rc::Rc;

/// Records of type `T`, grouped by keys of type `K`.
pub struct KeyedStream<K, T> {
    stream: DataStream<T>,
    selector: Rc<dyn KeySelector<K, T>>,
}

impl<K, T> Clone for KeyedStream<K, T> {
    /// A second use of the same records: each consumer gets all of them.
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone(), selector: self.selector.clone() }
    }
}

impl<K: Key, T: Record> KeyedStream<K, T> {
    #[track_caller]
    pub(crate) fn new(stream: DataStream<T>, selector: Box<dyn KeySelector<K, T>>) -> Self {
        const { assert!(K::CANONICAL, "a key needs one encoding: no floats, no unordered maps") };
        let selector: Rc<dyn KeySelector<K, T>> = selector.into();
        let for_edges = selector.clone();
        let signature = format!("hash {}", K::schema());
        let function = RoutingFunction { what: "key selector", declared_at: Location::caller() };
        let stream = stream.shipped(move || {
            let selector = for_edges.boxed();
            let ship =
                Ship::new(ShipStrategy::Hash, signature.clone(), move |edge: &RouterContext| {
                    let keying = Box::new(SelectorKeying::new(selector.boxed()));
                    Box::new(HashRouter::new(keying, edge.consumer_max_parallelism))
                });
            ship.calling(function.clone())
        });
        Self { stream, selector }
    }

    /// A stream whose records travel by these keys already.
    pub(crate) fn of_grouped(stream: DataStream<T>, selector: Box<dyn KeySelector<K, T>>) -> Self {
        Self { stream, selector: selector.into() }
    }

    /// Changes a value per key with each of its records. `init` makes the value of a new key.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).fold(|| 1, |product: &mut u64, number| *product *= number.1)
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 10)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn fold<A: Record>(
        &self,
        init: impl Fn() -> A + Clone + Send + 'static,
        add: impl Fn(&mut A, T) + Clone + Send + 'static,
    ) -> DataStream<(K, A)> {
        self.fold_as("fold", init, add)
    }

    #[track_caller]
    fn fold_as<A: Record>(
        &self,
        verb: &'static str,
        init: impl Fn() -> A + Clone + Send + 'static,
        add: impl Fn(&mut A, T) + Clone + Send + 'static,
    ) -> DataStream<(K, A)> {
        let selector = self.selector.boxed();
        let folded = self.stream.operator(verb, true, move |context| {
            Fold::new(selector.boxed(), init.clone(), add.clone(), context)
        });
        folded.with_states(aggregate_states::<K, A>())
    }

    /// Joins each record to what the key's former records gave. The first passes as it is.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).reduce(|a, b| (a.0, a.1 + b.1))
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 7)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce(&self, join: impl Fn(T, T) -> T + Clone + Send + 'static) -> DataStream<T> {
        self.reduce_as("reduce", join)
    }

    #[track_caller]
    pub(crate) fn reduce_as(
        &self,
        verb: &'static str,
        join: impl Fn(T, T) -> T + Clone + Send + 'static,
    ) -> DataStream<T> {
        let selector = self.selector.boxed();
        let reduced = self.stream.operator(verb, true, move |context| {
            let begin = |record: T| record;
            let output = |_: K, value: T| value;
            Reduce::new(selector.boxed(), begin, join.clone(), output, context)
        });
        reduced.with_states(aggregate_states::<K, T>())
    }

    /// The number of records per key.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).count()
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 1), (7, 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn count(&self) -> DataStream<(K, u64)> {
        self.fold_as("count", || 0, |count: &mut u64, _| *count += 1)
    }

    /// The sum of a number of each record, per key.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).sum(|number| number.1)
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 7)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sum<N: Record + AddAssign + Default>(
        &self,
        number: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<(K, N)> {
        self.fold_as("sum", N::default, move |sum: &mut N, record| *sum += number(&record))
    }

    /// The least value of the records, per key. Of values that cannot be compared the first stays.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).min(|number| number.1)
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn min<V: Record + PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<(K, V)> {
        self.extreme("min", value, |new, old| new < old)
    }

    /// The greatest value of the records, per key. Of values that cannot be compared the first stays.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
    ///     numbers.key_by(|number| number.0).max(|number| number.1)
    /// });
    /// harness.push([(7, 2), (7, 5)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 5)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn max<V: Record + PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<(K, V)> {
        self.extreme("max", value, |new, old| new > old)
    }

    #[track_caller]
    fn extreme<V: Record>(
        &self,
        verb: &'static str,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
        wins: fn(&V, &V) -> bool,
    ) -> DataStream<(K, V)> {
        let selector = self.selector.boxed();
        let extremes = self.stream.operator(verb, true, move |context| {
            let (begin, of) = (value.clone(), value.clone());
            let begin = move |record: T| begin(&record);
            let join = move |old: V, record: T| {
                let new = of(&record);
                if wins(&new, &old) { new } else { old }
            };
            Reduce::new(selector.boxed(), begin, join, |key: K, value: V| (key, value), context)
        });
        extremes.with_states(aggregate_states::<K, V>())
    }

    /// Handles each record with a function that has state and timers per key: see `docs/state.md`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// /// Numbers the records of each key.
    /// #[derive(Clone)]
    /// struct Numbered;
    ///
    /// #[derive(KeyedState)]
    /// struct Seen {
    ///     count: u64,
    /// }
    ///
    /// impl KeyedProcessFunction<u64, u64> for Numbered {
    ///     type State = Seen;
    ///     type Out = (u64, u64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         n: u64,
    ///         ctx: &mut ProcessContext<'_, u64, Seen, (u64, u64)>,
    ///     ) -> FunctionResult {
    ///         ctx.state.count += 1;
    ///         let count = ctx.state.count;
    ///         ctx.emit((n, count));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness =
    ///     Harness::new(|numbers: DataStream<u64>| numbers.key_by(|n| *n).process(Numbered));
    /// harness.push([4, 9, 4])?;
    /// assert_eq!(harness.take_output(), [(4, 1), (9, 1), (4, 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn process<F: KeyedProcessFunction<K, T>>(&self, function: F) -> DataStream<F::Out> {
        self.process_as("process", function)
    }

    #[track_caller]
    pub(crate) fn process_as<F: KeyedProcessFunction<K, T>>(
        &self,
        verb: &'static str,
        function: F,
    ) -> DataStream<F::Out> {
        let (selector, sorting) = (self.selector.boxed(), self.selector.boxed());
        let stream = self.stream.keyed_operator(verb, sorting, move |context| {
            KeyedProcess::new(selector.boxed(), function.clone(), context)
        });
        stream.with_states(KeyedProcess::<K, T, F>::states()).with_side_outputs()
    }

    /// The same records on the same way, by key, for an operator that knows of no keys.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     // All sevens are in one subtask.
    ///     numbers.key_by(|n| *n).ungrouped().map(|n| n + 1)
    /// })
    /// .with_parallelism(2);
    /// harness.push([7, 7])?;
    /// assert_eq!(harness.take_output(), [8, 8]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ungrouped(&self) -> DataStream<T> {
        self.stream.clone()
    }

    pub(crate) fn stream(&self) -> &DataStream<T> {
        &self.stream
    }

    pub(crate) fn selector(&self) -> Box<dyn KeySelector<K, T>> {
        self.selector.boxed()
    }

    /// Combines records of one key before they cross the exchange, as far as memory of a fixed size
    /// allows and for at most about 50 ms under load.
    ///
    /// Results then change in larger steps: a count may go from 3 to 7 at once. Final results are
    /// the same.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|words: DataStream<u64>| words.key_by(|n| *n).combine().count());
    /// harness.push([5, 5, 5])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output().last(), Some(&(5, 3)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn combine(&self) -> CombinedStream<K, T> {
        let selector = self.selector.clone();
        CombinedStream { stream: self.stream.straight(), selector }
    }
}

/// Records that are combined per key before they cross the exchange.
pub struct CombinedStream<K, T> {
    stream: DataStream<T>,
    selector: Rc<dyn KeySelector<K, T>>,
}

impl<K: Key, T: Record> CombinedStream<K, T> {
    /// The number of records per key.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     numbers
    ///         .key_by(|n| *n)
    ///         .combine()
    ///         .count()
    /// });
    /// harness.push([5, 5])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output().last(), Some(&(5, 2)));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn count(&self) -> DataStream<(K, u64)> {
        self.aggregate("count", |_| 1, |count: &mut u64, _| *count += 1, |a, b| *a += b)
    }

    /// The sum of a number of each record, per key.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     numbers
    ///         .key_by(|n| *n)
    ///         .combine()
    ///         .sum(|n| *n)
    /// });
    /// harness.push([5, 5])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output().last(), Some(&(5, 10)));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn sum<N: Record + AddAssign>(
        &self,
        number: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<(K, N)> {
        let first = number.clone();
        let begin = move |record: T| first(&record);
        let add = move |sum: &mut N, record: T| *sum += number(&record);
        self.aggregate("sum", begin, add, |a, b| *a += b)
    }

    /// Any aggregate that can be made in parts: `begin` makes one of a record, `add` adds a record,
    /// `merge` adds another part.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|numbers: DataStream<u64>| {
    ///     numbers
    ///         .key_by(|n| *n)
    ///         .combine()
    ///         .aggregate("most", |n| n, |most, n| *most = n.max(*most), |a, b| *a = b.max(*a))
    /// });
    /// harness.push([5, 5])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output().last(), Some(&(5, 5)));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn aggregate<A: Record>(
        &self,
        verb: &'static str,
        begin: impl Fn(T) -> A + Clone + Send + 'static,
        add: impl Fn(&mut A, T) + Clone + Send + 'static,
        merge: impl Fn(&mut A, A) + Clone + Send + 'static,
    ) -> DataStream<(K, A)> {
        let selector = self.selector.boxed();
        let parts: DataStream<(K, A)> = self.stream.operator("combine", false, move |_| {
            Combine::new(selector.boxed(), begin.clone(), add.clone())
        });
        let signature = format!("hash {}", K::schema());
        let parts = parts.shipped(move || {
            Ship::new(ShipStrategy::Hash, signature.clone(), |edge: &RouterContext| {
                Box::new(HashRouter::new(Box::new(AlreadyHashed), edge.consumer_max_parallelism))
            })
        });
        let merged = parts.operator(verb, true, move |context| {
            let key: Box<dyn KeySelector<K, (K, A)>> = Box::new(ByRef(first::<K, A>));
            let (begin, merge) = (|part: (K, A)| part.1, merge.clone());
            let join = move |mut sum: A, part: (K, A)| {
                merge(&mut sum, part.1);
                sum
            };
            Reduce::new(key, begin, join, |key: K, value: A| (key, value), context)
        });
        merged.with_states(aggregate_states::<K, A>())
    }
}

fn first<K, A>(pair: &(K, A)) -> &K {
    &pair.0
}
