//! The least and the greatest of each window.

use crate::data_stream::DataStream;
use crate::windowed_stream::WindowedStream;
use millstream_core::{Key, Record};
use millstream_operator::context::TaskContext;
use millstream_operator::window::Windowed;
use millstream_operator::window::pane_operator::Emit;

impl<K: Key, T: Record> WindowedStream<K, T> {
    /// The least value of the records. Of values that cannot be compared the first stays.
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
    ///         .min(|number| number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn min<V: Record + PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<Windowed<K, V>> {
        self.extreme("window_min", value, |new, old| new < old)
    }

    /// The greatest value of the records. Of values that cannot be compared the first stays.
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
    ///         .max(|number| number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// let values: Vec<u64> = harness.take_output().into_iter().map(|row| row.value).collect();
    /// assert_eq!(values, [5, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn max<V: Record + PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<Windowed<K, V>> {
        self.extreme("window_max", value, |new, old| new > old)
    }

    /// The record with the least value; of several the first.
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
    ///         .min_by(|number| number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(7, 2), (7, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn min_by<V: PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<T> {
        self.extreme_by("window_min_by", move |new, old| value(new) < value(old))
    }

    /// The record with the greatest value; of several the first.
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
    ///         .max_by(|number| number.1)
    /// });
    /// harness.push_at([((7, 2), 1_000), ((7, 5), 2_000), ((7, 3), 15_000)])?;
    /// harness.end()?;
    /// assert_eq!(harness.take_output(), [(7, 5), (7, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn max_by<V: PartialOrd>(
        &self,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
    ) -> DataStream<T> {
        self.extreme_by("window_max_by", move |new, old| value(new) > value(old))
    }

    #[track_caller]
    fn extreme_by(
        &self,
        verb: &'static str,
        wins: impl Fn(&T, &T) -> bool + Clone + Send + 'static,
    ) -> DataStream<T> {
        let join = move |old: T, new: T| if wins(&new, &old) { new } else { old };
        self.reduced(verb, join, |_| {
            let emit: Emit<K, Option<T>, T> = Box::new(|_, _, value, out| {
                out.extend(value);
                Ok(())
            });
            Ok(emit)
        })
    }

    #[track_caller]
    fn extreme<V: Record>(
        &self,
        verb: &'static str,
        value: impl Fn(&T) -> V + Clone + Send + 'static,
        wins: fn(&V, &V) -> bool,
    ) -> DataStream<Windowed<K, V>> {
        let put = move |best: &mut Option<V>, new: V| {
            if best.as_ref().is_none_or(|old| wins(&new, old)) {
                *best = Some(new);
            }
        };
        let add = move |best: &mut Option<V>, record: T| put(best, value(&record));
        let merge = move |best: &mut Option<V>, later: Option<V>| {
            if let Some(later) = later {
                put(best, later);
            }
        };
        self.incremental(
            verb,
            || None,
            add,
            Some(merge),
            |_: &TaskContext| {
                let emit: Emit<K, Option<V>, Windowed<K, V>> =
                    Box::new(|key, window, best, out| {
                        out.extend(best.map(|value| Windowed { key, window, value }));
                        Ok(())
                    });
                Ok(emit)
            },
        )
    }
}
