//! Event time in whole programs, embedded.

use millstream::OperatorError;
use millstream::api::args::Args;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::testing::TestEnv;
use millstream::{sink, source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

const KEYS: u64 = 100;

/// Gives each key a reading at 1,000 and one at 5,000, and ends when all alarms of the first are over.
struct Readings {
    alarms: Arc<AtomicU64>,
}

struct Reader {
    next: u64,
    alarms: Arc<AtomicU64>,
}

impl Source<(u64, i64)> for Readings {
    fn reader(
        &self,
        _context: &TaskContext,
    ) -> Result<Box<dyn SourceReader<(u64, i64)>>, OperatorError> {
        Ok(Box::new(Reader { next: 0, alarms: self.alarms.clone() }))
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<(u64, i64)> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<(u64, i64)>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.next < 2 * KEYS {
            out.push((self.next % KEYS, if self.next < KEYS { 1_000 } else { 5_000 }));
            self.next += 1;
            return Ok(Poll::More);
        }
        if self.alarms.load(Ordering::SeqCst) == KEYS {
            return Ok(Poll::End);
        }
        Ok(Poll::WakeAt(clock.now_us + 1_000))
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![self.next.to_le_bytes().to_vec()])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let item = items.first().and_then(|item| item.first_chunk().copied());
        self.next = item.map_or(2 * KEYS, u64::from_le_bytes);
        Ok(())
    }
}

/// Rings a second after each reading.
#[derive(Clone)]
struct Alarm;

impl KeyedProcessFunction<u64, (u64, i64)> for Alarm {
    type State = ();
    type Out = (u64, i64, i64);

    fn process(
        &mut self,
        (_, time): (u64, i64),
        ctx: &mut ProcessContext<'_, u64, (), (u64, i64, i64)>,
    ) -> FunctionResult {
        if ctx.timestamp() != Some(time) {
            return Err(format!("{:?} is not the time {time}", ctx.timestamp()).into());
        }
        ctx.register_event_timer(time + 1_000);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        ctx: &mut ProcessContext<'_, u64, (), (u64, i64, i64)>,
    ) -> FunctionResult {
        if ctx.current_watermark() < timer.time || ctx.timestamp() != Some(timer.time) {
            return Err(format!("{timer:?} fired at {}", ctx.current_watermark()).into());
        }
        let alarm = (*ctx.key(), timer.time, ctx.current_watermark());
        ctx.emit(alarm);
        Ok(())
    }
}

#[test]
fn event_timers_fire_while_the_job_runs_and_at_its_end() {
    let count = Arc::new(AtomicU64::new(0));
    let args = Args::parse(["--parallelism", "2"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    env.configure("pipeline.auto-watermark-interval", "1 ms");
    let (alarms, rung) = (sink::collect(), count.clone());
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1))
        .with_timestamp_assigner(|reading: &(u64, i64)| reading.1);
    env.source("readings", Readings { alarms: count })
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|reading| reading.0)
        .process(Alarm)
        .name("alarm")
        .map(move |alarm| {
            rung.fetch_add(1, Ordering::SeqCst);
            alarm
        })
        .sink("alarms", alarms.clone());
    env.execute("alarms").expect("nothing fails");
    let mut alarms = alarms.take();
    alarms.sort_unstable();
    let expected = (0..KEYS).flat_map(|key| [(key, 2_000, 3_999), (key, 6_000, i64::MAX)]);
    assert_eq!(alarms, expected.collect::<Vec<_>>());
}

const RECORDS: u64 = 20_000;

/// Record `i` is of the key `i % 7` and of the time `i`; a key pauses for 600 ms now and then.
fn record(i: u64) -> (u64, i64) {
    (i * i % 7, i as i64 + (i / 3_000 * 600) as i64)
}

/// What all records of a key in windows of these begins amount to.
fn counts(starts: impl Fn(i64) -> Vec<i64>) -> BTreeMap<(u64, i64), u64> {
    let mut counts = BTreeMap::new();
    for (key, time) in (0..RECORDS).map(record) {
        for start in starts(time) {
            *counts.entry((key, start)).or_insert(0) += 1;
        }
    }
    counts
}

/// Each key's sessions, with a gap of 100 ms.
fn sessions() -> BTreeMap<(u64, i64), u64> {
    let mut open: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (key, time) in (0..RECORDS).map(record) {
        let session = open.entry(key).or_insert((time, time));
        if time - session.1 > 100 {
            session.0 = time;
        }
        session.1 = time;
        *counts.entry((key, session.0)).or_insert(0) += 1;
    }
    counts
}

/// A sink that collects may get a result again after a failure, but never another one.
#[track_caller]
fn check(results: Vec<Windowed<u64, u64>>, expected: &BTreeMap<(u64, i64), u64>) {
    let mut found = BTreeMap::new();
    for Windowed { key, window, value } in results {
        let before = found.insert((key, window.start), value);
        assert!(
            before.is_none_or(|before| before == value),
            "{key} {window:?}: {before:?} {value}"
        );
    }
    assert_eq!(found, *expected);
}

#[test]
fn a_window_job_that_fails_on_its_way_gives_what_one_does_that_does_not() {
    let env = Env::with_arguments(Args::default()).expect("embedded");
    let directory = std::env::temp_dir().join(format!("millstream-windows-{}", std::process::id()));
    env.configure("pipeline.auto-watermark-interval", "1 ms")
        .configure("execution.checkpointing.interval", "10 ms")
        .configure("execution.checkpointing.dir", &directory.to_string_lossy())
        .configure("restart-strategy.type", "fixed-delay")
        .configure("restart-strategy.fixed-delay.attempts", "5")
        .configure("restart-strategy.fixed-delay.delay", "1 ms");
    let failures = Arc::new(AtomicU64::new(0));
    let strategy = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|record: &(u64, i64)| record.1);
    let fails = failures.clone();
    let records = env
        .source("records", source::generator(Some(RECORDS), record).rate(20_000))
        .assign_timestamps_and_watermarks(strategy)
        .name("times")
        .map(move |record| {
            // The second and the third time only the first of these is behind it.
            let failed = fails.load(Ordering::SeqCst);
            if record.1 == 6_001 + 5_000 * failed as i64 && failed < 2 {
                fails.fetch_add(1, Ordering::SeqCst);
                panic!("failure {failed}");
            }
            record
        })
        .name("fails twice")
        .key_by(|record| record.0);
    let (sliding, growing) = (sink::collect(), sink::collect());
    let millis = Duration::from_millis;
    records
        .window(SlidingEventTimeWindows::of(millis(400), millis(100)))
        .count()
        .set_parallelism(2)
        .name("sliding")
        .sink("counts", sliding.clone());
    records
        .window(EventTimeSessionWindows::with_gap(millis(100)))
        .count()
        .set_parallelism(2)
        .name("by session")
        .sink("sessions", growing.clone());
    env.execute("windows").expect("it goes on after each failure");
    let _ = std::fs::remove_dir_all(&directory);
    assert_eq!(failures.load(Ordering::SeqCst), 2);
    let starts = |time: i64| (0..4).map(|n| time.div_euclid(100) * 100 - n * 100).collect();
    check(sliding.take(), &counts(starts));
    check(growing.take(), &sessions());
}

/// How far two sources are, for both to see.
#[derive(Clone, Default)]
struct Race {
    slow: Arc<AtomicI64>,
    /// How far the fast one has been ahead at most.
    lead: Arc<AtomicI64>,
}

/// Steps of event time, of each of the two sources.
const STEP_MS: i64 = 10;
const STEPS: i64 = 300;

/// One of the two: the slow one takes a step each millisecond, the fast one as it is read.
struct Racer {
    race: Race,
    slow: bool,
}

struct RacerReader {
    race: Race,
    slow: bool,
    next: i64,
    /// When the next step of the slow one is due.
    due_us: u64,
}

impl Source<(u64, i64)> for Racer {
    fn reader(
        &self,
        _context: &TaskContext,
    ) -> Result<Box<dyn SourceReader<(u64, i64)>>, OperatorError> {
        let (race, slow) = (self.race.clone(), self.slow);
        Ok(Box::new(RacerReader { race, slow, next: 0, due_us: 0 }))
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<(u64, i64)> for RacerReader {
    fn poll(
        &mut self,
        out: &mut Vec<(u64, i64)>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.next == STEPS {
            return Ok(Poll::End);
        }
        if clock.now_us < self.due_us {
            return Ok(Poll::WakeAt(self.due_us));
        }
        let time = self.next * STEP_MS;
        self.next += 1;
        out.push((u64::from(self.slow), time));
        if self.slow {
            // Once it has ended, nobody waits for it.
            let at = if self.next == STEPS { i64::MAX } else { time };
            self.race.slow.store(at, Ordering::SeqCst);
            self.due_us = clock.now_us + 1_000;
            return Ok(Poll::WakeAt(self.due_us));
        }
        let lead = time.saturating_sub(self.race.slow.load(Ordering::SeqCst));
        self.race.lead.fetch_max(lead, Ordering::SeqCst);
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// So far the fast one may be ahead.
const DRIFT_MS: i64 = 200;

/// Lets both run in a group; how far the fast one was ahead at most.
fn race(env: &Env, execute: impl FnOnce()) -> i64 {
    let race = Race::default();
    let read = |name: &str, slow| {
        let strategy = WatermarkStrategy::for_monotonous_timestamps()
            .with_timestamp_assigner(|record: &(u64, i64)| record.1)
            .with_watermark_alignment(
                "racers",
                Duration::from_millis(DRIFT_MS as u64),
                Duration::from_millis(5),
            );
        let racer = Racer { race: race.clone(), slow };
        env.source(name, racer).assign_timestamps_and_watermarks(strategy).set_parallelism(1)
    };
    let records = sink::collect();
    read("slow", true).union(&[&read("fast", false)]).sink("records", records.clone());
    execute();
    assert_eq!(records.take().len(), 2 * STEPS as usize);
    race.lead.load(Ordering::SeqCst)
}

/// The record with which the fast one notices that it is too far has been read.
const LEAD_MAX: i64 = DRIFT_MS + STEP_MS + 1;

#[test]
fn a_source_of_an_alignment_group_runs_ahead_of_the_slowest_no_further_than_it_may() {
    let args = Args::parse(["--parallelism", "1"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    let lead = race(&env, || drop(env.execute("race").expect("nothing fails")));
    assert!(lead <= LEAD_MAX, "it was {lead} ms ahead");
}

#[test]
fn sources_of_a_test_in_virtual_time_are_aligned_too() {
    let test = TestEnv::new();
    let lead = race(test.env(), || drop(test.execute("race").expect("nothing fails")));
    assert!((DRIFT_MS / 2..=LEAD_MAX).contains(&lead), "it was {lead} ms ahead");
}

#[test]
fn alignment_behind_an_exchange_is_refused_with_the_operator_and_what_to_do() {
    let args = Args::parse(["--parallelism", "2"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    let strategy = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|time: &i64| *time)
        .with_watermark_alignment("g", Duration::from_secs(1), Duration::from_secs(1));
    env.source("numbers", source::collection(0..10_i64))
        .rebalance()
        .assign_timestamps_and_watermarks(strategy)
        .name("times")
        .sink("nowhere", sink::blackhole());
    let error = env.execute("aligned too late").expect_err("it would wait for itself").to_string();
    for part in ["times", "event_time.rs", "right behind the source"] {
        assert!(error.contains(part), "`{part}` is missing: {error}");
    }
}

/// Each record says how far time is.
#[derive(Clone)]
struct EachRecord;

impl WatermarkGenerator<(u64, i64)> for EachRecord {
    fn on_event(&mut self, _: &(u64, i64), time: i64, output: &mut WatermarkOutput) {
        output.emit_watermark(time);
    }
}

/// Two files that were written side by side, read so many at once: how many records are late, and how
/// many are counted in windows.
fn late_of_files(directory: &std::path::Path, at_once: usize) -> (usize, u64) {
    let args = Args::parse(["--parallelism", "1"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    let late = OutputTag::<(u64, i64)>::new("late");
    let (counts, too_late) = (sink::collect(), sink::collect());
    let read = |fields: &mut source::Fields<'_>| Some((fields.number(0) as u64, fields.number(1)));
    let strategy = WatermarkStrategy::for_generator(EachRecord)
        .with_timestamp_assigner(|record: &(u64, i64)| record.1);
    let results = env
        .source("files", source::csv_lines(directory, 2, read).splits_at_once(at_once))
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|record| record.0)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
        .side_output_late_data(&late)
        .count()
        .name("windows");
    results.side_output(&late).sink("late", too_late.clone());
    results.map(|counted| counted.value).sink("counts", counts.clone());
    env.execute("files").expect("nothing fails");
    (too_late.take().len(), counts.take().into_iter().sum())
}

#[test]
fn what_a_file_holds_is_not_late_because_another_one_was_read_before() {
    const LINES: usize = 20_000;
    let directory = std::env::temp_dir().join(format!("millstream-splits-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("it can be written");
    for file in 0..2 {
        let lines: String = (0..LINES).map(|time| format!("{file},{time}\n")).collect();
        std::fs::write(directory.join(file.to_string()), lines).expect("it can be written");
    }
    let (one_by_one, at_once) = (late_of_files(&directory, 1), late_of_files(&directory, 2));
    let _ = std::fs::remove_dir_all(&directory);
    assert!(one_by_one.0 > LINES / 2, "the second file comes when time is at its end");
    assert_eq!(at_once, (0, 2 * LINES as u64));
}

#[test]
fn late_records_are_read_beside_the_results() {
    // Two generators would each see half of the records, and time is where the slower one is.
    let args = Args::parse(["--parallelism", "1"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    let late = OutputTag::<(u64, i64)>::new("late");
    let (counts, too_late) = (sink::collect(), sink::collect());
    let strategy = WatermarkStrategy::for_generator(EachRecord)
        .with_timestamp_assigner(|record: &(u64, i64)| record.1);
    let times = [5, 25, 7, 26];
    let results = env
        .source("records", OneByOne(times.into_iter().map(|time| (1, time)).collect()))
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|record| record.0)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
        .side_output_late_data(&late)
        .count()
        .name("windows");
    results.side_output(&late).sink("late", too_late.clone());
    results.map(|counted| (counted.window.start, counted.value)).sink("counts", counts.clone());
    env.execute("late").expect("nothing fails");
    assert_eq!((counts.take(), too_late.take()), (vec![(0, 1), (20, 2)], vec![(1, 7)]));
}

/// Gives one record at a time: what a generator decides on one leaves behind the batch of the record.
struct OneByOne(Vec<(u64, i64)>);

impl Source<(u64, i64)> for OneByOne {
    fn reader(
        &self,
        _context: &TaskContext,
    ) -> Result<Box<dyn SourceReader<(u64, i64)>>, OperatorError> {
        Ok(Box::new(OneByOne(self.0.iter().rev().copied().collect())))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<(u64, i64)> for OneByOne {
    fn poll(
        &mut self,
        out: &mut Vec<(u64, i64)>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let Some(record) = self.0.pop() else { return Ok(Poll::End) };
        out.push(record);
        Ok(Poll::WakeAt(clock.now_us + 1_000))
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}
