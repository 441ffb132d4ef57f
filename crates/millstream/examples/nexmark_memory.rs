//! What the engine itself costs: `nexmark_memory --query q0|q1|q2 --events N`.
//!
//! The events are made before the clock starts; the source owns them and gives them away in batches,
//! the sink drops what comes. Compare with `loops nexmark` in `benches/rivals`.

use millstream::connectors::nexmark::{self, Event, euros};
use millstream::operator::context::TaskContext;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::{OperatorError, sink};
use std::sync::Mutex;

millstream::allocator!();

/// Gives a vector away, once.
struct Owned<T>(Mutex<Option<Vec<T>>>);

struct Reader<T>(std::vec::IntoIter<T>);

impl<T: Send + 'static> Source<T> for Owned<T> {
    fn reader(&self, _: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let items = self.0.lock().ok().and_then(|mut items| items.take());
        let items = items.ok_or_else(|| OperatorError::new("the events have been given away"))?;
        Ok(Box::new(Reader(items.into_iter())))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl<T> SourceReader<T> for Reader<T> {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        _: SourceClock,
    ) -> Result<Poll, OperatorError> {
        out.extend(self.0.by_ref().take(room));
        Ok(if self.0.len() > 0 { Poll::More } else { Poll::End })
    }
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let query = env.arg("query")?;
    let count = env.arg_parsed::<usize>("events")?.unwrap_or(5_000_000);
    let generator = nexmark::generator(nexmark::Config::default());
    let events: Vec<Event> = generator.iter().take(count).collect();

    env.set_parallelism(1);
    let events = env.source("events", Owned(Mutex::new(Some(events))));
    let bids = events
        .filter_map(|event| match event {
            Event::Bid(bid) => Some(bid),
            Event::Person(_) | Event::Auction(_) => None,
        })
        .name("bids");
    match query.as_str() {
        "q0" => drop(bids.sink("nowhere", sink::blackhole())),
        "q1" => {
            let priced = bids.map(|bid| {
                let price = euros(bid.price);
                (bid.auction, bid.bidder, price, bid.date_time, bid.extra)
            });
            priced.name("euros").sink("nowhere", sink::blackhole());
        }
        "q2" => {
            let selected = bids.filter(|bid| bid.auction % 123 == 0).name("selection");
            let pairs = selected.map(|bid| (bid.auction, bid.price)).name("projection");
            pairs.sink("nowhere", sink::blackhole());
        }
        other => return Err(Error::argument(format!("`--query {other}` is not q0, q1 or q2"))),
    }
    let seconds = env.execute(&query)?.runtime.as_secs_f64();
    println!("{query}: {:.1} M events/s", count as f64 / seconds / 1e6);
    Ok(())
}
