//! Makes events in the spirit of the public Nexmark generator; the code is our own.
//!
//! Of 50 events in a row the first is a person, the next three are auctions and the others bids.
//! An event is a function of the seed and its index alone, so that any subtask can make any event.
//! Some auctions, bidders, sellers and channels are hot; a few events name an auction or a person
//! that comes later, or never.

use super::event::{Auction, Bid, Event, Person};
use super::random::{LETTERS_MAX, Random};
use crate::source::{self, Generator};
use millstream_core::Str;
use millstream_core::time::Timestamp;
use std::fmt::Write;
use std::sync::Arc;

/// Persons, auctions and bids in a row of events.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;
const ROW: u64 = PERSONS + AUCTIONS + BIDS;

/// The ids that come first.
const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;

/// Ids may be so far ahead of the newest.
const LEAD: u64 = 10;

/// Each so many-th auction, seller and bidder is hot for a while.
const HOT_DISTANCE: u64 = 100;

/// The channels that are not hot.
const CHANNELS: u64 = 10_000;

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["az", "ca", "id", "or", "wa", "wy"];
const CITIES: [&str; 10] = [
    "phoenix",
    "los angeles",
    "san francisco",
    "boise",
    "portland",
    "bend",
    "redmond",
    "seattle",
    "kent",
    "cheyenne",
];
const FIRST_NAMES: [&str; 11] = [
    "peter", "paul", "luke", "john", "saul", "vicky", "kate", "julie", "sarah", "deiter", "walter",
];
const LAST_NAMES: [&str; 9] =
    ["shultz", "abrams", "spencer", "white", "bartels", "walton", "smith", "jones", "noris"];

/// What the events are like. The default is the benchmark's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Another seed, other events.
    pub seed: u64,
    /// The time of the first event, in milliseconds: 2024-01-01 00:00 UTC.
    pub base_time: Timestamp,
    /// So many events happen per second of their own time: 10,000.
    pub events_per_second: u64,
    /// Within so many events in a row, times are shuffled: 1, in order.
    pub out_of_order_group: u64,
    /// All but one in so many bids go to a hot auction: 2.
    pub hot_auction_ratio: u64,
    /// All but one in so many bids come from a hot bidder: 4.
    pub hot_bidder_ratio: u64,
    /// All but one in so many auctions have a hot seller: 4.
    pub hot_seller_ratio: u64,
    /// All but one in so many bids come through one of four channels, the others through one of
    /// 10,000: 2.
    pub hot_channel_ratio: u64,
    /// So many of the newest persons bid and sell: 1,000.
    pub active_people: u64,
    /// So many of the newest auctions get bids: 100.
    pub in_flight_auctions: u64,
    /// The kinds of things: 5.
    pub categories: u64,
    /// The average size of a person, filled up by `extra`: 200.
    pub person_bytes: usize,
    /// The average size of an auction, filled up by `extra`: 500.
    pub auction_bytes: usize,
    /// The average size of a bid without channel and url, filled up by `extra`: 100.
    pub bid_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            base_time: 1_704_067_200_000,
            events_per_second: 10_000,
            out_of_order_group: 1,
            hot_auction_ratio: 2,
            hot_bidder_ratio: 4,
            hot_seller_ratio: 4,
            hot_channel_ratio: 2,
            active_people: 1000,
            in_flight_auctions: 100,
            categories: 5,
            person_bytes: 200,
            auction_bytes: 500,
            bid_bytes: 100,
        }
    }
}

/// Makes events. Cheap to clone. Made by [`generator`].
#[derive(Clone, Debug)]
pub struct Nexmark {
    config: Config,
    channels: Arc<[Channel]>,
}

/// Where bids come in.
#[derive(Debug)]
struct Channel {
    name: Str,
    url: Str,
}

/// Makes events like this. See [the module](super).
///
/// # Panics
/// If a ratio, a rate or a number in the configuration is 0, except the seed and sizes.
pub fn generator(config: Config) -> Nexmark {
    let positive = [
        config.events_per_second,
        config.out_of_order_group,
        config.hot_auction_ratio,
        config.hot_bidder_ratio,
        config.hot_seller_ratio,
        config.hot_channel_ratio,
        config.active_people,
        config.in_flight_auctions,
        config.categories,
    ];
    assert!(positive.iter().all(|n| *n > 0), "a ratio, rate or number of {config:?} is 0");
    let hot = HOT_CHANNELS.iter().map(|name| (name.to_string(), false));
    let others = (0..CHANNELS).map(|n| (format!("channel-{n}"), true));
    let channels = hot
        .chain(others)
        .enumerate()
        .map(|(n, (name, has_id))| {
            let mut random = Random::of(config.seed, !(n as u64));
            Channel { url: url(&mut random, has_id), name: name.into() }
        })
        .collect();
    Nexmark { config, channels }
}

/// A page of the auction site, with three directories and perhaps the id of a channel.
fn url(random: &mut Random, has_id: bool) -> Str {
    let mut url = "https://www.nexmark.com".to_owned();
    for _ in 0..3 {
        let len = 3 + random.below(3) as usize;
        write!(url, "/{}", random.letters(len)).expect("a string takes all text");
    }
    url.push_str("/item.htm?query=1");
    // One in ten has none.
    if has_id && random.below(10) > 0 {
        let id = random.below(1 << 31);
        write!(url, "&channel_id={id}").expect("a string takes all text");
    }
    url.into()
}

impl Nexmark {
    /// The event of this index.
    #[inline]
    pub fn event(&self, index: u64) -> Event {
        let mut random = Random::of(self.config.seed, index);
        match index % ROW {
            0 => Event::Person(self.person(index, &mut random)),
            1..=AUCTIONS => Event::Auction(self.auction(index, &mut random)),
            _ => Event::Bid(self.bid(index, &mut random)),
        }
    }

    /// All events, in order of their index. It does not end.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        (0..).map(|index| self.event(index))
    }

    /// The first so many events, or without a count events for ever, as a source; see
    /// [`Generator::rate`].
    pub fn source(
        &self,
        count: Option<u64>,
    ) -> Generator<impl Fn(u64) -> Event + Clone + Send + 'static> {
        let nexmark = self.clone();
        source::generator(count, move |index| nexmark.event(index))
    }

    /// When the event of this index happens, in milliseconds.
    fn time(&self, index: u64) -> Timestamp {
        // A prime that does not divide the group makes a permutation of it.
        const STEP: u128 = 953;
        let group = self.config.out_of_order_group;
        let place = (u128::from(index) * STEP % u128::from(group)) as u64;
        self.ordered_time(index - index % group + place)
    }

    fn ordered_time(&self, index: u64) -> Timestamp {
        let per_second = self.config.events_per_second;
        let ms = index / per_second * 1000 + index % per_second * 1000 / per_second;
        self.config.base_time + ms as i64
    }

    fn person(&self, index: u64, random: &mut Random) -> Person {
        let name = format!("{} {}", random.one_of(&FIRST_NAMES), random.one_of(&LAST_NAMES));
        let email_address = format!("{}@{}.com", random.letters(7), random.letters(5));
        let groups: [u64; 4] = std::array::from_fn(|_| random.below(10_000));
        let credit_card =
            format!("{:04} {:04} {:04} {:04}", groups[0], groups[1], groups[2], groups[3]);
        let (city, state) = (random.one_of(&CITIES), random.one_of(&STATES));
        let fixed = 8 + 8 + name.len() + email_address.len() + credit_card.len() + city.len() + 2;
        Person {
            id: (FIRST_PERSON + newest_person(index)) as i64,
            name: name.into(),
            email_address: email_address.into(),
            credit_card: credit_card.into(),
            city: city.into(),
            state: state.into(),
            date_time: self.time(index),
            extra: extra(random, self.config.person_bytes, fixed),
        }
    }

    fn auction(&self, index: u64, random: &mut Random) -> Auction {
        const NAME: usize = 20;
        const DESCRIPTION: usize = 100;
        let date_time = self.time(index);
        let initial_bid = random.price();
        Auction {
            id: (FIRST_AUCTION + newest_auction(index)) as i64,
            item_name: random.letters(NAME),
            description: random.letters(DESCRIPTION),
            initial_bid,
            reserve: initial_bid + random.price(),
            date_time,
            expires: date_time + self.length(index, random),
            seller: self.seller(index, random),
            category: (FIRST_CATEGORY + random.below(self.config.categories)) as i64,
            extra: extra(random, self.config.auction_bytes, 7 * 8 + NAME + DESCRIPTION),
        }
    }

    #[inline]
    fn bid(&self, index: u64, random: &mut Random) -> Bid {
        let hot = HOT_CHANNELS.len() as u64;
        let channel = if random.is_hot(self.config.hot_channel_ratio) {
            random.below(hot)
        } else {
            hot + random.below(CHANNELS)
        };
        let channel = &self.channels[channel as usize];
        Bid {
            auction: self.auction_of_bid(index, random),
            bidder: self.bidder(index, random),
            price: random.price(),
            channel: channel.name.clone(),
            url: channel.url.clone(),
            date_time: self.time(index),
            extra: extra(random, self.config.bid_bytes, 4 * 8),
        }
    }

    /// How long an auction runs: until about as many auctions as are in flight have begun.
    fn length(&self, index: u64, random: &mut Random) -> i64 {
        let events = self.config.in_flight_auctions.saturating_mul(ROW) / AUCTIONS;
        let horizon = self.ordered_time(index + events) - self.ordered_time(index);
        1 + random.below((2 * horizon).max(1) as u64) as i64
    }

    fn auction_of_bid(&self, index: u64, random: &mut Random) -> i64 {
        let newest = newest_auction(index);
        let auction = if random.is_hot(self.config.hot_auction_ratio) {
            newest - newest % HOT_DISTANCE
        } else {
            let oldest = newest.saturating_sub(self.config.in_flight_auctions);
            oldest + random.below(newest - oldest + 1 + LEAD)
        };
        (FIRST_AUCTION + auction) as i64
    }

    fn bidder(&self, index: u64, random: &mut Random) -> i64 {
        let newest = newest_person(index);
        let person = if random.is_hot(self.config.hot_bidder_ratio) {
            newest - newest % HOT_DISTANCE + 1
        } else {
            self.active_person(newest, random)
        };
        (FIRST_PERSON + person) as i64
    }

    fn seller(&self, index: u64, random: &mut Random) -> i64 {
        let newest = newest_person(index);
        let person = if random.is_hot(self.config.hot_seller_ratio) {
            newest - newest % HOT_DISTANCE
        } else {
            self.active_person(newest, random)
        };
        (FIRST_PERSON + person) as i64
    }

    fn active_person(&self, newest: u64, random: &mut Random) -> u64 {
        let active = (newest + 1).min(self.config.active_people);
        newest + 1 - active + random.below(active + LEAD)
    }
}

/// The newest person at this event, from 0.
fn newest_person(index: u64) -> u64 {
    index / ROW
}

/// The newest auction at this event, from 0.
fn newest_auction(index: u64) -> u64 {
    (index / ROW * AUCTIONS + (index % ROW).min(AUCTIONS)).saturating_sub(1)
}

/// Fills a record up to its average size, a fifth more or less.
fn extra(random: &mut Random, average: usize, there: usize) -> Str {
    let missing = average.saturating_sub(there).min(LETTERS_MAX / 2);
    let spread = missing / 5;
    let len = missing - spread + random.below(2 * spread as u64 + 1) as usize;
    random.letters(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;
    use std::collections::BTreeSet;

    const PERSON_0: &str = r#"{"event_type":0,"person":{"id":1000,"name":"julie smith","emailAddress":"czrzioc@aakno.com","creditCard":"7879 1462 7786 2651","city":"boise","state":"or","dateTime":"2024-01-01 00:00:00.000","extra":"fjcsaymchdlkpzcccktqcftobplmggmoeyhqmcrjvebhdyjsbhrjecpumtjxvbtvoigpctycppkyzntzlirepahpxkyewylqggjhxgpusmtcrywnmudwaovuzbmxw"},"auction":null,"bid":null}"#;
    const BID_4: &str = r#"{"event_type":2,"person":null,"auction":null,"bid":{"auction":1000,"bidder":1009,"price":12463,"channel":"Google","url":"https://www.nexmark.com/tatsw/oqic/azdnw/item.htm?query=1","dateTime":"2024-01-01 00:00:00.000","extra":"qsxgdgtiwsmcujlvrmekpgytdylmzknktzomrxzcieafapbdqlerkkvjsdvvnajwsgyxrk"}}"#;

    #[test]
    fn the_first_events_never_change() {
        let nexmark = generator(Config::default());
        let json = |index| serde_json::to_string(&nexmark.event(index)).expect("it has a form");
        assert_eq!(json(0), PERSON_0);
        assert_eq!(json(4), BID_4);
    }

    #[test]
    fn of_fifty_events_one_is_a_person_and_three_are_auctions() {
        let nexmark = generator(Config::default());
        let mut counts = [0; 3];
        for event in nexmark.iter().take(5000) {
            match event {
                Event::Person(_) => counts[0] += 1,
                Event::Auction(_) => counts[1] += 1,
                Event::Bid(_) => counts[2] += 1,
            }
        }
        assert_eq!(counts, [100, 300, 4600]);
    }

    #[test]
    fn ids_are_unique_and_most_bids_name_what_is_there() {
        let nexmark = generator(Config::default());
        let (mut persons, mut auctions) = (BTreeSet::new(), BTreeSet::new());
        let (mut bids, mut unknown) = (0, 0);
        for event in nexmark.iter().take(50_000) {
            match event {
                Event::Person(person) => assert!(persons.insert(person.id)),
                Event::Auction(auction) => {
                    assert!(auctions.insert(auction.id));
                    assert!(auction.initial_bid < auction.reserve);
                    assert!(auction.date_time < auction.expires);
                }
                Event::Bid(bid) => {
                    bids += 1;
                    let known = auctions.contains(&bid.auction) && persons.contains(&bid.bidder);
                    unknown += u32::from(!known);
                }
            }
        }
        assert_eq!((persons.len(), auctions.len(), bids), (1000, 3000, 46_000));
        assert!((1..bids / 10).contains(&unknown), "{unknown} of {bids}");
    }

    #[test]
    fn about_half_of_the_bids_go_to_hot_auctions_and_through_hot_channels() {
        let nexmark = generator(Config::default());
        let bids: Vec<Bid> = nexmark.iter().take(50_000).filter_map(Event::bid).collect();
        let share = |is_hot: fn(&Bid) -> bool| {
            bids.iter().filter(|bid| is_hot(bid)).count() as f64 / bids.len() as f64
        };
        assert!((0.48..0.53).contains(&share(|bid| bid.auction % 100 == 0)));
        assert!((0.48..0.52).contains(&share(|bid| HOT_CHANNELS.contains(&bid.channel.as_str()))));
        assert!((0.73..0.77).contains(&share(|bid| bid.bidder % 100 == 1)));
    }

    #[test]
    fn times_are_in_order_or_shuffled_within_a_group() {
        let times = |group| {
            let config = Config { out_of_order_group: group, ..Config::default() };
            let events: Vec<Timestamp> =
                generator(config).iter().take(4000).map(|event| event.date_time()).collect();
            events
        };
        let ordered = times(1);
        assert!(ordered.is_sorted());
        assert_eq!(ordered[3999] - ordered[0], 399);
        let shuffled = times(800);
        assert!(!shuffled.is_sorted());
        for (shuffled, ordered) in shuffled.chunks(800).zip(ordered.chunks(800)) {
            let mut sorted = shuffled.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, ordered);
        }
    }

    #[test]
    fn every_parallelism_gives_the_same_events() {
        let nexmark = generator(Config::default());
        let sorted = |parallelism| {
            let events = read_all(&nexmark.source(Some(500)), parallelism);
            let mut texts: Vec<String> = events
                .expect("nothing can fail")
                .iter()
                .map(|event| serde_json::to_string(event).expect("it has a form"))
                .collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(1), sorted(3));
    }

    #[test]
    #[should_panic(expected = "is 0")]
    fn a_configuration_that_divides_by_zero_is_refused() {
        let _ = generator(Config { hot_auction_ratio: 0, ..Config::default() });
    }
}
