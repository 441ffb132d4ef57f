//! Clusters that keep what outlives them in an object store: checkpoints, savepoints, the record of
//! leadership and the files of jobs. The store is a server of the S3 protocol on loopback; between it
//! and the cluster stands a way that can be closed, slowed down, or swallow answers.

#[path = "../../../object-store/tests/s3/proxy.rs"]
mod proxy;
#[path = "../../../object-store/tests/s3/server.rs"]
mod server;

use crate::ha::HaCluster;
use crate::harness::{Cluster, PATIENCE, example, kill, text};
use crate::ledger::{Ledger, told_path};
use crate::local_state::{AT_ONCE, WHEN_ASKED, reads, take_checkpoint};
use millstream::core::config::Configuration;
use millstream::process::storage::Storages;
use proxy::{DELAY, Proxy, Way};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use server::Server;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A bucket, the way to it, and what a cluster has to know of it.
struct Bucket {
    server: Server,
    proxy: Proxy,
    definitions: Vec<String>,
}

impl Bucket {
    /// Nothing, and said so, where no server can be run.
    fn new() -> Option<Self> {
        let server = Server::start()?;
        let proxy = Proxy::start(&server.endpoint);
        let name = &server.bucket;
        let mut definitions = keys(&proxy.endpoint);
        definitions.extend([
            format!("execution.checkpointing.dir=s3://{name}/checkpoints"),
            format!("execution.checkpointing.savepoint-dir=s3://{name}/savepoints"),
            "execution.checkpointing.interval=200ms".to_owned(),
            // All state is in files, and none inside the metadata.
            "execution.checkpointing.data-inline-threshold=0".to_owned(),
        ]);
        Some(Self { server, proxy, definitions })
    }

    fn definitions(&self) -> Vec<&str> {
        self.definitions.iter().map(String::as_str).collect()
    }

    /// `-D` for a command that reaches the store itself.
    fn flags(&self) -> Vec<&str> {
        let definitions = self.definitions.iter().filter(|it| it.starts_with("s3."));
        definitions.flat_map(|definition| ["-D", definition.as_str()]).collect()
    }

    /// The straight way.
    fn storages(&self) -> Storages {
        let mut configuration = Configuration::default();
        for definition in keys(&self.server.endpoint) {
            configuration.define(&definition).expect("key=value");
        }
        Storages::new(&configuration)
    }

    /// What is there, by the straight way.
    fn list(&self, directory: &str) -> Vec<String> {
        let uri = format!("s3://{}", self.server.bucket);
        let bucket = self.storages().open(&uri).expect("a URI");
        bucket.list(directory).expect("it answers")
    }
}

fn keys(endpoint: &str) -> Vec<String> {
    let keys = ["s3.region=us-east-1", "s3.access-key=test", "s3.secret-key=test"];
    let keys = keys.iter().map(|key| (*key).to_owned());
    let ours = [format!("s3.endpoint={endpoint}"), "s3.retry-timeout-seconds=1".to_owned()];
    keys.chain(ours).collect()
}

/// The lease of leaders: the server of these tests does one thing at a time, and takes seconds for a
/// program that is uploaded. A leader that is gone is replaced at once all the same.
const LEASE: Duration = Duration::from_secs(12);

/// A job that is restarted as often as it takes.
const PATIENT: [&str; 6] = [
    "-D",
    "restart-strategy.type=fixed-delay",
    "-D",
    "restart-strategy.fixed-delay.attempts=1000",
    "-D",
    "restart-strategy.fixed-delay.delay=100ms",
];

fn patient<'a>(more: &[&'a str]) -> Vec<&'a str> {
    PATIENT.iter().chain(more).copied().collect()
}

#[test]
fn kills_lose_and_double_nothing_when_checkpoints_are_in_a_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let cluster = Cluster::with_slots(1, 4, &bucket.definitions());
    let ledger = Ledger::new(&cluster, 200_000, 30_000);
    let job = ledger.submit(&patient(&["-p", "2"]));
    for round in 1..=4_u64 {
        ledger.wait_for_checkpoints(&job, 2 * round);
        let (child, worker) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        kill(if round % 2 == 0 { worker } else { child });
    }
    let all = bucket.list("checkpoints");
    assert!(all.iter().any(|path| path.ends_with("/_metadata")), "{all:?}");
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
    cluster.wait_for("the checkpoints to be gone", || {
        bucket.list("checkpoints").is_empty().then_some(())
    });
    let here = std::fs::read_dir(cluster.path("checkpoints")).expect("it was made");
    assert_eq!(here.count(), 0, "something was kept here");
    let shown = cluster.get("/jobmanager/config");
    assert!(shown.contains(&bucket.proxy.endpoint) && !shown.contains("\"test\""), "{shown}");
}

#[test]
fn a_savepoint_in_a_bucket_is_shown_resumed_with_another_parallelism_and_disposed_of() {
    let Some(bucket) = Bucket::new() else { return };
    let cluster = Cluster::start(2, &bucket.definitions());
    let ledger = Ledger::new(&cluster, 120_000, 30_000);
    let job = ledger.submit(&["-p", "2"]);
    ledger.wait_for_checkpoints(&job, 2);
    let said = text(&cluster.millstream(&["stop", &job]));
    assert!(said.contains("Savepoint completed"), "{said}");
    let savepoint = told_path(&said);
    assert!(savepoint.starts_with(&format!("s3://{}/savepoints/", bucket.server.bucket)), "{said}");
    let with_flags = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(bucket.flags()).collect();
        text(&cluster.millstream(&words))
    };
    for path in [savepoint.clone(), format!("{savepoint}/_metadata")] {
        let listed = with_flags(&["state", "ls", &path]);
        assert!(listed.contains("aggregate: u64 → (u64, u64); 1000 rows"), "{listed}");
    }
    let rows =
        with_flags(&["state", "show", &savepoint, "-o", "count", "-s", "aggregate", "-n", "3"]);
    assert_eq!(rows.lines().filter(|line| line.starts_with('{')).count(), 3, "{rows}");
    let resumed = ledger.submit(&["-p", "3", "-s", &savepoint]);
    cluster.wait_for_state(&resumed, "FINISHED");
    ledger.check();
    let disposed = with_flags(&["savepoint", "--dispose", &savepoint]);
    assert!(disposed.contains("disposed"), "{disposed}");
    assert_eq!(bucket.list("savepoints"), Vec::<String>::new());
    let gone = with_flags(&["state", "ls", &savepoint]);
    assert!(gone.contains("_metadata`: it does not exist"), "{gone}");
}

#[test]
fn a_store_that_cannot_be_reached_for_a_while_fails_checkpoints_and_loses_nothing() {
    let Some(bucket) = Bucket::new() else { return };
    let cluster = Cluster::start(2, &bucket.definitions());
    let ledger = Ledger::new(&cluster, 200_000, 30_000);
    let job = ledger.submit(&patient(&["-p", "2"]));
    ledger.wait_for_checkpoints(&job, 2);
    bucket.proxy.set(Way::Closed);
    let told = cluster.wait_for("a checkpoint to fail", || {
        let exceptions = cluster.get(&format!("/jobs/{job}/exceptions"));
        exceptions.contains("could not write").then_some(exceptions)
    });
    assert!(told.contains(&bucket.proxy.endpoint), "{told}");
    assert!(told.contains("can be reached from this machine"), "{told}");
    bucket.proxy.set(Way::Open);
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_job_starts_over_from_what_its_worker_kept_while_the_store_is_out_of_reach() {
    let Some(bucket) = Bucket::new() else { return };
    let mut definitions = bucket.definitions();
    definitions.extend(WHEN_ASKED);
    let cluster = Cluster::start(1, &definitions);
    let ledger = Ledger::new(&cluster, 250_000, 30_000);
    let job = ledger.submit(&AT_ONCE);
    take_checkpoint(&ledger, &cluster, &job, 1);
    bucket.proxy.set(Way::Closed);
    let (child, _) = cluster.wait_for("a job process", || cluster.job_processes().pop());
    kill(child);
    let read = cluster.wait_for("the tasks to say where their state was", || {
        let read = reads(&cluster, 0);
        (read.len() >= 2).then_some(read)
    });
    assert!(read.iter().all(|(here, elsewhere)| *here > 0 && *elsewhere == 0), "{read:?}");
    cluster.wait_for_tasks(&job, 2);
    bucket.proxy.set(Way::Open);
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_slow_store_delays_checkpoints_and_not_the_job() {
    let Some(bucket) = Bucket::new() else { return };
    let cluster = Cluster::start(1, &bucket.definitions());
    let ledger = Ledger::new(&cluster, 100_000, 30_000);
    let job = ledger.submit(&["-p", "1"]);
    ledger.wait_for_checkpoints(&job, 1);
    bucket.proxy.set(Way::Slow);
    let (begun, path) = (Instant::now(), format!("/jobs/{job}/checkpoints"));
    let before = cluster.json(&path)["counts"]["completed"].as_u64().expect("a number");
    // The first of them may have been nearly complete.
    ledger.wait_for_checkpoints(&job, before + 2);
    assert!(begun.elapsed() >= DELAY, "the store was not slow: {:?}", begun.elapsed());
    let checkpoints = cluster.json(&path);
    assert_eq!(checkpoints["counts"]["failed"], 0, "{checkpoints}");
    let state = cluster.json(&format!("/jobs/{job}"))["state"].clone();
    assert!(state == "RUNNING" || state == "FINISHED", "{state}");
    bucket.proxy.set(Way::Open);
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
}

fn ha(bucket: &Bucket) -> HaCluster {
    let directory = format!("s3://{}/ha", bucket.server.bucket);
    let lease = format!("high-availability.object-store.lease-duration={} ms", LEASE.as_millis());
    let mut definitions = bucket.definitions();
    definitions.push(&lease);
    HaCluster::start_in("object-store", &directory, &bucket.storages(), (2, 2), &definitions)
}

/// A client that finds the leader in the bucket.
fn client<'a>(bucket: &'a Bucket, more: &[&'a str]) -> Vec<&'a str> {
    patient(&[&bucket.flags(), more].concat())
}

#[test]
fn a_job_manager_that_is_killed_goes_on_from_what_is_in_the_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let ha = ha(&bucket);
    let ledger = Ledger::new(&ha.cluster, 250_000, 30_000);
    let job = ledger.submit(&client(&bucket, &["-p", "2"]));
    assert!(bucket.list("ha/default/jobs").iter().any(|path| path.ends_with("/program")));
    for _ in 0..2 {
        ha.wait_for_checkpoints(&job, 2);
        let epoch = ha.epoch();
        kill(ha.cluster.pid("jobmanager"));
        ha.start_job_manager("jobmanager");
        ha.wait_for_term_after(epoch);
        ha.wait_for_tasks(&job, 2);
    }
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
    ha.cluster.wait_for("nothing to be left of the job", || (ha.job_files() == 0).then_some(()));
    let record = ha.record();
    assert_eq!(record["jobs"].as_object().map(serde_json::Map::len), Some(0), "{record}");
}

#[test]
fn a_standby_takes_over_what_is_in_the_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let ha = ha(&bucket);
    ha.start_job_manager("jobmanager-2");
    ha.wait_for_word("jobmanager-2", "waits for its turn");
    let ledger = Ledger::new(&ha.cluster, 200_000, 30_000);
    let job = ledger.submit(&client(&bucket, &["-p", "2"]));
    ha.wait_for_checkpoints(&job, 2);
    let epoch = ha.epoch();
    kill(ha.cluster.pid("jobmanager"));
    ha.wait_for_term_after(epoch);
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn writes_whose_answers_are_lost_change_the_record_once() {
    let Some(bucket) = Bucket::new() else { return };
    let ha = ha(&bucket);
    let ledger = Ledger::new(&ha.cluster, 250_000, 30_000);
    let job = ledger.submit(&client(&bucket, &["-p", "2"]));
    for _ in 0..5 {
        // Something is written into the record, and whoever writes it does not learn of it.
        // Looked at before: after a write without an answer it only reads, which is not answered either.
        let before = beat(&ha.record());
        bucket.proxy.set(Way::NoAnswers);
        ha.cluster.wait_for("a write", || (beat(&ha.record()) > before).then_some(()));
        bucket.proxy.set(Way::Open);
        let before = newest_checkpoint(&ha.record(), &job);
        ha.cluster.wait_for("a newer checkpoint, or the end", || {
            let record = ha.record();
            let is_over = record["jobs"][&job].is_null();
            (is_over || newest_checkpoint(&record, &job) > before).then_some(())
        });
    }
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
    ha.cluster.wait_for("nothing to be left of the job", || (ha.job_files() == 0).then_some(()));
}

#[test]
fn a_leader_that_is_cut_off_from_the_bucket_stops_leading_and_jobs_go_on_when_it_is_back() {
    let Some(bucket) = Bucket::new() else { return };
    let ha = ha(&bucket);
    let ledger = Ledger::new(&ha.cluster, 150_000, 30_000);
    let job = ledger.submit(&client(&bucket, &["-p", "2"]));
    ha.wait_for_checkpoints(&job, 2);
    let epoch = ha.epoch();
    bucket.proxy.set(Way::Closed);
    let log = ha.cluster.path("log/jobmanager.log");
    let log = || std::fs::read_to_string(&log).expect("it is written");
    ha.cluster.wait_for("the end of the term", || log().contains("stops leading").then_some(()));
    let told = format!("could not write `s3://{}/ha/default/leader`", bucket.server.bucket);
    assert!(log().contains(&told) || log().contains("could not read `s3://"), "{}", log());
    assert!(log().contains("the lease could not be renewed"), "{}", log());
    bucket.proxy.set(Way::Open);
    ha.wait_for_term_after(epoch);
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_job_manager_that_cannot_use_the_store_of_leadership_says_so_and_ends() {
    let home = std::env::temp_dir().join(format!("millstream-s3-bad-{}", std::process::id()));
    let mut definitions = keys("http://127.0.0.1:9");
    definitions.extend([
        "high-availability.type=object-store".to_owned(),
        "high-availability.storageDir=s3://state/ha".to_owned(),
        "rest.port=0".to_owned(),
    ]);
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("jobmanager")
        .args(definitions.iter().flat_map(|definition| ["-D", definition]))
        .env("MILLSTREAM_HOME", &home)
        .stdin(Stdio::null())
        .output()
        .expect("the binary is built");
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for part in ["s3://state/ha/default/leader", "127.0.0.1:9", "high-availability.storageDir"] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let _ = std::fs::remove_dir_all(&home);
}

#[test]
fn an_embedded_job_goes_on_from_a_savepoint_in_a_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let home = std::env::temp_dir().join(format!("millstream-s3-embedded-{}", std::process::id()));
    let output = home.join("ledger");
    let mut program = Command::new(example("ledger"));
    program.args(["--records", "150000", "--keys", "1000", "--rate", "30000"]);
    program.args(["--parallelism", "2", "--output"]).arg(&output);
    program.args(bucket.definitions().iter().flat_map(|definition| ["-D", definition]));
    program.env("MILLSTREAM_HOME", &home).stdin(Stdio::null()).stdout(Stdio::piped());
    let program = program.spawn().expect("the example is built");
    let deadline = Instant::now() + PATIENCE;
    while !bucket.list("checkpoints").iter().any(|path| path.ends_with("/_metadata")) {
        assert!(Instant::now() < deadline, "no checkpoint is completed");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&program), Signal::TERM).expect("it runs");
    let resume = program.wait_with_output().expect("it ends").stdout;
    let resume = String::from_utf8(resume).expect("UTF-8");
    assert!(resume.contains(&format!("s3://{}/savepoints/", bucket.server.bucket)), "{resume}");
    let resumed = Command::new("sh")
        .args(["-c", resume.trim()])
        .env("MILLSTREAM_HOME", &home)
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    assert!(resumed.status.success(), "{}", text(&resumed));
    let checked = Command::new(example("ledger_check"))
        .args(["--records", "150000", "--keys", "1000"])
        .arg(&output)
        .output()
        .expect("the checker is built");
    assert!(checked.status.success(), "{}", text(&checked));
    let _ = std::fs::remove_dir_all(&home);
}

/// How often the record was written.
fn beat(record: &Value) -> u64 {
    record["beat"].as_u64().expect("a number")
}

/// The newest checkpoint of a job that the record knows.
fn newest_checkpoint(record: &Value, job: &str) -> Option<u64> {
    let checkpoints = record["jobs"][job]["checkpoints"].as_array()?;
    checkpoints.last()?["id"].as_u64()
}
