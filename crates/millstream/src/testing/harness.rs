//! [`Harness`], [`TwoInputHarness`]: drive one function, or a few in a row.

use super::input::TestInput;
use super::options::Snapshot;
use super::output::TestOutput;
use super::test_env::TestEnv;
use super::test_job::TestJob;
use millstream_api::DataStream;
use millstream_api::error::{Error, Result};
use millstream_core::metric::MetricValue;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_operator::inspect::PendingTimers;
use millstream_operator::side_output::OutputTag;
use std::any::Any;
use std::collections::BTreeMap;

/// Drives one function, or a few in a row, by hand: records, watermarks, processing time and the end go
/// in; output, side outputs, state and timers are looked at.
///
/// The function is put into a program as usual, so everything that a [`DataStream`] can do can be driven.
/// It begins with the first record or look. For functions of two inputs there is [`TwoInputHarness`]; for more
/// see [`TestEnv`](super::TestEnv).
///
/// ```
/// use millstream::prelude::*;
/// use millstream::testing::Harness;
///
/// /// Tells of sensors that have been silent for a minute.
/// #[derive(Clone)]
/// struct Silent;
///
/// #[derive(KeyedState)]
/// struct Watch {
///     deadline: ValueState<Timestamp>,
/// }
///
/// type Ctx<'a> = ProcessContext<'a, u32, Watch, u32>;
///
/// impl KeyedProcessFunction<u32, u32> for Silent {
///     type State = Watch;
///     type Out = u32;
///
///     fn process(&mut self, _sensor: u32, ctx: &mut Ctx<'_>) -> FunctionResult {
///         let deadline = ctx.processing_time() + 60_000;
///         if let Some(former) = ctx.state.deadline.get().copied() {
///             ctx.delete_processing_timer(former);
///         }
///         ctx.state.deadline.set(deadline);
///         ctx.register_processing_timer(deadline);
///         Ok(())
///     }
///
///     fn on_timer(&mut self, _timer: Timer, ctx: &mut Ctx<'_>) -> FunctionResult {
///         let sensor = *ctx.key();
///         ctx.emit(sensor);
///         ctx.clear_state();
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut harness = Harness::new(|readings: DataStream<u32>| {
///     readings.key_by(|sensor| *sensor).process(Silent).name("silent")
/// });
/// harness.push([7, 8])?;
/// harness.advance_processing_time(30_000)?;
/// harness.push([7])?;
/// assert_eq!(harness.timers("silent")?.processing, 2);
/// let deadline = |watch: &mut Watch| watch.deadline.get().copied();
/// assert_eq!(harness.with_state("silent", &7_u32, deadline)?, Some(90_000));
/// harness.advance_processing_time(60_000)?;
/// assert_eq!(harness.take_output(), [8]);
/// # Ok(())
/// # }
/// ```
pub type Harness<A, B> = FunctionHarness<TestInput<A>, B>;

/// Drives a function of two inputs by hand, as [`Harness`] does one of one: keyed or not, or one that reads
/// what another stream broadcasts. Each input has records, watermarks and an end of its own.
///
/// ```
/// use millstream::prelude::*;
/// use millstream::testing::TwoInputHarness;
///
/// # fn main() -> Result<()> {
/// let mut harness = TwoInputHarness::new(|prices: DataStream<u64>, names: DataStream<Str>| {
///     prices.connect(&names).map(|price| Str::new(&price.to_string()), |name| name)
/// });
/// harness.push_left([7])?;
/// harness.push_right([Str::new("vase")])?;
/// assert_eq!(harness.take_output(), ["7", "vase"]);
/// # Ok(())
/// # }
/// ```
///
/// A whole example is in `docs/testing.md`.
pub type TwoInputHarness<A, B, C> = FunctionHarness<(TestInput<A>, TestInput<B>), C>;

/// What all harnesses can do, whatever their inputs `I` are.
pub struct FunctionHarness<I, B> {
    test: TestEnv,
    /// Makes the inputs and what the function makes of them.
    build: Box<Build<I, B>>,
    /// Reads side outputs of the stream that the function gives.
    readers: Vec<SideReader<B>>,
    running: Option<Running<I, B>>,
}

type Build<I, B> = dyn Fn(&TestEnv) -> (I, DataStream<B>);

type SideReader<B> = Box<dyn Fn(&TestEnv, &DataStream<B>) -> (String, Box<dyn Any>)>;

struct Running<I, B> {
    job: TestJob,
    inputs: I,
    output: TestOutput<B>,
    sides: BTreeMap<String, Box<dyn Any>>,
}

impl<A: Record, B: Record> Harness<A, B> {
    /// Drives what this makes of a stream.
    pub fn new(build: impl Fn(DataStream<A>) -> DataStream<B> + 'static) -> Self {
        Self::driving(move |test| {
            let (input, stream) = test.input("test-input");
            (input, build(stream))
        })
    }

    /// Sends records without a time.
    pub fn push(&mut self, records: impl IntoIterator<Item = A>) -> Result<()> {
        self.feed(|input| input.push(records))
    }

    /// Sends records with their times.
    pub fn push_at(&mut self, records: impl IntoIterator<Item = (A, Timestamp)>) -> Result<()> {
        self.feed(|input| input.push_at(records))
    }

    /// No record at or before this time is to come.
    pub fn advance_watermark(&mut self, watermark: Timestamp) -> Result<()> {
        self.feed(|input| input.advance_watermark(watermark))
    }

    /// Ends the input, and with it event time.
    pub fn end(&mut self) -> Result<()> {
        self.finish(TestInput::end)
    }
}

impl<A: Record, B: Record, C: Record> TwoInputHarness<A, B, C> {
    /// Drives what this makes of two streams, the left and the right one.
    pub fn new(build: impl Fn(DataStream<A>, DataStream<B>) -> DataStream<C> + 'static) -> Self {
        Self::driving(move |test| {
            let (left, left_stream) = test.input("test-input-left");
            let (right, right_stream) = test.input("test-input-right");
            ((left, right), build(left_stream, right_stream))
        })
    }

    /// Sends records without a time to the left input.
    pub fn push_left(&mut self, records: impl IntoIterator<Item = A>) -> Result<()> {
        self.feed(|(left, _)| left.push(records))
    }

    /// Sends records without a time to the right input.
    pub fn push_right(&mut self, records: impl IntoIterator<Item = B>) -> Result<()> {
        self.feed(|(_, right)| right.push(records))
    }

    /// Sends records with their times to the left input.
    pub fn push_left_at(
        &mut self,
        records: impl IntoIterator<Item = (A, Timestamp)>,
    ) -> Result<()> {
        self.feed(|(left, _)| left.push_at(records))
    }

    /// Sends records with their times to the right input.
    pub fn push_right_at(
        &mut self,
        records: impl IntoIterator<Item = (B, Timestamp)>,
    ) -> Result<()> {
        self.feed(|(_, right)| right.push_at(records))
    }

    /// No record at or before this time is to come from the left. The function is as far as the input that
    /// is less far.
    pub fn advance_left_watermark(&mut self, watermark: Timestamp) -> Result<()> {
        self.feed(|(left, _)| left.advance_watermark(watermark))
    }

    /// No record at or before this time is to come from the right.
    pub fn advance_right_watermark(&mut self, watermark: Timestamp) -> Result<()> {
        self.feed(|(_, right)| right.advance_watermark(watermark))
    }

    /// No record at or before this time is to come from either side.
    pub fn advance_watermark(&mut self, watermark: Timestamp) -> Result<()> {
        self.feed(|(left, right)| {
            left.advance_watermark(watermark);
            right.advance_watermark(watermark);
        })
    }

    /// Ends the left input: event time is that of the right one from now on.
    pub fn end_left(&mut self) -> Result<()> {
        self.feed(|(left, _)| left.end())
    }

    /// Ends the right input: event time is that of the left one from now on.
    pub fn end_right(&mut self) -> Result<()> {
        self.feed(|(_, right)| right.end())
    }

    /// Ends both inputs, and with them event time.
    pub fn end(&mut self) -> Result<()> {
        self.finish(|(left, right)| {
            left.end();
            right.end();
        })
    }
}

impl<I, B: Record> FunctionHarness<I, B> {
    fn driving(build: impl Fn(&TestEnv) -> (I, DataStream<B>) + 'static) -> Self {
        let (test, build) = (TestEnv::new(), Box::new(build));
        Self { test, build, readers: Vec::new(), running: None }
    }

    /// Puts something into the inputs, and lets everything move that can.
    fn feed(&mut self, put: impl FnOnce(&I)) -> Result<()> {
        let running = self.running()?;
        put(&running.inputs);
        running.job.run()
    }

    fn finish(&mut self, end: impl FnOnce(&I)) -> Result<()> {
        let running = self.running()?;
        end(&running.inputs);
        running.job.finish().map(drop)
    }

    fn with(self, set: impl FnOnce(TestEnv) -> TestEnv) -> Self {
        assert!(self.running.is_none(), "the harness has begun: set it up before the first record");
        Self { test: set(self.test), ..self }
    }

    /// In so many subtasks.
    pub fn with_parallelism(self, parallelism: u32) -> Self {
        self.with(|test| test.with_parallelism(parallelism))
    }

    /// The machine's clock shows this at the start; 0 without this.
    pub fn starting_at(self, time: Timestamp) -> Self {
        self.with(|test| test.starting_at(time))
    }

    /// Goes on from a snapshot, perhaps with another parallelism.
    pub fn restored_from(self, snapshot: &Snapshot) -> Self {
        self.with(|test| test.restored_from(snapshot))
    }

    /// Reads a side output of the last operator.
    pub fn with_side_output<S: Record>(mut self, tag: &OutputTag<S>) -> Self {
        let tag = tag.clone();
        self.readers.push(Box::new(move |test, stream| {
            let output = test.output(&stream.side_output(&tag));
            (tag.name().to_owned(), Box::new(output))
        }));
        self
    }

    fn running(&mut self) -> Result<&mut Running<I, B>> {
        if self.running.is_none() {
            let (inputs, given) = (self.build)(&self.test);
            let output = self.test.output(&given);
            let sides = self.readers.iter().map(|reader| reader(&self.test, &given)).collect();
            let mut job = self.test.start("test")?;
            job.run()?;
            self.running = Some(Running { job, inputs, output, sides });
        }
        Ok(self.running.as_mut().expect("it has begun"))
    }

    /// Lets the machine's clock reach this time, with all that happens on the way, in order.
    pub fn advance_processing_time(&mut self, now: Timestamp) -> Result<()> {
        self.running()?.job.advance_processing_time(now)
    }

    /// Takes what has come out: by subtask, and from each in the order in which it gave it.
    pub fn take_output(&mut self) -> Vec<B> {
        self.running.as_ref().map_or_else(Vec::new, |running| running.output.take())
    }

    /// Takes what has come out, each with its time if it has one.
    pub fn take_timed_output(&mut self) -> Vec<(B, Option<Timestamp>)> {
        self.running.as_ref().map_or_else(Vec::new, |running| running.output.take_timed())
    }

    /// Takes what has come out under a tag that was named with
    /// [`with_side_output`](Self::with_side_output).
    pub fn take_side_output<S: Record>(&mut self, tag: &OutputTag<S>) -> Result<Vec<S>> {
        let side = self.running()?.sides.get(tag.name());
        let output = side.and_then(|side| side.downcast_ref::<TestOutput<S>>());
        output.map(TestOutput::take).ok_or_else(|| {
            Error::argument(format!("side output `{}` is not read by the harness", tag.name()))
                .next("name it with `with_side_output`, before the first record")
        })
    }

    /// Shows the state of a key in the `process` operator of this name.
    pub fn with_state<K: Key, S: 'static, R>(
        &mut self,
        operator: &str,
        key: &K,
        look: impl FnOnce(&mut S) -> R,
    ) -> Result<R> {
        self.running()?.job.with_state(operator, key, look)
    }

    /// How many timers the `process` operator of this name has.
    pub fn timers(&mut self, operator: &str) -> Result<PendingTimers> {
        self.running()?.job.timers(operator)
    }

    /// What the metrics of its functions show, under the names that they have in REST:
    /// `subtask.operator.metric`, with `_` for spaces, dots, colons and commas in names.
    pub fn metrics(&mut self) -> Result<BTreeMap<String, MetricValue>> {
        Ok(self.running()?.job.metrics())
    }

    /// Takes a snapshot that another harness can go on from.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.running()?.job.snapshot()
    }

    /// Everything is lost, and goes on from the last [`checkpoint`](Self::checkpoint).
    pub fn crash(&mut self) -> Result<()> {
        let running = self.running()?;
        running.job.crash()?;
        running.job.run()
    }

    /// Takes a checkpoint: what is gone on from after a crash.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.running()?.job.checkpoint()
    }
}
