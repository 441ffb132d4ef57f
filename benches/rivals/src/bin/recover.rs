//! How long a job is silent when a worker is killed: `recover [--runs N] [--keys K] [--rate R]
//! [--ours DIR] [-D key=value]`.
//!
//! Starts a JobManager and TaskManagers of one slot each, all with default settings, and the example
//! `recovery_probe`, which keeps about 100 bytes of state per key and sends its counts to a socket of
//! ours. In each run there is a spare worker; when a checkpoint has been completed the worker with the
//! job gets a SIGKILL. What is printed is the time from the signal to the first line of the new attempt.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Nothing is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

struct Options {
    runs: usize,
    keys: u64,
    rate: u64,
    ours: PathBuf,
    definitions: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let ours = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release"));
        let (keys, rate) = (1_000_000, 200_000);
        let mut options = Self { runs: 10, keys, rate, ours, definitions: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--runs" => options.runs = number()? as usize,
                "--keys" => options.keys = number()?,
                "--rate" => options.rate = number()?,
                "--ours" => options.ours = value.into(),
                "-D" => options.definitions.push(value),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

/// Processes that end with this one, and their directory.
struct Cluster {
    millstream: PathBuf,
    home: PathBuf,
    definitions: Vec<String>,
    job_manager: Child,
    workers: Vec<Child>,
    started: usize,
}

impl Cluster {
    fn start(options: &Options) -> Result<Self, String> {
        let home = std::env::temp_dir().join(format!("millstream-recover-{}", std::process::id()));
        std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let millstream = options.ours.join("millstream");
        let ports = ["rest.port=0", "jobmanager.rpc.port=0", "blob.server.port=0"];
        let mut definitions: Vec<String> = ports.iter().map(|it| (*it).to_owned()).collect();
        definitions.extend(options.definitions.iter().cloned());
        let job_manager = begin(&millstream, &home, &definitions, &["jobmanager"])?;
        let workers = Vec::new();
        let mut cluster = Self { millstream, home, definitions, job_manager, workers, started: 0 };
        wait("the JobManager", || cluster.get("/overview").ok())?;
        cluster.add_worker()?;
        Ok(cluster)
    }

    /// Starts a worker and waits until its slot is free.
    fn add_worker(&mut self) -> Result<(), String> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let arguments = ["taskmanager", "--name", &name];
        let mut definitions = self.definitions.clone();
        for (key, of) in [("jobmanager.rpc.port", "rpc"), ("blob.server.port", "blob")] {
            let address = self.address(of)?;
            let port = address.rsplit(':').next().unwrap_or_default();
            definitions.push(format!("{key}={port}"));
        }
        let worker = begin(&self.millstream, &self.home, &definitions, &arguments)?;
        self.workers.push(worker);
        wait("a free slot", || {
            let overview = self.get("/overview").ok()?;
            (number_behind(&overview, "slots-available")? > 0).then_some(())
        })
    }

    /// GET; the body.
    fn get(&self, path: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| error.to_string();
        let address = self.address("rest")?;
        let mut stream = TcpStream::connect(&address).map_err(failed)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        Ok(answer)
    }

    /// Where the JobManager is reached for this.
    fn address(&self, of: &str) -> Result<String, String> {
        let file = self.home.join("run/jobmanager.json");
        let addresses = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let address = text_behind(&addresses, of).ok_or("the JobManager tells no address")?;
        Ok(address.to_owned())
    }

    fn submit(&self, probe: &Path, options: &Options, output: &str) -> Result<String, String> {
        let (keys, rate) = (options.keys.to_string(), options.rate.to_string());
        let submitted = Command::new(&self.millstream)
            .args(["run", "-d"])
            .arg(probe)
            .args(["--output", output, "--keys", &keys, "--rate", &rate])
            .env("MILLSTREAM_HOME", &self.home)
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&submitted.stdout).into_owned();
        let id = text.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let why = || format!("{text}{}", String::from_utf8_lossy(&submitted.stderr));
        id.map(str::to_owned).ok_or_else(why)
    }

    /// How many checkpoints the job has completed.
    fn completed(&self, job: &str) -> Option<u64> {
        number_behind(&self.get(&format!("/jobs/{job}/checkpoints")).ok()?, "completed")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain([&mut self.job_manager]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn begin(
    millstream: &Path,
    home: &Path,
    definitions: &[String],
    arguments: &[&str],
) -> Result<Child, String> {
    let mut command = Command::new(millstream);
    command.args(arguments).env("MILLSTREAM_HOME", home);
    for definition in definitions {
        command.args(["-D", definition]);
    }
    let log = std::fs::File::options().create(true).append(true).open(home.join("log.txt"));
    let log = log.map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
    command.spawn().map_err(|error| format!("{}: {error}", millstream.display()))
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("waited in vain for {what}"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The number that follows `"name":` in JSON, wherever that first is.
fn number_behind(json: &str, name: &str) -> Option<u64> {
    let rest = json.split(&format!("\"{name}\":")).nth(1)?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn text_behind<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    json.split(&format!("\"{name}\":")).nth(1)?.split('"').nth(1)
}

/// Tells when each connection gave its first line, and counts no others.
fn listen(listener: TcpListener, first_lines: Sender<Instant>) {
    for stream in listener.incoming().flatten() {
        let first_lines = first_lines.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines();
            if lines.next().is_some_and(|line| line.is_ok()) {
                let _ = first_lines.send(Instant::now());
            }
            lines.for_each(drop);
        });
    }
}

/// One kill. Each has a cluster and a job of its own: the delay before a restart grows with the number
/// of failures of a job.
fn measure_once(options: &Options) -> Result<Duration, String> {
    let failed = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let output = listener.local_addr().map_err(failed)?.to_string();
    let (sender, first_lines): (_, Receiver<Instant>) = channel();
    std::thread::spawn(move || listen(listener, sender));
    let mut cluster = Cluster::start(options)?;
    let probe = options.ours.join("examples/recovery_probe");
    let job = cluster.submit(&probe, options, &output)?;
    first_lines.recv_timeout(PATIENCE).map_err(|_| "the job gives nothing".to_owned())?;
    // Every key has come once.
    std::thread::sleep(Duration::from_secs(1 + options.keys / options.rate));
    cluster.add_worker()?;
    let before = cluster.completed(&job).ok_or("REST does not tell of checkpoints")?;
    wait("a checkpoint", || cluster.completed(&job).filter(|now| *now > before))?;
    let mut worker = cluster.workers.remove(0);
    let began = Instant::now();
    worker.kill().map_err(failed)?;
    let first = first_lines
        .recv_timeout(PATIENCE)
        .map_err(|_| "the job gives nothing any more".to_owned())?;
    let _ = worker.wait();
    Ok(first.saturating_duration_since(began))
}

fn measure(options: &Options) -> Result<(), String> {
    let mut silences = Vec::new();
    for run in 1..=options.runs {
        let silence = measure_once(options)?;
        println!("run {run}: {:.2} s", silence.as_secs_f64());
        silences.push(silence);
    }
    silences.sort_unstable();
    let at = |share: usize| silences[(silences.len() - 1) * share / 100].as_secs_f64();
    println!(
        "killed worker to output, {} keys: median {:.2} s, fastest {:.2} s, slowest {:.2} s",
        options.keys,
        at(50),
        at(0),
        at(100)
    );
    Ok(())
}

fn main() -> ExitCode {
    match Options::parse().and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("recover: {problem}");
            ExitCode::FAILURE
        }
    }
}
