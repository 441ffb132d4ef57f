//! What runs a plan, and the handle on a running job.

use crate::error::{Error, ErrorCode, Result};
use millstream_core::accumulator::AccumulatorValue;
use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_operator::plan::Plan;
use std::collections::BTreeMap;
use std::time::Duration;

/// Runs plans: in this process, on a cluster, or as one process of a cluster.
pub trait PipelineExecutor {
    /// Begins to run the plan. `plan_values` are to be replayed wherever the program runs again.
    fn submit(&self, plan: Plan, plan_values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient>;
}

/// A running job.
pub struct JobClient(Box<dyn JobHandle>);

/// What an executor gives for a running job.
pub trait JobHandle {
    /// The job.
    fn job(&self) -> JobId;

    /// How it stands.
    fn status(&self) -> Result<JobStatus>;

    /// Asks for its end.
    fn cancel(&self) -> Result<()>;

    /// Ends it with a savepoint; where that is.
    fn stop_with_savepoint(&self) -> Result<String> {
        let why = "the program does not follow the job";
        Err(Error::new(ErrorCode::Refused, "no savepoint was taken").why(why))
    }

    /// Waits for its end: an error if it failed or was cancelled.
    fn wait(&mut self) -> Result<JobResult>;

    /// Where people can watch it.
    fn web_interface(&self) -> Option<String> {
        None
    }
}

impl JobClient {
    /// Wraps an executor's handle.
    pub fn new(handle: Box<dyn JobHandle>) -> Self {
        Self(handle)
    }

    /// The job's id.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let job = env.execute_async("numbers")?;
    /// println!("job {}", job.job_id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_id(&self) -> JobId {
        self.0.job()
    }

    /// How the job stands.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let job = env.execute_async("numbers")?;
    /// assert_eq!(job.status()?.to_string(), "RUNNING");
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> Result<JobStatus> {
        self.0.status()
    }

    /// Asks for the job's end; [`JobClient::wait`] then tells when it has come.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let job = env.execute_async("numbers")?;
    /// job.cancel()?;
    /// assert!(job.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&self) -> Result<()> {
        self.0.cancel()
    }

    /// Ends the job with a savepoint in the configured directory, and gives the savepoint's path once it
    /// is complete: what `execution.state-recovery.path` is to be for a job that goes on from there.
    /// Windows and timers do not fire; what has not been read is read by that job.
    pub fn stop_with_savepoint(&self) -> Result<String> {
        self.0.stop_with_savepoint()
    }

    /// The address of REST, if the job can be watched there.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let job = env.execute_async("numbers")?;
    /// // Tests have none; embedded programs and clusters have.
    /// assert_eq!(job.web_interface(), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn web_interface(&self) -> Option<String> {
        self.0.web_interface()
    }

    /// Waits for the job's end: an error if it failed or was cancelled.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let job = env.execute_async("numbers")?;
    /// let result = job.wait()?;
    /// assert!(result.accumulators.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(mut self) -> Result<JobResult> {
        self.0.wait()
    }
}

/// A job that has done all its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// From submission to the end.
    pub runtime: Duration,
    /// What accumulators of its functions have come to, over all subtasks: see
    /// `millstream::operator::accumulators`.
    pub accumulators: BTreeMap<String, AccumulatorValue>,
}
