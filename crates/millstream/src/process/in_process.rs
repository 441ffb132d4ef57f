//! Job processes that are none: in embedded mode the tasks of a job run in this very process.
//!
//! A task that cannot be cancelled cannot be killed here; the job then fails and says that a thread
//! is left behind.

use super::results::{self, Results};
use super::storage::Storages;
use super::task_manager::Children;
use crate::{async_runtime, state_backend};
use millstream_core::ids::{JobId, ResourceId};
use millstream_core::job_graph::{ExchangeMode, JobGraph};
use millstream_host::directories::working::sweep;
use millstream_host::directories::{DirectoryError, WorkingDirectory};
use millstream_operator::plan::Plan;
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::job_link::{FromJobProcess, JOB_LINK_VERSION, ToJobProcess};
use millstream_rpc::shell::EndpointHandle;
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::wire::Network;
use millstream_task::host::TaskHost;
use millstream_taskmanager::op::{
    ChildEvent, ChildExit, Done, ExitStatus, Op, StartFailure, UNSOLICITED,
};
use millstream_taskmanager::task_executor::TaskExecutor;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The plans of jobs that were submitted in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Plans(Arc<Mutex<BTreeMap<JobId, Arc<Plan>>>>);

impl Plans {
    /// Keeps a job's plan until it is removed.
    pub fn insert(&self, job: JobId, plan: Arc<Plan>) {
        self.lock().insert(job, plan);
    }

    /// Forgets a job's plan.
    pub fn remove(&self, job: JobId) {
        self.lock().remove(&job);
    }

    fn get(&self, job: JobId) -> Option<Arc<Plan>> {
        self.lock().get(&job).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Arc<Plan>>> {
        self.0.lock().expect("no user code runs under this lock")
    }
}

/// The task hosts of this process.
pub struct InProcessChildren {
    here: ResourceId,
    plans: Plans,
    storages: Storages,
    hosts: BTreeMap<JobId, (u64, Arc<TaskHost>)>,
    /// Where jobs' results are, from when the first job runs. They go with this process.
    results: Option<(WorkingDirectory, Results)>,
}

/// Counters are told so often.
const METRICS_EVERY: Duration = Duration::from_secs(1);

impl InProcessChildren {
    /// Runs tasks of these plans on the worker `here`, with their state in these storages.
    pub fn new(here: ResourceId, plans: Plans, storages: Storages) -> Self {
        Self { here, plans, storages, hosts: BTreeMap::new(), results: None }
    }

    /// Where tasks find each other, and what blocking exchanges hold if the job has some.
    fn registry(
        &mut self,
        job: JobId,
        graph: &JobGraph,
    ) -> Result<PartitionRegistry, StartFailure> {
        let registry = PartitionRegistry::new();
        if graph.edges.iter().all(|edge| edge.exchange == ExchangeMode::Pipelined) {
            return Ok(registry);
        }
        let root = results::embedded_root(&graph.configuration);
        let results = self.results(&root).map_err(|error| {
            let message = format!("cannot keep results of BATCH mode: {error}");
            StartFailure { message, permanent: true }
        })?;
        Ok(registry.with_stored(results.of_job(job)))
    }

    fn results(&mut self, root: &Path) -> Result<&Results, DirectoryError> {
        if self.results.is_none() {
            let working = WorkingDirectory::create(root, "embedded")?;
            // What killed processes have left.
            let _ = sweep(root);
            let results = Results::within(working.path().to_owned());
            self.results = Some((working, results));
        }
        let (_, results) = self.results.as_ref().expect("it was put there just now");
        Ok(results)
    }

    fn start(
        &mut self,
        job: JobId,
        incarnation: u64,
        endpoint: &EndpointHandle<TaskExecutor>,
    ) -> Result<(), StartFailure> {
        let Some(plan) = self.plans.get(job) else {
            let message = format!("job {job} was not submitted by this process");
            return Err(StartFailure { message, permanent: true });
        };
        let directory = std::env::temp_dir();
        let backend = state_backend::open(&plan.graph.configuration, &directory);
        let backend = backend
            .map_err(|error| StartFailure { message: error.to_string(), permanent: true })?;
        let teller = teller(job, incarnation, endpoint);
        let events = teller.clone();
        let registry = self.registry(job, &plan.graph)?;
        let host = TaskHost::new(
            plan,
            self.here.clone(),
            registry,
            Network::default(),
            Arc::new(move |message| events(ChildEvent::Message(message))),
            self.storages.factory(),
        )
        .with_state_backend(backend)
        .with_async_runtime(async_runtime::of_this_process());
        let host = Arc::new(host);
        report_metrics(Arc::downgrade(&host), teller);
        self.hosts.insert(job, (incarnation, host));
        Ok(())
    }

    fn send(
        &mut self,
        job: JobId,
        incarnation: u64,
        message: ToJobProcess,
        endpoint: &EndpointHandle<TaskExecutor>,
    ) {
        let Some((current, host)) = self.hosts.get(&job) else { return };
        if *current != incarnation {
            return;
        }
        match message {
            ToJobProcess::Start { .. } => {
                teller(job, incarnation, endpoint)(ChildEvent::Message(FromJobProcess::Ready));
            }
            ToJobProcess::Dismiss => {
                host.handle(ToJobProcess::Dismiss);
                let (_, host) = self.hosts.remove(&job).expect("found above");
                end_when_joined(host, teller(job, incarnation, endpoint));
            }
            other => host.handle(other),
        }
    }
}

impl Children for InProcessChildren {
    fn perform(&mut self, op: OpId, what: Op, endpoint: &EndpointHandle<TaskExecutor>) {
        match what {
            Op::StartChild { job, incarnation, .. } => {
                let started = self.start(job, incarnation, endpoint);
                let greets = started.is_ok();
                endpoint.done(op, Done::Started(started));
                if greets {
                    let (version, pid) = (JOB_LINK_VERSION, std::process::id());
                    let hello = FromJobProcess::Hello { version, pid };
                    teller(job, incarnation, endpoint)(ChildEvent::Message(hello));
                }
            }
            Op::SendToChild { job, incarnation, message } => {
                self.send(job, incarnation, message, endpoint);
            }
            Op::KillChild { .. } => {
                let reason = "tasks in this process cannot be killed: a thread is left behind";
                endpoint.done(op, Done::Killed(Err(reason.to_owned())));
            }
            Op::ReadLog { .. } => {
                let reason = "in embedded mode the output is this process's own";
                endpoint.done(op, Done::Log(Err(reason.to_owned())));
            }
            Op::ReleasePartitions { job, partitions } => {
                if let Some((_, results)) = &self.results {
                    let results = results.of_job(job);
                    tokio::task::spawn_blocking(move || {
                        partitions.into_iter().for_each(|partition| results.remove(partition));
                    });
                }
            }
            Op::ReleaseJob { job } => {
                drop(self.hosts.remove(&job));
                if let Some((_, results)) = &self.results {
                    let results = results.take(job);
                    tokio::task::spawn_blocking(move || drop(results));
                }
            }
        }
    }
}

type Teller = Arc<dyn Fn(ChildEvent) + Send + Sync>;

fn teller(job: JobId, incarnation: u64, endpoint: &EndpointHandle<TaskExecutor>) -> Teller {
    let endpoint = endpoint.clone();
    Arc::new(move |event| {
        endpoint.done(UNSOLICITED, Done::Child { job, incarnation, event });
    })
}

fn report_metrics(host: Weak<TaskHost>, tell: Teller) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_EVERY).await;
            let Some(host) = host.upgrade() else { return };
            tell(ChildEvent::Message(FromJobProcess::Metrics(host.metrics())));
        }
    });
}

/// The slots end when their tasks have; waiting for them is for a thread that may wait.
fn end_when_joined(host: Arc<TaskHost>, tell: Teller) {
    tokio::task::spawn_blocking(move || {
        host.join();
        let status = ExitStatus::Code(0);
        tell(ChildEvent::Exited(ChildExit { status, last_lines: String::new() }));
    });
}
