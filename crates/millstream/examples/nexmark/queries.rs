//! The Nexmark queries, each a function from events to rows. The columns of a row are those of the
//! query's SQL, in their order.
//!
//! Results of q4, q9 and q17 to q19 change while events come: what is written in the end is the last
//! row of each key, see [`last_by_key`].

use millstream::connectors::nexmark::{Auction, Bid, Decimal3, Event, Person, euros, timestamp};
use millstream::prelude::*;
use serde::Serialize;
use std::time::Duration;

/// Events come at most this much after later ones.
const OUT_OF_ORDER: Duration = Duration::from_secs(4);

/// Two and ten seconds: the windows of q5, q7, q8, q11 and q12.
const TWO_SECONDS: Duration = Duration::from_secs(2);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A bid without its channel and its page.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct BidRow<P> {
    auction: i64,
    bidder: i64,
    price: P,
    #[serde(with = "timestamp")]
    date_time: i64,
    extra: Str,
}

impl<P> BidRow<P> {
    fn new(bid: Bid, price: impl FnOnce(i64) -> P) -> Self {
        let Bid { auction, bidder, date_time, extra, .. } = bid;
        Self { auction, bidder, price: price(bid.price), date_time, extra }
    }
}

/// A moment, as text in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record, Serialize)]
pub(crate) struct Moment(#[serde(with = "timestamp")] i64);

/// The events with their times.
fn timed(events: DataStream<Event>) -> DataStream<Event> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(OUT_OF_ORDER);
    events
        .assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(Event::date_time))
        .name("times")
}

fn bids(events: DataStream<Event>) -> DataStream<Bid> {
    events.filter_map(Event::bid).name("bids")
}

/// The last row of each key, once the input has ended: a window for all of time, which fires at its
/// end.
fn last_by_key<K: Key, R: Record>(changes: DataStream<(K, R)>) -> DataStream<R> {
    changes
        .key_by(|change| change.0.clone())
        .window(GlobalWindows)
        .trigger(TimeTrigger::event_time())
        .reduce(|_, newer| newer)
        .name("last by key")
        .map(|(_, row)| row)
}

/// All bids.
pub(crate) fn q0(events: DataStream<Event>) -> DataStream<BidRow<i64>> {
    bids(events).map(|bid| BidRow::new(bid, |dollars| dollars)).name("projection")
}

/// All bids, in euros.
pub(crate) fn q1(events: DataStream<Event>) -> DataStream<BidRow<Decimal3>> {
    bids(events).map(|bid| BidRow::new(bid, euros)).name("euros")
}

/// Bids on every 123rd auction.
pub(crate) fn q2(events: DataStream<Event>) -> DataStream<(i64, i64)> {
    let selected = bids(events).filter(|bid| bid.auction % 123 == 0).name("selection");
    selected.map(|bid| (bid.auction, bid.price)).name("projection")
}

/// Who sells in category 10 in three states: name, city, state, auction.
pub(crate) fn q3(events: DataStream<Event>) -> DataStream<(Str, Str, Str, i64)> {
    let is_near = |person: &Person| ["or", "id", "ca"].contains(&&*person.state);
    events
        .filter(move |event| match event {
            Event::Person(person) => is_near(person),
            Event::Auction(auction) => auction.category == 10,
            Event::Bid(_) => false,
        })
        .name("near sellers and their category")
        .key_by(|event| match event {
            Event::Person(person) => person.id,
            Event::Auction(auction) => auction.seller,
            Event::Bid(bid) => bid.bidder,
        })
        .process(SellerJoin)
        .name("join by seller")
}

#[derive(Clone)]
struct SellerJoin;

#[derive(KeyedState)]
pub(crate) struct Seller {
    person: ValueState<(Str, Str, Str)>,
    /// Auctions that came before the person.
    early: ListState<i64>,
}

impl KeyedProcessFunction<i64, Event> for SellerJoin {
    type State = Seller;
    type Out = (Str, Str, Str, i64);

    fn process(
        &mut self,
        event: Event,
        ctx: &mut ProcessContext<'_, i64, Seller, Self::Out>,
    ) -> FunctionResult {
        match event {
            Event::Person(Person { name, city, state, .. }) => {
                while let Some(auction) = ctx.state.early.pop_front() {
                    ctx.emit((name.clone(), city.clone(), state.clone(), auction));
                }
                ctx.state.person.set((name, city, state));
            }
            Event::Auction(auction) => match ctx.state.person.get().cloned() {
                Some((name, city, state)) => ctx.emit((name, city, state, auction.id)),
                None => ctx.state.early.push(auction.id),
            },
            Event::Bid(_) => (),
        }
        Ok(())
    }
}

/// The mean of the highest bids per category.
pub(crate) fn q4(events: DataStream<Event>) -> DataStream<(i64, i64)> {
    let means = highest_bids(events)
        .map(|change| (change.auction.category, change.raised_by(), u64::from(change.is_first())))
        .key_by(|change| change.0)
        .fold(
            || (0_i64, 0_u64),
            |(sum, count), (_, raised_by, auctions)| {
                *sum += raised_by;
                *count += auctions;
            },
        )
        .name("means")
        .map(|(category, (sum, count))| (category, (category, sum / count as i64)));
    last_by_key(means)
}

/// Auctions and bids by auction: each change of an auction's highest bid.
fn highest_bids(events: DataStream<Event>) -> DataStream<HighestBid> {
    events
        .filter(|event| !matches!(event, Event::Person(_)))
        .name("auctions and bids")
        .key_by(|event| match event {
            Event::Person(person) => person.id,
            Event::Auction(auction) => auction.id,
            Event::Bid(bid) => bid.auction,
        })
        .process(BidJoin)
        .name("highest bids")
}

/// An auction has got a bid that is higher than all before.
#[derive(Clone, Debug, Record)]
pub(crate) struct HighestBid {
    auction: Auction,
    bid: Bid,
    /// The price of the highest bid before.
    before: Option<i64>,
}

impl HighestBid {
    fn raised_by(&self) -> i64 {
        self.bid.price - self.before.unwrap_or(0)
    }

    fn is_first(&self) -> bool {
        self.before.is_none()
    }
}

#[derive(Clone)]
struct BidJoin;

#[derive(KeyedState)]
pub(crate) struct AuctionState {
    auction: ValueState<Auction>,
    /// Price and time of the highest bid.
    highest: ValueState<(i64, i64)>,
    /// Bids that came before the auction.
    early: ListState<Bid>,
}

type BidContext<'a, 'b> = &'a mut ProcessContext<'b, i64, AuctionState, HighestBid>;

impl BidJoin {
    fn offer(auction: &Auction, bid: Bid, ctx: BidContext<'_, '_>) {
        if !(auction.date_time..=auction.expires).contains(&bid.date_time) {
            return;
        }
        let highest = ctx.state.highest.get().copied();
        let is_higher = highest.is_none_or(|(price, time)| {
            bid.price > price || (bid.price == price && bid.date_time < time)
        });
        if is_higher {
            ctx.state.highest.set((bid.price, bid.date_time));
            let before = highest.map(|(price, _)| price);
            ctx.emit(HighestBid { auction: auction.clone(), bid, before });
        }
    }
}

impl KeyedProcessFunction<i64, Event> for BidJoin {
    type State = AuctionState;
    type Out = HighestBid;

    fn process(&mut self, event: Event, ctx: BidContext<'_, '_>) -> FunctionResult {
        match event {
            Event::Auction(auction) => {
                while let Some(bid) = ctx.state.early.pop_front() {
                    Self::offer(&auction, bid, ctx);
                }
                ctx.state.auction.set(auction);
            }
            Event::Bid(bid) => match ctx.state.auction.get().cloned() {
                Some(auction) => Self::offer(&auction, bid, ctx),
                None => ctx.state.early.push(bid),
            },
            Event::Person(_) => (),
        }
        Ok(())
    }
}

/// The auctions with the most bids, in windows of ten seconds each two: auction, bids.
pub(crate) fn q5(events: DataStream<Event>) -> DataStream<(i64, u64)> {
    bids(timed(events))
        .map(|bid| bid.auction)
        .key_by(|auction| *auction)
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

/// The highest bids of each ten seconds.
pub(crate) fn q7(events: DataStream<Event>) -> DataStream<(i64, i64, i64, Moment, Str)> {
    bids(timed(events))
        .window_all(TumblingEventTimeWindows::of(TEN_SECONDS))
        .fold(Vec::new, |highest: &mut Vec<BidRow<i64>>, bid: Bid| {
            let price = highest.first().map_or(i64::MIN, |bid| bid.price);
            if bid.price > price {
                highest.clear();
            }
            if bid.price >= price {
                highest.push(BidRow::new(bid, |price| price));
            }
        })
        .name("highest bids")
        .flat_map(|highest| highest.value)
        .map(|bid| (bid.auction, bid.price, bid.bidder, Moment(bid.date_time), bid.extra))
}

/// Who registered and sold something within the same ten seconds.
pub(crate) fn q8(events: DataStream<Event>) -> DataStream<(i64, Str, Moment)> {
    timed(events)
        .filter_map(|event| match event {
            Event::Person(person) => Some((person.id, Some(person.name))),
            Event::Auction(auction) => Some((auction.seller, None)),
            Event::Bid(_) => None,
        })
        .name("persons and sellers")
        .key_by(|event| event.0)
        .window(TumblingEventTimeWindows::of(TEN_SECONDS))
        .fold(
            || (None, false),
            |(name, sells): &mut (Option<Str>, bool), (_, registered)| match registered {
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

/// The winning bids.
pub(crate) fn q9(events: DataStream<Event>) -> DataStream<(Auction, BidRow<i64>)> {
    let winners = highest_bids(events);
    last_by_key(winners.map(|HighestBid { auction, bid, .. }| {
        (auction.id, (auction, BidRow::new(bid, |price| price)))
    }))
}

/// Bids of each bidder between pauses of ten seconds: bidder, bids, begin, end.
pub(crate) fn q11(events: DataStream<Event>) -> DataStream<(i64, u64, Moment, Moment)> {
    bids(timed(events))
        .map(|bid| bid.bidder)
        .key_by(|bidder| *bidder)
        .window(EventTimeSessionWindows::with_gap(TEN_SECONDS))
        .count()
        .name("sessions")
        .map(in_window)
}

/// Bids of each bidder per ten seconds of the machine's time: bidder, bids, begin, end.
pub(crate) fn q12(events: DataStream<Event>) -> DataStream<(i64, u64, Moment, Moment)> {
    bids(events)
        .map(|bid| bid.bidder)
        .key_by(|bidder| *bidder)
        .window(TumblingProcessingTimeWindows::of(TEN_SECONDS))
        .count()
        .name("bids per bidder")
        .map(in_window)
}

fn in_window(count: Windowed<i64, u64>) -> (i64, u64, Moment, Moment) {
    (count.key, count.value, Moment(count.window.start), Moment(count.window.end))
}

/// Bids of a range of prices, with the time of day and the number of letters c.
pub(crate) fn q14(
    events: DataStream<Event>,
) -> DataStream<(i64, i64, Decimal3, Str, Moment, Str, u64)> {
    const MILLION: i128 = 1_000_000_000;
    bids(events).filter_map(|bid| {
        let price = euros(bid.price);
        if price.thousandths <= MILLION || price.thousandths >= 50 * MILLION {
            return None;
        }
        let kind = match bid.date_time.rem_euclid(86_400_000) / 3_600_000 {
            8..=18 => "dayTime",
            hour if hour <= 6 || hour >= 20 => "nightTime",
            _ => "otherTime",
        };
        let letters = bid.extra.bytes().filter(|letter| *letter == b'c').count() as u64;
        let time = Moment(bid.date_time);
        Some((bid.auction, bid.bidder, price, Str::new(kind), time, bid.extra, letters))
    })
}

/// The last bid of each bidder on each auction.
pub(crate) fn q18(events: DataStream<Event>) -> DataStream<Bid> {
    let newest = bids(events)
        .key_by(|bid| (bid.bidder, bid.auction))
        .reduce(|former, bid| if bid.date_time >= former.date_time { bid } else { former })
        .name("newest");
    last_by_key(newest.map(|bid| ((bid.bidder, bid.auction), bid)))
}

/// The ten highest bids on each auction, with their ranks.
pub(crate) fn q19(events: DataStream<Event>) -> DataStream<(Bid, u64)> {
    let highest = bids(events)
        .key_by(|bid| bid.auction)
        .fold(Vec::new, |highest: &mut Vec<Bid>, bid| {
            let at = highest.partition_point(|other| other.price >= bid.price);
            highest.insert(at, bid);
            highest.truncate(10);
        })
        .name("ten highest");
    last_by_key(highest.map(|(auction, highest)| (auction, highest)))
        .flat_map(|highest: Vec<Bid>| highest.into_iter().zip(1..))
}

/// Bids with the id of their channel.
pub(crate) fn q21(events: DataStream<Event>) -> DataStream<(i64, i64, i64, Str, Str)> {
    bids(events).filter_map(|bid| {
        let id = match bid.channel.to_lowercase().as_str() {
            "apple" => "0",
            "google" => "1",
            "facebook" => "2",
            "baidu" => "3",
            _ => bid.url.split_once("&channel_id=")?.1.split('&').next()?,
        };
        let id = Str::new(id);
        Some((bid.auction, bid.bidder, bid.price, bid.channel, id))
    })
}

/// Bids with the directories of their page.
pub(crate) fn q22(events: DataStream<Event>) -> DataStream<(i64, i64, i64, Str, Str, Str, Str)> {
    bids(events).map(|bid| {
        let mut parts = bid.url.split('/').skip(3).map(Str::new);
        let mut next = || parts.next().unwrap_or_default();
        let (first, second, third) = (next(), next(), next());
        (bid.auction, bid.bidder, bid.price, bid.channel, first, second, third)
    })
}
