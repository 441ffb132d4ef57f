//! One query as a job, with what is to happen to it.

use crate::expected::fixture;
use crate::input::{Events, Input};
use crate::queries::{Rows, query};
use crate::scratch::Scratch;
use millstream::api::args::Args;
use millstream::connectors::nexmark::Event;
use millstream::prelude::*;
use millstream::sink::{self, Csv, Format};
use millstream::source;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// The events of the fixtures, in the order of their arrival.
pub(crate) static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let lines = fixture("events.json.gz");
    lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
});

/// How many there are.
pub(crate) const RECORDS: u64 = 60_000;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A query as a job.
pub(crate) struct Job {
    name: String,
    args: Vec<String>,
    rate: Option<u64>,
    pub(crate) failure: Failure,
    /// So many events have passed the source.
    seen: Arc<AtomicU64>,
    scratch: Scratch,
}

/// Panics once, when there is a checkpoint to go on from; or never.
#[derive(Clone)]
pub(crate) struct Failure {
    directory: PathBuf,
    wanted: Arc<AtomicBool>,
    /// With so many events it has panicked; 0: it has not.
    at: Arc<AtomicU64>,
}

impl Failure {
    /// Not before so many events.
    const FROM: u64 = 20_000;

    /// With how many events it has panicked.
    pub(crate) fn at(&self) -> Option<u64> {
        Some(self.at.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    fn pass(&self, seen: u64) {
        // Looking at files takes time.
        let looks = seen >= Self::FROM && seen.is_multiple_of(64);
        let fails = looks && self.wanted.load(Ordering::SeqCst) && self.has_checkpoint();
        if fails && self.wanted.swap(false, Ordering::SeqCst) {
            self.at.store(seen, Ordering::SeqCst);
            panic!("as the test wants it");
        }
    }

    /// Metadata is seen before the coordinator hears of it; it begins the next checkpoint afterwards.
    fn has_checkpoint(&self) -> bool {
        let names = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut checkpoints = names(&self.directory).flat_map(|job| names(&job.path()));
        checkpoints.any(|checkpoint| {
            checkpoint.file_name() != "chk-1" && checkpoint.path().join("_metadata").exists()
        })
    }
}

impl Job {
    pub(crate) fn new(name: &str, parallelism: u32) -> Self {
        let args = ["--parallelism".to_owned(), parallelism.to_string()];
        let scratch = Scratch::new();
        let failure = Failure {
            directory: scratch.path().to_owned(),
            wanted: Arc::default(),
            at: Arc::default(),
        };
        let mut job = Self {
            name: name.to_owned(),
            args: args.to_vec(),
            rate: None,
            failure,
            seen: Arc::default(),
            scratch,
        };
        let directory = job.scratch.path().display().to_string();
        job.define("execution.checkpointing.dir", &directory);
        job.define("execution.checkpointing.savepoint-dir", &directory);
        // Time passes between batches.
        job.define("pipeline.auto-watermark-interval", "1 ms");
        job
    }

    pub(crate) fn define(&mut self, key: &str, value: &str) -> &mut Self {
        self.args.extend(["-D".to_owned(), format!("{key}={value}")]);
        self
    }

    /// So that something can happen meanwhile.
    pub(crate) fn takes_a_second(&mut self) -> &mut Self {
        self.rate = Some(RECORDS);
        self
    }

    pub(crate) fn fails_once(&mut self) -> &mut Self {
        self.failure.wanted.store(true, Ordering::SeqCst);
        self.define("execution.checkpointing.interval", "10 ms")
            .define("restart-strategy.type", "fixed-delay")
            .define("restart-strategy.fixed-delay.attempts", "1")
            .define("restart-strategy.fixed-delay.delay", "1 ms")
    }

    pub(crate) fn goes_on_from(&mut self, savepoint: &Savepoint) -> &mut Self {
        self.define("execution.state-recovery.path", &savepoint.path)
    }

    /// How many events have passed the source.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    fn environment(&self) -> Env {
        Env::with_arguments(Args::parse(self.args.clone()).expect("well formed")).expect("embedded")
    }

    /// The events, as a source of any parallelism gives them.
    fn events(&self, env: &Env) -> Events {
        let source = source::generator(Some(RECORDS), |index| EVENTS[index as usize].clone());
        let source = match self.rate {
            Some(rate) => source.rate(rate),
            None => source,
        };
        let (seen, failure) = (self.seen.clone(), self.failure.clone());
        let events = env.source("events", source).map(move |event| {
            failure.pass(seen.fetch_add(1, Ordering::SeqCst) + 1);
            event
        });
        Events::Mixed(events.name("seen"))
    }

    /// The rows as lines, in any order.
    pub(crate) fn run(&self) -> Vec<String> {
        let env = self.environment();
        let lines = sink::collect();
        query(&self.name, &self.events(&env), Lines(lines.clone())).expect("it exists");
        env.execute(&self.name).expect("it ends well");
        lines.take()
    }

    /// The same, of events that come from elsewhere.
    pub(crate) fn run_on(&self, input: Input) -> Vec<String> {
        let env = self.environment();
        let lines = sink::collect();
        query(&self.name, &input.open(&env), Lines(lines.clone())).expect("it exists");
        env.execute(&self.name).expect("it ends well");
        lines.take()
    }

    /// Gives the query to whoever writes its rows.
    pub(crate) fn run_into(&self, rows: impl Rows) {
        let env = self.environment();
        query(&self.name, &self.events(&env), rows).expect("it exists");
        env.execute(&self.name).expect("it ends well");
    }

    /// Stops in the middle. Gives the rows that were written by then.
    pub(crate) fn run_to_savepoint(&self) -> (Vec<String>, Savepoint) {
        let env = self.environment();
        let lines = sink::collect();
        query(&self.name, &self.events(&env), Lines(lines.clone())).expect("it exists");
        let client = env.execute_async(&self.name).expect("it starts");
        let deadline = Instant::now() + PATIENCE;
        while self.seen() < RECORDS / 3 {
            assert!(Instant::now() < deadline, "waited in vain for events");
            std::thread::sleep(Duration::from_millis(1));
        }
        let path = client.stop_with_savepoint().expect("a savepoint");
        client.wait().expect("it ends well");
        (lines.take(), Savepoint { path })
    }

    /// The directory of the job's own.
    pub(crate) fn directory(&self) -> PathBuf {
        self.scratch.path().join("output")
    }
}

/// Where a job can go on. It lasts as long as the job that took it.
pub(crate) struct Savepoint {
    path: String,
}

/// Collects rows as lines of CSV.
struct Lines(sink::Collector<String>);

impl Rows for Lines {
    fn rows<R: Record + Serialize>(self, rows: DataStream<R>) {
        let line = |row: R| {
            let mut line = Vec::new();
            Csv::new().write(&row, &mut line).expect("a row");
            line.truncate(line.trim_ascii_end().len());
            String::from_utf8(line).expect("UTF-8")
        };
        rows.map(line).name("lines").sink("rows", self.0);
    }
}
