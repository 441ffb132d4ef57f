//! A cluster of ours for jobs between processes: two workers with one slot each, started with the
//! first job and stopped with this program.
//!
//! Its processes do not end with a job, so what a job used is the difference of what they and their
//! children had used before and after. The memory is that of the job processes, looked at while the
//! job runs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_rivals::{Result, peer};

use crate::contestant::Absence;
use crate::measure::{self, Figures};

/// Jobs and what they say in their logs.
pub(crate) struct Cluster {
    program: PathBuf,
    /// Its configuration, process ids, logs.
    home: PathBuf,
    started: OnceLock<std::result::Result<(), String>>,
}

/// Ticks of the processor times in `/proc` per second.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the memory of the job processes is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The cluster outlives a run that is killed: it is not to keep locks that our caller holds.
const CLOSE_INHERITED: &str = r#"
for fd in /proc/$$/fd/*; do n=${fd##*/}; [ "$n" -gt 2 ] && eval "exec $n>&-" 2>/dev/null; done
exec "$@""#;
/// A log may be written a moment after the job's end.
const LOG_WAIT: Duration = Duration::from_millis(100);

impl Cluster {
    /// Nothing is started yet.
    pub(crate) fn new(program: PathBuf, home: PathBuf) -> Self {
        Self { program, home, started: OnceLock::new() }
    }

    /// Runs a job of ours to its end.
    pub(crate) fn run(
        &self,
        job: &Command,
        time_limit: Duration,
    ) -> std::result::Result<Figures, Absence> {
        if !self.program.exists() {
            return Err(Absence::Missing("millstream is not built".to_owned()));
        }
        let start = || self.start().map_err(|error| error.to_string());
        self.started.get_or_init(start).clone()?;
        self.forget_logs()?;
        let workers = self.workers()?;
        let cpu_before = cpu_seconds(&workers);

        let over = AtomicBool::new(false);
        let (output, peak_rss_kb) = thread::scope(|scope| {
            let peak = scope.spawn(|| watch_peak(&workers, &over));
            let output = self.run_client(job, time_limit);
            over.store(true, Ordering::Relaxed);
            (output, peak.join().expect("reading files does not panic"))
        });
        let output = output?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{}: {said}{error}", output.status).into());
        }
        thread::sleep(LOG_WAIT);
        let figures = Figures {
            seconds: seconds_of(&said).ok_or("the client did not say how long the job took")?,
            cpu_seconds: cpu_seconds(&workers) - cpu_before,
            peak_rss_kb,
            ..Figures::default()
        };
        Ok(measure::read_lines(&self.logged_figures()?, figures))
    }

    fn start(&self) -> Result<()> {
        // A cluster that was left over by a run that was killed.
        let _ = self.verb(&["cluster", "stop"]);
        if self.home.exists() {
            fs::remove_dir_all(&self.home)?;
        }
        fs::create_dir_all(&self.home)?;
        let ([rest, rpc], [blob, _]) = (peer::free_ports()?, peer::free_ports()?);
        let ports = [
            format!("rest.port={rest}"),
            format!("jobmanager.rpc.port={rpc}"),
            format!("blob.server.port={blob}"),
        ];
        let mut words = vec!["cluster", "start", "--taskmanagers", "2", "--slots", "1"];
        ports.iter().for_each(|port| words.extend(["-D", port]));
        let output = self.verb(&words)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(())
    }

    fn verb(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new("bash");
        command
            .args(["-c", CLOSE_INHERITED, "bash"])
            .arg(&self.program)
            .args(words)
            .env("MILLSTREAM_HOME", &self.home)
            .stdin(Stdio::null());
        Ok(command.output()?)
    }

    fn run_client(&self, job: &Command, time_limit: Duration) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.arg(time_limit.as_secs().to_string()).arg(&self.program).arg("run");
        command.arg(job.get_program()).args(job.get_args()).env("MILLSTREAM_HOME", &self.home);
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// Process ids of the workers.
    fn workers(&self) -> Result<Vec<u32>> {
        let pid = |name: &str| -> Result<u32> {
            let file = self.home.join(format!("run/{name}.pid"));
            let text = fs::read_to_string(file)?;
            Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
        };
        Ok(vec![pid("taskmanager-1")?, pid("taskmanager-2")?])
    }

    /// Job processes write into logs of their own.
    fn job_logs(&self) -> Result<Vec<PathBuf>> {
        let mut logs = Vec::new();
        for entry in fs::read_dir(self.home.join("log"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("job-")) {
                logs.push(path);
            }
        }
        Ok(logs)
    }

    fn forget_logs(&self) -> Result<()> {
        Ok(self.job_logs()?.into_iter().try_for_each(fs::remove_file)?)
    }

    fn logged_figures(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for log in self.job_logs()? {
            let text = fs::read_to_string(log)?;
            found.extend(text.lines().filter(|line| line.starts_with('{')).map(str::to_owned));
        }
        Ok(found)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(Ok(())) = self.started.get()
            && let Err(error) = self.verb(&["cluster", "stop"])
        {
            eprintln!("the cluster in {} was not stopped: {error}", self.home.display());
        }
    }
}

/// "Job … has finished after 0.81 s".
fn seconds_of(said: &str) -> Option<f64> {
    let (_, after) = said.rsplit_once("has finished after ")?;
    after.split(' ').next()?.parse().ok()
}

/// Of these processes and their children, living or waited for.
fn cpu_seconds(workers: &[u32]) -> f64 {
    let of_tree = |pid: &u32| {
        let living: f64 = children(*pid).iter().map(|child| ticks(*child, 2)).sum();
        ticks(*pid, 4) + living
    };
    workers.iter().map(of_tree).sum::<f64>() / TICKS_PER_SECOND
}

/// User and system time; with four fields also those of children that were waited for.
fn ticks(pid: u32, fields: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, after_name)) = stat.rsplit_once(')') else { return 0.0 };
    let times = after_name.split_whitespace().skip(11).take(fields);
    times.filter_map(|field| field.parse::<f64>().ok()).sum()
}

fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// The largest sum of the job processes' peaks that was seen.
fn watch_peak(workers: &[u32], over: &AtomicBool) -> f64 {
    let mut peak: f64 = 0.0;
    let mut last_look = Instant::now();
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY.saturating_sub(last_look.elapsed()));
        last_look = Instant::now();
        let now = workers.iter().flat_map(|worker| children(*worker)).map(peak_rss_kb).sum();
        peak = peak.max(now);
    }
    peak
}

/// Of one process so far; nothing once it has ended.
pub(crate) fn peak_rss_kb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_the_client_reports_is_the_jobs() {
        let said = "Job has been submitted with JobID 0a\nJob 0a has finished after 0.81 s\n";
        assert_eq!(seconds_of(said), Some(0.81));
        assert_eq!(seconds_of("Job 0a has failed"), None);
    }

    #[test]
    fn a_childs_work_is_seen_while_it_lives() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(std::process::id()).contains(&child.id()));
        assert!(peak_rss_kb(child.id()) > 0.0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
