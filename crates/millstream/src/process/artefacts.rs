//! Programs that were uploaded over REST: kept by their content, planned in a child of their own.

use super::children::chain;
use crate::launch;
use crate::state_backend::cluster_defaults;
use millstream_core::config::Configuration;
use millstream_core::ids::{ContentHash, FencingToken, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_host::artefact;
use millstream_host::blob::{BlobError, BlobStore};
use millstream_host::child::spec::OOM_SCORE_ADJ;
use millstream_host::child::{ChildSpec, ExitReport, OutputSpec, OutputStreams, Supervisor};
use millstream_rest::{Artefact, ArtefactError, ArtefactErrorKind, Artefacts, Launch, Upload};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_link::{JOB_LINK_VERSION, JOB_LINK_VERSION_MIN};
use millstream_rpc::protocol::{Answer, EndpointName, Message, Refusal};
use millstream_rpc::shell::RpcSystem;
use millstream_rpc::shell::endpoint::wall_now;
use millstream_rpc::shell::system::random_u128;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a program may take to come to its `execute`.
const PLANNING_PATIENCE: Duration = Duration::from_secs(60);

/// How long the dispatcher may take to accept a job.
const SUBMIT_PATIENCE: Duration = Duration::from_secs(30);

/// What a program may write while it is planned.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// Uploaded programs, in a directory of the JobManager.
pub struct ProgramStore {
    blobs: Arc<BlobStore>,
    directory: PathBuf,
    rpc: RpcSystem,
    /// The dispatcher's term.
    token: FencingToken,
    runtime: Handle,
    supervisor: Supervisor,
    programs: Mutex<BTreeMap<ContentHash, Artefact>>,
    /// [`launch::DEFAULTS`] of the cluster.
    defaults: String,
}

impl ProgramStore {
    /// Keeps programs in `directory`, which is made; submits through `rpc`.
    pub fn new(
        blobs: Arc<BlobStore>,
        directory: PathBuf,
        rpc: RpcSystem,
        token: FencingToken,
        runtime: Handle,
        supervisor: Supervisor,
    ) -> std::io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let (programs, defaults) = (Mutex::default(), String::new());
        Ok(Self { blobs, directory, rpc, token, runtime, supervisor, programs, defaults })
    }

    /// Programs that could not run on a cluster with this configuration are refused.
    pub fn for_cluster(mut self, configuration: &Configuration) -> Self {
        self.defaults = cluster_defaults(configuration);
        self
    }

    fn path(&self, id: ContentHash) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn programs(&self) -> MutexGuard<'_, BTreeMap<ContentHash, Artefact>> {
        self.programs.lock().expect("no code of others runs under this lock")
    }

    fn get(&self, id: ContentHash) -> Result<Artefact, ArtefactError> {
        self.programs().get(&id).cloned().ok_or_else(|| unknown(id))
    }

    /// Runs the program in a child until it has written its first job's graph.
    fn plan_in_child(&self, id: ContentHash, launch: &Launch) -> Result<JobGraph, ArtefactError> {
        let program = self.get(id)?;
        let plan = self.directory.join(format!("plan-{:032x}.json", random_u128()));
        let report = self.run_child(&self.path(id), launch, &plan);
        let text = fs::read(&plan);
        let _ = fs::remove_file(&plan);
        let report = report?;
        let graph = text.ok().and_then(|text| serde_json::from_slice::<JobGraph>(&text).ok());
        let Some(mut graph) = graph.filter(|_| report.is_success()) else {
            return Err(invalid(format!(
                "{} did not come to its `execute`: {report}\n{}",
                program.display_name,
                report.last_lines.join("\n")
            )));
        };
        if let Some(described) = &mut graph.program {
            described.artefact = id;
            described.file_name = program.display_name;
            described.arguments = launch.arguments.clone();
        }
        Ok(graph)
    }

    fn run_child(
        &self,
        executable: &Path,
        launch: &Launch,
        plan: &Path,
    ) -> Result<ExitReport, ArtefactError> {
        let definitions = launch.configuration.iter().map(|(k, v)| format!("{k}={v}"));
        let definitions: Vec<String> = definitions.collect();
        let mut environment = vec![
            (launch::MODE.into(), "plan".into()),
            (launch::PLAN_FILE.into(), plan.into()),
            (launch::DEFINITIONS.into(), definitions.join("\n").into()),
            (launch::DEFAULTS.into(), self.defaults.clone().into()),
        ];
        if let Some(parallelism) = launch.parallelism {
            environment.push((launch::PARALLELISM.into(), parallelism.to_string().into()));
        }
        let stem = format!("planning-{:032x}", random_u128());
        let spec = ChildSpec {
            executable: executable.to_owned(),
            arguments: launch.arguments.iter().map(Into::into).collect(),
            environment,
            working_directory: self.directory.join(&stem),
            output: OutputSpec {
                directory: self.directory.join("output"),
                stem,
                bytes_max: OUTPUT_BYTES_MAX,
                streams: OutputStreams::Together,
            },
            oom_score_adj: Some(OOM_SCORE_ADJ),
            memory_limit: None,
        };
        let log = spec.output.directory.join(format!("{}.log", spec.output.stem));
        let (exited, exit) = mpsc::sync_channel(1);
        let on_exit = Box::new(move |report| drop(exited.send(report)));
        let child = self.supervisor.spawn(spec, on_exit).map_err(|error| {
            invalid(format!("the program cannot be started: {}", chain(&error)))
        })?;
        let report = exit.recv_timeout(PLANNING_PATIENCE).or_else(|_| {
            child.process.kill_group();
            exit.recv_timeout(PLANNING_PATIENCE)
        });
        let _ = fs::remove_file(log);
        report.map_err(|_| invalid(format!("the program did not end within {PLANNING_PATIENCE:?}")))
    }

    /// Puts the program where workers fetch it, for this job. Written once: as long as it is listed
    /// it is needed by itself.
    fn give_to(&self, job: JobId, id: ContentHash) -> Result<(), ArtefactError> {
        if !self.blobs.add_reference(job, id).map_err(internal)? {
            self.blobs.put_file(itself(id), &self.path(id)).map_err(internal)?;
            if !self.blobs.add_reference(job, id).map_err(internal)? {
                return Err(unknown(id));
            }
        }
        Ok(())
    }

    fn submit(&self, job: JobId, graph: JobGraph) -> Result<(), ArtefactError> {
        let dispatcher = self.rpc.address(EndpointName::Dispatcher);
        let message = Message::Dispatcher(ToDispatcher::SubmitJob { job, graph: Box::new(graph) });
        let ask = self.rpc.begin_ask(&dispatcher, Some(self.token), message, SUBMIT_PATIENCE);
        match self.runtime.block_on(ask) {
            Ok(Answer::Refused(refusal)) => {
                let kind = match refusal {
                    Refusal::NotReady(_) => ArtefactErrorKind::Unavailable,
                    _ => ArtefactErrorKind::Conflict,
                };
                Err(ArtefactError { kind, message: refusal.to_string() })
            }
            Ok(_) => Ok(()),
            Err(error) => Err(ArtefactError {
                kind: ArtefactErrorKind::Unavailable,
                message: error.to_string(),
            }),
        }
    }
}

impl Artefacts for ProgramStore {
    fn store(&self, upload: Upload<'_>) -> Result<Artefact, ArtefactError> {
        let arriving = self.directory.join(format!("arriving-{:032x}", random_u128()));
        let taken = take(upload.content, &arriving).and_then(|()| check(&arriving));
        let id = match taken {
            Ok(id) => id,
            Err(error) => {
                let _ = fs::remove_file(&arriving);
                return Err(error);
            }
        };
        fs::rename(&arriving, self.path(id))?;
        let display_name = upload.display_name.to_owned();
        let artefact = Artefact { id, display_name, uploaded: wall_now() };
        self.programs().insert(id, artefact.clone());
        Ok(artefact)
    }

    fn list(&self) -> Result<Vec<Artefact>, ArtefactError> {
        let mut all: Vec<_> = self.programs().values().cloned().collect();
        all.sort_by_key(|artefact| std::cmp::Reverse(artefact.uploaded));
        Ok(all)
    }

    fn delete(&self, id: ContentHash) -> Result<(), ArtefactError> {
        self.get(id)?;
        self.programs().remove(&id);
        self.blobs.release_job(itself(id)).map_err(internal)?;
        Ok(fs::remove_file(self.path(id))?)
    }

    fn run(&self, id: ContentHash, launch: Launch) -> Result<JobId, ArtefactError> {
        if launch.restore.is_some() {
            return Err(invalid("jobs cannot start from a savepoint yet".to_owned()));
        }
        let graph = self.plan_in_child(id, &launch)?;
        let job = launch.job.unwrap_or_else(|| JobId(random_u128()));
        self.give_to(job, id)?;
        self.submit(job, graph)?;
        Ok(job)
    }

    fn plan(&self, id: ContentHash, launch: Launch) -> Result<JobGraph, ArtefactError> {
        self.plan_in_child(id, &launch)
    }
}

fn take(content: &mut dyn std::io::Read, path: &Path) -> Result<(), ArtefactError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options().write(true).create_new(true).mode(0o700).open(path)?;
    std::io::copy(content, &mut file)?;
    Ok(file.flush()?)
}

/// Whether workers could start it; its name.
fn check(path: &Path) -> Result<ContentHash, ArtefactError> {
    let wrong = |error: artefact::ArtefactError| invalid(error.to_string());
    let info = artefact::inspect(path).map_err(wrong)?;
    info.check_job_link(JOB_LINK_VERSION_MIN, JOB_LINK_VERSION).map_err(wrong)?;
    info.check_loader().map_err(wrong)?;
    Ok(info.hash)
}

/// The user of a program's blob while no job uses it.
fn itself(id: ContentHash) -> JobId {
    JobId(id.0)
}

fn internal(error: BlobError) -> ArtefactError {
    ArtefactError { kind: ArtefactErrorKind::Internal, message: chain(&error) }
}

fn unknown(id: ContentHash) -> ArtefactError {
    let message = format!("no uploaded program has the id {id}");
    ArtefactError { kind: ArtefactErrorKind::Unknown, message }
}

fn invalid(message: String) -> ArtefactError {
    ArtefactError { kind: ArtefactErrorKind::Invalid, message }
}
