//! `demo`: an embedded cluster that counts bids of an auction site per channel, as they come.

use crate::arguments::DemoArguments;
use millstream::api::args::Args;
use millstream::connectors::nexmark::{self, Event};
use millstream::prelude::*;
use millstream::{Str, sink};
use millstream_host::signals::SignalWatch;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the terminal is written to.
const REFRESH: Duration = Duration::from_millis(200);

/// How often the counts are shown again.
const ROWS_EVERY: Duration = Duration::from_secs(5);

/// The newest count of each channel, and how many counts there were.
#[derive(Default)]
struct Board {
    counts: BTreeMap<Str, u64>,
    updates: u64,
}

/// Runs until Ctrl-C, or until the events have been counted.
pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode> {
    let began = Instant::now();
    let env = Env::with_arguments(program_arguments(arguments)?)?;
    let board = Arc::<Mutex<Board>>::default();
    build(&env, arguments, board.clone());
    let job = env.execute_async("demo: bids per channel")?;

    let interrupted = Arc::new(AtomicBool::new(false));
    let noticed = interrupted.clone();
    let _signals = SignalWatch::start(move |termination| {
        noticed.store(true, Ordering::SeqCst);
        if termination.count > 1 {
            std::process::exit(130);
        }
    });
    if let Some(address) = job.web_interface() {
        println!("REST: {address}/jobs/{}", job.job_id());
    }
    println!("Counting bids per channel; Ctrl-C ends it.");
    watch(&job, &board, &interrupted, began)?;
    let canceled = interrupted.load(Ordering::SeqCst);
    match job.wait() {
        Ok(_) => (),
        Err(_) if canceled => (),
        Err(error) => return Err(error),
    }
    show_rows(&board);
    let updates = lock(&board).updates;
    println!("Ended after {:.1} s and {updates} bids.", began.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn program_arguments(arguments: &DemoArguments) -> Result<Args> {
    let mut given = Vec::new();
    if let Some(parallelism) = arguments.parallelism {
        given.push(format!("--parallelism={parallelism}"));
    }
    for definition in &arguments.definitions {
        given.extend(["-D".to_owned(), definition.clone()]);
    }
    Args::parse(given)
}

fn build(env: &Env, arguments: &DemoArguments, board: Arc<Mutex<Board>>) {
    let events = nexmark::generator(nexmark::Config::default()).source(arguments.events);
    let events = match arguments.rate {
        Some(rate) => events.rate(rate),
        None => events,
    };
    env.source("auction site", events)
        .filter_map(|event| match event {
            Event::Bid(bid) => Some(bid.channel),
            Event::Person(_) | Event::Auction(_) => None,
        })
        .name("channels of bids")
        .key_by_ref(|channel| channel)
        .count()
        .name("count per channel")
        .sink(
            "board",
            sink::for_each(move |(channel, count): (Str, u64)| {
                let mut board = lock(&board);
                board.updates += 1;
                board.counts.insert(channel, count);
            }),
        );
}

/// Shows progress until the job ends; passes Ctrl-C on to it.
fn watch(
    job: &JobClient,
    board: &Mutex<Board>,
    interrupted: &AtomicBool,
    began: Instant,
) -> Result<()> {
    let live = std::io::stdout().is_terminal();
    let (mut last, mut rows_at, mut canceled) = ((0, Instant::now()), None, false);
    loop {
        std::thread::sleep(REFRESH);
        if interrupted.load(Ordering::SeqCst) && !canceled {
            canceled = true;
            println!("\nEnding ...");
            job.cancel()?;
        }
        if is_over(job)? {
            if live {
                println!();
            }
            return Ok(());
        }
        let updates = lock(board).updates;
        let due = rows_at.is_none_or(|at: Instant| at.elapsed() >= ROWS_EVERY);
        if due && updates > 0 && !canceled {
            if live {
                println!();
            }
            show_rows(board);
            rows_at = Some(Instant::now());
        }
        let rate = (updates - last.0) as f64 / last.1.elapsed().as_secs_f64();
        last = (updates, Instant::now());
        show_progress(live, updates, rate, began.elapsed());
    }
}

fn is_over(job: &JobClient) -> Result<bool> {
    Ok(job.status()?.is_globally_terminal())
}

/// One line that a terminal overwrites; a pipe gets a line each time.
fn show_progress(live: bool, updates: u64, rate: f64, elapsed: Duration) {
    let line = format!(
        "{updates:>12} bids  {:>8.2} M bids/s  {:>6.1} s",
        rate / 1e6,
        elapsed.as_secs_f64()
    );
    if live {
        print!("\r{line}");
        // A terminal that is gone ends the process with the next line.
        let _ = std::io::stdout().flush();
    } else {
        println!("{line}");
    }
}

fn show_rows(board: &Mutex<Board>) {
    let board = lock(board);
    let mut rows: Vec<_> = board.counts.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    println!("{:<20} {:>12}", "channel", "bids");
    for (channel, count) in rows.iter().take(5) {
        println!("{channel:<20} {count:>12}");
    }
}

fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
