//! `cluster start|stop|status`: all processes of a cluster on this machine, in the background.
//!
//! Their pid files, logs and addresses are in the home directory; another `MILLSTREAM_HOME` is
//! another cluster.

use crate::arguments::ClusterAction;
use crate::client::RestClient;
use crate::configuration::{home, load};
use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::config::catalog;
use millstream::process::daemon::JobManagerAddresses;
use millstream_host::directories::Home;
use millstream_host::log_file::LogFile;
use millstream_host::pid_file::{self, Running};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long processes may take to be there.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long processes may take to end by themselves; then they are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// How often the state of things is looked at.
const POLL: Duration = Duration::from_millis(5);

pub(super) fn cluster(action: &ClusterAction) -> Result<ExitCode> {
    let home = home()?;
    match action {
        ClusterAction::Start { taskmanagers, slots, definitions } => {
            start(&home, *taskmanagers, *slots, definitions)
        }
        ClusterAction::Stop => stop(&home),
        ClusterAction::Status => status(&home),
    }
}

fn start(
    home: &Home,
    task_managers: u32,
    slots: Option<u32>,
    definitions: &[String],
) -> Result<ExitCode> {
    home.create().map_err(|error| {
        Error::new(ErrorCode::Process, "no home directory").why(error.to_string())
    })?;
    if let Some((_, running)) = processes(home).first() {
        let summary = format!("{} already runs with pid {}", running.name, running.pid);
        return Err(Error::new(ErrorCode::Process, summary)
            .next("stop it with `millstream cluster stop`, or use another MILLSTREAM_HOME"));
    }
    let configuration = load(home, definitions)?;
    let slots = match slots {
        Some(slots) => slots,
        None => configuration
            .get(&catalog::TASKMANAGER_SLOTS)
            .map_err(|error| Error::new(ErrorCode::Configuration, error.to_string()))?,
    };
    let began = Instant::now();
    let mut started = Started { home, processes: Vec::new() };
    started.spawn("jobmanager", &["jobmanager"], definitions)?;
    let addresses = started.wait_for(|| JobManagerAddresses::read(home))?;
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let mut definitions = definitions.to_vec();
    definitions.push(format!("{}={slots}", catalog::TASKMANAGER_SLOTS.key));
    definitions.push(format!("{}={}", catalog::JOBMANAGER_PORT.key, port(&addresses.rpc)));
    definitions.push(format!("{}={}", catalog::BLOB_PORT.key, port(&addresses.blob)));
    for number in 1..=task_managers {
        let name = format!("taskmanager-{number}");
        started.spawn(&name, &["taskmanager", "--name", &name], &definitions)?;
    }
    let client = RestClient::at(addresses.rest.clone());
    let expected = u64::from(task_managers) * u64::from(slots);
    started.wait_for(|| {
        let overview = client.get("/overview").ok()?;
        (overview["slots-total"].as_u64()? >= expected).then_some(())
    })?;
    started.processes.clear();
    println!(
        "Cluster of 1 JobManager and {task_managers} TaskManagers with {slots} slots each \
         is up after {:.2} s: http://{}",
        began.elapsed().as_secs_f64(),
        addresses.rest
    );
    Ok(ExitCode::SUCCESS)
}

/// Processes that were started; ended again if one of them does not come up.
struct Started<'a> {
    home: &'a Home,
    processes: Vec<(String, Child)>,
}

impl Started<'_> {
    fn spawn(&mut self, name: &str, arguments: &[&str], definitions: &[String]) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorCode::Process, format!("cannot start {name}")).why(error.to_string())
        };
        let path = self.log(name);
        // A log of earlier runs is kept once when it has grown large.
        drop(LogFile::open(&path, 64 << 20).map_err(failed)?);
        let log = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log).process_group(0);
        for definition in definitions {
            command.args(["-D", definition]);
        }
        self.processes.push((name.to_owned(), command.spawn().map_err(failed)?));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.home.log().join(format!("{name}.log"))
    }

    /// Waits until it is there; an error if a process has ended or it takes too long.
    fn wait_for<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            for at in 0..self.processes.len() {
                if let Ok(Some(status)) = self.processes[at].1.try_wait() {
                    let name = self.processes[at].0.clone();
                    return Err(self.failure(&name, &format!("ended with {status}")));
                }
            }
            if Instant::now() > deadline {
                return Err(self.failure("jobmanager", "did not come up in time"));
            }
            std::thread::sleep(POLL);
        }
    }

    fn failure(&self, name: &str, what: &str) -> Error {
        let path = self.log(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        Error::new(ErrorCode::Process, format!("{name} {what}"))
            .at(path.display().to_string())
            .why(last)
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The live processes of the home directory, TaskManagers first.
fn processes(home: &Home) -> Vec<(PathBuf, Running)> {
    let Ok(entries) = std::fs::read_dir(home.run()) else { return Vec::new() };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "pid"));
    let mut found: Vec<_> = files
        .filter_map(|path| pid_file::running(&path).ok()?.map(|running| (path, running)))
        .collect();
    found.sort_by(|a, b| b.1.name.cmp(&a.1.name));
    found
}

fn stop(home: &Home) -> Result<ExitCode> {
    let running = processes(home);
    if running.is_empty() {
        println!("No cluster runs here.");
        return Ok(ExitCode::SUCCESS);
    }
    for (path, process) in &running {
        signal(process.pid, Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while is_running(path, process) {
            if Instant::now() > deadline {
                eprintln!("{} does not end by itself: it is killed", process.name);
                signal(process.pid, Signal::KILL);
            }
            std::thread::sleep(POLL);
        }
        println!("Stopped {} ({}).", process.name, process.pid);
    }
    Ok(ExitCode::SUCCESS)
}

fn is_running(path: &Path, process: &Running) -> bool {
    let file = pid_file::running(path).ok().flatten();
    file.is_some_and(|running| running.pid == process.pid)
        && millstream_host::process::is_alive(process.pid)
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

fn status(home: &Home) -> Result<ExitCode> {
    let running = processes(home);
    if running.is_empty() {
        println!("No cluster runs here ({}).", home.path().display());
        return Ok(ExitCode::from(1));
    }
    for (_, process) in &running {
        println!("{:<20} pid {}", process.name, process.pid);
    }
    if let Some(addresses) = JobManagerAddresses::read(home) {
        let overview = RestClient::at(addresses.rest.clone()).get("/overview")?;
        println!(
            "http://{}: {} TaskManagers, {} of {} slots free, {} jobs running",
            addresses.rest,
            overview["taskmanagers"],
            overview["slots-available"],
            overview["slots-total"],
            overview["jobs-running"]
        );
    }
    Ok(ExitCode::SUCCESS)
}
