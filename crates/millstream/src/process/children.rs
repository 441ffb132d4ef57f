//! Job processes of a TaskManager: each is a child that runs the job's program.
//!
//! The runtime's threads never wait: programs are fetched and children started on threads that may,
//! a reader thread per child takes what it says, a writer thread per child says what it is told. One
//! more thread looks how much memory they have.

use super::data_port::DataTargets;
use super::local_state::LocalState;
use super::results::Results;
use super::storage::Storages;
use super::task_manager::Children;
use crate::launch;
use millstream_core::ids::JobId;
use millstream_host::blob::BlobCache;
use millstream_host::child::spec::OOM_SCORE_ADJ;
use millstream_host::child::{
    Child, ChildProcess, ChildSpec, ExitReport, ExitStatus as HostStatus, OutputSpec,
    OutputStreams, SpawnError, Supervisor,
};
use millstream_host::memory;
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::job_link::{JobInformation, ToJobProcess};
use millstream_rpc::shell::EndpointHandle;
use millstream_rpc::shell::endpoint::mono_now;
use millstream_rpc::shell::frame::FrameError;
use millstream_rpc::shell::link::{read_frame, write_frame};
use millstream_taskmanager::op::{
    ChildEvent, ChildExit, Done, ExitStatus, Op, StartFailure, UNSOLICITED,
};
use millstream_taskmanager::task_executor::TaskExecutor;
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Messages that may wait for one child.
const QUEUE_MAX: usize = 4096;

/// How often somebody looks how much memory children have: at a gigabyte per second they grow by less
/// than the margin meanwhile.
const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(50);

/// A smaller change of a child's memory is not told.
const MEMORY_CHANGE_MIN: u64 = 1 << 20;

/// A job's log may grow to this before it is rotated.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Where a TaskManager's job processes live.
pub struct Places {
    /// Working directories of children are made in here.
    pub working: PathBuf,
    /// Their output goes in here.
    pub logs: PathBuf,
    /// The TaskManager's own log.
    pub own_log: Option<PathBuf>,
    /// What is kept of tasks' state.
    pub local_state: Arc<LocalState>,
    /// What tasks have produced for others to read later.
    pub results: Results,
}

/// The children of one TaskManager.
pub struct ChildProcesses(Arc<Shared>);

struct Shared {
    supervisor: Supervisor,
    blobs: BlobCache,
    targets: DataTargets,
    places: Places,
    storages: Storages,
    running: Mutex<BTreeMap<JobId, RunningChild>>,
}

struct RunningChild {
    incarnation: u64,
    /// Where its memory is told.
    teller: Teller,
    /// How much memory was told last.
    memory: u64,
    /// Nothing while it is being started.
    child: Option<ChildProcess>,
    /// Killed before it was started.
    killed: bool,
    messages: SyncSender<ToJobProcess>,
}

impl ChildProcesses {
    /// Children whose programs come from `blobs`, whose data connections go through `targets` and whose
    /// state is in these storages.
    pub fn new(
        supervisor: Supervisor,
        blobs: BlobCache,
        targets: DataTargets,
        places: Places,
        storages: Storages,
    ) -> std::io::Result<Self> {
        let running = Mutex::default();
        let shared = Arc::new(Shared { supervisor, blobs, targets, places, storages, running });
        let watched = Arc::downgrade(&shared);
        std::thread::Builder::new().name("child-memory".to_owned()).spawn(move || {
            while let Some(shared) = watched.upgrade() {
                shared.look_at_memory();
                shared.tidy_local_state();
                drop(shared);
                std::thread::sleep(LOOK_AT_MEMORY_EVERY);
            }
        })?;
        Ok(Self(shared))
    }
}

impl Children for ChildProcesses {
    fn perform(&mut self, op: OpId, what: Op, endpoint: &EndpointHandle<TaskExecutor>) {
        let shared = self.0.clone();
        let endpoint = endpoint.clone();
        match what {
            Op::StartChild { job, incarnation, information } => {
                let teller = Teller { job, incarnation, endpoint };
                let messages = shared.begin(&teller);
                tokio::task::spawn_blocking(move || {
                    shared.start(op, &information, messages, teller);
                });
            }
            Op::SendToChild { job, incarnation, message } => {
                let lost = shared.send(job, incarnation, message);
                if let Some(reason) = lost {
                    let teller = Teller { job, incarnation, endpoint };
                    teller.tell(ChildEvent::LinkLost { reason });
                }
            }
            Op::KillChild { job, incarnation, .. } => {
                shared.kill(job, incarnation);
                endpoint.done(op, Done::Killed(Ok(())));
            }
            Op::ReadLog { job, bytes_max } => {
                tokio::task::spawn_blocking(move || {
                    endpoint.done(op, Done::Log(shared.read_log(job, bytes_max)));
                });
            }
            Op::ReleasePartitions { job, partitions } => {
                let results = shared.places.results.of_job(job);
                tokio::task::spawn_blocking(move || {
                    partitions.into_iter().for_each(|partition| results.remove(partition));
                });
            }
            Op::ReleaseJob { job } => {
                shared.lock().remove(&job);
                shared.targets.remove(job);
                shared.blobs.release_job(job, mono_now());
                shared.blobs.expire(mono_now());
                let results = shared.places.results.take(job);
                tokio::task::spawn_blocking(move || {
                    shared.release_local_state(job);
                    drop(results);
                });
            }
        }
    }
}

/// Tells the task executor what a child does.
#[derive(Clone)]
struct Teller {
    job: JobId,
    incarnation: u64,
    endpoint: EndpointHandle<TaskExecutor>,
}

impl Teller {
    fn tell(&self, event: ChildEvent) {
        let Teller { job, incarnation, .. } = *self;
        self.endpoint.done(UNSOLICITED, Done::Child { job, incarnation, event });
    }
}

impl Shared {
    /// A place for the child's messages, from before it exists.
    fn begin(&self, teller: &Teller) -> Receiver<ToJobProcess> {
        let (messages, receiver) = sync_channel(QUEUE_MAX);
        let (incarnation, teller) = (teller.incarnation, teller.clone());
        let job = teller.job;
        let child =
            RunningChild { incarnation, teller, memory: 0, child: None, killed: false, messages };
        self.lock().insert(job, child);
        receiver
    }

    fn start(
        self: &Arc<Self>,
        op: OpId,
        information: &JobInformation,
        messages: Receiver<ToJobProcess>,
        teller: Teller,
    ) {
        let started = self.try_start(information, &teller);
        let (control, process) = match started {
            Ok(started) => started,
            Err(failure) => return teller.endpoint.done(op, Done::Started(Err(failure))),
        };
        teller.endpoint.done(op, Done::Started(Ok(())));
        let writing = control.try_clone();
        let failed = match writing {
            Ok(writing) => start_link(control, writing, process, messages, &teller).err(),
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            teller.tell(ChildEvent::LinkLost { reason: error.to_string() });
        }
    }

    /// Fetches the program and starts it; our end of the control link.
    fn try_start(
        self: &Arc<Self>,
        information: &JobInformation,
        teller: &Teller,
    ) -> Result<(UnixStream, ChildProcess), StartFailure> {
        let (job, incarnation) = (teller.job, teller.incarnation);
        let Some(program) = &information.graph.program else {
            return Err(permanent("the job graph names no program".to_owned()));
        };
        let executable = self.blobs.acquire(job, program.artefact).map_err(|error| {
            passing(format!("cannot fetch program {}: {}", program.file_name, chain(&error)))
        })?;
        for file in &program.cached_files {
            for content in &file.contents {
                self.blobs.acquire(job, content.content).map_err(|error| {
                    passing(format!("cannot fetch cached file `{}`: {}", file.name, chain(&error)))
                })?;
            }
        }
        let blobs = executable.parent().unwrap_or(&executable).to_owned();
        let mut environment =
            vec![(launch::MODE.into(), "job-process".into()), (launch::BLOBS.into(), blobs.into())];
        environment.extend(self.storages.environment());
        environment.push(self.places.local_state.environment(job));
        environment.push(self.places.results.environment(job));
        for (name, value) in &program.environment {
            environment.push((name.into(), value.into()));
        }
        let spec = ChildSpec {
            executable,
            arguments: program.arguments.iter().map(Into::into).collect(),
            environment,
            working_directory: self.places.working.join(format!("{job}-{incarnation}")),
            output: OutputSpec {
                directory: self.places.logs.clone(),
                stem: log_stem(job),
                bytes_max: LOG_BYTES_MAX,
                streams: OutputStreams::Together,
            },
            oom_score_adj: Some(OOM_SCORE_ADJ),
            memory_limit: None,
        };
        let exits = teller.clone();
        let shared = self.clone();
        let on_exit = Box::new(move |report: ExitReport| {
            shared.targets.remove_incarnation(job, incarnation);
            exits.tell(ChildEvent::Exited(exit_of(report)));
        });
        let child = self.supervisor.spawn(spec, on_exit).map_err(start_failure)?;
        for warning in &child.warnings {
            eprintln!("job {job}: {warning}");
        }
        let Child { process, control, data, .. } = child;
        self.targets.insert(job, incarnation, data);
        let mut running = self.lock();
        match running.get_mut(&job).filter(|running| running.incarnation == incarnation) {
            Some(running) if !running.killed => running.child = Some(process.clone()),
            // It was killed, or its job is gone, while it was being started.
            _ => process.kill_group(),
        }
        Ok((control, process))
    }

    /// Why the link is lost, if it is.
    fn send(&self, job: JobId, incarnation: u64, message: ToJobProcess) -> Option<String> {
        let running = self.lock();
        let child = running.get(&job).filter(|child| child.incarnation == incarnation)?;
        match child.messages.try_send(message) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some(format!("it left {QUEUE_MAX} messages unread")),
            // Its end is told by its exit.
            Err(TrySendError::Disconnected(_)) => None,
        }
    }

    fn kill(&self, job: JobId, incarnation: u64) {
        let mut running = self.lock();
        if let Some(child) = running.get_mut(&job).filter(|c| c.incarnation == incarnation) {
            child.killed = true;
            if let Some(child) = &child.child {
                child.kill_group();
            }
        }
    }

    fn look_at_memory(&self) {
        let mut changed = Vec::new();
        for running in self.lock().values_mut() {
            let process = running.child.as_ref().filter(|child| child.is_running());
            let bytes = process.and_then(|process| memory::private_bytes_of(process.pid()));
            let Some(bytes) = bytes else { continue };
            if bytes.abs_diff(running.memory) >= MEMORY_CHANGE_MIN {
                running.memory = bytes;
                changed.push((running.teller.clone(), bytes));
            }
        }
        for (teller, bytes) in changed {
            teller.tell(ChildEvent::Memory { bytes });
        }
    }

    /// The job has nothing here any more, unless it has come back meanwhile.
    fn release_local_state(&self, job: JobId) {
        let is_back = self.lock().contains_key(&job);
        if !is_back {
            self.places.local_state.release(job);
        }
    }

    fn tidy_local_state(&self) {
        let is_running = |name: &str| self.lock().keys().any(|job| job.to_string() == name);
        self.places.local_state.tidy(is_running);
    }

    fn read_log(&self, job: Option<JobId>, bytes_max: u32) -> Result<String, String> {
        let path = match job {
            Some(job) => self.places.logs.join(format!("{}.log", log_stem(job))),
            None => self.places.own_log.clone().ok_or("this TaskManager has no log file")?,
        };
        tail(&path, u64::from(bytes_max))
            .map_err(|error| format!("could not read {}: {error}", path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, RunningChild>> {
        self.running.lock().expect("no code of others runs under this lock")
    }
}

/// A thread that reads what the child says, and one that writes what it is told.
fn start_link(
    mut control: UnixStream,
    mut writing: UnixStream,
    process: ChildProcess,
    messages: Receiver<ToJobProcess>,
    teller: &Teller,
) -> std::io::Result<()> {
    let reader = teller.clone();
    std::thread::Builder::new().name("job-link-reader".to_owned()).spawn(move || {
        let error = loop {
            match read_frame(&mut control) {
                Ok(message) => reader.tell(ChildEvent::Message(message)),
                Err(error) => break error,
            }
        };
        // A link that was closed is the first sign of an end; the end itself says more.
        let ends = matches!(error, FrameError::Io(_)) && ends_soon(&process);
        if !ends {
            reader.tell(ChildEvent::LinkLost { reason: error.to_string() });
        }
    })?;
    std::thread::Builder::new().name("job-link-writer".to_owned()).spawn(move || {
        while let Ok(message) = messages.recv() {
            if write_frame(&mut writing, &message).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// How long a process may live on without its link.
const UNLINKED_MAX: Duration = Duration::from_secs(2);

fn ends_soon(process: &ChildProcess) -> bool {
    let deadline = Instant::now() + UNLINKED_MAX;
    while process.is_running() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn log_stem(job: JobId) -> String {
    format!("job-{job}")
}

fn tail(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn exit_of(report: ExitReport) -> ChildExit {
    let status = match report.status {
        HostStatus::Code(code) => ExitStatus::Code(code),
        HostStatus::Signal { name, .. } if report.out_of_memory => {
            ExitStatus::Signal(format!("{name} (the machine ran out of memory)"))
        }
        HostStatus::Signal { name, .. } => ExitStatus::Signal(name),
        HostStatus::Unknown(reason) => ExitStatus::Unknown(reason),
    };
    ChildExit { status, last_lines: report.last_lines.join("\n") }
}

fn start_failure(error: SpawnError) -> StartFailure {
    let permanent = error.kind() == millstream_host::ErrorKind::Request;
    StartFailure { message: chain(&error), permanent }
}

fn permanent(message: String) -> StartFailure {
    StartFailure { message, permanent: true }
}

fn passing(message: String) -> StartFailure {
    StartFailure { message, permanent: false }
}

/// An error with all its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    millstream_core::OperatorError::from_error(error).message
}
