//! What is compared with what.
//!
//! The commands of our own programs stand here and nowhere else.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

use crate::contestant::{Contestant, How, TEXT, TEXT_HALVES};

/// One table.
pub(crate) struct Benchmark {
    pub(crate) name: String,
    /// What the job is, for the reader of the table.
    pub(crate) about: String,
    pub(crate) kind: Kind,
    /// Whether it needs the generated text.
    pub(crate) reads_text: bool,
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
    shuffle_records: u64,
    latency_rates: Vec<u64>,
    latency_seconds: u64,
}

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
            shuffle_records: scaled(20_000_000),
            latency_rates: vec![10_000, 1_000_000],
            latency_seconds: arguments.value("seconds", 10)?,
        })
    }
}

/// The benchmarks whose names begin with one of these words, or all.
pub(crate) fn selected(sizes: &Sizes, words: &[String]) -> Result<Vec<Benchmark>> {
    let all = all(sizes);
    let names: Vec<String> = all.iter().map(|benchmark| benchmark.name.clone()).collect();
    for word in words {
        if !names.iter().any(|name| name.starts_with(word)) {
            return Err(format!("no benchmark {word:?}, but {}", names.join(", ")).into());
        }
    }
    let is_wanted = |benchmark: &Benchmark| {
        words.is_empty() || words.iter().any(|word| benchmark.name.starts_with(word))
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn all(sizes: &Sizes) -> Vec<Benchmark> {
    let mut all =
        vec![wordcount(sizes, 1), wordcount(sizes, 2), keyed_sum(sizes, 1), keyed_sum(sizes, 2)];
    all.extend(["q0", "q1", "q2"].map(|query| nexmark(sizes, query)));
    all.push(shuffle(sizes));
    all.extend(sizes.latency_rates.iter().map(|rate| latency(sizes, *rate)));
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
    let our_job = format!("--input {TEXT} --parallelism {p}");
    // Flink does not split a file, so each of its subtasks gets one.
    let flink_input = if p == 1 { TEXT } else { TEXT_HALVES };
    Benchmark {
        name: name("wordcount", p),
        about: format!(
            "A running count for every word of {} MB of text, p = {p}. \"combined\" counts \
             before the exchange: Renoir then emits final counts only.",
            sizes.text_mb
        ),
        kind: Kind::Throughput,
        reads_text: true,
        contestants: vec![
            rival("loop, one thread", "loops", format!("wordcount --input {TEXT}")),
            ours("millstream", "wordcount", our_job.clone()),
            ours("millstream, combined", "wordcount", format!("{our_job} --combine true")),
            rival("timely", "timely_rivals", job.clone()),
            rival("renoir", "renoir_rivals", job.clone()),
            rival("renoir, combined", "renoir_rivals", format!("{job} --variant combined")),
            flink("flink", "WordCount", format!("--in {flink_input} --p {p}")),
        ],
    }
}

fn keyed_sum(sizes: &Sizes, p: u64) -> Benchmark {
    let (records, keys) = (sizes.keyed_records, sizes.keys);
    let job = format!("--records {records} --keys {keys}");
    let flink_records = records / FLINK_RECORDS_DIVISOR;
    let (loop_name, loop_job) = match p {
        1 => ("loop, one thread", "keyed_sum"),
        _ => ("loop, two threads that make and two that sum", "keyed_sum_exchange"),
    };
    Benchmark {
        name: name("keyed_sum", p),
        about: format!(
            "A running sum for every record, {} M records over {keys} random keys, p = {p}. \
             Flink's keys are i mod K and it gets {} M records.",
            millions(records),
            millions(flink_records),
        ),
        kind: Kind::Throughput,
        reads_text: false,
        contestants: vec![
            rival(loop_name, "loops", format!("{loop_job} {job}")),
            ours("millstream", "keyed_sum", format!("{job} --parallelism {p}")),
            rival("timely", "timely_rivals", format!("keyed_sum {job} --parallelism {p}")),
            rival("renoir", "renoir_rivals", format!("keyed_sum {job} --parallelism {p}")),
            flink("flink", "KeyedSum", format!("--n {flink_records} --keys {keys} --p {p}"))
                .of_records(flink_records),
        ],
    }
}

fn nexmark(sizes: &Sizes, query: &str) -> Benchmark {
    let job = format!("--query {query} --events {}", sizes.events);
    Benchmark {
        name: query.to_owned(),
        about: format!(
            "Nexmark {query} over {} M events made before the clock starts, p = 1, rows dropped. \
             Peak memory is that of the events.",
            millions(sizes.events)
        ),
        kind: Kind::Throughput,
        reads_text: false,
        contestants: vec![
            rival("loop", "loops", format!("nexmark {job}")),
            ours("millstream", "nexmark", format!("{job} --parallelism 1")),
            rival("timely", "timely_rivals", format!("nexmark {job}")),
        ],
    }
}

fn shuffle(sizes: &Sizes) -> Benchmark {
    let job = format!("--records {}", sizes.shuffle_records);
    let both_ways = format!("shuffle {job} --pattern both-ways");
    Benchmark {
        name: "shuffle".to_owned(),
        about: format!(
            "{} M records of 100 bytes between two processes on loopback. One way: all made in \
             one process, all taken in the other. Both ways: each makes half and half of those \
             cross. CPU and memory are of both processes.",
            millions(sizes.shuffle_records)
        ),
        kind: Kind::Throughput,
        reads_text: false,
        contestants: vec![
            rival("loop: plain TCP, one way", "loops", format!("tcp {job}")),
            ours("millstream", "shuffle", job.clone()),
            rival("timely, one way", "timely_rivals", format!("shuffle {job}")),
            rival("renoir, one way", "renoir_rivals", format!("shuffle {job}")),
            rival("timely, both ways", "timely_rivals", both_ways.clone()),
            rival("renoir, both ways", "renoir_rivals", both_ways),
        ],
    }
}

fn latency(sizes: &Sizes, rate: u64) -> Benchmark {
    let seconds = sizes.latency_seconds;
    let job = format!("--rate {rate} --seconds {seconds}");
    let timely = |name, more: &str| {
        rival(name, "timely_rivals", format!("latency {job} --parallelism 2 {more}"))
    };
    let flink_job = format!("--rate {rate} --secs {}", seconds + 5);
    Benchmark {
        name: format!("latency-{rate}"),
        about: format!(
            "From the moment a record was due to its arrival behind one exchange, {rate} records \
             per second for {seconds} s after a warm-up, p = 2: every record changes threads, or \
             processes. Flink: p = 1, stamped when it is sent."
        ),
        kind: Kind::Latency,
        reads_text: false,
        contestants: vec![
            timely("timely, two threads", "--wait park"),
            ours("millstream", "latency", format!("{job} --parallelism 2")),
            timely("timely, two threads that spin", "--wait spin"),
            timely("timely, two processes", "--wait park --processes 2"),
            timely("timely, two processes that spin", "--wait spin --processes 2"),
            flink("flink, buffer timeout 100 ms", "Latency", flink_job.clone()),
            flink("flink, buffer timeout 0", "Latency", format!("{flink_job} --timeout 0")),
        ],
    }
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

fn flink(name: &str, class: &str, arguments: String) -> Contestant {
    Contestant::new(name, How::Flink, class, arguments)
}
