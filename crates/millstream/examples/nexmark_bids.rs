//! The first Nexmark queries over bids:
//! `nexmark_bids --query q0|q1|q2 --input events.json [--output DIR]`.
//!
//! - q0 passes bids through;
//! - q1 converts their prices from dollars to euros;
//! - q2 selects the bids on every 123rd auction.
//!
//! Rows are CSV as in the golden files, without a header; without `--output` they go into a
//! blackhole.

use millstream::connectors::nexmark::{Bid, Decimal3, Event, euros, timestamp};
use millstream::prelude::*;
use millstream::{sink, source};
use serde::Serialize;

millstream::allocator!();

/// A bid as q0 and q1 give it.
#[derive(Clone, Record, Serialize)]
struct PricedBid<P> {
    auction: i64,
    bidder: i64,
    price: P,
    #[serde(with = "timestamp")]
    date_time: i64,
    extra: Str,
}

impl<P> PricedBid<P> {
    fn new(bid: Bid, price: impl FnOnce(i64) -> P) -> Self {
        let Bid { auction, bidder, date_time, extra, .. } = bid;
        PricedBid { auction, bidder, price: price(bid.price), date_time, extra }
    }
}

fn q0(bids: DataStream<Bid>) -> DataStream<PricedBid<i64>> {
    bids.map(|bid| PricedBid::new(bid, |dollars| dollars)).name("projection")
}

fn q1(bids: DataStream<Bid>) -> DataStream<PricedBid<Decimal3>> {
    bids.map(|bid| PricedBid::new(bid, euros)).name("euros")
}

fn q2(bids: DataStream<Bid>) -> DataStream<(i64, i64)> {
    let selected = bids.filter(|bid| bid.auction % 123 == 0).name("selection");
    selected.map(|bid| (bid.auction, bid.price)).name("projection")
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let query = env.arg("query")?;
    let output = env.arg_opt("output");
    let bids = env
        .source("events", source::json_lines::<Event>(env.arg("input")?))
        .filter_map(|event| match event {
            Event::Bid(bid) => Some(bid),
            Event::Person(_) | Event::Auction(_) => None,
        })
        .name("bids");
    match query.as_str() {
        "q0" => write(q0(bids), output),
        "q1" => write(q1(bids), output),
        "q2" => write(q2(bids), output),
        other => return Err(Error::argument(format!("`--query {other}` is not q0, q1 or q2"))),
    }
    env.execute(&query)?;
    Ok(())
}

fn write<T: Record + Serialize>(rows: DataStream<T>, output: Option<String>) {
    match output {
        Some(directory) => rows.sink("rows", sink::csv(directory)),
        None => rows.sink("rows", sink::blackhole()),
    };
}
