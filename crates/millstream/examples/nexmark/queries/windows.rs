//! Queries over stretches of time.

use super::Moment;
use crate::input::Events;
use millstream::prelude::*;
use std::time::Duration;

/// Events come at most this much after later ones.
const OUT_OF_ORDER: Duration = Duration::from_secs(4);

const TWO_SECONDS: Duration = Duration::from_secs(2);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The records with their times.
fn timed<T: Record>(
    records: DataStream<T>,
    time: impl Fn(&T) -> Timestamp + Clone + Send + 'static,
) -> DataStream<T> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(OUT_OF_ORDER);
    records.assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(time))
}

/// The auctions with the most bids, in windows of ten seconds each two: auction, bids.
pub(crate) fn q5(events: &Events) -> DataStream<(i64, u64)> {
    timed(events.bids(|bid| Some((bid.auction(), bid.date_time()))), |bid| bid.1)
        .key_by(|bid| bid.0)
        .window(SlidingEventTimeWindows::of(TEN_SECONDS, TWO_SECONDS))
        .count()
        .name("bids per auction")
        // One of these windows has the results of one of those, and no others.
        .key_by(|counted| counted.window)
        .window(TumblingEventTimeWindows::of(TWO_SECONDS))
        .fold(Vec::new, |most: &mut Vec<(i64, u64)>, counted| {
            let most_bids = most.first().map_or(0, |(_, bids)| *bids);
            if counted.value > most_bids {
                most.clear();
            }
            if counted.value >= most_bids {
                most.push((counted.key, counted.value));
            }
        })
        .name("most bids")
        .flat_map(|most| most.value)
}

/// A bid as q7 gives it: auction, price, bidder, time, extra.
type HighestBid = (i64, i64, i64, Moment, Str);

/// The highest bids of each ten seconds.
pub(crate) fn q7(events: &Events) -> DataStream<HighestBid> {
    let bids = events.bids(|bid| {
        let (price, time) = (bid.price(), Moment(bid.date_time()));
        Some((bid.auction(), price, bid.bidder(), time, bid.take_extra()))
    });
    timed(bids, |bid| bid.3.0)
        .window_all(TumblingEventTimeWindows::of(TEN_SECONDS))
        .fold(Vec::new, |highest: &mut Vec<HighestBid>, bid: HighestBid| {
            let price = highest.first().map_or(i64::MIN, |bid| bid.1);
            if bid.1 > price {
                highest.clear();
            }
            if bid.1 >= price {
                highest.push(bid);
            }
        })
        .name("highest bids")
        .flat_map(|highest| highest.value)
}

/// Who registered and sold something within the same ten seconds: person, name, begin of the window.
pub(crate) fn q8(events: &Events) -> DataStream<(i64, Str, Moment)> {
    let persons_and_sellers = events.persons_and_auctions(
        |person| Some((person.id(), person.date_time(), Some(person.take_name()))),
        |auction| Some((auction.seller(), auction.date_time(), None)),
        |events| timed(events, |event| event.1),
    );
    persons_and_sellers
        .key_by(|event| event.0)
        .window(TumblingEventTimeWindows::of(TEN_SECONDS))
        .fold(
            || (None, false),
            |(name, sells): &mut (Option<Str>, bool), (_, _, registered)| match registered {
                Some(registered) => *name = Some(registered),
                None => *sells = true,
            },
        )
        .name("new sellers")
        .filter_map(|seller| match seller.value {
            (Some(name), true) => Some((seller.key, name, Moment(seller.window.start))),
            _ => None,
        })
}

/// Bids of each bidder between pauses of ten seconds: bidder, bids, begin, end.
pub(crate) fn q11(events: &Events) -> DataStream<(i64, u64, Moment, Moment)> {
    timed(events.bids(|bid| Some((bid.bidder(), bid.date_time()))), |bid| bid.1)
        .key_by(|bid| bid.0)
        .window(EventTimeSessionWindows::with_gap(TEN_SECONDS))
        .count()
        .name("sessions")
        .map(in_window)
}

/// Bids of each bidder per ten seconds of the machine's time: bidder, bids, begin, end.
pub(crate) fn q12(events: &Events) -> DataStream<(i64, u64, Moment, Moment)> {
    events
        .bids(|bid| Some(bid.bidder()))
        .key_by(|bidder| *bidder)
        .window(TumblingProcessingTimeWindows::of(TEN_SECONDS))
        .count()
        .name("bids per bidder")
        .map(in_window)
}

fn in_window(count: Windowed<i64, u64>) -> (i64, u64, Moment, Moment) {
    (count.key, count.value, Moment(count.window.start), Moment(count.window.end))
}
