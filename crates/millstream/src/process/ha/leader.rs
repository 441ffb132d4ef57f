//! What belongs to a leader: dispatcher, resource manager, job masters, REST. Made anew for each term,
//! from what the record held at its begin, and stopped to the last part before the next.

use super::election_work::Order;
use super::handle::{HaHandle, Waiting};
use super::job_files::JobFiles;
use crate::process::artefacts::ProgramStore;
use crate::process::daemon::{JobManagerAddresses, write_effective};
use crate::process::job_manager::{FatalSink, JobManager, LeaderTerm};
use millstream_core::config::Configuration;
use millstream_core::ids::JobId;
use millstream_host::blob::BlobStore;
use millstream_host::child::Supervisor;
use millstream_host::directories::Home;
use millstream_jobmanager::dispatcher::{Recovered, RecoveredJob};
use millstream_jobmanager::ha::{Grant, HaDone, HaRecord, LeaderElection, Published, UNSOLICITED};
use millstream_rest::{RestConfig, RestServer};
use millstream_rpc::shell::{EndpointHandle, RpcSystem};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How long jobs may take to be suspended in good order.
const ORDERLY_PATIENCE: Duration = Duration::from_secs(10);

/// How long the parts of a leader may take to stop; a process that cannot stop them ends.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What all terms of a process have in common.
pub struct LeaderParts {
    /// The process's connections.
    pub rpc: RpcSystem,
    /// The configuration.
    pub configuration: Configuration,
    /// Where addresses are written down for the command line.
    pub home: Home,
    /// Programs of jobs, as workers get them.
    pub blobs: Arc<BlobStore>,
    /// `host:port` under which they are served.
    pub blob_address: String,
    /// Where uploaded programs are kept.
    pub programs: PathBuf,
    /// Plans and programs of jobs beside the record.
    pub files: JobFiles,
    /// Who waits for which change.
    pub waiting: Waiting,
    /// Ends the process.
    pub fatal: FatalSink,
}

/// A term that goes on.
struct RunningTerm {
    handle: HaHandle,
    job_manager: Arc<JobManager>,
    rest: RestServer,
    addresses: JobManagerAddresses,
}

/// Makes and stops the parts of a leader as the election orders.
pub async fn carry_out_orders(
    parts: LeaderParts,
    mut orders: UnboundedReceiver<Order>,
    election: EndpointHandle<LeaderElection>,
) {
    let mut running: Option<RunningTerm> = None;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Lead(grant) => {
                let epoch = grant.epoch;
                let result = match parts.lead(*grant, election.clone()).await {
                    Ok(term) => {
                        let (rest, blob) =
                            (term.addresses.rest.clone(), term.addresses.blob.clone());
                        running = Some(term);
                        Ok(Published { rest, blob })
                    }
                    Err(reason) => Err(reason),
                };
                election.done(UNSOLICITED, HaDone::Led { epoch, result });
            }
            Order::Stop { op, reason, orderly } => {
                let mut ops = vec![op];
                if let Some(term) = running.take() {
                    ops.extend(parts.stop(term, reason, orderly, &mut orders).await);
                }
                for op in ops {
                    election.done(op, HaDone::Stopped);
                }
            }
        }
    }
}

impl LeaderParts {
    async fn lead(
        &self,
        grant: Grant,
        election: EndpointHandle<LeaderElection>,
    ) -> Result<RunningTerm, String> {
        let Grant { epoch, token, record } = grant;
        let handle = HaHandle::new(epoch, &record, election.clone(), self.waiting.clone());
        let (files, blobs) = (self.files.clone(), self.blobs.clone());
        let recovered = tokio::task::spawn_blocking(move || recover(&files, &blobs, &record));
        let recovered = recovered.await.map_err(|error| error.to_string())??;
        let term = LeaderTerm { token, recovered, ha: Some((handle.clone(), self.files.clone())) };
        let blobs = Some((self.blobs.clone(), self.blob_address.clone()));
        let fatal = self.fatal.clone();
        let job_manager = JobManager::start(&self.rpc, &self.configuration, blobs, term, fatal)
            .map_err(|error| error.to_string())?;
        let mut shown = self.configuration.clone();
        write_effective(&mut shown, self.rpc.process(), &self.blob_address, token);
        let programs = ProgramStore::new(
            self.blobs.clone(),
            self.programs.clone(),
            self.rpc.clone(),
            token,
            tokio::runtime::Handle::current(),
            Supervisor::start().map_err(|error| error.to_string())?,
        )
        .map_err(|error| error.to_string())?
        .for_cluster(&self.configuration);
        let config = RestConfig::from_configuration(&self.configuration);
        let rest = RestServer::start(
            config.map_err(|error| error.to_string())?,
            self.rpc.clone(),
            self.rpc.process().to_owned(),
            token,
            shown,
            Some(Arc::new(programs)),
        )
        .await
        .map_err(|error| error.to_string())?;
        let addresses = JobManagerAddresses {
            rpc: self.rpc.process().to_owned(),
            blob: self.blob_address.clone(),
            rest: rest.address().to_string(),
        };
        addresses.write(&self.home).map_err(|error| error.to_string())?;
        println!(
            "JobManager leads in term {epoch}: REST http://{}, messages {}",
            addresses.rest, addresses.rpc
        );
        let job_manager = Arc::new(job_manager);
        let (watched, handle_there) = (job_manager.clone(), handle.clone());
        tokio::spawn(async move {
            watched.stopped().await;
            // By itself: somebody has asked it over REST.
            if !handle_there.is_over() {
                election.stop();
            }
        });
        Ok(RunningTerm { handle, job_manager, rest, addresses })
    }

    /// Stops all parts; further orders to do so that came meanwhile.
    async fn stop(
        &self,
        term: RunningTerm,
        reason: String,
        orderly: bool,
        orders: &mut UnboundedReceiver<Order>,
    ) -> Vec<millstream_rpc::machine::OpId> {
        let mut ops = Vec::new();
        let mut reason = reason;
        println!("JobManager stops leading in term {}: {reason}", term.handle.epoch());
        if orderly {
            term.job_manager.stop();
            tokio::select! {
                () = term.job_manager.stopped() => (),
                () = tokio::time::sleep(ORDERLY_PATIENCE) => (),
                Some(Order::Stop { op, reason: why, .. }) = orders.recv() => {
                    ops.push(op);
                    reason = why;
                }
            }
        }
        term.handle.end();
        term.job_manager.depose(&reason);
        term.rest.stop().await;
        if tokio::time::timeout(STOP_PATIENCE, term.job_manager.all_stopped()).await.is_err() {
            (self.fatal)(format!("it cannot stop leading within {STOP_PATIENCE:?} ({reason})"));
        }
        term.addresses.remove(&self.home);
        ops
    }
}

/// What the former leaders left. Whatever cannot be read ends the process: nothing is forgotten.
fn recover(files: &JobFiles, blobs: &BlobStore, record: &HaRecord) -> Result<Recovered, String> {
    if let Err(error) = files.sweep(record) {
        eprintln!("JobManager: what former leaders left behind is not swept up: {error}");
    }
    let job = |(job, known): (JobId, &millstream_jobmanager::ha::JobRecord)| {
        let graph = files.recover(job, &known.directory, Some(blobs));
        let graph = graph.map_err(|why| format!("job {job} cannot be recovered: {why}"))?;
        Ok(RecoveredJob { job, graph: Arc::new(graph), submitted: known.submitted })
    };
    let jobs: Result<Vec<RecoveredJob>, String> = record.running().map(job).collect();
    Ok(Recovered {
        jobs: jobs?,
        ended: record.results.iter().map(|(job, result)| (*job, result.clone())).collect(),
        dirty: record.dirty().collect(),
    })
}
