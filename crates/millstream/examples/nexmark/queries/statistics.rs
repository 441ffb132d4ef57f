//! Numbers of bids, bidders and auctions per day, as they grow.

use super::{Day, Minute};
use crate::input::Events;
use millstream::prelude::*;
use serde::Serialize;

/// Milliseconds.
const DAY: i64 = 86_400_000;

/// What is known of a bid that is counted.
#[derive(Clone, Debug, Record)]
pub(crate) struct Counted<K> {
    key: K,
    time: Timestamp,
    auction: i64,
    bidder: i64,
    rank: Rank,
}

/// Bids below 10,000, below 1,000,000 and from there on: 1, 2 and 3.
type Rank = u8;

fn rank(price: i64) -> Rank {
    match price {
        ..10_000 => 1,
        10_000..1_000_000 => 2,
        _ => 3,
    }
}

fn day_of(time: Timestamp) -> i64 {
    time.div_euclid(DAY)
}

/// A number of all, and of each rank.
pub(crate) type PerRank = [u64; 4];

/// What there has been in a day.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct Numbers {
    bids: PerRank,
    bidders: PerRank,
    auctions: PerRank,
}

/// The numbers of each day: day, numbers.
pub(crate) fn q15(events: &Events) -> DataStream<Change<i64, (Day, Numbers)>> {
    events
        .bids(|bid| {
            let (time, auction, bidder) = (bid.date_time(), bid.auction(), bid.bidder());
            Some(Counted { key: day_of(time), time, auction, bidder, rank: rank(bid.price()) })
        })
        .key_by(|bid| bid.key)
        .process(CountDay)
        .name("numbers per day")
        .map(|change| change.map(|day, (_, numbers)| (Day(day * DAY), numbers)))
}

/// A channel and a day.
type ChannelDay = (Str, i64);

/// The numbers of each channel and day: channel, day, the last minute with a bid, numbers.
pub(crate) fn q16(events: &Events) -> DataStream<Change<ChannelDay, (Str, Day, Minute, Numbers)>> {
    events
        .bids(|bid| {
            let (time, auction, bidder) = (bid.date_time(), bid.auction(), bid.bidder());
            let key = (bid.take_channel(), day_of(time));
            Some(Counted { key, time, auction, bidder, rank: rank(bid.price()) })
        })
        .key_by_ref(|bid| &bid.key)
        .process(CountDay)
        .name("numbers per channel and day")
        .map(|change| {
            change.map(|(channel, day), (last, numbers)| {
                (channel.clone(), Day(day * DAY), Minute(last), numbers)
            })
        })
}

/// Counts what has been seen, and what has been seen before only once.
#[derive(Clone)]
struct CountDay;

#[derive(KeyedState)]
pub(crate) struct DayState {
    bids: PerRank,
    bidders: PerRank,
    auctions: PerRank,
    /// The time of the last bid.
    #[state(default = i64::MIN)]
    last: Timestamp,
    /// With a bit for each rank in which they have been counted.
    seen_bidders: MapState<i64, u8>,
    seen_auctions: MapState<i64, u8>,
}

impl<K: Key> KeyedProcessFunction<K, Counted<K>> for CountDay {
    type State = DayState;
    type Out = Change<K, (Timestamp, Numbers)>;

    fn process(
        &mut self,
        bid: Counted<K>,
        ctx: &mut ProcessContext<'_, K, DayState, Self::Out>,
    ) -> FunctionResult {
        let DayState { bids, bidders, auctions, last, seen_bidders, seen_auctions } =
            &mut *ctx.state;
        *last = bid.time.max(*last);
        bids[0] += 1;
        bids[usize::from(bid.rank)] += 1;
        count_once(seen_bidders, bid.bidder, bid.rank, bidders);
        count_once(seen_auctions, bid.auction, bid.rank, auctions);
        let numbers = Numbers { bids: *bids, bidders: *bidders, auctions: *auctions };
        let row = (*last, numbers);
        ctx.emit(Change::Upsert(bid.key, row));
        Ok(())
    }
}

/// Counts an id that has not been counted yet: among all, or in this rank.
fn count_once(seen: &mut MapState<i64, u8>, id: i64, rank: Rank, counts: &mut PerRank) {
    let counted = seen.get(&id).unwrap_or(0);
    let now = counted | 1 | 1 << rank;
    if now == counted {
        return;
    }
    for place in [0, rank] {
        counts[usize::from(place)] += u64::from(counted & 1 << place == 0);
    }
    seen.insert(id, now);
}

/// Bids on an auction in a day: number of all and of each rank, least, greatest and average price, sum.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct Prices {
    bids: PerRank,
    least: i64,
    greatest: i64,
    mean: i64,
    sum: i64,
}

/// An auction and a day.
type AuctionDay = (i64, i64);

/// The prices of each auction and day: auction, day, prices.
pub(crate) fn q17(events: &Events) -> DataStream<Change<AuctionDay, (i64, Day, Prices)>> {
    events
        .bids(|bid| Some((bid.auction(), day_of(bid.date_time()), bid.price())))
        .key_by(|(auction, day, _)| (*auction, *day))
        .fold(
            || Prices { bids: [0; 4], least: i64::MAX, greatest: i64::MIN, mean: 0, sum: 0 },
            |prices, (_, _, price)| {
                prices.bids[0] += 1;
                prices.bids[usize::from(rank(price))] += 1;
                prices.least = prices.least.min(price);
                prices.greatest = prices.greatest.max(price);
                prices.sum += price;
                prices.mean = prices.sum / prices.bids[0] as i64;
            },
        )
        .name("prices per auction and day")
        .map(|((auction, day), prices)| {
            Change::Upsert((auction, day), (auction, Day(day * DAY), prices))
        })
}
