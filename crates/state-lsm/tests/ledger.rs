//! The ledger job with its state on local disk, in a process of its own: killed, resumed, moved from one
//! backend to the other. `ledger_check` shares no code with the engine and tells what was lost, doubled or
//! counted wrongly.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const RECORDS: &str = "600000";
const KEYS: &str = "1000";
const RATE: &str = "80000";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The directory of one ledger.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("millstream-lsm-ledger-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("it can be made");
        Self(directory)
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// A run of the job, from what it goes on from.
    fn job(&self, backend: &str, parallelism: u32, from: Option<&str>) -> Command {
        let mut job = Command::new(example("ledger"));
        job.args(["--records", RECORDS, "--keys", KEYS, "--rate", RATE, "--output"]);
        job.arg(self.0.join("ledger")).args(["--parallelism", &parallelism.to_string()]);
        let settings = [
            ("execution.checkpointing.interval", "150 ms"),
            ("execution.checkpointing.incremental", "true"),
            ("state.backend.type", backend),
            ("state.backend.rocksdb.memory.fixed-per-tm", "8m"),
        ];
        for (key, value) in settings {
            job.args(["-D", &format!("{key}={value}")]);
        }
        let directory = self.checkpoints().display().to_string();
        job.args(["-D", &format!("execution.checkpointing.dir={directory}")]);
        if let Some(from) = from {
            job.args(["-D", &format!("execution.state-recovery.path={from}")]);
        }
        job.env("MILLSTREAM_HOME", self.0.join("home"));
        job.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        job
    }

    /// The newest completed checkpoint of all jobs but these.
    fn newest_checkpoint(&self, former: &BTreeSet<PathBuf>) -> Option<(u64, PathBuf)> {
        let job = self.jobs().into_iter().find(|job| !former.contains(job))?;
        let taken = std::fs::read_dir(job).ok()?.flatten().map(|entry| entry.path());
        let complete = taken.filter(|path| path.join("_metadata").exists());
        let number =
            |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok();
        complete.filter_map(|path| Some((number(&path)?, path))).max()
    }

    /// The directories of jobs that have taken checkpoints.
    fn jobs(&self) -> BTreeSet<PathBuf> {
        let jobs = std::fs::read_dir(self.checkpoints()).into_iter().flatten().flatten();
        jobs.map(|entry| entry.path()).collect()
    }

    #[track_caller]
    fn check(&self) {
        let mut check = Command::new(example("ledger_check"));
        check.args(["--records", RECORDS, "--keys", KEYS]).arg(self.0.join("ledger"));
        let output = check.output().expect("the checker is built");
        assert!(output.status.success(), "{}", text(&output));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Examples are built beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    let profile = test.ancestors().nth(2).expect("target/…/deps/test");
    profile.join("examples").join(name)
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

fn wait_until(what: &str, job: &mut Child, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        let ended = job.try_wait().expect("ours");
        assert!(ended.is_none(), "the job ended ({ended:?}) before {what}");
        assert!(start.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a job that is none of the former ones, and goes on from a checkpoint of this number, has
/// completed three of its own; the newest and its number. The first of them may refer to nothing of the
/// one before, and so has rows in any backend.
fn wait_for_checkpoints(
    place: &Place,
    job: &mut Child,
    former: &BTreeSet<PathBuf>,
    number: u64,
) -> (u64, PathBuf) {
    let mut newest = None;
    wait_until("three checkpoints", job, || {
        newest = place.newest_checkpoint(former).filter(|(newest, _)| *newest >= number + 3);
        newest.is_some()
    });
    newest.expect("just found")
}

#[test]
fn a_job_that_is_killed_goes_on_from_its_last_checkpoint_without_losing_or_doubling_a_record() {
    let place = Place::new("killed");
    let (mut from, mut number) = (None::<String>, 0);
    for parallelism in [2, 1, 3, 4] {
        let former = place.jobs();
        let mut job = place.job("rocksdb", parallelism, from.as_deref()).spawn().expect("built");
        wait_for_checkpoints(&place, &mut job, &former, number);
        job.kill().expect("it runs");
        job.wait().expect("ours");
        let (newest_number, newest) = place.newest_checkpoint(&former).expect("there were three");
        number = newest_number;
        let metadata = std::fs::read(newest.join("_metadata")).expect("complete");
        let native = String::from_utf8_lossy(&metadata).contains("\"backend\":\"rocksdb\"");
        assert!(native, "{} is not in the files of RocksDB", newest.display());
        from = Some(shown(&newest));
    }
    let output = place.job("rocksdb", 2, from.as_deref()).output().expect("built");
    assert!(output.status.success(), "{}", text(&output));
    place.check();
}

#[test]
fn savepoints_move_a_job_from_backend_to_backend_at_any_parallelism() {
    let place = Place::new("moved");
    let mut from = None::<String>;
    let runs = [("hashmap", 2), ("rocksdb", 1), ("hashmap", 3), ("rocksdb", 4)];
    for (backend, parallelism) in runs {
        let former = place.jobs();
        let mut job = place.job(backend, parallelism, from.as_deref()).spawn().expect("built");
        wait_for_checkpoints(&place, &mut job, &former, number_of(from.as_deref()));
        let id = rustix::process::Pid::from_child(&job);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        let output = job.wait_with_output().expect("ours");
        let said = text(&output);
        let path = said.split("execution.state-recovery.path=").last();
        let path = path.and_then(|rest| rest.split_whitespace().next());
        let is_savepoint = output.status.code() == Some(130);
        assert!(is_savepoint, "{said}");
        from = Some(path.unwrap_or_else(|| panic!("no savepoint in: {said}")).to_owned());
    }
    let output = place.job("hashmap", 2, from.as_deref()).output().expect("built");
    assert!(output.status.success(), "{}", text(&output));
    place.check();
}

/// The number of the checkpoint that a savepoint is; 0 for none.
fn number_of(savepoint: Option<&str>) -> u64 {
    let Some(savepoint) = savepoint else { return 0 };
    let metadata = std::fs::read(Path::new(savepoint).join("_metadata")).expect("complete");
    let metadata = String::from_utf8_lossy(&metadata);
    let number = metadata.split("\"checkpoint\":").nth(1).expect("it has one");
    let number = number.split(|c: char| !c.is_ascii_digit()).next().expect("digits");
    number.parse().expect("digits")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
