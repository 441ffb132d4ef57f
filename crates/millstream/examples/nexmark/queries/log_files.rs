//! q10: bids into files by day and minute.

use super::{Day, Minute, Moment};
use crate::input::Events;
use millstream::connectors::nexmark::timestamp;
use millstream::prelude::*;
use serde::Serialize;

/// A bid, with the day and the minute that it belongs to.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct LogRow {
    auction: i64,
    bidder: i64,
    price: i64,
    date_time: Moment,
    extra: Str,
    day: Day,
    minute: Minute,
}

/// The bids. They are written into a directory per day and minute: see [`partition`].
pub(crate) fn q10(events: &Events) -> DataStream<LogRow> {
    events.bids(|bid| {
        let time = bid.date_time();
        Some(LogRow {
            auction: bid.auction(),
            bidder: bid.bidder(),
            price: bid.price(),
            date_time: Moment(time),
            extra: bid.take_extra(),
            day: Day(time),
            minute: Minute(time),
        })
    })
}

/// The directory of a row.
pub(crate) fn partition(row: &LogRow) -> String {
    let Moment(time) = row.date_time;
    format!("dt={}/hm={}", timestamp::day(time), timestamp::minute(time))
}
