//! Nexmark over events in memory: q0, q1, q2 on one worker; those with state are in [`auctions`].

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::nexmark_events::{self as events, Bid, Event, Events, Row};
use millstream_rivals::nexmark_state::last_of_each;
use millstream_rivals::report::{Clock, Cost, Throughput};
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::vec::{Map, ToStream};

use crate::auctions;

/// Rows of the result, if somebody wants to see them.
pub(crate) type Answers = Option<Arc<Mutex<Vec<String>>>>;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let query = arguments.required("query")?;
    let path = arguments.text("answers");
    let parallelism = arguments.value("parallelism", 1)?;
    let events = Events::from_arguments(&mut arguments)?;
    arguments.finish()?;

    let records = events.count as u64;
    let answers: Answers = path.is_some().then(Arc::default);
    let cost = match query.as_str() {
        "q4" | "q5" | "q7" | "q8" => auctions::run(&query, &events, parallelism, &answers)?,
        _ if parallelism != 1 => return Err("q0, q1 and q2 run on one worker".into()),
        _ => run_without_state(&query, events.make(), &answers)?,
    };

    if let (Some(path), Some(answers)) = (path, answers) {
        let rows = std::mem::take(&mut *answers.lock().expect("no holder panics"));
        let rows = if query == "q4" { last_of_each(rows) } else { rows };
        events::write_rows(path.as_ref(), rows)?;
    }
    Throughput::new((&query, "timely", "plain"), parallelism, records, cost).print();
    Ok(())
}

fn run_without_state(query: &str, input: Vec<Event>, answers: &Answers) -> Result<Cost> {
    let clock = Clock::start();
    match query {
        "q0" => stream(input, answers, Some),
        "q1" => stream(input, answers, |bid| Some(events::convert(bid))),
        "q2" => stream(input, answers, |bid| events::select(&bid)),
        _ => return Err(format!("no query {query:?}, but q0, q1, q2, q4, q5, q7, q8").into()),
    }
    Ok(clock.stop())
}

fn stream<R: Row + 'static>(
    input: Vec<Event>,
    answers: &Answers,
    query: impl Fn(Bid) -> Option<R> + Send + Sync + 'static,
) {
    let answers = answers.clone();
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            events::drain(input)
                .to_stream(scope)
                .flat_map(move |event| match event {
                    Event::Bid(bid) => query(bid),
                    _ => None,
                })
                .inspect(move |row| match &answers {
                    None => {
                        black_box(row);
                    }
                    Some(rows) => rows.lock().expect("no holder panics").push(row.text()),
                });
        });
    });
}
