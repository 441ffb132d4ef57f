//! The best, first and last records of each key, and tables of results that change.

use crate::data_stream::DataStream;
use crate::keyed_stream::KeyedStream;
use millstream_core::{Key, Record};
use millstream_operator::change::Change;
use millstream_operator::deduplicate::{Deduplicate, Keep, deduplicate_states};
use millstream_operator::materialize::{Materialize, materialize_states};
use millstream_operator::top_n::TopN;

impl<K: Key, T: Record> KeyedStream<K, T> {
    /// The `n` records of each key that are greatest in an order, as rows that change while records come:
    /// under key and rank, which is 1 for the greatest. Of equal records the one that came first is
    /// ahead. Records of lower rank are told again when they move.
    ///
    /// An order is anything that can be compared: a field, several as a tuple; of a number that is to
    /// rank upwards, its negative.
    ///
    /// ```
    /// # use millstream_api::DataStream;
    /// # use millstream_core::Str;
    /// /// The three fastest runners of each city: city, rank, name.
    /// fn fastest(times: DataStream<(Str, Str, i64)>) -> DataStream<(Str, u64, Str)> {
    ///     times
    ///         .key_by(|(city, _, _)| city.clone())
    ///         .top_n(3, |(_, _, seconds)| -seconds)
    ///         .name("fastest")
    ///         .map(|change| change.map(|(_, rank), (city, name, _)| (city, *rank, name)))
    ///         .materialize()
    /// }
    /// ```
    ///
    /// # Panics
    /// If `n` is 0.
    #[track_caller]
    pub fn top_n<N: Record + PartialOrd>(
        &self,
        n: usize,
        order: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<Change<(K, u64), T>> {
        self.process_as("top_n", TopN::new(n, order))
    }

    /// The first record of each key; those that come later are dropped. Keys are kept for ever.
    ///
    /// ```
    /// # use millstream_api::DataStream;
    /// fn once(orders: DataStream<(u64, i64)>) -> DataStream<(u64, i64)> {
    ///     orders.key_by(|order| order.0).deduplicate().name("each order once")
    /// }
    /// ```
    #[track_caller]
    pub fn deduplicate(&self) -> DataStream<T> {
        self.deduplicated("deduplicate", Keep::First, |_| (), |_, record| record)
    }

    /// The record of each key that is least in an order, say, that of its times: as rows that change
    /// whenever a record comes that is less than all before it.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|readings: DataStream<(u64, i64)>| {
    ///     readings.key_by(|reading| reading.0).deduplicate_first_by(|reading| reading.1)
    /// });
    /// harness.push([(7, 20), (7, 10), (7, 30)])?;
    /// let expected = [(7, 20), (7, 10)].map(|reading| Change::Upsert(7, reading));
    /// assert_eq!(harness.take_output(), expected);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn deduplicate_first_by<N: Record + PartialOrd>(
        &self,
        order: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<Change<K, T>> {
        self.deduplicated("deduplicate_first_by", Keep::First, order, Change::Upsert)
    }

    /// The record of each key that is greatest in an order, say, that of its times: as rows that change
    /// whenever a record comes that is not less than all before it.
    ///
    /// ```
    /// # use millstream_api::DataStream;
    /// /// The last known temperature of each sensor.
    /// fn newest(readings: DataStream<(u64, i64, f64)>) -> DataStream<(u64, i64, f64)> {
    ///     readings
    ///         .key_by(|(sensor, _, _)| *sensor)
    ///         .deduplicate_last_by(|(_, time, _)| *time)
    ///         .name("newest")
    ///         .materialize()
    /// }
    /// ```
    #[track_caller]
    pub fn deduplicate_last_by<N: Record + PartialOrd>(
        &self,
        order: impl Fn(&T) -> N + Clone + Send + 'static,
    ) -> DataStream<Change<K, T>> {
        self.deduplicated("deduplicate_last_by", Keep::Last, order, Change::Upsert)
    }

    #[track_caller]
    fn deduplicated<N: Record + PartialOrd, R: Record>(
        &self,
        verb: &'static str,
        keep: Keep,
        order: impl Fn(&T) -> N + Clone + Send + 'static,
        output: fn(K, T) -> R,
    ) -> DataStream<R> {
        let selector = self.selector();
        let stream = self.stream().operator(verb, true, move |context| {
            Deduplicate::new(selector.boxed(), keep, order.clone(), output, context)
        });
        stream.with_states(deduplicate_states::<K, N>())
    }

    /// With each record the one of its key that has the least value so far; of equal ones the first.
    ///
    /// ```
    /// # use millstream_api::DataStream;
    /// fn cheapest(offers: DataStream<(u64, i64)>) -> DataStream<(u64, i64)> {
    ///     offers.key_by(|offer| offer.0).min_by(|offer| offer.1).name("cheapest so far")
    /// }
    /// ```
    #[track_caller]
    pub fn min_by<V: PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<T> {
        self.reduce_as(
            "min_by",
            move |least, record| {
                if value(&record) < value(&least) { record } else { least }
            },
        )
    }

    /// With each record the one of its key that has the greatest value so far; of equal ones the first.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|offers: DataStream<(u64, u64)>| {
    ///     offers.key_by(|offer| offer.0).max_by(|offer| offer.1)
    /// });
    /// harness.push([(7, 2), (7, 5), (7, 3)])?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 5), (7, 5)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn max_by<V: PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<T> {
        self.reduce_as(
            "max_by",
            move |most, record| {
                if value(&record) > value(&most) { record } else { most }
            },
        )
    }
}

impl<K: Key, R: Record> DataStream<Change<K, R>> {
    /// Applies the changes to a table and gives its rows when the input has ended: of each key the last
    /// one, unless it was deleted. Of input without end nothing is ever given; the changes themselves
    /// are what to write then, into something that knows keys.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::Harness;
    /// # fn main() -> Result<()> {
    /// let mut harness = Harness::new(|offers: DataStream<(u64, u64)>| {
    ///     offers.key_by(|offer| offer.0).top_n(1, |offer| offer.1).materialize()
    /// });
    /// harness.push([(7, 20), (7, 30), (7, 10)])?;
    /// assert!(harness.take_output().is_empty());
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(7, 30)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn materialize(&self) -> DataStream<R> {
        let keyed = self.key_by_ref(Change::key);
        let rows = keyed.stream().operator("materialize", true, Materialize::<K, R>::new);
        rows.with_states(materialize_states::<K, R>())
    }
}
