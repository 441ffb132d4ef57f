//! q13: bids with a value that is looked up in a bounded side input.

use super::Moment;
use crate::input::Events;
use millstream::prelude::*;
use std::sync::Arc;

/// So many keys the side input has.
pub(crate) const KEYS: i64 = 10_000;

/// The rows of the side input: key and value. Here they are made; a program would read a file.
pub(crate) fn side_input() -> impl Iterator<Item = (i64, Str)> {
    (0..KEYS).map(|key| (key, Str::from(format!("value-{key}"))))
}

/// A bid with its value: auction, bidder, price, time, value.
pub(crate) type Valued = (i64, i64, i64, Moment, Str);

/// Bids with the value of their auction's number.
pub(crate) fn q13(events: &Events) -> DataStream<Valued> {
    events
        .bids(|bid| {
            Some((bid.auction(), bid.bidder(), bid.price(), Moment(bid.date_time()), Str::empty()))
        })
        .process(LookUp { values: Arc::default() })
        .name("look up")
}

/// Each subtask has the whole side input before its first bid, as it is then: a join in processing time.
#[derive(Clone)]
struct LookUp {
    values: Arc<Vec<Option<Str>>>,
}

impl ProcessFunction<Valued> for LookUp {
    type State = ();
    type Out = Valued;

    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        let mut values = vec![None; KEYS as usize];
        for (key, value) in side_input() {
            values[key as usize] = Some(value);
        }
        self.values = Arc::new(values);
        Ok(())
    }

    fn process(
        &mut self,
        bid: Valued,
        ctx: &mut OperatorContext<'_, (), Valued>,
    ) -> FunctionResult {
        let (auction, bidder, price, time, _) = bid;
        let key = usize::try_from(auction % KEYS);
        let value = key.ok().and_then(|key| self.values.get(key)).and_then(Option::as_ref);
        if let Some(value) = value {
            ctx.emit((auction, bidder, price, time, value.clone()));
        }
        Ok(())
    }
}
