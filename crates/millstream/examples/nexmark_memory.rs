//! What the engine itself costs: `nexmark_memory --query q0|q1|q2 --events N`.
//!
//! The events are made on the task's own thread before the clock starts; the source gives them away in
//! batches, the sink drops what comes. The clock runs from the first poll to the end of the events.
//! It prints one line of JSON. Compare with `loops nexmark` in `benches/rivals`.

use millstream::connectors::nexmark::{self, Event, euros};
use millstream::operator::context::TaskContext;
use millstream::operator::item;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::{OperatorError, sink};
use std::time::Instant;

millstream::allocator!();

/// Events from memory.
struct InMemory {
    count: usize,
}

struct Reader {
    events: std::vec::IntoIter<Event>,
    count: usize,
    began: Option<Began>,
}

/// Wall time and the thread's processor time.
#[derive(Clone, Copy)]
struct Began {
    at: Instant,
    cpu_seconds: Option<f64>,
}

impl Began {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_seconds: cpu_seconds_of_thread() }
    }

    /// Prints what so many events took since then. All of the job runs on this thread.
    fn report(self, events: usize) {
        let seconds = self.at.elapsed().as_secs_f64();
        let used = cpu_seconds_of_thread().zip(self.cpu_seconds).map(|(now, then)| now - then);
        let cpu_seconds = used.unwrap_or(seconds);
        println!(
            "{{\"bench\":\"nexmark\",\"impl\":\"millstream\",\"records\":{events},\
             \"seconds\":{seconds},\"cpu_seconds\":{cpu_seconds}}}"
        );
    }
}

/// Linux counts it in nanoseconds.
fn cpu_seconds_of_thread() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanos / 1e9)
}

impl Source<Event> for InMemory {
    fn reader(&self, _: &TaskContext) -> Result<Box<dyn SourceReader<Event>>, OperatorError> {
        let count = self.count;
        let generator = nexmark::generator(nexmark::Config::default());
        let events: Vec<Event> = generator.iter().take(count).collect();
        Ok(Box::new(Reader { events: events.into_iter(), count, began: None }))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<Event> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<Event>,
        room: usize,
        _: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let began = *self.began.get_or_insert_with(Began::now);
        if self.events.len() == 0 {
            began.report(self.count);
            return Ok(Poll::End);
        }
        out.extend(self.events.by_ref().take(room));
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let given = (self.count - self.events.len()) as u64;
        Ok(vec![item::encode(&given)])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        for item in &items {
            let given: u64 = item::decode("the number of events", item)?;
            self.events.by_ref().take(given as usize).for_each(drop);
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let query = env.arg("query")?;
    let count = env.arg_parsed::<usize>("events")?.unwrap_or(5_000_000);
    env.set_parallelism(1);
    let events = env.source("events", InMemory { count });
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
    env.execute(&query)?;
    Ok(())
}
