//! The Nexmark queries q4, q5, q7 and q8 with plain maps: what the loop runs as it is, and what
//! timely's operators hold.
//!
//! Windows are in event time. They are complete when an event is four seconds behind their end, as
//! in our own queries; no event comes later than that.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::nexmark_events::{Bid, Event, Row, timestamp};

/// The distance between two windows of q5.
const SLIDE_MS: u64 = 2_000;
/// The length of all windows.
const WINDOW_MS: u64 = 10_000;
/// Events come at most this much after later ones.
const OUT_OF_ORDER_MS: u64 = 4_000;

/// The time before which everything has come.
#[derive(Default)]
pub struct Complete {
    latest: u64,
}

impl Complete {
    /// Has seen an event of this time.
    #[inline]
    pub fn observe(&mut self, time: u64) {
        self.latest = self.latest.max(time);
    }

    /// Everything before this time has come.
    pub fn before(&self) -> u64 {
        self.latest.saturating_sub(OUT_OF_ORDER_MS)
    }
}

/// A query from events to rows.
pub trait Query: Default {
    /// What it gives.
    type Out: Row;

    /// Takes one event.
    fn event(&mut self, event: Event, rows: &mut Vec<Self::Out>);

    /// Everything before this time has come.
    fn complete(&mut self, before: u64, rows: &mut Vec<Self::Out>);
}

/// State that is cut into windows.
pub trait Windows: Default {
    /// What goes in, with its time.
    type In;
    /// What comes out of a window that is complete.
    type Out;

    /// Takes one record.
    fn add(&mut self, record: Self::In);

    /// Gives what comes out of the windows that end by then, with their ends, and forgets them.
    fn close(&mut self, before: u64, give: impl FnMut(u64, Self::Out));
}

/// Takes the oldest window if it ends by then.
fn pop<W>(windows: &mut BTreeMap<u64, W>, before: u64) -> Option<(u64, W)> {
    let end = windows.first_key_value()?.0 + WINDOW_MS;
    if end > before {
        return None;
    }
    windows.pop_first().map(|(_, window)| (end, window))
}

fn start(time: u64, length: u64) -> u64 {
    time - time % length
}

/// Bids per auction, in windows that slide.
#[derive(Default)]
pub struct BidCounts {
    /// By their starts: how many bids each auction has had.
    panes: BTreeMap<u64, FxHashMap<usize, u64>>,
    last_end: u64,
}

impl Windows for BidCounts {
    /// Auction, time.
    type In = (usize, u64);
    /// Auction, bids.
    type Out = (usize, u64);

    #[inline]
    fn add(&mut self, (auction, time): Self::In) {
        let pane = self.panes.entry(start(time, SLIDE_MS)).or_default();
        *pane.entry(auction).or_default() += 1;
    }

    fn close(&mut self, before: u64, mut give: impl FnMut(u64, Self::Out)) {
        while let Some((first, _)) = self.panes.first_key_value() {
            let end = (first + SLIDE_MS).max(self.last_end + SLIDE_MS);
            if end > before {
                return;
            }
            let mut counts: FxHashMap<usize, u64> = FxHashMap::default();
            for pane in self.panes.range(end.saturating_sub(WINDOW_MS)..end) {
                for (auction, bids) in pane.1 {
                    *counts.entry(*auction).or_default() += bids;
                }
            }
            counts.into_iter().for_each(|count| give(end, count));
            self.last_end = end;
            self.panes.retain(|start, _| start + WINDOW_MS > end);
        }
    }
}

/// The auctions with the most bids of each window.
#[derive(Default)]
pub struct MostBids {
    windows: BTreeMap<u64, Vec<(usize, u64)>>,
}

impl MostBids {
    /// Of the window that ends then.
    pub fn offer(&mut self, end: u64, count: (usize, u64)) {
        let most = self.windows.entry(end).or_default();
        let bids = most.first().map_or(0, |first| first.1);
        if count.1 > bids {
            most.clear();
        }
        if count.1 >= bids {
            most.push(count);
        }
    }

    /// Gives those of windows that end by then.
    pub fn close(&mut self, before: u64, mut give: impl FnMut(u64, (usize, u64))) {
        while let Some(window) = self.windows.first_entry().filter(|it| *it.key() <= before) {
            let (end, most) = window.remove_entry();
            most.into_iter().for_each(|count| give(end, count));
        }
    }
}

/// q5: the auctions with the most bids in the last ten seconds, each two.
#[derive(Default)]
pub struct HotItems {
    counts: BidCounts,
    most: MostBids,
}

impl Query for HotItems {
    type Out = (usize, u64);

    #[inline]
    fn event(&mut self, event: Event, _: &mut Vec<Self::Out>) {
        if let Event::Bid(bid) = event {
            self.counts.add((bid.auction, bid.date_time));
        }
    }

    fn complete(&mut self, before: u64, rows: &mut Vec<Self::Out>) {
        self.counts.close(before, |end, count| self.most.offer(end, count));
        self.most.close(before, |_, count| rows.push(count));
    }
}

/// A bid as q7 gives it.
#[derive(Clone, Serialize, Deserialize)]
pub struct PricedBid {
    auction: usize,
    price: usize,
    bidder: usize,
    /// Milliseconds.
    pub date_time: u64,
    extra: String,
}

impl From<Bid> for PricedBid {
    #[inline]
    fn from(bid: Bid) -> Self {
        let Bid { auction, price, bidder, date_time, extra, .. } = bid;
        Self { auction, price, bidder, date_time, extra }
    }
}

/// The highest bids of each window.
#[derive(Default)]
pub struct HighestBids {
    windows: BTreeMap<u64, Vec<PricedBid>>,
}

impl Windows for HighestBids {
    type In = PricedBid;
    type Out = PricedBid;

    #[inline]
    fn add(&mut self, bid: PricedBid) {
        let highest = self.windows.entry(start(bid.date_time, WINDOW_MS)).or_default();
        let price = highest.first().map_or(0, |first| first.price);
        if bid.price > price {
            highest.clear();
        }
        if bid.price >= price {
            highest.push(bid);
        }
    }

    fn close(&mut self, before: u64, mut give: impl FnMut(u64, PricedBid)) {
        while let Some((end, highest)) = pop(&mut self.windows, before) {
            highest.into_iter().for_each(|bid| give(end, bid));
        }
    }
}

/// q7.
impl Query for HighestBids {
    type Out = PricedBid;

    #[inline]
    fn event(&mut self, event: Event, _: &mut Vec<PricedBid>) {
        if let Event::Bid(bid) = event {
            self.add(bid.into());
        }
    }

    fn complete(&mut self, before: u64, rows: &mut Vec<PricedBid>) {
        self.close(before, |_, bid| rows.push(bid));
    }
}

/// Persons who registered and sold something within a window.
#[derive(Default)]
pub struct NewSellers {
    windows: BTreeMap<u64, FxHashMap<usize, (Option<String>, bool)>>,
}

/// A person, when, and the name of one who registers; of one who sells, none.
pub type Dealing = (usize, u64, Option<String>);

/// What q8 wants to know of an event.
pub fn dealing(event: Event) -> Option<Dealing> {
    match event {
        Event::Person(person) => Some((person.id, person.date_time, Some(person.name))),
        Event::Auction(auction) => Some((auction.seller, auction.date_time, None)),
        Event::Bid(_) => None,
    }
}

impl Windows for NewSellers {
    type In = Dealing;
    /// Person, name, start of the window.
    type Out = (usize, String, u64);

    #[inline]
    fn add(&mut self, (person, time, registered): Dealing) {
        let window = self.windows.entry(start(time, WINDOW_MS)).or_default();
        let (name, sells) = window.entry(person).or_default();
        match registered {
            Some(registered) => *name = Some(registered),
            None => *sells = true,
        }
    }

    fn close(&mut self, before: u64, mut give: impl FnMut(u64, Self::Out)) {
        while let Some((end, persons)) = pop(&mut self.windows, before) {
            for (person, dealings) in persons {
                if let (Some(name), true) = dealings {
                    give(end, (person, name, end - WINDOW_MS));
                }
            }
        }
    }
}

/// q8.
impl Query for NewSellers {
    type Out = (usize, String, u64);

    #[inline]
    fn event(&mut self, event: Event, _: &mut Vec<Self::Out>) {
        if let Some(dealing) = dealing(event) {
            self.add(dealing);
        }
    }

    fn complete(&mut self, before: u64, rows: &mut Vec<Self::Out>) {
        self.close(before, |_, seller| rows.push(seller));
    }
}

/// An auction, or a bid on one.
#[derive(Clone, Serialize, Deserialize)]
pub enum Priced {
    /// Id, category, begin, end.
    Auction(usize, usize, u64, u64),
    /// Auction, price, time.
    Bid(usize, usize, u64),
}

impl Priced {
    /// What q4 wants to know of an event.
    #[inline]
    pub fn of(event: Event) -> Option<Self> {
        match event {
            Event::Auction(it) => Some(Self::Auction(it.id, it.category, it.date_time, it.expires)),
            Event::Bid(bid) => Some(Self::Bid(bid.auction, bid.price, bid.date_time)),
            Event::Person(_) => None,
        }
    }

    /// The auction.
    #[inline]
    pub fn auction(&self) -> usize {
        match self {
            Self::Auction(id, ..) | Self::Bid(id, ..) => *id,
        }
    }
}

/// The highest price of an auction has risen: category, by how much, and whether it had none.
pub type Raise = (usize, usize, bool);

#[derive(Default)]
struct Auction {
    /// Category, begin, end.
    known: Option<(usize, u64, u64)>,
    highest: Option<usize>,
    /// Bids that came before the auction.
    early: Vec<(usize, u64)>,
}

impl Auction {
    #[inline]
    fn offer(&mut self, price: usize, time: u64, give: &mut impl FnMut(Raise)) {
        let Some((category, begins, expires)) = self.known else {
            return self.early.push((price, time));
        };
        let is_higher = self.highest.is_none_or(|highest| price > highest);
        if is_higher && (begins..=expires).contains(&time) {
            let before = self.highest.replace(price);
            give((category, price - before.unwrap_or(0), before.is_none()));
        }
    }
}

/// The highest bids of auctions.
#[derive(Default)]
pub struct HighestPrices {
    auctions: FxHashMap<usize, Auction>,
}

impl HighestPrices {
    /// Takes an auction or a bid, and gives the raises that come of it.
    #[inline]
    pub fn take(&mut self, event: Priced, mut give: impl FnMut(Raise)) {
        let auction = self.auctions.entry(event.auction()).or_default();
        match event {
            Priced::Bid(_, price, time) => auction.offer(price, time, &mut give),
            Priced::Auction(_, category, begins, expires) => {
                auction.known = Some((category, begins, expires));
                for (price, time) in std::mem::take(&mut auction.early) {
                    auction.offer(price, time, &mut give);
                }
            }
        }
    }
}

/// The means of the highest bids of each category's auctions.
#[derive(Default)]
pub struct Means {
    /// Sum, auctions.
    categories: FxHashMap<usize, (usize, usize)>,
}

impl Means {
    /// The new mean of the category.
    #[inline]
    pub fn raise(&mut self, (category, by, is_first): Raise) -> (usize, usize) {
        let (sum, auctions) = self.categories.entry(category).or_default();
        *sum += by;
        *auctions += usize::from(is_first);
        (category, *sum / *auctions)
    }
}

/// q4: how the mean price of each category changes.
#[derive(Default)]
pub struct MeanPrices {
    prices: HighestPrices,
    means: Means,
}

impl Query for MeanPrices {
    type Out = (usize, usize);

    #[inline]
    fn event(&mut self, event: Event, rows: &mut Vec<Self::Out>) {
        if let Some(priced) = Priced::of(event) {
            self.prices.take(priced, |raise| rows.push(self.means.raise(raise)));
        }
    }

    fn complete(&mut self, _: u64, _: &mut Vec<Self::Out>) {}
}

/// The last row of each category is its mean.
pub fn last_of_each(rows: Vec<String>) -> Vec<String> {
    let mut last = BTreeMap::new();
    for row in rows {
        let category = row.split(',').next().unwrap_or_default().to_owned();
        last.insert(category, row);
    }
    last.into_values().collect()
}

impl Row for (usize, u64) {
    fn text(&self) -> String {
        format!("{},{}", self.0, self.1)
    }
}

impl Row for PricedBid {
    fn text(&self) -> String {
        let time = timestamp(self.date_time);
        format!("{},{},{},{time},{}", self.auction, self.price, self.bidder, self.extra)
    }
}

impl Row for (usize, String, u64) {
    fn text(&self) -> String {
        format!("{},{},{}", self.0, self.1, timestamp(self.2))
    }
}
