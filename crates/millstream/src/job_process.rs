//! A job process: the program, started by a TaskManager to run tasks of one job.
//!
//! It runs `main` again up to the `execute` that made the job. Earlier ones give their recorded
//! results; that one never returns: it serves tasks until it is dismissed. The main thread reads
//! what the TaskManager says; tasks run on their slots' threads.

use crate::process::storage::Storages;
use crate::process::{local_state, results};
use crate::{async_runtime, cached_files, state_backend};
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobClient, JobHandle, JobResult, PipelineExecutor};
use millstream_core::accumulator::AccumulatorValue;
use millstream_core::ids::{JobId, ResourceId};
use millstream_core::record::{Input, Record};
use millstream_core::status::JobStatus;
use millstream_host::child;
use millstream_host::descriptor;
use millstream_operator::plan::Plan;
use millstream_rpc::protocol::job_link::{
    FromJobProcess, JOB_LINK_VERSION, JobInformation, ToJobProcess,
};
use millstream_rpc::shell::link::{read_frame, write_frame};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::wire::{Network, NetworkConfig};
use millstream_task::host::{EventSink, TaskHost};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Counters are told so often.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// Serves the tasks of one job.
pub struct JobProcessExecutor {
    link: UnixStream,
    information: JobInformation,
    here: ResourceId,
    /// Where state is.
    storages: Storages,
    /// How many times the program has called `execute`.
    executed: Cell<u32>,
}

impl JobProcessExecutor {
    /// Greets the TaskManager and learns what to be.
    pub fn connect() -> Result<Self> {
        let broken = |why: String| {
            Error::new(ErrorCode::Process, "this process was not started by a TaskManager").why(why)
        };
        let link = child::control_socket_from_env()
            .ok_or_else(|| broken("it has no control socket".to_owned()))?;
        child::exit_when_closed(&link).map_err(|error| broken(error.to_string()))?;
        let hello = FromJobProcess::Hello { version: JOB_LINK_VERSION, pid: std::process::id() };
        write_frame(&mut &link, &hello).map_err(|error| broken(error.to_string()))?;
        match read_frame(&mut &link).map_err(|error| broken(error.to_string()))? {
            ToJobProcess::Start { information, resource } => {
                let (storages, executed) = (Storages::from_environment()?, Cell::new(0));
                Ok(Self { link, information: *information, here: resource, storages, executed })
            }
            other => Err(broken(format!("it was told {other:?} first"))),
        }
    }

    /// The job's configuration.
    pub fn configuration(&self) -> &BTreeMap<String, String> {
        &self.information.graph.configuration
    }

    /// Values that were computed where the job was planned.
    pub fn plan_values(&self) -> BTreeMap<String, Vec<u8>> {
        self.information.graph.program.as_ref().map(|p| p.plan_values.clone()).unwrap_or_default()
    }

    fn say(&self, message: &FromJobProcess) {
        // A TaskManager that is gone ends this process.
        let _ = write_frame(&mut &self.link, message);
    }

    /// Says why this program cannot serve the job, and ends.
    fn unfit(&self, reason: String) -> ! {
        self.say(&FromJobProcess::Unfit { reason });
        std::process::exit(1)
    }

    /// Serves tasks until it is dismissed.
    fn serve(&self, mut plan: Plan) -> ! {
        let submitted = &self.information.graph;
        if let Some(difference) = submitted.signature.first_difference(&plan.graph.signature) {
            self.unfit(format!(
                "the program's plan here is not the submitted one: {difference}; values that \
                 must be the same everywhere go through `env.plan_value`"
            ));
        }
        plan.graph = submitted.clone();
        // The process's working directory goes with it, however it ends.
        let directory = std::env::current_dir().unwrap_or_else(|_| std::env::temp_dir());
        let files = submitted.program.as_ref().map_or(&[][..], |program| &program.cached_files);
        let files = cached_files::link(files, &directory);
        plan.cached_files = files.unwrap_or_else(|error| self.unfit(error)).into();
        let backend = state_backend::open(&submitted.configuration, &directory)
            .unwrap_or_else(|error| self.unfit(error.to_string()));
        let local_files = local_state::of_job_process(&submitted.configuration)
            .unwrap_or_else(|error| self.unfit(error.to_string()));
        let registry = PartitionRegistry::new().with_stored(results::of_job_process(&directory));
        let network = Network::new(NetworkConfig::new(self.information.job), registry.clone());
        let events = teller(&self.link);
        let host = TaskHost::new(
            Arc::new(plan),
            self.here.clone(),
            registry,
            network.clone(),
            events.clone(),
            self.storages.factory(),
        )
        .with_state_backend(backend)
        .with_local_files(local_files)
        .with_async_runtime(async_runtime::of_this_process());
        let host = Arc::new(host);
        start_thread("data-intake", move || take_connections(&network));
        let watched = Arc::downgrade(&host);
        start_thread("metrics", move || report_metrics(&watched, &events));
        self.say(&FromJobProcess::Ready);
        loop {
            match read_frame(&mut &self.link) {
                Ok(ToJobProcess::Dismiss) => {
                    host.handle(ToJobProcess::Dismiss);
                    host.join();
                    std::process::exit(0)
                }
                Ok(message) => host.handle(message),
                Err(_) => std::process::exit(1),
            }
        }
    }
}

impl PipelineExecutor for JobProcessExecutor {
    fn submit(&self, plan: Plan, _values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        let ordinal = self.executed.replace(self.executed.get() + 1);
        let Some(program) = &self.information.graph.program else {
            self.unfit("the job graph names no program".to_owned());
        };
        if ordinal >= program.execute_ordinal {
            self.serve(plan);
        }
        let recorded = program.earlier_results.get(ordinal as usize);
        let Some(result) = recorded.and_then(|bytes| decode_result(bytes)) else {
            self.unfit(format!("the result of `execute` number {ordinal} was not recorded"));
        };
        Ok(JobClient::new(Box::new(Recorded(result))))
    }
}

/// The recorded result of an earlier `execute`.
struct Recorded(JobResult);

impl JobHandle for Recorded {
    fn job(&self) -> JobId {
        self.0.job
    }

    fn status(&self) -> Result<JobStatus> {
        Ok(JobStatus::Finished)
    }

    fn cancel(&self) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self) -> Result<JobResult> {
        Ok(self.0.clone())
    }
}

/// A result as it is recorded in later jobs' graphs.
pub(crate) fn encode_result(result: &JobResult) -> Vec<u8> {
    let mut bytes = Vec::new();
    let accumulators: Vec<RecordedAccumulator> = result.accumulators.iter().map(recorded).collect();
    (result.job.0, result.runtime.as_millis() as u64, accumulators).encode(&mut bytes);
    bytes
}

/// Name, kind, number, and how many numbers it is of.
type RecordedAccumulator = (String, u8, i64, u64);

fn recorded((name, value): (&String, &AccumulatorValue)) -> RecordedAccumulator {
    let (kind, number, count) = match *value {
        AccumulatorValue::Counter(number) => (0, number, 0),
        AccumulatorValue::Minimum(number) => (1, number, 0),
        AccumulatorValue::Maximum(number) => (2, number, 0),
        AccumulatorValue::Average { sum, count } => (3, sum, count),
    };
    (name.clone(), kind, number, count)
}

fn read((name, kind, number, count): RecordedAccumulator) -> Option<(String, AccumulatorValue)> {
    let value = match kind {
        0 => AccumulatorValue::Counter(number),
        1 => AccumulatorValue::Minimum(number),
        2 => AccumulatorValue::Maximum(number),
        3 => AccumulatorValue::Average { sum: number, count },
        _ => return None,
    };
    Some((name, value))
}

fn decode_result(bytes: &[u8]) -> Option<JobResult> {
    let mut input = Input::new(bytes);
    let decoded = <(u128, u64, Vec<RecordedAccumulator>)>::decode(&mut input).ok()?;
    let (job, millis, accumulators) = decoded;
    let accumulators = accumulators.into_iter().map(read).collect::<Option<_>>()?;
    Some(JobResult { job: JobId(job), runtime: Duration::from_millis(millis), accumulators })
}

/// Tells the TaskManager what tasks do; one at a time, whoever speaks.
fn teller(link: &UnixStream) -> EventSink {
    let link = link.try_clone().expect("descriptors are not exhausted at the start");
    let link = Mutex::new(link);
    Arc::new(move |message| {
        let mut link = link.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A TaskManager that is gone ends this process.
        let _ = write_frame(&mut *link, &message);
    })
}

/// Other job processes of this job connect to the TaskManager, which hands their sockets on.
fn take_connections(network: &Network) {
    let Some(intake) = child::data_socket_from_env() else { return };
    loop {
        match descriptor::receive_stream(&intake) {
            Ok(Some((socket, _preface))) => network.serve(TcpStream::from(socket)),
            Ok(None) => return,
            // One that was lost on the way is dialled again by its sender.
            Err(_) => (),
        }
    }
}

fn report_metrics(host: &Weak<TaskHost>, events: &EventSink) {
    loop {
        std::thread::sleep(METRICS_EVERY);
        let Some(host) = host.upgrade() else { return };
        events(FromJobProcess::Metrics(host.metrics()));
    }
}

fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(run).expect("a thread can be started at the start of the process");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_replayed_as_it_was() {
        let values = [
            ("count", AccumulatorValue::Counter(-7)),
            ("least", AccumulatorValue::Minimum(i64::MIN)),
            ("most", AccumulatorValue::Maximum(9)),
            ("mean", AccumulatorValue::Average { sum: 5, count: 2 }),
        ];
        let accumulators = values.map(|(name, value)| (name.to_owned(), value)).into();
        let runtime = Duration::from_millis(1_234);
        let result = JobResult { job: JobId(42), runtime, accumulators };
        assert_eq!(decode_result(&encode_result(&result)), Some(result));
    }
}
