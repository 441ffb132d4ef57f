//! JobManagers that are killed, paused, stopped, and taken over from: jobs go on, from their newest
//! checkpoint if they have one, and `ledger_check` finds each record once.

use crate::harness::{Cluster, PATIENCE, kill, text};
use crate::ledger::Ledger;
use millstream::process::storage::Storages;
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_checkpoint::storage::Storage;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lease: a leader that is silent for longer is taken over from. Long enough for a disk on which a sync
/// takes seconds, since other tests write at the same time.
const LEASE: Duration = Duration::from_secs(6);

/// A cluster with high availability.
pub(crate) struct HaCluster {
    pub(crate) cluster: Cluster,
    definitions: Vec<String>,
    /// Where the record is.
    records: Arc<dyn ConditionalStore>,
    /// What is beside it.
    files: Arc<dyn Storage>,
}

impl HaCluster {
    /// One JobManager, and workers with two slots each; the record is in a directory.
    fn start(task_managers: u32, definitions: &[&str]) -> Self {
        Self::with_slots(2, task_managers, definitions)
    }

    /// One JobManager, and workers with so many slots each.
    pub(crate) fn with_slots(slots: u32, task_managers: u32, definitions: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!(
            "millstream-ha-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let _ = std::fs::remove_dir_all(&directory);
        let directory = directory.display().to_string();
        let lease = format!("high-availability.filesystem.lease-duration={} ms", LEASE.as_millis());
        let definitions: Vec<&str> = definitions.iter().copied().chain([lease.as_str()]).collect();
        let storages = Storages::default();
        Self::start_in("filesystem", &directory, &storages, (slots, task_managers), &definitions)
    }

    /// The record is below this path or URI, which we reach through these storages ourselves; workers
    /// have so many slots each, and there are so many of them.
    pub(crate) fn start_in(
        kind: &str,
        directory: &str,
        storages: &Storages,
        (slots, task_managers): (u32, u32),
        definitions: &[&str],
    ) -> Self {
        let mut all = vec![
            format!("high-availability.type={kind}"),
            format!("high-availability.storageDir={directory}"),
            "rest.port=0".to_owned(),
        ];
        all.extend(definitions.iter().map(|definition| (*definition).to_owned()));
        let directory = format!("{directory}/default");
        let records = storages.records(&directory, PATIENCE).expect("a path or URI");
        let files = storages.open(&directory).expect("a path or URI");
        let borrowed: Vec<&str> = all.iter().map(String::as_str).collect();
        let cluster = Cluster::with_slots(slots, task_managers, &borrowed);
        Self { cluster, definitions: all, records, files }
    }

    /// Starts a JobManager of this name in the background.
    pub(crate) fn start_job_manager(&self, name: &str) {
        self.start_process(&["jobmanager", "--name", name], name);
    }

    /// Starts a TaskManager of this name with so many slots in the background.
    pub(crate) fn start_task_manager(&self, name: &str, slots: u32) {
        let slots = format!("taskmanager.numberOfTaskSlots={slots}");
        self.start_process(&["taskmanager", "--name", name, "-D", &slots], name);
    }

    fn start_process(&self, arguments: &[&str], name: &str) {
        let mut arguments = arguments.to_vec();
        for definition in &self.definitions {
            arguments.extend(["-D", definition]);
        }
        let log = self.cluster.path(&format!("log/{name}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = self.cluster.command(&arguments);
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let mut child = command.spawn().expect("the binary is built");
        // Whoever dies is buried at once.
        std::thread::spawn(move || child.wait());
        self.cluster.wait_for(&format!("{name} to run"), || {
            self.cluster.path(&format!("run/{name}.pid")).exists().then_some(())
        });
    }

    /// Waits for a JobManager that starts to contend, as its log says.
    pub(crate) fn wait_for_word(&self, name: &str, word: &str) {
        self.cluster.wait_for(&format!("`{word}` of {name}"), || {
            let log = std::fs::read_to_string(self.cluster.path(&format!("log/{name}.log")));
            log.is_ok_and(|log| log.contains(word)).then_some(())
        });
    }

    /// Whoever leads answers; nothing: nobody does at the moment.
    pub(crate) fn look(&self, path: &str) -> Option<Value> {
        let addresses = std::fs::read(self.cluster.path("run/jobmanager.json")).ok()?;
        let addresses: Value = serde_json::from_slice(&addresses).ok()?;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let url = format!("http://{}{path}", addresses["rest"].as_str()?);
        let mut response = agent.get(url).call().ok()?;
        serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
    }

    pub(crate) fn wait_for_state(&self, job: &str, state: &str) -> Value {
        self.cluster.wait_for(&format!("job {job} to be {state}"), || {
            self.look(&format!("/jobs/{job}")).filter(|details| details["state"] == state)
        })
    }

    pub(crate) fn wait_for_tasks(&self, job: &str, subtasks: u64) {
        self.cluster.wait_for(&format!("the tasks of job {job} to run"), || {
            let details = self.look(&format!("/jobs/{job}"))?;
            let vertices = details["vertices"].as_array()?;
            let all = vertices.iter().all(|vertex| vertex["tasks"]["RUNNING"] == subtasks);
            (all && !vertices.is_empty()).then_some(())
        });
    }

    /// Waits until the present leader has seen so many checkpoints complete.
    pub(crate) fn wait_for_checkpoints(&self, job: &str, at_least: u64) {
        self.cluster.wait_for(&format!("{at_least} checkpoints of job {job}"), || {
            let checkpoints = self.look(&format!("/jobs/{job}/checkpoints"))?;
            (checkpoints["counts"]["completed"].as_u64()? >= at_least).then_some(())
        });
    }

    /// The newest version of the record.
    pub(crate) fn record(&self) -> Value {
        let newest = || self.records.read("leader").ok().flatten();
        let (_, bytes) = self.cluster.wait_for("the record", newest);
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (_, body) = text.split_once('\n').expect("a first line");
        serde_json::from_str(body).expect("JSON")
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.record()["epoch"].as_u64().expect("a number")
    }

    /// Waits until somebody leads and serves in a term after this one.
    pub(crate) fn wait_for_term_after(&self, epoch: u64) {
        self.cluster.wait_for("another leader", || {
            let record = self.record();
            let serves = !record["leader"]["published"].is_null();
            (record["epoch"].as_u64()? > epoch && serves).then_some(())
        });
    }

    fn signal(&self, name: &str, signal: Signal) {
        let pid = Pid::from_raw(self.cluster.pid(name) as i32).expect("not 0");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Files of jobs that are kept beside the record.
    pub(crate) fn job_files(&self) -> usize {
        self.files.list("jobs").expect("it answers").len()
    }
}

impl Drop for HaCluster {
    fn drop(&mut self) {
        let output = self.cluster.millstream(&["cluster", "stop"]);
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", text(&output));
        }
        let _ = self.files.delete("");
    }
}

/// Waits until a process has ended by itself.
fn wait_for_end(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while millstream_host::process::is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_goes_on_from_its_newest_checkpoint_however_often_its_job_manager_is_killed() {
    let ha = HaCluster::start(2, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&ha.cluster, 300_000, 30_000);
    let job = ledger.submit(&["-p", "2"]);
    for _ in 0..3 {
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
fn a_standby_takes_over_and_the_client_that_waits_for_the_job_does_not_notice() {
    let ha = HaCluster::start(2, &["execution.checkpointing.interval=200ms"]);
    ha.start_job_manager("jobmanager-2");
    ha.wait_for_word("jobmanager-2", "waits for its turn");
    let ledger = Ledger::new(&ha.cluster, 200_000, 30_000);
    let arguments = ledger.arguments(&["-p", "2"]);
    let mut client = ha.cluster.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("built");
    let job = ha.cluster.wait_for("the job", || {
        let jobs = ha.look("/jobs")?;
        jobs["jobs"][0]["id"].as_str().map(str::to_owned)
    });
    ha.wait_for_checkpoints(&job, 2);
    let epoch = ha.epoch();
    kill(ha.cluster.pid("jobmanager"));
    ha.wait_for_term_after(epoch);
    ha.wait_for_checkpoints(&job, 2);
    let output = client.wait_with_output().expect("it ends");
    let said = text(&output);
    assert!(output.status.success() && said.contains("has finished"), "{said}");
    ledger.check();
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_lease_changes_nothing_when_it_wakes_up() {
    let ha = HaCluster::start(2, &["execution.checkpointing.interval=200ms"]);
    ha.start_job_manager("jobmanager-2");
    ha.wait_for_word("jobmanager-2", "waits for its turn");
    let ledger = Ledger::new(&ha.cluster, 300_000, 30_000);
    let job = ledger.submit(&["-p", "2"]);
    ha.wait_for_checkpoints(&job, 2);
    let epoch = ha.epoch();
    ha.signal("jobmanager", Signal::STOP);
    ha.wait_for_term_after(epoch);
    ha.wait_for_checkpoints(&job, 2);
    let before = ha.epoch();
    ha.signal("jobmanager", Signal::CONT);
    ha.wait_for_word("jobmanager", "stops leading");
    // Many checkpoints later the new leader still leads.
    ha.wait_for_checkpoints(&job, 8);
    assert_eq!(ha.epoch(), before);
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_job_manager_that_is_asked_to_end_leaves_its_jobs_to_the_next_one() {
    let ha = HaCluster::start(1, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&ha.cluster, 150_000, 30_000);
    let job = ledger.submit(&["-p", "2"]);
    ha.wait_for_checkpoints(&job, 2);
    let pid = ha.cluster.pid("jobmanager");
    ha.signal("jobmanager", Signal::TERM);
    wait_for_end(pid);
    let record = ha.record();
    assert!(record["leader"].is_null(), "it has not resigned: {record}");
    assert!(record["jobs"][&job].is_object(), "the job is lost: {record}");
    ha.start_job_manager("jobmanager");
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_job_without_checkpoints_begins_anew_and_can_be_cancelled_there() {
    let ha = HaCluster::start(1, &["execution.checkpointing.enabled=false"]);
    let job = ha.cluster.submit("forever", &["-p", "2"]);
    ha.wait_for_tasks(&job, 2);
    let epoch = ha.epoch();
    kill(ha.cluster.pid("jobmanager"));
    ha.start_job_manager("jobmanager");
    ha.wait_for_term_after(epoch);
    ha.wait_for_tasks(&job, 2);
    assert!(ha.cluster.millstream(&["cancel", &job]).status.success());
    ha.wait_for_state(&job, "CANCELED");
}

#[test]
fn a_job_that_has_ended_is_known_to_the_next_leader_and_not_run_again() {
    let ha = HaCluster::start(1, &[]);
    let job = ha.cluster.submit("count", &[]);
    ha.wait_for_state(&job, "FINISHED");
    let failed = ha.cluster.submit("error-in-map", &["-D", "restart-strategy.type=none"]);
    ha.wait_for_state(&failed, "FAILED");
    let epoch = ha.epoch();
    kill(ha.cluster.pid("jobmanager"));
    ha.start_job_manager("jobmanager");
    ha.wait_for_term_after(epoch);
    ha.wait_for_state(&job, "FINISHED");
    ha.wait_for_state(&failed, "FAILED");
    let exceptions = ha.look(&format!("/jobs/{failed}/exceptions")).expect("it answers");
    assert!(exceptions.to_string().contains("seven is refused"), "{exceptions}");
    assert!(ha.cluster.job_processes().is_empty() || ha.cluster.free_slots() == 2);
}

#[test]
fn a_newest_checkpoint_that_cannot_be_read_fails_the_job_and_is_kept() {
    let ha = HaCluster::start(1, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&ha.cluster, 100_000_000, 20_000);
    let job = ledger.submit(&["-p", "1"]);
    ha.wait_for_checkpoints(&job, 2);
    kill(ha.cluster.pid("jobmanager"));
    let record = ha.record();
    let checkpoints = record["jobs"][&job]["checkpoints"].as_array().expect("some").clone();
    let path = checkpoints.last().expect("one")["path"].as_str().expect("a path").to_owned();
    let metadata = PathBuf::from(&path).join("_metadata");
    let mut bytes = std::fs::read(&metadata).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&metadata, bytes).expect("it can be written");
    ha.start_job_manager("jobmanager");
    ha.wait_for_state(&job, "FAILED");
    let why = ha.look(&format!("/jobs/{job}/exceptions")).expect("it answers").to_string();
    assert!(why.contains("_metadata") && why.contains("damaged"), "{why}");
    assert!(metadata.exists(), "what is left must be kept");
}

#[test]
fn what_cannot_be_meant_is_told_before_anything_starts() {
    let home = std::env::temp_dir().join(format!("millstream-ha-bad-{}", std::process::id()));
    for (definition, word) in [
        ("high-availability.type=etcd", "filesystem"),
        ("high-availability.type=filesystem", "high-availability.storageDir"),
        ("high-availability.type=object-store", "s3://BUCKET/PREFIX"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["jobmanager", "-D", definition, "-D", "rest.port=0"])
            .env("MILLSTREAM_HOME", &home)
            .stdin(Stdio::null())
            .output()
            .expect("the binary is built");
        let said = text(&output);
        assert!(!output.status.success() && said.contains(word), "{said}");
    }
    let _ = std::fs::remove_dir_all(&home);
}

#[test]
fn what_a_killed_leader_left_unfinished_goes_while_the_job_runs_and_nothing_else_does() {
    let ha = HaCluster::start(1, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&ha.cluster, 300_000, 30_000);
    let job = ledger.submit(&["-p", "2"]);
    ha.wait_for_checkpoints(&job, 2);
    let newest = || {
        let record = ha.record();
        let newest = record["jobs"][&job]["checkpoints"].as_array()?.last()?.clone();
        Some((newest["id"].as_u64()?, PathBuf::from(newest["path"].as_str()?)))
    };
    let epoch = ha.epoch();
    kill(ha.cluster.pid("jobmanager"));
    let (id, path) = newest().expect("it has completed some");
    let directory = path.parent().expect("that of the job").to_owned();
    let put = |name: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        std::fs::write(&path, "left").expect("it can be written");
        path
    };
    // The tasks may have begun more, and so have these.
    let gone = [
        put(&format!("chk-{}/0_1_2_3-0", id + 1)),
        put(&format!("chk-{}/0_1_2_3-0", id + 9)),
        put(&format!("shared/0_1_2_3-{}-0", id + 1)),
    ];
    let kept = [put("savepoint-1/_metadata"), put("notes.txt"), put("chk-x/notes.txt")];
    ha.start_job_manager("jobmanager");
    ha.wait_for_term_after(epoch);
    ha.cluster.wait_for("what was left to be gone", || {
        gone.iter().all(|path| !path.exists()).then_some(())
    });
    assert!(kept.iter().all(|path| path.exists()));
    ha.wait_for_state(&job, "FINISHED");
    ledger.check();
}
