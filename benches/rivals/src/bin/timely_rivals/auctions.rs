//! Nexmark q4, q5, q7, q8: exchanges by key, operators that hold windows until the frontier has
//! passed them. The timestamp is the event time before which everything has come, in milliseconds.

use std::hint::black_box;
use std::sync::{Arc, Barrier, OnceLock};

use millstream_rivals::Result;
use millstream_rivals::nexmark_events::{self as events, Event, Events, Row};
use millstream_rivals::nexmark_state::{
    BidCounts, Complete, Dealing, HighestBids, HighestPrices, Means, MostBids, NewSellers, Priced,
    PricedBid, Raise, Windows, dealing,
};
use millstream_rivals::report::{Clock, Cost};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::source;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Inspect, Operator};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;

use crate::cluster;
use crate::nexmark::Answers;

/// The source gives so many events, and then tells how far it is.
const BATCH: usize = 1024;

/// Runs one of the queries. The clock starts when all workers have made their events.
pub(crate) fn run(
    query: &str,
    events: &Events,
    parallelism: usize,
    answers: &Answers,
) -> Result<Cost> {
    let (query, events, answers) = (query.to_owned(), events.clone(), answers.clone());
    let (ready, clock) = (Barrier::new(parallelism), Arc::new(OnceLock::new()));
    let started = clock.clone();
    cluster::run(cluster::threads(parallelism), move |worker| {
        let share = events.make_share(worker.index(), worker.peers());
        ready.wait();
        started.get_or_init(Clock::start);
        worker.dataflow::<u64, _, _>(|scope| {
            let events = in_order(scope, share);
            match query.as_str() {
                "q4" => drop_rows(mean_prices(events), &answers),
                "q5" => drop_rows(hot_items(events), &answers),
                "q7" => drop_rows(highest_bids(events), &answers),
                _ => drop_rows(new_sellers(events), &answers),
            }
        });
    })?;
    Ok(clock.get().ok_or("no worker has started")?.stop())
}

fn in_order(scope: Scope<'_, u64>, share: Vec<Event>) -> StreamVec<'_, u64, Event> {
    source::<_, CapacityContainerBuilder<Vec<Event>>, _, _>(scope, "Events", |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut events = events::drain(share);
        let mut complete = Complete::default();
        move |output| {
            let Some(time) = &mut capability else { return };
            let mut session = output.session(&*time);
            let mut taken = 0;
            for event in events.by_ref().take(BATCH) {
                taken += 1;
                complete.observe(event.timestamp());
                session.give(event);
            }
            drop(session);
            if taken == 0 {
                capability = None;
            } else {
                time.downgrade(&complete.before());
                activator.activate();
            }
        }
    })
}

fn drop_rows<R: Row + 'static>(rows: StreamVec<'_, u64, R>, answers: &Answers) {
    let answers = answers.clone();
    rows.inspect(move |row| match &answers {
        None => {
            black_box(row);
        }
        Some(rows) => rows.lock().expect("no holder panics").push(row.text()),
    });
}

/// The time before which everything has come.
fn passed(frontier: &MutableAntichain<u64>) -> u64 {
    frontier.frontier().first().copied().unwrap_or(u64::MAX)
}

/// Holds windows, and gives what comes out of them with their ends.
fn windows<'scope, W>(
    records: StreamVec<'scope, u64, W::In>,
    route: impl Fn(&W::In) -> u64 + 'static,
    name: &str,
) -> StreamVec<'scope, u64, (u64, W::Out)>
where
    W: Windows + 'static,
    W::In: ExchangeData,
    W::Out: Clone + 'static,
{
    records.unary_frontier(Exchange::new(route), name, |capability, _| {
        let mut windows = W::default();
        let mut capability = Some(capability);
        move |(input, frontier), output| {
            input.for_each_time(|_, batches| {
                batches.flat_map(|batch| batch.drain(..)).for_each(|record| windows.add(record));
            });
            let before = passed(frontier);
            let Some(held) = &mut capability else { return };
            windows.close(before, |end, out| {
                output.session(&held.delayed(&end)).give((end, out));
            });
            match before {
                u64::MAX => capability = None,
                before => held.downgrade(&before),
            }
        }
    })
}

fn hot_items(events: StreamVec<'_, u64, Event>) -> StreamVec<'_, u64, (usize, u64)> {
    let bids = events.flat_map(|event| match event {
        Event::Bid(bid) => Some((bid.auction, bid.date_time)),
        _ => None,
    });
    let counts = windows::<BidCounts>(bids, |bid| bid.0 as u64, "Count");
    let by_window = Exchange::new(|counted: &(u64, (usize, u64))| counted.0 / 2_000);
    counts.unary_frontier(by_window, "Most", |capability, _| {
        let mut most = MostBids::default();
        let mut capability = Some(capability);
        move |(input, frontier), output| {
            input.for_each_time(|_, batches| {
                for (end, count) in batches.flat_map(|batch| batch.drain(..)) {
                    most.offer(end, count);
                }
            });
            // What is given at the end of a window is complete when the frontier is behind it.
            let before = passed(frontier);
            let Some(held) = &mut capability else { return };
            let mut session = output.session(&*held);
            most.close(before.saturating_sub(1), |_, count| session.give(count));
            drop(session);
            match before {
                u64::MAX => capability = None,
                before => held.downgrade(&before),
            }
        }
    })
}

fn highest_bids(events: StreamVec<'_, u64, Event>) -> StreamVec<'_, u64, PricedBid> {
    let bids = events.flat_map(|event| match event {
        Event::Bid(bid) => Some(PricedBid::from(bid)),
        _ => None,
    });
    windows::<HighestBids>(bids, |bid| bid.date_time / 10_000, "Highest").map(|(_, bid)| bid)
}

fn new_sellers(events: StreamVec<'_, u64, Event>) -> StreamVec<'_, u64, (usize, String, u64)> {
    let dealings = events.flat_map(dealing);
    let by_person = |dealing: &Dealing| dealing.0 as u64;
    windows::<NewSellers>(dealings, by_person, "Sellers").map(|(_, seller)| seller)
}

fn mean_prices(events: StreamVec<'_, u64, Event>) -> StreamVec<'_, u64, (usize, usize)> {
    let by_auction = Exchange::new(|event: &Priced| event.auction() as u64);
    let raises = events.flat_map(Priced::of).unary(by_auction, "Highest", |_, _| {
        let mut prices = HighestPrices::default();
        move |input, output| {
            input.for_each_time(|time, batches| {
                let mut session = output.session(&time);
                for event in batches.flat_map(|batch| batch.drain(..)) {
                    prices.take(event, |raise| session.give(raise));
                }
            });
        }
    });
    let by_category = Exchange::new(|raise: &Raise| raise.0 as u64);
    raises.container::<Vec<_>>().unary(by_category, "Means", |_, _| {
        let mut means = Means::default();
        move |input, output| {
            input.for_each_time(|time, batches| {
                let raises = batches.flat_map(|batch| batch.drain(..));
                output.session(&time).give_iterator(raises.map(|raise| means.raise(raise)));
            });
        }
    })
}
