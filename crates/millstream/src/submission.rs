//! Submission to a standing cluster: the program uploads itself and its job's graph.

use crate::cached_files;
use crate::job_process::encode_result;
use crate::planning::this_program;
use crate::process::children::chain;
use crate::process::daemon::{BLOB_PATIENCE, NO_SECRET, resolve};
use crate::resume;
use crate::session::{ClusterClient, SubmittedJob};
use crate::state_backend;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobClient, JobHandle, JobResult, PipelineExecutor};
use millstream_core::ids::{ContentHash, JobId};
use millstream_core::job_graph::Program;
use millstream_core::status::JobStatus;
use millstream_host::blob::BlobClient;
use millstream_operator::plan::Plan;
use millstream_rpc::shell::system::random_u128;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Submits plans to a cluster.
pub struct SessionExecutor {
    runtime: Runtime,
    client: ClusterClient,
    blob_server: String,
    detached: bool,
    /// How many times the program has called `execute`.
    executed: Cell<u32>,
    /// What those have given; jobs that are not waited for give nothing.
    results: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl SessionExecutor {
    /// Submits through this client, with programs to the blob server at `host:port`.
    pub fn new(client: ClusterClient, blob_server: String, detached: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("millstream")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorCode::Process, "cannot start threads").why(error.to_string())
            })?;
        let (executed, results) = (Cell::new(0), Rc::default());
        Ok(Self { runtime, client, blob_server, detached, executed, results })
    }

    /// Uploads this program for a job. What the cluster has already is not sent again.
    fn upload(&self, job: JobId) -> Result<(BlobClient, ContentHash)> {
        let failed = |why: String| {
            Error::new(ErrorCode::Process, "this program cannot be uploaded").why(why)
        };
        let path = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let blobs = BlobClient::new(resolve(&self.blob_server)?, NO_SECRET, BLOB_PATIENCE);
        let program = blobs.put_file(job, &path).map_err(|error| failed(chain(&error)))?;
        Ok((blobs, program))
    }
}

impl PipelineExecutor for SessionExecutor {
    fn submit(&self, plan: Plan, plan_values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        for warning in &plan.warnings {
            eprintln!("warning: {warning}");
        }
        state_backend::check_on_cluster(&plan.graph.configuration)?;
        resume::check(&plan.graph)?;
        cached_files::check(&plan.cached_files)?;
        let ordinal = self.executed.replace(self.executed.get() + 1);
        let mut graph = plan.graph;
        let earlier = self.results.borrow().clone();
        let job = JobId(random_u128());
        let (blobs, artefact) = self.upload(job)?;
        let cached_files = cached_files::upload(&plan.cached_files, job, &blobs)?;
        let program = this_program(artefact, ordinal, earlier, plan_values);
        graph.program = Some(Program { cached_files, ..program });
        let submitted = self.client.submit(self.runtime.handle(), job, graph)?;
        println!("Job has been submitted with JobID {job}");
        let handle: Box<dyn JobHandle> = match self.detached {
            true => {
                let (runtime, accumulators) = (Duration::ZERO, BTreeMap::new());
                let result = JobResult { job, runtime, accumulators };
                self.results.borrow_mut().push(encode_result(&result));
                Box::new(Detached { submitted, result })
            }
            false => Box::new(Attached { submitted, results: self.results.clone() }),
        };
        Ok(JobClient::new(handle))
    }
}

/// A job that the program waits for.
struct Attached {
    submitted: SubmittedJob,
    results: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl JobHandle for Attached {
    fn job(&self) -> JobId {
        self.submitted.job()
    }

    fn status(&self) -> Result<JobStatus> {
        self.submitted.status()
    }

    fn cancel(&self) -> Result<()> {
        self.submitted.cancel()
    }

    fn stop_with_savepoint(&self) -> Result<String> {
        self.submitted.stop_with_savepoint()
    }

    fn wait(&mut self) -> Result<JobResult> {
        let result = self.submitted.wait()?;
        self.results.borrow_mut().push(encode_result(&result));
        println!("Job {} has finished after {:.2} s", result.job, result.runtime.as_secs_f64());
        Ok(result)
    }
}

/// A job that the program does not wait for.
struct Detached {
    submitted: SubmittedJob,
    result: JobResult,
}

impl JobHandle for Detached {
    fn job(&self) -> JobId {
        self.submitted.job()
    }

    fn status(&self) -> Result<JobStatus> {
        self.submitted.status()
    }

    fn cancel(&self) -> Result<()> {
        self.submitted.cancel()
    }

    fn wait(&mut self) -> Result<JobResult> {
        Ok(self.result.clone())
    }
}
