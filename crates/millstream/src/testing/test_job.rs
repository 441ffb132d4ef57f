//! [`TestJob`]: a program while it is tested.

use super::local_job::LocalJob;
use super::options::Snapshot;
use millstream_api::JobResult;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::JobHandle;
use millstream_core::Key;
use millstream_core::checkpoint::SnapshotKind;
use millstream_core::ids::JobId;
use millstream_core::metric::MetricValue;
use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use millstream_operator::inspect::{Inspect, PendingTimers, WrongKey};
use std::any::{Any, type_name};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A job that several handles speak of.
#[derive(Clone)]
pub(super) struct RunningJob {
    job: Rc<RefCell<LocalJob>>,
    cancelled: Rc<Cell<bool>>,
}

impl RunningJob {
    pub(super) fn new(job: LocalJob) -> Self {
        Self { job: Rc::new(RefCell::new(job)), cancelled: Rc::default() }
    }
}

impl JobHandle for RunningJob {
    fn job(&self) -> JobId {
        JobId(1)
    }

    fn status(&self) -> Result<JobStatus> {
        let finished = self.job.borrow().has_finished();
        Ok(match (finished, self.cancelled.get()) {
            (true, _) => JobStatus::Finished,
            (_, true) => JobStatus::Canceled,
            _ => JobStatus::Running,
        })
    }

    fn cancel(&self) -> Result<()> {
        self.cancelled.set(true);
        Ok(())
    }

    fn wait(&mut self) -> Result<JobResult> {
        if self.cancelled.get() {
            return Err(Error::new(ErrorCode::JobCanceled, "the job was cancelled"));
        }
        self.job.borrow_mut().finish()
    }
}

/// A program while it is tested: it moves when it is told to. Made by
/// [`TestEnv::start`](super::TestEnv::start).
///
/// ```
/// use millstream::prelude::*;
/// use millstream::testing::TestEnv;
/// use std::time::Duration;
///
/// # fn main() -> Result<()> {
/// let test = TestEnv::new();
/// let (clicks, stream) = test.input::<Str>("clicks");
/// let hour = TumblingProcessingTimeWindows::of(Duration::from_secs(3_600));
/// let counts = test.output(&stream.key_by_ref(|user| user).window(hour).count().name("count"));
/// let mut job = test.start("clicks per hour")?;
///
/// clicks.push(["ann", "bob", "ann"].map(Str::new));
/// job.run()?;
/// assert!(counts.is_empty());
/// // An hour passes.
/// job.advance_processing_time(3_600_000)?;
/// let counted = counts.take().into_iter().map(|counted| (counted.key, counted.value));
/// let mut counted: Vec<(Str, u64)> = counted.collect();
/// counted.sort_unstable();
/// assert_eq!(counted, [("ann".into(), 2), ("bob".into(), 1)]);
///
/// clicks.end();
/// job.finish()?;
/// # Ok(())
/// # }
/// ```
pub struct TestJob(RunningJob);

impl TestJob {
    pub(super) fn new(job: RunningJob) -> Self {
        Self(job)
    }

    fn job(&self) -> std::cell::RefMut<'_, LocalJob> {
        self.0.job.borrow_mut()
    }

    /// Runs until nothing can move without further input or time.
    pub fn run(&mut self) -> Result<()> {
        self.job().run().map(drop)
    }

    /// Lets the machine's clock reach this time, with all that happens on the way, in order.
    pub fn advance_processing_time(&mut self, now: Timestamp) -> Result<()> {
        self.job().run_until(now)
    }

    /// What the machine's clock shows.
    pub fn processing_time(&self) -> Timestamp {
        self.job().now()
    }

    /// Runs to the end; time passes as fast as it can. An error if something else is missing for that.
    pub fn finish(&mut self) -> Result<JobResult> {
        self.job().finish()
    }

    /// Whether all tasks have finished.
    pub fn has_finished(&self) -> bool {
        self.job().has_finished()
    }

    /// Takes a checkpoint: what the job goes on from after a crash.
    pub fn checkpoint(&mut self) -> Result<()> {
        let mut job = self.job();
        job.run()?;
        job.snapshot(SnapshotKind::Checkpoint).map(drop)
    }

    /// Takes a snapshot that another job can be started from:
    /// [`TestEnv::restored_from`](super::TestEnv::restored_from).
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let mut job = self.job();
        job.run()?;
        job.snapshot(SnapshotKind::Savepoint)
    }

    /// All tasks are lost; new ones go on from the newest checkpoint, or from the beginning.
    pub fn crash(&mut self) -> Result<()> {
        self.job().crash_now()
    }

    /// Shows the state of a key in a `process` operator. `S` is the function's struct of states.
    pub fn with_state<K: Key, S: 'static, R>(
        &mut self,
        operator: &str,
        key: &K,
        look: impl FnOnce(&mut S) -> R,
    ) -> Result<R> {
        let mut look = Look::new(look);
        self.job().inspect_key(operator, key.hash64(), |found| look.at(operator, key, found))?;
        look.seen(operator)
    }

    /// Shows the state of a subtask in a `process` operator without keys.
    pub fn with_subtask_state<S: 'static, R>(
        &mut self,
        operator: &str,
        subtask: u32,
        look: impl FnOnce(&mut S) -> R,
    ) -> Result<R> {
        let mut look = Look::new(look);
        self.job().inspect_subtask(operator, subtask, |found| look.at(operator, &(), found))?;
        look.seen(operator)
    }

    /// How many timers a `process` operator has, in all subtasks.
    pub fn timers(&mut self, operator: &str) -> Result<PendingTimers> {
        self.job().timers(operator)
    }

    /// What the metrics of all functions show, under the names that they have in REST:
    /// `subtask.operator.metric`, with `_` for spaces, dots, colons and commas in names.
    pub fn metrics(&self) -> BTreeMap<String, MetricValue> {
        self.job().metrics()
    }
}

/// A look that is taken once.
struct Look<S, F, R> {
    look: Option<F>,
    seen: Option<R>,
    _state: std::marker::PhantomData<fn(S)>,
}

impl<S: 'static, R, F: FnOnce(&mut S) -> R> Look<S, F, R> {
    fn new(look: F) -> Self {
        Self { look: Some(look), seen: None, _state: std::marker::PhantomData }
    }

    fn at(&mut self, operator: &str, key: &dyn Any, found: &mut dyn Inspect) -> Result<()> {
        let Self { look, seen, .. } = self;
        let shown = found.with_state(key, &mut |state| {
            if let Some(state) = state.downcast_mut::<S>()
                && let Some(look) = look.take()
            {
                *seen = Some(look(state));
            }
        });
        shown.map_err(|error: WrongKey| {
            Error::argument(format!("operator `{operator}` was asked for another kind of key"))
                .why(error.to_string())
        })
    }

    fn seen(self, operator: &str) -> Result<R> {
        self.seen.ok_or_else(|| {
            let state = type_name::<S>();
            Error::argument(format!("the state of operator `{operator}` is not a `{state}`"))
                .next("name the type that the function declares as `State`")
        })
    }
}
