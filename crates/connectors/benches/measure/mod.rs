//! Runs rivals in turns and prints medians and ratios: time on the processor, so that other load on
//! the machine does not count.

use flate2::read::GzDecoder;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock};
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 15;

/// As many records as a batch holds.
pub(crate) const BATCH: usize = 1024;

/// One of the rivals.
pub(crate) struct Run<'a> {
    name: &'a str,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(name: &'a str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Runs all in turns, each of which handles `count` units, and compares them with the first.
pub(crate) fn compare(count: usize, unit: &str, mut runs: Vec<Run<'_>>) {
    let mut times = vec![Vec::new(); runs.len()];
    for _ in 0..ROUNDS {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let start = processor_ns();
            (run.run)();
            times.push((processor_ns() - start) as f64 / count as f64);
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    println!("{count} x {unit}, medians of {ROUNDS} rounds");
    for (run, median) in runs.iter().zip(&medians) {
        println!("{median:8.2} ns  ratio {:5.2}  {}", median / medians[0], run.name);
    }
}

/// What this thread has had of a processor.
fn processor_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    ns.expect("the first number is the time on the processor")
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Reads a source as a task does, and hands each batch on.
pub(crate) fn poll_all<T>(source: &impl Source<T>, mut each: impl FnMut(&mut Vec<T>)) {
    let mut splits = source.splits().expect("the input is there").into_iter();
    let mut reader = source.reader(&TaskContext::alone()).expect("nothing can fail");
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let polled = reader.poll(&mut batch, BATCH, SourceClock { now_us: 0 });
        match polled.expect("the input is readable") {
            Poll::NeedSplit => reader.add_split(splits.next()).expect("the input is readable"),
            Poll::End => break,
            _ => (),
        }
        each(&mut batch);
    }
    each(&mut batch);
}

/// Forgets a batch, but not before the compiler has to have made it.
pub(crate) fn forget<T>(batch: &mut Vec<T>) {
    black_box(batch).clear();
}

/// An unpacked fixture.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let mut text = String::new();
    GzDecoder::new(File::open(path).expect("the fixture is there"))
        .read_to_string(&mut text)
        .expect("the fixture is text");
    text
}

/// A file for the time of the run.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn write(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
