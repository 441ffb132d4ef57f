//! [`TopN`]: the best records of each key, as rows under key and rank that change while records come.
//!
//! In the row of the key lies the place of the last of the best alone: a record that is not among them
//! costs one look at it. All their places, and the records themselves, are rows of their own.

use crate::change::Change;
use crate::process::{FunctionResult, KeyedProcessFunction, ProcessContext};
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_state::KeyedState;
use millstream_state::keyed_state::{
    CallScope, DefaultField, FieldSpec, MapState, StateField, StateTable,
};
use std::cmp::Ordering::Greater;
use std::marker::PhantomData;
use std::rc::Rc;

/// The best `n` records of each key: the greatest in order first; of equal ones the one that came first.
pub struct TopN<T, N, F> {
    n: usize,
    order: F,
    _types: PhantomData<fn(T) -> N>,
}

impl<T, N, F> TopN<T, N, F> {
    /// `order` is the place of a record.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn new(n: usize, order: F) -> Self {
        assert!(n > 0, "the best 0 of something are nothing: ask for at least one");
        Self { n, order, _types: PhantomData }
    }
}

impl<T, N, F: Clone> Clone for TopN<T, N, F> {
    fn clone(&self) -> Self {
        Self { n: self.n, order: self.order.clone(), _types: PhantomData }
    }
}

/// The best of a key.
pub struct Best<N, T> {
    /// The place of the last of them, when there are as many as there may be.
    last: Option<N>,
    /// The places of all of them, the first first, each with the name of its record.
    places: MapState<(), Vec<(N, u32)>>,
    /// The records by name.
    records: MapState<u32, T>,
}

/// What of [`Best`] lies in the row of the key.
#[derive(Clone, Record)]
pub struct Last<N> {
    last: Option<N>,
}

impl<N: Record, T: Record> KeyedState for Best<N, T> {
    type Row = Last<N>;

    const HAS_ROW: bool = true;
    const HAS_TABLES: bool = true;
    const ROW_EXPIRES: bool = false;

    fn open<K: Key>(scope: &Rc<CallScope<K>>) -> Self {
        let spec = |name| FieldSpec { name, aliases: &[], ttl: None };
        let places = MapState::open(spec("places"), scope);
        Self { last: None, places, records: MapState::open(spec("records"), scope) }
    }

    fn new_row() -> Last<N> {
        Last { last: None }
    }

    #[inline(always)]
    fn begin(&mut self, row: &mut Last<N>, _now: Timestamp) {
        std::mem::swap(&mut self.last, &mut row.last);
    }

    #[inline(always)]
    fn end(&mut self, row: &mut Last<N>, _now: Timestamp) {
        std::mem::swap(&mut self.last, &mut row.last);
    }

    #[inline(always)]
    fn is_absent(row: &Last<N>) -> bool {
        row.last.is_none()
    }

    fn expire(_row: &mut Last<N>, _now: Timestamp) {}

    fn reset(&mut self) {
        self.last = None;
        self.places.clear();
        self.records.clear();
    }

    fn tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        if let Some(table) = StateField::table(&mut self.places) {
            visit(table);
        }
        if let Some(table) = StateField::table(&mut self.records) {
            visit(table);
        }
    }
}

impl<K, T, N, F> KeyedProcessFunction<K, T> for TopN<T, N, F>
where
    K: Key,
    T: Record,
    N: Record + PartialOrd,
    F: Fn(&T) -> N + Clone + Send + 'static,
{
    type State = Best<N, T>;
    type Out = Change<(K, u64), T>;

    fn process(
        &mut self,
        record: T,
        ctx: &mut ProcessContext<'_, K, Best<N, T>, Self::Out>,
    ) -> FunctionResult {
        let place = (self.order)(&record);
        let Best { last, places, records } = &mut *ctx.state;
        // Of equal ones the one that came first is ahead.
        if last.as_ref().is_some_and(|last| !matches!(place.partial_cmp(last), Some(Greater))) {
            return Ok(());
        }
        let mut ranked = places.get(&()).unwrap_or_default();
        // Whoever falls out leaves its name to the new one.
        let name = match ranked.len() < self.n {
            true => ranked.len() as u32,
            false => ranked.pop().expect("at least one is kept").1,
        };
        let at = ranked.partition_point(|(other, _)| *other >= place);
        ranked.insert(at, (place, name));
        if ranked.len() == self.n {
            *last = ranked.last().map(|(place, _)| place.clone());
        }
        places.insert((), ranked.clone());
        records.insert(name, record.clone());
        let key = ctx.key().clone();
        let row = |rank: usize| (key.clone(), rank as u64 + 1);
        ctx.emit(Change::Upsert(row(at), record));
        for (rank, (_, name)) in ranked.iter().enumerate().skip(at + 1) {
            let record = ctx.state.records.get(name).expect("a place has a record");
            ctx.emit(Change::Upsert(row(rank), record));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::KeyedProcessHarness;
    use std::collections::BTreeMap;

    type Bid = (u8, i64, u32);

    #[test]
    fn the_changes_amount_to_the_best_of_all_records_so_far() {
        let top = TopN::new(3, |bid: &Bid| bid.1);
        let mut harness = KeyedProcessHarness::new(top, |bid: &Bid| bid.0).expect("it opens");
        let mut seen: BTreeMap<u8, Vec<Bid>> = BTreeMap::new();
        let mut table = BTreeMap::new();
        let mut random = 7_u64;
        for number in 0..500 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bid = ((random >> 40) as u8 % 4, (random >> 50) as i64 % 50, number);
            harness.push([bid]).expect("nothing fails");
            for change in harness.take_output() {
                let key = *change.key();
                table.insert(key, change.into_row().expect("nobody vanishes"));
            }
            let bids = seen.entry(bid.0).or_default();
            bids.push(bid);
            // A stable sort: of equal ones the first stays first.
            bids.sort_by_key(|bid| std::cmp::Reverse(bid.1));
            let best = |(key, bids): (&u8, &Vec<Bid>)| {
                let ranked = (1_u64..).zip(bids.iter().take(3).copied());
                ranked.map(|(rank, bid)| ((*key, rank), bid)).collect::<Vec<_>>()
            };
            let expected: BTreeMap<_, _> = seen.iter().flat_map(best).collect();
            assert_eq!(table, expected);
        }
    }

    #[test]
    #[should_panic(expected = "ask for at least one")]
    fn the_best_none_are_refused() {
        let _ = TopN::<u64, u64, _>::new(0, |n: &u64| *n);
    }
}
