//! [`TestEnv`]: where a program that is tested begins.

use super::input::TestInput;
use super::local_job::LocalJob;
use super::options::{Options, Snapshot};
use super::output::TestOutput;
use super::test_job::{RunningJob, TestJob};
use crate::cached_files;
use crate::entry::Env;
use millstream_api::args::Args;
use millstream_api::error::Result;
use millstream_api::executor::{JobClient, PipelineExecutor};
use millstream_api::{DataStream, JobResult};
use millstream_core::Record;
use millstream_core::time::Timestamp;
use millstream_operator::plan::Plan;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a program that is tested begins: it runs in the calling thread, in virtual time.
///
/// ```
/// use millstream::prelude::*;
/// use millstream::testing::TestEnv;
/// use millstream::{sink, source};
///
/// fn program(env: &Env, counts: sink::Collector<(u64, u64)>) {
///     let numbers = source::collection(0..1_000_u64);
///     env.source("numbers", numbers)
///         .key_by(|n| n % 3)
///         .count()
///         .name("count")
///         .filter(|(_, count)| *count > 332)
///         .sink("counts", counts);
/// }
///
/// # fn main() -> Result<()> {
/// // Everything is lost once on its way, and nothing is counted twice.
/// let test = TestEnv::new().with_parallelism(2).checkpoint_every(100).crash_after(500);
/// let counts = sink::collect();
/// program(test.env(), counts.clone());
/// test.execute("counts")?;
/// let mut counts = counts.take();
/// counts.sort_unstable();
/// assert_eq!(counts, [(0, 333), (0, 334), (1, 333), (2, 333)]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct TestEnv {
    options: Options,
    arguments: Vec<String>,
    env: OnceCell<Env>,
    /// The job that was submitted last.
    latest: Rc<RefCell<Option<RunningJob>>>,
    /// Names for outputs without one.
    outputs: Cell<u32>,
}

impl TestEnv {
    /// Parallelism 1, time 0, no failures.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.options);
        self
    }

    /// The parallelism of operators that set none.
    pub fn with_parallelism(self, parallelism: u32) -> Self {
        self.with(|options| options.parallelism = parallelism)
    }

    /// The program's arguments: `["--input", "words.txt", "-D", "key=value"]`.
    pub fn with_arguments<S: Into<String>>(
        mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// The time at the start: milliseconds since 1970-01-01 UTC.
    pub fn starting_at(self, time: Timestamp) -> Self {
        self.with(|options| options.start_time = time)
    }

    /// Tasks take their turns in another order, which depends on the seed only. Without one it is that of
    /// a slot: downstream first.
    pub fn with_seed(self, seed: u64) -> Self {
        self.with(|options| options.seed = Some(seed))
    }

    /// A source gives about so many records per turn; 16 without this.
    pub fn with_turns_of(self, records: usize) -> Self {
        self.with(|options| options.turn_records = records.max(1))
    }

    /// Each time that sources have given so many records (turns are not divided), a checkpoint is taken.
    pub fn checkpoint_every(self, records: u64) -> Self {
        self.with(|options| options.checkpoint_every = Some(records.max(1)))
    }

    /// Barriers overtake data.
    pub fn with_unaligned_checkpoints(self) -> Self {
        self.with(|options| options.unaligned = true)
    }

    /// Once sources have given so many records, all tasks are lost, and new ones go on from the newest
    /// checkpoint; once.
    pub fn crash_after(self, records: u64) -> Self {
        self.with(|options| options.crash_after = Some(records))
    }

    /// After so many failures of the program the job goes on from the newest checkpoint; the next one
    /// fails it. Without this it is the first.
    pub fn with_restarts(self, restarts: u32) -> Self {
        self.with(|options| options.restarts = restarts)
    }

    /// The job goes on from a snapshot, perhaps of another program, perhaps with another parallelism.
    pub fn restored_from(self, snapshot: &Snapshot) -> Self {
        self.with(|options| options.restore = Some(snapshot.clone()))
    }

    /// The environment for the program. Panics if the test's arguments cannot be read.
    pub fn env(&self) -> &Env {
        self.env.get_or_init(|| {
            let args = Args::parse(self.arguments.clone());
            let args = args.unwrap_or_else(|error| panic!("the test's arguments: {error}"));
            let options = self.options.clone();
            let parallelism = options.parallelism.to_string();
            let configuration = BTreeMap::from([("parallelism.default".to_owned(), parallelism)]);
            let executor = LocalExecutor { options, latest: self.latest.clone() };
            Env::with_executor(args, configuration, BTreeMap::new(), Box::new(executor))
        })
    }

    /// An input that is filled by hand, and the stream of its records.
    #[track_caller]
    pub fn input<T: Record>(&self, name: &str) -> (TestInput<T>, DataStream<T>) {
        let input = TestInput::new();
        let stream = input.stream(self.env(), name);
        (input, stream)
    }

    /// What a stream gives, for the test to read.
    #[track_caller]
    pub fn output<T: Record>(&self, stream: &DataStream<T>) -> TestOutput<T> {
        self.outputs.set(self.outputs.get() + 1);
        TestOutput::of(stream, &format!("test-output-{}", self.outputs.get()))
    }

    /// Starts what was declared; nothing runs until the job is told to.
    pub fn start(&self, name: &str) -> Result<TestJob> {
        drop(self.env().execute_async(name)?);
        let latest = self.latest.borrow_mut().take();
        Ok(TestJob::new(latest.expect("the executor has just put it there")))
    }

    /// Runs what was declared to its end.
    pub fn execute(&self, name: &str) -> Result<JobResult> {
        self.env().execute(name)
    }
}

/// Runs jobs in the calling thread.
struct LocalExecutor {
    options: Options,
    latest: Rc<RefCell<Option<RunningJob>>>,
}

impl PipelineExecutor for LocalExecutor {
    fn submit(&self, plan: Plan, _values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        cached_files::check(&plan.cached_files)?;
        let job = RunningJob::new(LocalJob::start(plan, self.options.clone())?);
        *self.latest.borrow_mut() = Some(job.clone());
        Ok(JobClient::new(Box::new(job)))
    }
}
