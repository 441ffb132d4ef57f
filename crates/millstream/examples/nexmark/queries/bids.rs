//! Queries that look at one bid after the other.

use super::Moment;
use crate::input::Events;
use millstream::connectors::nexmark::{BidColumns, Decimal3, euros};
use millstream::prelude::*;
use serde::Serialize;

/// A bid without its channel and its page.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct BidRow<P> {
    auction: i64,
    bidder: i64,
    pub(crate) price: P,
    pub(crate) date_time: Moment,
    extra: Str,
}

impl<P> BidRow<P> {
    pub(crate) fn new(bid: &mut BidColumns<'_, '_>, price: impl FnOnce(i64) -> P) -> Self {
        Self {
            auction: bid.auction(),
            bidder: bid.bidder(),
            price: price(bid.price()),
            date_time: Moment(bid.date_time()),
            extra: bid.take_extra(),
        }
    }
}

/// All bids.
pub(crate) fn q0(events: &Events) -> DataStream<BidRow<i64>> {
    events.bids(|bid| Some(BidRow::new(bid, |dollars| dollars)))
}

/// All bids, in euros.
pub(crate) fn q1(events: &Events) -> DataStream<BidRow<Decimal3>> {
    events.bids(|bid| Some(BidRow::new(bid, euros)))
}

/// Bids on every 123rd auction: auction, price.
pub(crate) fn q2(events: &Events) -> DataStream<(i64, i64)> {
    events.bids(|bid| (bid.auction() % 123 == 0).then(|| (bid.auction(), bid.price())))
}

/// Bids of a range of prices, with the time of day and the number of letters c.
pub(crate) fn q14(events: &Events) -> DataStream<(i64, i64, Decimal3, Str, Moment, Str, u64)> {
    const MILLION: i128 = 1_000_000_000;
    events.bids(|bid| {
        let price = euros(bid.price());
        if price.thousandths <= MILLION || price.thousandths >= 50 * MILLION {
            return None;
        }
        let time = bid.date_time();
        let kind = match time.rem_euclid(86_400_000) / 3_600_000 {
            8..=18 => "dayTime",
            hour if hour <= 6 || hour >= 20 => "nightTime",
            _ => "otherTime",
        };
        let extra = bid.take_extra();
        let letters = extra.bytes().filter(|letter| *letter == b'c').count() as u64;
        let (auction, bidder) = (bid.auction(), bid.bidder());
        Some((auction, bidder, price, Str::new(kind), Moment(time), extra, letters))
    })
}

/// Bids with the id of their channel.
pub(crate) fn q21(events: &Events) -> DataStream<(i64, i64, i64, Str, Str)> {
    events.bids(|bid| {
        let known = |channel: &str, name: &str| channel.eq_ignore_ascii_case(name);
        let id = match bid.channel() {
            channel if known(channel, "apple") => "0",
            channel if known(channel, "google") => "1",
            channel if known(channel, "facebook") => "2",
            channel if known(channel, "baidu") => "3",
            _ => bid.url().split_once("&channel_id=")?.1.split('&').next()?,
        };
        let id = Str::new(id);
        Some((bid.auction(), bid.bidder(), bid.price(), bid.take_channel(), id))
    })
}

/// Bids with the directories of their page.
pub(crate) fn q22(events: &Events) -> DataStream<(i64, i64, i64, Str, Str, Str, Str)> {
    events.bids(|bid| {
        let mut parts = bid.url().split('/').skip(3).map(Str::new);
        let mut next = || parts.next().unwrap_or_default();
        let (first, second, third) = (next(), next(), next());
        let (auction, bidder, price) = (bid.auction(), bid.bidder(), bid.price());
        Some((auction, bidder, price, bid.take_channel(), first, second, third))
    })
}
