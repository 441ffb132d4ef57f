//! The last and the highest of each key.

use crate::input::Events;
use millstream::connectors::nexmark::Bid;
use millstream::prelude::*;

/// The last bid of each bidder on each auction.
pub(crate) fn q18(events: &Events) -> DataStream<Change<(i64, i64), Bid>> {
    events
        .bids(|bid| Some(bid.take()))
        .key_by(|bid| (bid.bidder, bid.auction))
        .deduplicate_last_by(|bid| bid.date_time)
        .name("last bids")
}

/// The ten highest bids on each auction, with their ranks.
pub(crate) fn q19(events: &Events) -> DataStream<Change<(i64, u64), (Bid, u64)>> {
    events
        .bids(|bid| Some(bid.take()))
        .key_by(|bid| bid.auction)
        .top_n(10, |bid| bid.price)
        .name("ten highest bids")
        .map(|change| change.map(|(_, rank), bid| (bid, *rank)))
}
