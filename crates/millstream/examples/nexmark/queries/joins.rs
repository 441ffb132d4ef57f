//! Joins of two kinds of events that come in any order: whoever comes first waits in the state of the key.
//! Ids of persons and of auctions are unique.

use super::Moment;
use super::bids::BidRow;
use crate::input::Events;
use millstream::connectors::nexmark::Auction;
use millstream::prelude::*;
use serde::Serialize;

/// A person near by, or an auction of theirs.
#[derive(Clone, Debug, Record)]
pub(crate) enum Seller {
    /// Id, name, city, state.
    Person(i64, Str, Str, Str),
    /// Seller, id.
    Auction(i64, i64),
}

/// Who sells in category 10 in three states: name, city, state, auction.
pub(crate) fn q3(events: &Events) -> DataStream<(Str, Str, Str, i64)> {
    events
        .persons_and_auctions(
            |person| {
                let is_near = ["or", "id", "ca"].contains(&person.state());
                is_near.then(|| {
                    let (name, city) = (person.take_name(), person.take_city());
                    Seller::Person(person.id(), name, city, person.take_state())
                })
            },
            |auction| {
                let is_wanted = auction.category() == 10;
                is_wanted.then(|| Seller::Auction(auction.seller(), auction.id()))
            },
            |events| events,
        )
        .key_by(|event| match event {
            Seller::Person(id, ..) | Seller::Auction(id, _) => *id,
        })
        .process(SellerJoin)
        .name("join by seller")
}

#[derive(Clone)]
struct SellerJoin;

#[derive(KeyedState)]
pub(crate) struct SellerState {
    person: ValueState<(Str, Str, Str)>,
    /// Auctions that came before the person.
    early: ListState<i64>,
}

impl KeyedProcessFunction<i64, Seller> for SellerJoin {
    type State = SellerState;
    type Out = (Str, Str, Str, i64);

    fn process(
        &mut self,
        event: Seller,
        ctx: &mut ProcessContext<'_, i64, SellerState, Self::Out>,
    ) -> FunctionResult {
        match event {
            Seller::Person(_, name, city, state) => {
                while let Some(auction) = ctx.state.early.pop_front() {
                    ctx.emit((name.clone(), city.clone(), state.clone(), auction));
                }
                ctx.state.person.set((name, city, state));
            }
            Seller::Auction(_, auction) => match ctx.state.person.get().cloned() {
                Some((name, city, state)) => ctx.emit((name, city, state, auction)),
                None => ctx.state.early.push(auction),
            },
        }
        Ok(())
    }
}

/// The time in which an auction takes bids.
#[derive(Clone, Copy, Debug, Default, Record)]
pub(crate) struct Period {
    begins: Timestamp,
    expires: Timestamp,
}

impl Period {
    fn contains(&self, time: Timestamp) -> bool {
        (self.begins..=self.expires).contains(&time)
    }
}

/// What q4 needs to know: an auction, or a bid on one.
#[derive(Clone, Debug, Record)]
pub(crate) enum Priced {
    /// Id, category, period.
    Auction(i64, i64, Period),
    /// Auction, price, time.
    Bid(i64, i64, Timestamp),
}

/// The mean of the highest bids of the auctions of each category: category, mean.
pub(crate) fn q4(events: &Events) -> DataStream<Change<i64, (i64, i64)>> {
    events
        .auctions_and_bids(
            |auction| {
                let period = Period { begins: auction.date_time(), expires: auction.expires() };
                Some(Priced::Auction(auction.id(), auction.category(), period))
            },
            |bid| Some(Priced::Bid(bid.auction(), bid.price(), bid.date_time())),
        )
        .key_by(|event| match event {
            Priced::Auction(id, ..) | Priced::Bid(id, ..) => *id,
        })
        .process(HighestPrice)
        .name("highest prices")
        .key_by(|raise| raise.category)
        .fold(
            || (0_i64, 0_i64),
            |(sum, auctions), raise| {
                *sum += raise.by;
                *auctions += i64::from(raise.is_first);
            },
        )
        .name("means")
        .map(|(category, (sum, auctions))| Change::Upsert(category, (category, sum / auctions)))
}

/// The highest price of an auction has risen.
#[derive(Clone, Debug, Record)]
pub(crate) struct Raise {
    category: i64,
    by: i64,
    /// The auction had no bid before.
    is_first: bool,
}

#[derive(Clone)]
struct HighestPrice;

#[derive(KeyedState)]
pub(crate) struct PriceState {
    is_known: bool,
    has_bid: bool,
    category: i64,
    period: Period,
    highest: i64,
    /// Bids that came before the auction: price, time.
    early: ListState<(i64, Timestamp)>,
}

type PriceContext<'a> = ProcessContext<'a, i64, PriceState, Raise>;

impl HighestPrice {
    fn offer(price: i64, time: Timestamp, ctx: &mut PriceContext<'_>) {
        let state = &mut *ctx.state;
        let is_first = !state.has_bid;
        if state.period.contains(time) && (is_first || price > state.highest) {
            let by = price - if is_first { 0 } else { state.highest };
            (state.has_bid, state.highest) = (true, price);
            let category = state.category;
            ctx.emit(Raise { category, by, is_first });
        }
    }
}

impl KeyedProcessFunction<i64, Priced> for HighestPrice {
    type State = PriceState;
    type Out = Raise;

    fn process(&mut self, event: Priced, ctx: &mut PriceContext<'_>) -> FunctionResult {
        match event {
            Priced::Auction(_, category, period) => {
                (ctx.state.is_known, ctx.state.category, ctx.state.period) =
                    (true, category, period);
                while let Some((price, time)) = ctx.state.early.pop_front() {
                    Self::offer(price, time, ctx);
                }
            }
            Priced::Bid(_, price, time) if ctx.state.is_known => Self::offer(price, time, ctx),
            Priced::Bid(_, price, time) => ctx.state.early.push((price, time)),
        }
        Ok(())
    }
}

/// An auction, or a bid on one.
#[derive(Clone, Debug, Record)]
pub(crate) enum Offered<A, B> {
    Auction(A),
    /// Auction, bid.
    Bid(i64, B),
}

/// The winning bid of each auction, with the auction.
pub(crate) fn q9(events: &Events) -> DataStream<Change<i64, (Auction, BidRow<i64>)>> {
    events
        .auctions_and_bids(
            |auction| Some(Offered::Auction(auction.take())),
            |bid| Some(Offered::Bid(bid.auction(), BidRow::new(bid, |price| price))),
        )
        .key_by(|event| match event {
            Offered::Auction(auction) => auction.id,
            Offered::Bid(auction, _) => *auction,
        })
        .process(WinningBid)
        .name("winning bids")
}

#[derive(Clone)]
struct WinningBid;

#[derive(KeyedState)]
pub(crate) struct WinnerState {
    is_known: bool,
    has_bid: bool,
    period: Period,
    /// Price and time of the winning bid.
    winner: (i64, Timestamp),
    /// The auction, in a row of its own: most bids do not need it.
    auction: ListState<Auction>,
    /// Bids that came before the auction.
    early: ListState<BidRow<i64>>,
}

type WinnerContext<'a> = ProcessContext<'a, i64, WinnerState, Change<i64, (Auction, BidRow<i64>)>>;

impl WinningBid {
    /// The highest price wins, and of equal ones the earliest.
    fn offer(bid: BidRow<i64>, ctx: &mut WinnerContext<'_>) {
        let state = &mut *ctx.state;
        let (price, time) = (bid.price, bid.date_time.0);
        let (highest, since) = state.winner;
        let wins = !state.has_bid || price > highest || (price == highest && time < since);
        if wins && state.period.contains(time) {
            (state.has_bid, state.winner) = (true, (price, time));
            let auction = state.auction.iter().next().expect("it is known");
            ctx.emit(Change::Upsert(auction.id, (auction, bid)));
        }
    }
}

impl KeyedProcessFunction<i64, Offered<Auction, BidRow<i64>>> for WinningBid {
    type State = WinnerState;
    type Out = Change<i64, (Auction, BidRow<i64>)>;

    fn process(
        &mut self,
        event: Offered<Auction, BidRow<i64>>,
        ctx: &mut WinnerContext<'_>,
    ) -> FunctionResult {
        match event {
            Offered::Auction(auction) => {
                let (begins, expires) = (auction.date_time, auction.expires);
                (ctx.state.is_known, ctx.state.period) = (true, Period { begins, expires });
                ctx.state.auction.push(auction);
                while let Some(bid) = ctx.state.early.pop_front() {
                    Self::offer(bid, ctx);
                }
            }
            Offered::Bid(_, bid) if ctx.state.is_known => Self::offer(bid, ctx),
            Offered::Bid(_, bid) => ctx.state.early.push(bid),
        }
        Ok(())
    }
}

/// A bid as q20 gives it.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct FullBid {
    auction: i64,
    bidder: i64,
    price: i64,
    channel: Str,
    url: Str,
    date_time: Moment,
    extra: Str,
}

/// An auction as q20 gives it: without its id, which the bid has.
#[derive(Clone, Debug, Record, Serialize)]
pub(crate) struct AuctionDetails {
    item_name: Str,
    description: Str,
    initial_bid: i64,
    reserve: i64,
    date_time: Moment,
    expires: Moment,
    seller: i64,
    category: i64,
    extra: Str,
}

/// Id, and details if it is one of category 10.
type Details = (i64, Option<AuctionDetails>);

/// Bids on auctions of category 10, with the auctions.
pub(crate) fn q20(events: &Events) -> DataStream<(FullBid, AuctionDetails)> {
    events
        .auctions_and_bids(
            |auction| {
                let wanted = (auction.category() == 10).then(|| AuctionDetails {
                    item_name: auction.take_item_name(),
                    description: auction.take_description(),
                    initial_bid: auction.initial_bid(),
                    reserve: auction.reserve(),
                    date_time: Moment(auction.date_time()),
                    expires: Moment(auction.expires()),
                    seller: auction.seller(),
                    category: auction.category(),
                    extra: auction.take_extra(),
                });
                Some(Offered::Auction((auction.id(), wanted)))
            },
            |bid| {
                let auction = bid.auction();
                let bid = FullBid {
                    auction,
                    bidder: bid.bidder(),
                    price: bid.price(),
                    channel: bid.take_channel(),
                    url: bid.take_url(),
                    date_time: Moment(bid.date_time()),
                    extra: bid.take_extra(),
                };
                Some(Offered::Bid(auction, bid))
            },
        )
        .key_by(|event| match event {
            Offered::Auction((id, _)) => *id,
            Offered::Bid(auction, _) => *auction,
        })
        .process(DetailsJoin)
        .name("join by auction")
}

#[derive(Clone)]
struct DetailsJoin;

#[derive(KeyedState)]
pub(crate) struct DetailsState {
    is_known: bool,
    is_wanted: bool,
    details: ListState<AuctionDetails>,
    /// Bids that came before the auction.
    early: ListState<FullBid>,
}

impl KeyedProcessFunction<i64, Offered<Details, FullBid>> for DetailsJoin {
    type State = DetailsState;
    type Out = (FullBid, AuctionDetails);

    fn process(
        &mut self,
        event: Offered<Details, FullBid>,
        ctx: &mut ProcessContext<'_, i64, DetailsState, Self::Out>,
    ) -> FunctionResult {
        match event {
            Offered::Auction((_, details)) => {
                (ctx.state.is_known, ctx.state.is_wanted) = (true, details.is_some());
                while let Some(bid) = ctx.state.early.pop_front() {
                    if let Some(details) = &details {
                        ctx.emit((bid, details.clone()));
                    }
                }
                ctx.state.details.extend(details);
            }
            Offered::Bid(_, bid) if !ctx.state.is_known => ctx.state.early.push(bid),
            Offered::Bid(_, bid) if ctx.state.is_wanted => {
                let details = ctx.state.details.iter().next().expect("it is known");
                ctx.emit((bid, details));
            }
            Offered::Bid(..) => (),
        }
        Ok(())
    }
}
