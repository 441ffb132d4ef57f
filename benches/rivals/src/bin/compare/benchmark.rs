//! What is compared with what.
//!
//! The commands of our own programs stand here and nowhere else.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

use crate::bound::{Asked, Bound};
use crate::contestant::{Contestant, EVENTS, EVENTS_FOLDER, How, SQL_FOLDER, TEXT, TEXT_HALVES};

/// One table.
pub(crate) struct Benchmark {
    pub(crate) name: String,
    /// What the job is, for the reader of the table.
    pub(crate) about: String,
    pub(crate) kind: Kind,
    /// Whether it needs the generated text.
    pub(crate) reads_text: bool,
    /// Whether it needs the events as JSON.
    pub(crate) reads_events: bool,
    /// What is asked of us here.
    pub(crate) bounds: Vec<Bound>,
    /// The first one is the reference of the ratios.
    pub(crate) contestants: Vec<Contestant>,
}

/// What a table shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Throughput,
    Latency,
}

/// How much work there is.
pub(crate) struct Sizes {
    pub(crate) text_mb: u64,
    pub(crate) vocabulary: usize,
    keyed_records: u64,
    keys: u64,
    events: u64,
    /// The JSON file holds so many times the events of the fixtures.
    pub(crate) events_copies: u64,
    shuffle_records: u64,
    latency_rates: Vec<u64>,
    latency_seconds: u64,
}

/// Our own engine at p = 1, where the benchmark has p = 2.
const OURS_ALONE: &str = "millstream, p = 1";

/// Events of `fixtures/nexmark/events.json.gz`.
const FIXTURE_EVENTS: u64 = 60_000;

/// Flink's keyed sum gets this fraction of the records; its rate hardly depends on it.
const FLINK_RECORDS_DIVISOR: u64 = 10;

impl Sizes {
    /// Full size times `--scale`.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let scale = arguments.value("scale", 1.0)?;
        let scaled = |full: u64| ((full as f64 * scale) as u64).max(1);
        Ok(Self {
            text_mb: scaled(200),
            vocabulary: 50_000,
            keyed_records: scaled(100_000_000),
            keys: scaled(1_000_000),
            events: scaled(5_000_000),
            events_copies: scaled(20),
            shuffle_records: scaled(50_000_000),
            latency_rates: vec![10_000, 1_000_000],
            latency_seconds: arguments.value("seconds", 10)?,
        })
    }
}

/// The benchmarks whose names begin with one of these words or are one of `only`, or all.
pub(crate) fn selected(sizes: &Sizes, words: &[String], only: &[String]) -> Result<Vec<Benchmark>> {
    let all = all(sizes);
    let names: Vec<String> = all.iter().map(|benchmark| benchmark.name.clone()).collect();
    for word in words {
        if !names.iter().any(|name| name.starts_with(word)) {
            return Err(format!("no benchmark {word:?}, but {}", names.join(", ")).into());
        }
    }
    for name in only {
        if !names.contains(name) {
            return Err(format!("no benchmark {name:?}, but {}", names.join(", ")).into());
        }
    }
    let is_wanted = |benchmark: &Benchmark| {
        words.is_empty() && only.is_empty()
            || words.iter().any(|word| benchmark.name.starts_with(word))
            || only.contains(&benchmark.name)
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn all(sizes: &Sizes) -> Vec<Benchmark> {
    let mut all =
        vec![wordcount(sizes, 1), wordcount(sizes, 2), keyed_sum(sizes, 1), keyed_sum(sizes, 2)];
    all.extend(["q0", "q1", "q2", "q4", "q5", "q7", "q8"].map(|query| nexmark(sizes, query, 1)));
    all.extend(["q4", "q5", "q7", "q8"].map(|query| nexmark(sizes, query, 2)));
    all.extend(["q0", "q1", "q2"].map(|query| nexmark_json(sizes, query)));
    all.push(shuffle(sizes));
    all.extend(sizes.latency_rates.iter().map(|rate| latency(sizes, *rate)));
    all.push(latency_between_processes(sizes, sizes.latency_rates[0]));
    all
}

fn name(job: &str, p: u64) -> String {
    match p {
        1 => job.to_owned(),
        _ => format!("{job}-p{p}"),
    }
}

fn wordcount(sizes: &Sizes, p: u64) -> Benchmark {
    let job = format!("wordcount --input {TEXT} --parallelism {p}");
    let our_job = |p: u64| format!("--input {TEXT} --parallelism {p}");
    // Flink does not split a file, so each of its subtasks gets one.
    let flink_input = if p == 1 { TEXT } else { TEXT_HALVES };
    let mut contestants = vec![
        rival("loop", "loops", format!("wordcount --input {TEXT}")),
        ours("millstream", "wordcount", our_job(p)),
        ours("millstream, combined", "wordcount", format!("{} --combine true", our_job(p))),
        rival("timely", "timely_rivals", job.clone()),
        rival("renoir", "renoir_rivals", job.clone()),
        rival("renoir, combined", "renoir_rivals", format!("{job} --variant combined")),
        flink("flink", "WordCount", format!("--in {flink_input} --p {p}")),
    ];
    let bounds = if p == 1 {
        vec![
            per_second("millstream", 0.4, "loop"),
            per_cpu_second("millstream", 1.0, "timely"),
            per_cpu_second("millstream", 1.0, "renoir"),
            per_cpu_second("millstream", 8.0, "flink"),
        ]
    } else {
        contestants.insert(2, ours(OURS_ALONE, "wordcount", our_job(1)));
        vec![
            per_second("millstream", 1.4, OURS_ALONE),
            per_second("millstream, combined", 1.0, "renoir, combined"),
        ]
    };
    Benchmark {
        reads_text: true,
        bounds,
        ..throughput(
            name("wordcount", p),
            format!(
                "a running count for every word of {} MB of text, p = {p}. The loop has one \
                 thread. \"combined\" counts before the exchange: Renoir then emits final counts \
                 only.",
                sizes.text_mb
            ),
            contestants,
        )
    }
}

fn keyed_sum(sizes: &Sizes, p: u64) -> Benchmark {
    let (records, keys) = (sizes.keyed_records, sizes.keys);
    let job = format!("--records {records} --keys {keys}");
    let flink_records = records / FLINK_RECORDS_DIVISOR;
    let loop_job = if p == 1 { "keyed_sum" } else { "keyed_sum_exchange" };
    let mut contestants = vec![
        rival("loop", "loops", format!("{loop_job} {job}")),
        ours("millstream", "keyed_sum", format!("{job} --parallelism {p}")),
        rival("timely", "timely_rivals", format!("keyed_sum {job} --parallelism {p}")),
        rival("renoir", "renoir_rivals", format!("keyed_sum {job} --parallelism {p}")),
        flink("flink", "KeyedSum", format!("--n {flink_records} --keys {keys} --p {p}"))
            .of_records(flink_records),
    ];
    let bounds = if p == 1 {
        vec![per_second("millstream", 1.5, "loop"), per_cpu_second("millstream", 25.0, "flink")]
    } else {
        contestants.insert(2, ours(OURS_ALONE, "keyed_sum", format!("{job} --parallelism 1")));
        vec![per_second("millstream", 1.0, "loop"), per_second("millstream", 1.4, OURS_ALONE)]
    };
    let about = format!(
        "a running sum for every record, {} M records over {keys} random keys, p = {p}. At p = 2 \
         the loop has two threads that make records and two that sum. Flink's keys are i mod K and \
         it gets {} M records.",
        millions(records),
        millions(flink_records),
    );
    Benchmark { bounds, ..throughput(name("keyed_sum", p), about, contestants) }
}

/// q0, q1 and q2 have no state; of the others timely may not take less time of the processor.
fn nexmark(sizes: &Sizes, query: &str, p: u64) -> Benchmark {
    let has_state = !["q0", "q1", "q2"].contains(&query);
    let events = sizes.events;
    let job = format!("--query {query} --events {events}");
    let ours = if has_state {
        ours(
            "millstream",
            "nexmark",
            format!("--query {query} --input memory:{events} --parallelism {p}"),
        )
    } else {
        ours("millstream", "nexmark_memory", job.clone())
    };
    let about = format!(
        "Nexmark {query} over {} M events made before the clock starts, p = {p}, rows dropped. The \
         loop has one thread. Peak memory is that of the events.",
        millions(events)
    );
    let contestants = vec![
        rival("loop", "loops", format!("nexmark {job}")),
        ours,
        rival("timely", "timely_rivals", format!("nexmark {job} --parallelism {p}")),
    ];
    let mut bounds = vec![per_second("millstream", if has_state { 0.5 } else { 0.7 }, "loop")];
    if has_state || query == "q1" {
        bounds.push(per_cpu_second("millstream", 1.0, "timely"));
    }
    Benchmark { bounds, ..throughput(name(query, p), about, contestants) }
}

fn nexmark_json(sizes: &Sizes, query: &str) -> Benchmark {
    let records = sizes.events_copies * FIXTURE_EVENTS;
    let job = format!("--query {query} --input {EVENTS} --parallelism 1");
    let flink_job =
        format!("--queries {query} --sql {SQL_FOLDER} --data {EVENTS_FOLDER} --p 1 --fmt json");
    let about = format!(
        "Nexmark {query} over {} M events read from one file of JSON lines, p = 1, rows dropped.",
        millions(records)
    );
    let contestants = vec![
        ours("millstream", "nexmark_bids", job).of_records(records),
        flink("flink", "Sql", flink_job).of_records(records),
    ];
    Benchmark {
        reads_events: true,
        bounds: vec![per_cpu_second("millstream", 5.0, "flink")],
        ..throughput(format!("json-{query}"), about, contestants)
    }
}

fn shuffle(sizes: &Sizes) -> Benchmark {
    let job = format!("--records {}", sizes.shuffle_records);
    let both_ways = format!("shuffle {job} --pattern both-ways");
    let about = format!(
        "{} M records of 100 bytes between two processes on loopback. One way: all made in one \
         process, all taken in the other. Both ways: each makes half and half of those cross. CPU \
         and memory are of both processes. The loop is plain TCP.",
        millions(sizes.shuffle_records)
    );
    let contestants = vec![
        rival("loop", "loops", format!("tcp {job}")),
        on_cluster("millstream", "shuffle", job.clone()),
        rival("timely, one way", "timely_rivals", format!("shuffle {job}")),
        rival("renoir, one way", "renoir_rivals", format!("shuffle {job}")),
        rival("timely, both ways", "timely_rivals", both_ways.clone()),
        rival("renoir, both ways", "renoir_rivals", both_ways),
    ];
    let bounds = vec![per_second("millstream", 0.5, "loop")];
    Benchmark { bounds, ..throughput("shuffle".to_owned(), about, contestants) }
}

fn latency(sizes: &Sizes, rate: u64) -> Benchmark {
    let seconds = sizes.latency_seconds;
    let job = format!("--rate {rate} --seconds {seconds} --parallelism 2");
    let timely = |name, wait| rival(name, "timely_rivals", format!("latency {job} --wait {wait}"));
    let flink_job = format!("--rate {rate} --secs {}", seconds + 5);
    Benchmark {
        kind: Kind::Latency,
        bounds: match rate {
            10_000 => vec![p50("millstream", 25.0)],
            _ => Vec::new(),
        },
        ..throughput(
            format!("latency-{rate}"),
            format!(
                "from the moment a record was due to its arrival behind one exchange, {rate} \
                 records per second for {seconds} s after a warm-up, p = 2: with timely every \
                 record changes threads, with us every second one. Flink: p = 1, stamped when it \
                 is sent. The slower subtask counts."
            ),
            vec![
                timely("timely, parks", "park"),
                ours("millstream", "latency", our_latency(rate, seconds)),
                timely("timely, spins", "spin"),
                flink("flink, buffer timeout 100 ms", "Latency", flink_job.clone()),
                flink("flink, buffer timeout 0", "Latency", format!("{flink_job} --timeout 0")),
            ],
        )
    }
}

fn latency_between_processes(sizes: &Sizes, rate: u64) -> Benchmark {
    let seconds = sizes.latency_seconds;
    let job = format!("--rate {rate} --seconds {seconds} --parallelism 2");
    let timely = |name, wait| {
        rival(name, "timely_rivals", format!("latency {job} --processes 2 --wait {wait}"))
    };
    Benchmark {
        kind: Kind::Latency,
        bounds: vec![p50("millstream", 80.0)],
        ..throughput(
            format!("latency-{rate}-processes"),
            "the same with two processes of one worker thread each".to_owned(),
            vec![
                timely("timely, parks", "park"),
                on_cluster("millstream", "latency", our_latency(rate, seconds)),
                timely("timely, spins", "spin"),
            ],
        )
    }
}

/// Our example counts its warm-up of one second as part of its time.
fn our_latency(rate: u64, seconds: u64) -> String {
    format!("--rate {rate} --seconds {} --parallelism 2", seconds + 1)
}

/// One that counts records per second, reads no input, and asks nothing of us.
fn throughput(name: String, about: String, contestants: Vec<Contestant>) -> Benchmark {
    Benchmark {
        name,
        about,
        kind: Kind::Throughput,
        reads_text: false,
        reads_events: false,
        bounds: Vec::new(),
        contestants,
    }
}

fn per_second(of: &'static str, factor: f64, beside: &'static str) -> Bound {
    Bound { of, asked: Asked::PerSecond(factor, beside) }
}

fn per_cpu_second(of: &'static str, factor: f64, beside: &'static str) -> Bound {
    Bound { of, asked: Asked::PerCpuSecond(factor, beside) }
}

fn p50(of: &'static str, micros: f64) -> Bound {
    Bound { of, asked: Asked::P50(micros) }
}

fn millions(records: u64) -> f64 {
    records as f64 / 1e6
}

fn rival(name: &str, program: &str, arguments: String) -> Contestant {
    Contestant::new(name, How::Rival, program, arguments)
}

fn ours(name: &str, example: &str, arguments: String) -> Contestant {
    Contestant::new(name, How::Ours, example, arguments)
}

fn on_cluster(name: &str, example: &str, arguments: String) -> Contestant {
    Contestant::new(name, How::OursOnCluster, example, arguments)
}

fn flink(name: &str, class: &str, arguments: String) -> Contestant {
    Contestant::new(name, How::Flink, class, arguments)
}
