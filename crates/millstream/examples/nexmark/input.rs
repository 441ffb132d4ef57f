//! Where events come from: one stream of all kinds, or CSV files with a kind each.
//!
//! A query says which columns it wants: of files nothing else is read.

use millstream::connectors::nexmark::{
    AuctionColumns, BidColumns, Config, Event, PersonColumns, auctions_csv, bids_csv, generator,
    persons_csv,
};
use millstream::prelude::*;
use millstream::source;
use std::path::{Path, PathBuf};

/// Events of a generator that is not told how many.
pub(crate) const EVENTS: u64 = 1_000_000;

/// The directories with CSV files, one for each kind of event.
const TABLES: [&str; 3] = ["person", "auction", "bid"];

/// What is given as `--input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// `generator[:EVENTS[:RATE]]`.
    Generator { events: u64, rate: Option<u64> },
    /// JSON lines with an event each: a file, or a directory of them.
    Json(PathBuf),
    /// A directory with the directories `person`, `auction` and `bid`.
    Csv(PathBuf),
}

/// The events of a job.
#[derive(Clone)]
pub(crate) enum Events {
    /// All kinds in one stream.
    Mixed(DataStream<Event>),
    /// CSV files in the directories `person`, `auction` and `bid`.
    Tables { env: Env, directory: PathBuf },
}

impl Input {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(numbers) = text.strip_prefix("generator") {
            return Self::generator(text, numbers);
        }
        let path = PathBuf::from(text);
        let wrong = |why: String| Err(Error::argument(format!("`--input {text}`: {why}")));
        if !path.exists() {
            return wrong("there is no such file or directory".to_owned())
                .map_err(|error| error.next("name one, or say `--input generator:1000000`"));
        }
        let compressed = path.extension().is_some_and(|extension| extension == "gz");
        if compressed {
            return wrong("compressed files are not read".to_owned())
                .map_err(|error| error.next(format!("`gunzip --keep {text}` first")));
        }
        let missing: Vec<&str> =
            TABLES.into_iter().filter(|table| !path.join(table).exists()).collect();
        match missing.len() {
            0 => Ok(Self::Csv(path)),
            3 if path.join("csv1").is_dir() => wrong("its tables are one level down".to_owned())
                .map_err(|error| error.next(format!("say `--input {text}/csv1`"))),
            3 => Ok(Self::Json(path)),
            _ => wrong(format!("a directory of tables, but without `{}`", missing.join("`, `")))
                .map_err(|error| error.next("give it CSV files in `person`, `auction` and `bid`")),
        }
    }

    fn generator(text: &str, numbers: &str) -> Result<Self> {
        let wrong = || {
            Error::argument(format!("`--input {text}` is not `generator[:EVENTS[:PER_SECOND]]`"))
                .next("give whole numbers above 0, such as `generator:1000000:50000`")
        };
        let number = |text: &str| text.parse().ok().filter(|n: &u64| *n > 0).ok_or_else(wrong);
        let mut parts = numbers.split(':');
        if !parts.next().is_some_and(str::is_empty) {
            return Err(wrong());
        }
        let events = parts.next().map_or(Ok(EVENTS), number)?;
        let rate = parts.next().map(number).transpose()?;
        match parts.next() {
            None => Ok(Self::Generator { events, rate }),
            Some(_) => Err(wrong()),
        }
    }

    pub(crate) fn open(self, env: &Env) -> Events {
        match self {
            Self::Csv(directory) => Events::Tables { env: env.clone(), directory },
            Self::Json(path) => {
                Events::Mixed(env.source("events", source::json_lines::<Event>(path)))
            }
            Self::Generator { events, rate } => {
                let source = generator(Config::default()).source(Some(events));
                let source = match rate {
                    Some(rate) => source.rate(rate),
                    None => source,
                };
                Events::Mixed(env.source("events", source))
            }
        }
    }
}

impl Events {
    /// What a function makes of the bids.
    pub(crate) fn bids<T: Record>(
        &self,
        select: impl Fn(&mut BidColumns<'_, '_>) -> Option<T> + Clone + Send + 'static,
    ) -> DataStream<T> {
        match self {
            Self::Mixed(events) => events
                .filter_map(move |mut event| match &mut event {
                    Event::Bid(bid) => select(&mut BidColumns::of(bid)),
                    _ => None,
                })
                .name("bids"),
            Self::Tables { env, directory } => {
                env.source("bids", bids_csv(directory.join("bid"), select))
            }
        }
    }

    /// What two functions make of the auctions and of the bids.
    pub(crate) fn auctions_and_bids<T: Record>(
        &self,
        auction: impl Fn(&mut AuctionColumns<'_, '_>) -> Option<T> + Clone + Send + 'static,
        bid: impl Fn(&mut BidColumns<'_, '_>) -> Option<T> + Clone + Send + 'static,
    ) -> DataStream<T> {
        match self {
            Self::Mixed(events) => events
                .filter_map(move |mut event| match &mut event {
                    Event::Auction(of) => auction(&mut AuctionColumns::of(of)),
                    Event::Bid(of) => bid(&mut BidColumns::of(of)),
                    Event::Person(_) => None,
                })
                .name("auctions and bids"),
            Self::Tables { env, directory } => {
                let auctions = auctions_csv(directory.join("auction"), auction);
                let bids = bids_csv(directory.join("bid"), bid);
                env.source("auctions", auctions).union(&[&env.source("bids", bids)])
            }
        }
    }

    /// What two functions make of the persons and of the auctions; each source of them goes through
    /// `prepare`, so that where it gives times, each has its own watermark.
    pub(crate) fn persons_and_auctions<T: Record>(
        &self,
        person: impl Fn(&mut PersonColumns<'_, '_>) -> Option<T> + Clone + Send + 'static,
        auction: impl Fn(&mut AuctionColumns<'_, '_>) -> Option<T> + Clone + Send + 'static,
        prepare: impl Fn(DataStream<T>) -> DataStream<T>,
    ) -> DataStream<T> {
        match self {
            Self::Mixed(events) => {
                let events = events.filter_map(move |mut event| match &mut event {
                    Event::Person(of) => person(&mut PersonColumns::of(of)),
                    Event::Auction(of) => auction(&mut AuctionColumns::of(of)),
                    Event::Bid(_) => None,
                });
                prepare(events.name("persons and auctions"))
            }
            Self::Tables { env, directory } => {
                let persons = persons_csv(directory.join("person"), person);
                let auctions = auctions_csv(directory.join("auction"), auction);
                let auctions = prepare(env.source("auctions", auctions));
                prepare(env.source("persons", persons)).union(&[&auctions])
            }
        }
    }
}

/// How many events of each kind are in the files: lines of JSON, or of CSV in all tables.
pub(crate) fn count(input: &Input) -> std::io::Result<u64> {
    match input {
        Input::Generator { events, .. } => Ok(*events),
        Input::Json(path) | Input::Csv(path) => lines(path),
    }
}

fn lines(path: &Path) -> std::io::Result<u64> {
    use std::io::Read;
    if path.is_dir() {
        return std::fs::read_dir(path)?.map(|entry| lines(&entry?.path())).sum();
    }
    let (mut file, mut bytes, mut count) = (std::fs::File::open(path)?, vec![0; 1 << 18], 0);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(count),
            read => count += bytes[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}
