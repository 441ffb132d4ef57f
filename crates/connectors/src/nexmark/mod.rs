//! The events of the Nexmark benchmark: an auction site's persons, auctions and bids.
//!
//! In reading order:
//! - [`Event`], [`Person`], [`Auction`], [`Bid`]: records, and their form as JSON;
//! - [`BidColumns`] and its like: a record of which only some columns are wanted; [`bids_csv`]: from CSV;
//! - [`generator`](fn@generator): makes events from their index, as a source or an iterator;
//! - [`timestamp`]: times as `yyyy-MM-dd HH:mm:ss.SSS`;
//! - [`euros`], [`Decimal3`]: the price of query 1.
//!
//! ```
//! use millstream_connectors::harness::read_all;
//! use millstream_connectors::nexmark::{self, Config, Event};
//!
//! let events = nexmark::generator(Config::default());
//! let bids = events.iter().take(1000).filter(|event| matches!(event, Event::Bid(_)));
//! assert_eq!(bids.count(), 920);
//!
//! let source = events.source(Some(1000)).rate(10_000);
//! assert_eq!(read_all(&source, 2).unwrap().len(), 1000);
//! ```

mod columns;
mod event;
mod generator;
mod price;
mod random;
pub mod timestamp;

pub use columns::{AuctionColumns, BidColumns, PersonColumns, auctions_csv, bids_csv, persons_csv};
pub use event::{Auction, Bid, Event, Person};
pub use generator::{Config, Nexmark, generator};
pub use price::{Decimal3, euros};
