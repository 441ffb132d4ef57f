//! Nexmark events in memory, and the rows of the queries q0, q1 and q2: state is in `nexmark_state`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::mem::ManuallyDrop;
use std::path::Path;

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
pub use nexmark::event::{Bid, Event};

use crate::Result;
use crate::arguments::Arguments;

/// 2024-01-01 00:00:00 UTC
const BASE_MS: u64 = 1_704_067_200_000;

/// Which events there shall be.
#[derive(Clone)]
pub struct Events {
    config: NexmarkConfig,
    /// How many.
    pub count: usize,
}

impl Events {
    /// Those that the arguments ask for: `--events N`, `--set big|development`.
    pub fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let count = arguments.value("events", 5_000_000)?;
        let set = arguments.text("set");
        let config = match set.as_deref() {
            None | Some("big") => big_set(),
            Some("development") => development_set(),
            Some(other) => return Err(format!("unknown set of events {other:?}").into()),
        };
        Ok(Self { config, count })
    }

    /// Makes all of them.
    pub fn make(&self) -> Vec<Event> {
        self.make_share(0, 1)
    }

    /// Makes one of so many shares, by turns: on the thread that drops them, for what one thread has
    /// allocated is freed by another at a price of its own.
    pub fn make_share(&self, index: usize, shares: usize) -> Vec<Event> {
        let all = EventGenerator::new(self.config.clone());
        let share = all.with_offset(index as u64).with_step(shares as u64);
        share.take((self.count + shares - 1 - index) / shares).collect()
    }
}

/// Hands the events out one by one.
///
/// The memory that held them is left to the end of the process: giving a gigabyte back to the
/// kernel is no part of a query.
pub fn drain(events: Vec<Event>) -> impl Iterator<Item = Event> {
    let mut events = ManuallyDrop::new(events.into_iter());
    std::iter::from_fn(move || events.next())
}

/// The benchmark's usual proportions at 10,000 events per second of event time, in order.
fn big_set() -> NexmarkConfig {
    NexmarkConfig { base_time: BASE_MS, ..Default::default() }
}

/// The set whose 60,000 events have results checked against Flink: small, skewed, out of order.
fn development_set() -> NexmarkConfig {
    NexmarkConfig {
        base_time: BASE_MS + 172_740_000,
        first_rate: 400,
        next_rate: 400,
        first_event_id: 1_000_000,
        out_of_order_group_size: 800,
        person_proportion: 2,
        auction_proportion: 4,
        bid_proportion: 44,
        num_categories: 7,
        active_people: 400,
        in_flight_auctions: 250,
        hot_seller_ratio: 2,
        hot_auction_ratio: 4,
        hot_bidder_ratio: 3,
        hot_channel_ratio: 6,
        avg_person_byte_size: 90,
        avg_auction_byte_size: 180,
        avg_bid_byte_size: 36,
        ..Default::default()
    }
}

/// A row of q1: a bid with its price in another currency.
pub struct Converted {
    auction: usize,
    bidder: usize,
    /// DECIMAL(23,3), in thousandths.
    price_thousandths: i64,
    date_time: u64,
    extra: String,
}

/// q1 for one bid.
#[inline]
pub fn convert(bid: Bid) -> Converted {
    Converted {
        auction: bid.auction,
        bidder: bid.bidder,
        price_thousandths: bid.price as i64 * 908,
        date_time: bid.date_time,
        extra: bid.extra,
    }
}

/// A row of q2: auction and price of a bid on one of some auctions.
pub type Selected = (usize, usize);

/// q2 for one bid.
#[inline]
pub fn select(bid: &Bid) -> Option<Selected> {
    bid.auction.is_multiple_of(123).then_some((bid.auction, bid.price))
}

/// A result that can be written in the notation of the golden files.
pub trait Row {
    /// Columns joined by commas.
    fn text(&self) -> String;
}

impl Row for Bid {
    fn text(&self) -> String {
        let time = timestamp(self.date_time);
        format!("{},{},{},{time},{}", self.auction, self.bidder, self.price, self.extra)
    }
}

impl Row for Converted {
    fn text(&self) -> String {
        let (whole, rest) = (self.price_thousandths / 1000, self.price_thousandths % 1000);
        let time = timestamp(self.date_time);
        format!("{},{},{whole}.{rest:03},{time},{}", self.auction, self.bidder, self.extra)
    }
}

impl Row for Selected {
    fn text(&self) -> String {
        format!("{},{}", self.0, self.1)
    }
}

/// `yyyy-MM-dd HH:mm:ss.SSS`, for the first month after the base.
pub(crate) fn timestamp(ms: u64) -> String {
    let since = ms - BASE_MS;
    let day = since / 86_400_000 + 1;
    assert!(day <= 31, "more than a month of event time");
    let (hour, minute) = (since / 3_600_000 % 24, since / 60_000 % 60);
    let (second, ms) = (since / 1000 % 60, since % 1000);
    format!("2024-01-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// Writes rows sorted bytewise, one per line.
pub fn write_rows(path: &Path, mut rows: Vec<String>) -> Result<()> {
    rows.sort_unstable();
    let mut out = BufWriter::new(File::create(path)?);
    for row in rows {
        writeln!(out, "{row}")?;
    }
    Ok(out.flush()?)
}
