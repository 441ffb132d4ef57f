//! Nexmark over events in memory. q0, q1 and q2 have no state: the price of touching a record.
//!
//! The loop owns its events, as an operator does, so it also pays for freeing their strings.

use std::hint::black_box;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::nexmark_events::{self as events, Bid, Event, Events, Row};
use millstream_rivals::nexmark_state::{
    Complete, HighestBids, HotItems, MeanPrices, NewSellers, Query, last_of_each,
};
use millstream_rivals::report::{Clock, Throughput};

const BATCH: usize = 1024;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let query = arguments.required("query")?;
    let answers = arguments.text("answers");
    let events = Events::from_arguments(&mut arguments)?;
    arguments.finish()?;

    let input = events.make();
    let records = input.len() as u64;
    let mut rows = answers.is_some().then(Vec::new);
    let clock = Clock::start();
    match query.as_str() {
        "q0" => drain(input, &mut rows, Some),
        "q1" => drain(input, &mut rows, |bid| Some(events::convert(bid))),
        "q2" => drain(input, &mut rows, |bid| events::select(&bid)),
        "q4" => windows::<MeanPrices>(input, &mut rows),
        "q5" => windows::<HotItems>(input, &mut rows),
        "q7" => windows::<HighestBids>(input, &mut rows),
        "q8" => windows::<NewSellers>(input, &mut rows),
        _ => return Err(format!("no query {query:?}, but q0, q1, q2, q4, q5, q7, q8").into()),
    }
    let cost = clock.stop();

    if let (Some(path), Some(rows)) = (answers, rows) {
        let rows = if query == "q4" { last_of_each(rows) } else { rows };
        events::write_rows(path.as_ref(), rows)?;
    }
    Throughput::new((&query, "loop", "plain"), 1, records, cost).print();
    Ok(())
}

/// Takes 1,024 events at a time and drops the rows that the query makes of them.
fn drain<R: Row>(
    input: Vec<Event>,
    answers: &mut Option<Vec<String>>,
    query: impl Fn(Bid) -> Option<R>,
) {
    let mut rows = Vec::with_capacity(BATCH);
    let mut input = events::drain(input);
    loop {
        let mut taken = 0;
        for event in input.by_ref().take(BATCH) {
            taken += 1;
            if let Event::Bid(bid) = event {
                rows.extend(query(bid));
            }
        }
        if taken == 0 {
            return;
        }
        drop_rows(&mut rows, answers);
    }
}

/// Takes 1,024 events at a time, closes windows, and drops the rows.
fn windows<Q: Query>(input: Vec<Event>, answers: &mut Option<Vec<String>>) {
    let (mut query, mut complete) = (Q::default(), Complete::default());
    let mut rows = Vec::with_capacity(BATCH);
    let mut input = events::drain(input);
    loop {
        let mut taken = 0;
        for event in input.by_ref().take(BATCH) {
            taken += 1;
            complete.observe(event.timestamp());
            query.event(event, &mut rows);
        }
        let is_end = taken == 0;
        query.complete(if is_end { u64::MAX } else { complete.before() }, &mut rows);
        drop_rows(&mut rows, answers);
        if is_end {
            return;
        }
    }
}

/// What a blackhole does.
fn drop_rows<R: Row>(rows: &mut Vec<R>, answers: &mut Option<Vec<String>>) {
    if let Some(answers) = answers {
        answers.extend(rows.iter().map(Row::text));
    }
    black_box(&*rows);
    rows.clear();
}
