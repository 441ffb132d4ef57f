//! [`TopN`]: the best records of each key, as rows under key and rank that change while records come.
//!
//! The places of the best lie together in the row of the key, the records themselves in rows of their
//! own: a record that is not among the best costs one look at the places.

use crate::change::Change;
use crate::process::{FunctionResult, KeyedProcessFunction, ProcessContext};
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_state::KeyedState;
use millstream_state::keyed_state::{
    CallScope, DefaultField, FieldSpec, MapState, StateField, StateTable,
};
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
    /// The places of the best, the first first, each with the name of its record.
    places: Vec<(N, u32)>,
    /// The records by name.
    records: MapState<u32, T>,
}

/// What of [`Best`] lies in the row of the key.
#[derive(Clone, Record)]
pub struct Places<N> {
    places: Vec<(N, u32)>,
}

impl<N: Record, T: Record> KeyedState for Best<N, T> {
    type Row = Places<N>;

    const HAS_ROW: bool = true;
    const HAS_TABLES: bool = true;
    const ROW_EXPIRES: bool = false;

    fn open<K: Key>(scope: &Rc<CallScope<K>>) -> Self {
        let spec = FieldSpec { name: "records", aliases: &[], ttl: None };
        Self { places: Vec::new(), records: MapState::open(spec, scope) }
    }

    fn new_row() -> Places<N> {
        Places { places: Vec::new() }
    }

    fn begin(&mut self, row: &mut Places<N>, _now: Timestamp) {
        std::mem::swap(&mut self.places, &mut row.places);
    }

    fn end(&mut self, row: &mut Places<N>, _now: Timestamp) {
        std::mem::swap(&mut self.places, &mut row.places);
    }

    fn is_absent(row: &Places<N>) -> bool {
        row.places.is_empty()
    }

    fn expire(_row: &mut Places<N>, _now: Timestamp) {}

    fn reset(&mut self) {
        self.places.clear();
        self.records.clear();
    }

    fn tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
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
        let Best { places, records } = &mut *ctx.state;
        let at = places.partition_point(|(other, _)| *other >= place);
        if at >= self.n {
            return Ok(());
        }
        // Whoever falls out leaves its name to the new one.
        let name = match places.len() < self.n {
            true => places.len() as u32,
            false => places.pop().expect("at least one is kept").1,
        };
        places.insert(at, (place, name));
        records.insert(name, record.clone());
        let key = ctx.key().clone();
        let row = |rank: usize| (key.clone(), rank as u64 + 1);
        ctx.emit(Change::Upsert(row(at), record));
        for rank in at + 1..ctx.state.places.len() {
            let Best { places, records } = &*ctx.state;
            let record = records.get(&places[rank].1).expect("a place has a record");
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
