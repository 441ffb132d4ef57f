//! Events, and their form as JSON: one object with the event's kind and a member per kind, of which
//! all but one are `null`.

use super::timestamp;
use millstream_core::time::Timestamp;
use millstream_core::{Record, Str};
use serde::de::{self, Deserializer};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

/// Something happened on the auction site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Record)]
pub enum Event {
    /// Someone registered.
    Person(Person),
    /// Something is for sale.
    Auction(Auction),
    /// Someone offered a price.
    Bid(Bid),
}

/// Someone registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Record, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Unique among persons.
    pub id: i64,
    /// First and last name.
    pub name: Str,
    /// The address.
    pub email_address: Str,
    /// Four groups of four digits.
    pub credit_card: Str,
    /// A city of the United States.
    pub city: Str,
    /// The state that it is said to be in, two lower-case letters.
    pub state: Str,
    /// When, in milliseconds.
    #[serde(with = "timestamp")]
    pub date_time: Timestamp,
    /// Fills the record up.
    pub extra: Str,
}

/// Something is for sale.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Record, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auction {
    /// Unique among auctions.
    pub id: i64,
    /// What it is.
    pub item_name: Str,
    /// More words.
    pub description: Str,
    /// The least price, in cents.
    pub initial_bid: i64,
    /// The price below which it is not sold, in cents.
    pub reserve: i64,
    /// When it began, in milliseconds.
    #[serde(with = "timestamp")]
    pub date_time: Timestamp,
    /// When it ends, in milliseconds.
    #[serde(with = "timestamp")]
    pub expires: Timestamp,
    /// The person who sells.
    pub seller: i64,
    /// What kind of thing it is.
    pub category: i64,
    /// Fills the record up.
    pub extra: Str,
}

/// Someone offered a price.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Record, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bid {
    /// The auction.
    pub auction: i64,
    /// The person who offers.
    pub bidder: i64,
    /// How much, in cents.
    pub price: i64,
    /// Where the bid came in.
    pub channel: Str,
    /// The page it came from.
    pub url: Str,
    /// When, in milliseconds.
    #[serde(with = "timestamp")]
    pub date_time: Timestamp,
    /// Fills the record up.
    pub extra: Str,
}

impl Event {
    /// When it happened, in milliseconds.
    pub fn date_time(&self) -> Timestamp {
        match self {
            Self::Person(person) => person.date_time,
            Self::Auction(auction) => auction.date_time,
            Self::Bid(bid) => bid.date_time,
        }
    }

    /// The person who registered.
    pub fn person(self) -> Option<Person> {
        match self {
            Self::Person(person) => Some(person),
            _ => None,
        }
    }

    /// The auction that began.
    pub fn auction(self) -> Option<Auction> {
        match self {
            Self::Auction(auction) => Some(auction),
            _ => None,
        }
    }

    /// The bid.
    pub fn bid(self) -> Option<Bid> {
        match self {
            Self::Bid(bid) => Some(bid),
            _ => None,
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, person, auction, bid) = match self {
            Self::Person(person) => (0_u8, Some(person), None, None),
            Self::Auction(auction) => (1, None, Some(auction), None),
            Self::Bid(bid) => (2, None, None, Some(bid)),
        };
        let mut object = serializer.serialize_struct("Event", 4)?;
        object.serialize_field("event_type", &kind)?;
        object.serialize_field("person", &person)?;
        object.serialize_field("auction", &auction)?;
        object.serialize_field("bid", &bid)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Event")]
        struct Object {
            event_type: u8,
            person: Option<Person>,
            auction: Option<Auction>,
            bid: Option<Bid>,
        }

        match Object::deserialize(deserializer)? {
            Object { event_type: 0, person: Some(person), .. } => Ok(Self::Person(person)),
            Object { event_type: 1, auction: Some(auction), .. } => Ok(Self::Auction(auction)),
            Object { event_type: 2, bid: Some(bid), .. } => Ok(Self::Bid(bid)),
            Object { event_type: kind @ 0..=2, .. } => {
                let member = ["person", "auction", "bid"][usize::from(kind)];
                Err(de::Error::custom(format_args!("event_type {kind} without `{member}`")))
            }
            Object { event_type: kind, .. } => {
                Err(de::Error::custom(format_args!("event_type {kind} is none of 0, 1 and 2")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::record::Input;

    const BID: &str = r#"{"event_type":2,"person":null,"auction":null,"bid":{"auction":81000,"bidder":40811,"price":22625,"channel":"Facebook","url":"https://www.nexmark.com/_iyk/xmeu/gsic/item.htm?query=1","dateTime":"2024-01-02 23:59:00.765","extra":"ayr"}}"#;

    #[test]
    fn an_event_survives_json_and_its_row() {
        let event: Event = serde_json::from_str(BID).expect("it is an event");
        assert_eq!(event.date_time(), 1_704_239_940_765);
        assert_eq!(serde_json::to_string(&event).expect("it has a form"), BID);
        let mut row = Vec::new();
        event.encode(&mut row);
        assert_eq!(Event::decode(&mut Input::new(&row)), Ok(event));
    }

    #[test]
    fn an_event_whose_kind_does_not_fit_is_refused() {
        for (kind, why) in [("0", "event_type 0 without `person`"), ("3", "none of 0, 1 and 2")] {
            let text = BID.replace("\"event_type\":2", &format!("\"event_type\":{kind}"));
            let error = serde_json::from_str::<Event>(&text).expect_err("it does not fit");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
