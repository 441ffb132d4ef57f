//! Records and functions that are not what a program expects: each is dealt with, or fails the job with an
//! error that says where and why.

use millstream::api::args::Args;
use millstream::core::record::{DecodeError, Input, Output, Schema};
use millstream::operator::window::DefaultTrigger;
use millstream::prelude::*;
use millstream::{sink, source};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A job of so many subtasks in this process.
fn env(parallelism: u32) -> Env {
    let args = Args::parse(["--parallelism", &parallelism.to_string()].map(str::to_owned));
    Env::with_arguments(args.expect("well formed")).expect("embedded")
}

#[track_caller]
fn check_told(failed: Result<impl Sized>, parts: &[&str]) {
    let error = failed.err().expect("it fails").to_string();
    for part in parts.iter().chain(&["crates/millstream/tests/bad_input.rs:"]) {
        assert!(error.contains(part), "`{part}` is missing: {error}");
    }
}

/// Year 1 and year 9999, in milliseconds since 1970.
const YEAR_1: i64 = -62_135_596_800_000;
const YEAR_9999: i64 = 253_402_300_799_999;

/// Records of one key that are their own times, in an order in which none is late.
fn at<const N: usize>(env: &Env, times: [i64; N]) -> KeyedStream<(), i64> {
    let strategy = WatermarkStrategy::no_watermarks().with_timestamp_assigner(|time: &i64| *time);
    env.source("times", source::collection(times))
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|_| ())
}

/// What windows hold, by their begin.
fn counts(results: DataStream<Windowed<(), u64>>, env: &Env) -> Vec<(TimeWindow, u64)> {
    let counts = sink::collect();
    results.map(|counted| (counted.window, counted.value)).sink("counts", counts.clone());
    env.execute("windows").expect("nothing fails");
    let mut counts = counts.take();
    counts.sort_unstable();
    counts
}

const HOUR: i64 = 3_600_000;

fn window(start: i64, size: i64) -> TimeWindow {
    TimeWindow::new(start, start + size)
}

#[test]
fn year_1_year_9999_and_times_before_1970_are_in_their_windows() {
    let times = [YEAR_1, -1, 0, YEAR_9999];
    let hour = Duration::from_secs(3_600);

    let env_ = env(1);
    let tumbling = TumblingEventTimeWindows::of(hour);
    let found = counts(at(&env_, times).window(tumbling).count(), &env_);
    let last = YEAR_9999 + 1 - HOUR;
    let expected = [YEAR_1, -HOUR, 0, last].map(|start| (window(start, HOUR), 1));
    assert_eq!(found, expected);

    // Shifted by a quarter of an hour to either side.
    for offset in [HOUR / 4, -3 * HOUR / 4] {
        let env_ = env(1);
        let shifted = tumbling.with_offset_millis(offset);
        let found = counts(at(&env_, times).window(shifted).count(), &env_);
        let quarter = HOUR / 4;
        let expected = [
            (window(YEAR_1 - HOUR + quarter, HOUR), 1),
            (window(-HOUR + quarter, HOUR), 2),
            (window(last + quarter, HOUR), 1),
        ];
        assert_eq!(found, expected, "{offset}");
    }

    let env_ = env(1);
    let sliding = SlidingEventTimeWindows::of(hour, hour / 2);
    let found = counts(at(&env_, times).window(sliding).count(), &env_);
    let starts = [
        (YEAR_1 - HOUR / 2, 1),
        (YEAR_1, 1),
        (-HOUR, 1),
        (-HOUR / 2, 2),
        (0, 1),
        (last, 1),
        (last + HOUR / 2, 1),
    ];
    assert_eq!(found, starts.map(|(start, count)| (window(start, HOUR), count)));

    let env_ = env(1);
    let sessions = EventTimeSessionWindows::with_gap(hour);
    let found = counts(at(&env_, times).window(sessions).count(), &env_);
    let expected =
        [(window(YEAR_1, HOUR), 1), (TimeWindow::new(-1, HOUR), 2), (window(YEAR_9999, HOUR), 1)];
    assert_eq!(found, expected);
}

#[test]
fn a_time_beyond_all_windows_is_an_error_that_tells_it() {
    for time in [i64::MAX, i64::MAX - 1, i64::MIN + 1] {
        for sessions in [true, false] {
            let env = env(1);
            let keyed = at(&env, [0, time]);
            let counted = match sessions {
                true => keyed.window(EventTimeSessionWindows::with_gap(Duration::from_secs(1))),
                false => keyed.window(TumblingEventTimeWindows::of(Duration::from_secs(1))),
            };
            counted.count().name("counted").sink("nowhere", sink::blackhole());
            let told = format!("a record has the time {time}, which is in no window");
            check_told(env.execute("absurd"), &["`counted`", &told]);
        }
    }
}

#[test]
fn event_time_windows_over_records_without_a_time_say_what_to_do() {
    for sliding in [true, false] {
        let env = env(1);
        let keyed = env.source("numbers", source::collection(0..10_i64)).key_by(|_| ());
        let windows = match sliding {
            true => keyed.window(SlidingEventTimeWindows::of(
                Duration::from_secs(10),
                Duration::from_secs(1),
            )),
            false => keyed.window(EventTimeSessionWindows::with_gap(Duration::from_secs(1))),
        };
        windows.count().name("counted").sink("nowhere", sink::blackhole());
        let parts = ["`counted`", "records have no time", "assign_timestamps_and_watermarks"];
        check_told(env.execute("no times"), &parts);
    }
}

#[test]
fn records_in_any_order_are_counted_once_if_they_are_not_older_than_the_bound() {
    let env = env(1);
    env.configure("pipeline.auto-watermark-interval", "1 ms");
    // Blocks of a hundred, each backwards.
    let records = source::generator(Some(20_000), |i| (i / 100 * 100 + 99 - i % 100) as i64);
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(100))
        .with_timestamp_assigner(|time: &i64| *time);
    let late = OutputTag::<i64>::new("late");
    let counts = env
        .source("backwards", records)
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|_| ())
        .window(TumblingEventTimeWindows::of(Duration::from_millis(50)))
        .side_output_late_data(&late)
        .count();
    let (too_late, counted) = (sink::collect(), sink::collect());
    counts.side_output(&late).sink("late", too_late.clone());
    counts.map(|counted| counted.value).sink("counts", counted.clone());
    env.execute("backwards").expect("nothing fails");
    assert_eq!(too_late.take(), Vec::<i64>::new());
    assert_eq!(counted.take(), vec![50; 400]);
}

/// A key that is written differently by each thread: as one would be that writes an address, or entries in
/// the order of a hash map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moody(u64);

impl Record for Moody {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::Plain("moody".to_owned())
    }

    fn encode<O: Output>(&self, out: &mut O) {
        format!("{:?} {}", std::thread::current().id(), self.0).encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let text = String::decode(input)?;
        let number = text.rsplit(' ').next().and_then(|number| number.parse().ok());
        number.map(Moody).ok_or(DecodeError::Invalid("no number"))
    }
}

#[test]
fn a_key_that_hashes_differently_where_it_arrives_is_told_with_its_type() {
    let run = |name: &str, aggregate: &dyn Fn(KeyedStream<Moody, u64>) -> DataStream<u64>| {
        let env = env(2);
        let keyed = env
            .source("numbers", source::generator(Some(10_000), |i| i))
            .key_by(|number| Moody(number % 100));
        aggregate(keyed).name(name).sink("nowhere", sink::blackhole());
        let parts = [&format!("`{name}`"), "Moody", "hashes to another number", "key selector"];
        check_told(env.execute("moody"), &parts);
    };
    run("latest", &|keyed| keyed.reduce(|_, newer| newer));
    run("first", &|keyed| keyed.deduplicate());
    run("five", &|keyed| {
        let windows = keyed.count_window(5);
        windows.reduce(|_, newer| newer)
    });
}

/// Fails where it is told to.
#[derive(Clone)]
struct Failing(&'static str);

impl Failing {
    fn at(&self, place: &str) -> FunctionResult {
        if self.0 == place { Err(format!("no luck in {place}").into()) } else { Ok(()) }
    }
}

impl KeyedProcessFunction<(), i64> for Failing {
    type State = ();
    type Out = i64;

    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        self.at("open")
    }

    fn process(&mut self, time: i64, ctx: &mut ProcessContext<'_, (), (), i64>) -> FunctionResult {
        ctx.register_event_timer(time);
        self.at("process")
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        _ctx: &mut ProcessContext<'_, (), (), i64>,
    ) -> FunctionResult {
        self.at("on_timer")
    }

    fn close(&mut self) -> FunctionResult {
        self.at("close")
    }
}

impl ProcessWindowFunction<(), Vec<i64>> for Failing {
    type Out = i64;

    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        self.at("open")
    }

    fn process(
        &mut self,
        _values: Vec<i64>,
        _ctx: &mut WindowContext<'_, (), i64>,
    ) -> FunctionResult {
        self.at("process")
    }
}

impl WindowAssigner<i64> for Failing {
    fn assign(&self, _record: &i64, time: i64, windows: &mut Vec<TimeWindow>) {
        assert_ne!(self.0, "assign", "no luck in assign");
        windows.push(TimeWindow::new(time, time + 10));
    }

    fn default_trigger(&self) -> DefaultTrigger {
        DefaultTrigger::Time(TimeDomain::EventTime)
    }
}

impl Trigger<i64> for Failing {
    fn on_element(
        &mut self,
        _element: &i64,
        _time: i64,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        assert_ne!(self.0, "on_element", "no luck in on_element");
        ctx.register_timer(TimeDomain::EventTime, window.max_timestamp());
        TriggerResult::Continue
    }

    fn on_timer(
        &mut self,
        _time: i64,
        _domain: TimeDomain,
        _window: TimeWindow,
        _ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        assert_ne!(self.0, "on_timer", "no luck in on_timer");
        TriggerResult::Fire
    }
}

impl AsyncFunction<i64> for Failing {
    type Out = i64;

    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        self.at("open")
    }

    fn call(&mut self, record: i64) -> impl Future<Output = AsyncResult<i64>> + Send + 'static {
        let failed = self.at("call").map_err(|error| error.to_string());
        async move { failed.map(|()| record).map_err(Into::into) }
    }

    fn close(&mut self) -> FunctionResult {
        self.at("close")
    }
}

/// Runs what a failing function is made part of.
#[track_caller]
fn fails_in(place: &'static str, job: impl Fn(&KeyedStream<(), i64>, Failing) -> DataStream<i64>) {
    let env = env(1);
    let failing = job(&at(&env, [1, 2, 3]), Failing(place));
    failing.name("unlucky").sink("nowhere", sink::blackhole());
    let luck = format!("no luck in {place}");
    check_told(env.execute("failing"), &["operator `unlucky`", &luck]);
}

#[test]
fn an_error_of_a_users_function_names_operator_and_line_whichever_callback_it_is() {
    let tens = || TumblingEventTimeWindows::of(Duration::from_millis(10));
    let sessions = || EventTimeSessionWindows::with_gap(Duration::from_millis(10));
    for place in ["open", "process", "on_timer", "close"] {
        fails_in(place, |keyed, failing| keyed.process(failing));
    }
    for place in ["open", "process"] {
        fails_in(place, move |keyed, failing| keyed.window(tens()).process(failing));
    }
    fails_in("assign", |keyed, failing| keyed.window(failing).reduce(|sum, more| sum + more));
    for place in ["on_element", "on_timer"] {
        fails_in(place, move |keyed, failing| {
            keyed.window(tens()).trigger(failing).reduce(|sum, more| sum + more)
        });
    }
    fails_in("reduce", move |keyed, failing| {
        keyed.window(sessions()).reduce(move |sum, more| {
            assert_ne!(failing.0, "reduce", "no luck in reduce");
            sum + more
        })
    });
    fails_in("reduce", |keyed, failing| {
        keyed.reduce(move |sum, more| {
            assert_ne!(failing.0, "reduce", "no luck in reduce");
            sum + more
        })
    });
}

#[test]
fn an_error_of_an_asynchronous_function_names_operator_and_line() {
    for place in ["open", "call", "close"] {
        let env = env(1);
        env.source("numbers", source::collection(0..3_i64))
            .async_process(AsyncOptions::ordered(), Failing(place))
            .name("unlucky")
            .sink("nowhere", sink::blackhole());
        let luck = format!("no luck in {place}");
        check_told(env.execute("failing"), &["operator `unlucky`", &luck]);
    }
}

#[test]
fn records_of_one_key_that_is_most_of_them_do_not_pile_up() {
    const RECORDS: u64 = 1_000_000;
    // What lies between a source and one consumer: queues of eight batches, batches of a thousand, for
    // each of four subtasks, and what tasks have at hand.
    const UNDER_WAY_MAX: i64 = 4 * 4 * 10 * 1_024;
    let (read, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let (counts, under_way, most_) = (sink::collect(), read.clone(), most.clone());
    let env = env(4);
    env.source("numbers", source::generator(Some(RECORDS), |i| i))
        .map(move |number| {
            let now = under_way.fetch_add(1, Ordering::Relaxed) + 1;
            most_.fetch_max(now, Ordering::Relaxed);
            number
        })
        .key_by(|number| if number.is_multiple_of(10) { *number % 1_000 } else { 7 })
        .process(Slow { under_way: read })
        .name("slow")
        .sink("counts", counts.clone());
    env.execute("skewed").expect("nothing fails");
    assert_eq!(counts.take().len() as u64, RECORDS / 1_000);
    let most = most.load(Ordering::Relaxed);
    assert!(most <= UNDER_WAY_MAX, "{most} records were between source and function");
}

/// Is slower than the source, and tells of each thousandth record.
#[derive(Clone)]
struct Slow {
    under_way: Arc<AtomicI64>,
}

/// Work that takes longer than to make a record.
static WORK: AtomicU64 = AtomicU64::new(0);

impl KeyedProcessFunction<u64, u64> for Slow {
    type State = ();
    type Out = u64;

    fn process(
        &mut self,
        number: u64,
        ctx: &mut ProcessContext<'_, u64, (), u64>,
    ) -> FunctionResult {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        for _ in 0..20 {
            WORK.fetch_add(number, Ordering::Relaxed);
        }
        if number.is_multiple_of(1_000) {
            ctx.emit(number);
        }
        Ok(())
    }
}
