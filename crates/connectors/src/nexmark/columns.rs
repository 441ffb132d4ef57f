//! Records by their columns: whether they are in memory or lines of CSV, a query takes of them what it
//! wants, and the rest costs nothing.

use super::event::{Auction, Bid, Person};
use super::timestamp;
use crate::source::{CsvLines, Fields, csv_lines};
use millstream_core::Str;
use millstream_core::time::Timestamp;
use std::path::PathBuf;

/// Where the values are.
enum Form<'a, 'l, R> {
    Record(&'a mut R),
    Line(&'a mut Fields<'l>),
}

/// Says how a kind of column is read in both forms.
macro_rules! column {
    ($(#[$doc:meta])* number $name:ident $column:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self) -> i64 {
            match &mut self.0 {
                Form::Record(record) => record.$name,
                Form::Line(fields) => fields.number($column),
            }
        }
    };
    ($(#[$doc:meta])* time $name:ident $column:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self) -> Timestamp {
            match &mut self.0 {
                Form::Record(record) => record.$name,
                Form::Line(fields) => {
                    fields.parsed($column, timestamp::parse, "a time as yyyy-MM-dd HH:mm:ss.SSS")
                }
            }
        }
    };
    ($(#[$doc:meta])* text $name:ident $column:literal $take:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self) -> &str {
            match &mut self.0 {
                Form::Record(record) => record.$name.as_str(),
                Form::Line(fields) => fields.text($column),
            }
        }

        /// The same, to keep. It can be taken once.
        #[inline]
        pub fn $take(&mut self) -> Str {
            match &mut self.0 {
                Form::Record(record) => std::mem::take(&mut record.$name),
                Form::Line(fields) => Str::new(fields.text($column)),
            }
        }
    };
}

/// Declares the columns of a kind of record, and its source.
macro_rules! columns {
    (
        $(#[$doc:meta])* $columns:ident of $record:ident, $count:literal, in $source:ident:
        $($(#[$column_doc:meta])* $kind:ident $name:ident $column:literal $($take:ident)?,)*
    ) => {
        $(#[$doc])*
        pub struct $columns<'a, 'l>(Form<'a, 'l, $record>);

        impl<'a> $columns<'a, 'static> {
            /// Those of a record in memory.
            #[inline]
            pub fn of(record: &'a mut $record) -> Self {
                Self(Form::Record(record))
            }
        }

        impl $columns<'_, '_> {
            $(column! { $(#[$column_doc])* $kind $name $column $($take)? })*

            /// The whole record. It can be taken once.
            pub fn take(&mut self) -> $record {
                $record { $($name: column_value!(self, $name $($take)?),)* }
            }
        }

        /// What a function makes of the records of CSV files; the columns are those of the record, in
        /// their order. See [`csv_lines`].
        pub fn $source<T>(
            path: impl Into<PathBuf>,
            select: impl Fn(&mut $columns<'_, '_>) -> Option<T> + Clone + Send + 'static,
        ) -> CsvLines<impl Fn(&mut Fields<'_>) -> Option<T> + Clone + Send + 'static> {
            csv_lines(path, $count, move |fields: &mut Fields<'_>| {
                select(&mut $columns(Form::Line(fields)))
            })
        }
    };
}

macro_rules! column_value {
    ($self:ident, $name:ident) => {
        $self.$name()
    };
    ($self:ident, $name:ident $take:ident) => {
        $self.$take()
    };
}

columns! {
    /// The columns of a [`Person`].
    PersonColumns of Person, 8, in persons_csv:
    /// See [`Person::id`].
    number id 0,
    /// See [`Person::name`].
    text name 1 take_name,
    /// See [`Person::email_address`].
    text email_address 2 take_email_address,
    /// See [`Person::credit_card`].
    text credit_card 3 take_credit_card,
    /// See [`Person::city`].
    text city 4 take_city,
    /// See [`Person::state`].
    text state 5 take_state,
    /// See [`Person::date_time`].
    time date_time 6,
    /// See [`Person::extra`].
    text extra 7 take_extra,
}

columns! {
    /// The columns of an [`Auction`].
    AuctionColumns of Auction, 10, in auctions_csv:
    /// See [`Auction::id`].
    number id 0,
    /// See [`Auction::item_name`].
    text item_name 1 take_item_name,
    /// See [`Auction::description`].
    text description 2 take_description,
    /// See [`Auction::initial_bid`].
    number initial_bid 3,
    /// See [`Auction::reserve`].
    number reserve 4,
    /// See [`Auction::date_time`].
    time date_time 5,
    /// See [`Auction::expires`].
    time expires 6,
    /// See [`Auction::seller`].
    number seller 7,
    /// See [`Auction::category`].
    number category 8,
    /// See [`Auction::extra`].
    text extra 9 take_extra,
}

columns! {
    /// The columns of a [`Bid`].
    BidColumns of Bid, 7, in bids_csv:
    /// See [`Bid::auction`].
    number auction 0,
    /// See [`Bid::bidder`].
    number bidder 1,
    /// See [`Bid::price`].
    number price 2,
    /// See [`Bid::channel`].
    text channel 3 take_channel,
    /// See [`Bid::url`].
    text url 4 take_url,
    /// See [`Bid::date_time`].
    time date_time 5,
    /// See [`Bid::extra`].
    text extra 6 take_extra,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;
    use crate::nexmark::{Config, Event, generator};
    use crate::scratch::Scratch;
    use crate::sink::{Csv, Format};
    use serde::Serialize;

    fn csv(records: &[impl Serialize]) -> String {
        let mut text = Vec::new();
        for record in records {
            Csv::new().write(record, &mut text).expect("it has columns");
        }
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn records_survive_csv() {
        let scratch = Scratch::new();
        let events: Vec<Event> = generator(Config::default()).iter().take(500).collect();
        let bids: Vec<Bid> = events.iter().cloned().filter_map(Event::bid).collect();
        let source = bids_csv(scratch.write("bid", csv(&bids)), |bid| Some(bid.take()));
        assert_eq!(read_all(&source, 1), Ok(bids));
        let persons: Vec<Person> = events.iter().cloned().filter_map(Event::person).collect();
        let source =
            persons_csv(scratch.write("person", csv(&persons)), |person| Some(person.take()));
        assert_eq!(read_all(&source, 1), Ok(persons));
        let auctions: Vec<Auction> = events.into_iter().filter_map(Event::auction).collect();
        let source =
            auctions_csv(scratch.write("auction", csv(&auctions)), |auction| Some(auction.take()));
        assert_eq!(read_all(&source, 1), Ok(auctions));
    }

    #[test]
    fn a_record_in_memory_and_its_line_have_the_same_columns() {
        let scratch = Scratch::new();
        let event = generator(Config::default()).iter().find_map(Event::bid);
        let mut bid = event.expect("most are bids");
        let path = scratch.write("bid", csv(std::slice::from_ref(&bid)));
        let columns = |bid: &mut BidColumns<'_, '_>| {
            let url = bid.url().to_owned();
            Some((bid.price(), url, bid.date_time(), bid.take_extra()))
        };
        let of_line = read_all(&bids_csv(path, columns), 1).expect("readable");
        assert_eq!(of_line, Vec::from_iter(columns(&mut BidColumns::of(&mut bid))));
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.write("bid", "1,2,3,x,y,2024-13-01 00:00:00.000,z\n");
        let error = read_all(&bids_csv(path, |bid| Some(bid.date_time())), 1);
        let error = error.expect_err("there is no month 13").to_string();
        assert!(error.contains("/bid:1:11 "), "{error}");
        assert!(error.contains("is not a time as yyyy-MM-dd HH:mm:ss.SSS"), "{error}");
    }
}
