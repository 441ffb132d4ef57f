//! A cluster of its own for each test: free ports, a home directory that goes with it, and the
//! certainty that no process is left.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster. Dropping it stops it and removes its directory.
pub(crate) struct Cluster {
    home: PathBuf,
}

impl Cluster {
    /// Starts a JobManager and TaskManagers with two slots each.
    pub(crate) fn start(task_managers: u32, definitions: &[&str]) -> Self {
        Self::with_slots(2, task_managers, definitions)
    }

    /// Starts a JobManager and TaskManagers with so many slots each.
    pub(crate) fn with_slots(slots: u32, task_managers: u32, definitions: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-test-{}-{number}", std::process::id());
        let cluster = Self { home: std::env::temp_dir().join(name) };
        let (task_managers, slots) = (task_managers.to_string(), slots.to_string());
        let mut arguments =
            vec!["cluster", "start", "--taskmanagers", &task_managers, "--slots", &slots];
        let ports = ["rest.port=0", "jobmanager.rpc.port=0", "blob.server.port=0"];
        for definition in ports.iter().chain(definitions) {
            arguments.extend(["-D", definition]);
        }
        let output = cluster.millstream(&arguments);
        assert!(output.status.success(), "{}", text(&output));
        cluster
    }

    /// Runs the CLI against this cluster, to its end.
    pub(crate) fn millstream(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary is built")
    }

    /// The CLI against this cluster, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // Where this is not the CLI's own test, the CLI is an example there.
        let binary = option_env!("CARGO_BIN_EXE_millstream").map(PathBuf::from);
        let mut command = Command::new(binary.unwrap_or_else(|| example("millstream")));
        command.args(arguments).env("MILLSTREAM_HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Submits the test job and returns its id; it goes on by itself.
    pub(crate) fn submit(&self, how: &str, arguments: &[&str]) -> String {
        let program = misbehave();
        let mut all = vec!["run", "-d"];
        all.extend(arguments);
        all.extend([program.to_str().expect("UTF-8"), "--how", how]);
        let output = self.millstream(&all);
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        let id = text.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("no job id in: {text}")).to_owned()
    }

    /// GET, as JSON text.
    pub(crate) fn get(&self, path: &str) -> String {
        self.rest().get(path)
    }

    /// A connection to REST that is kept.
    pub(crate) fn rest(&self) -> Rest {
        let addresses = std::fs::read_to_string(self.home.join("run/jobmanager.json"))
            .expect("the JobManager runs");
        let addresses: serde_json::Value = serde_json::from_str(&addresses).expect("JSON");
        let address = addresses["rest"].as_str().expect("an address").to_owned();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Rest { agent, address }
    }

    /// GET, as JSON.
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    /// Waits until the job has this state; its details.
    pub(crate) fn wait_for_state(&self, job: &str, state: &str) -> serde_json::Value {
        self.wait_for(&format!("job {job} to be {state}"), || {
            let details = self.json(&format!("/jobs/{job}"));
            (details["state"] == state).then_some(details)
        })
    }

    /// Waits until so many subtasks of every vertex run. The job itself is RUNNING from the moment
    /// when it asks for slots.
    pub(crate) fn wait_for_tasks(&self, job: &str, subtasks: u64) {
        self.wait_for(&format!("the tasks of job {job} to run"), || {
            let details = self.json(&format!("/jobs/{job}"));
            let vertices = details["vertices"].as_array()?;
            let all = vertices.iter().all(|vertex| vertex["tasks"]["RUNNING"] == subtasks);
            (all && !vertices.is_empty()).then_some(())
        });
    }

    /// The reason for which a job failed.
    pub(crate) fn failure_of(&self, job: &str) -> String {
        self.wait_for_state(job, "FAILED");
        self.get(&format!("/jobs/{job}/exceptions"))
    }

    /// Waits until it is there.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Free slots.
    pub(crate) fn free_slots(&self) -> u64 {
        self.json("/overview")["slots-available"].as_u64().expect("a number")
    }

    /// The process ids of the cluster's own processes, by name.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let path = self.home.join(format!("run/{name}.pid"));
        let text = std::fs::read_to_string(&path).expect("it runs");
        text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number")
    }

    /// Job processes of this cluster: pid and parent.
    pub(crate) fn job_processes(&self) -> Vec<(u32, u32)> {
        let home = self.home.to_str().expect("UTF-8");
        processes()
            .into_iter()
            .filter(|p| p.executable.starts_with(home))
            .map(|p| (p.pid, p.parent))
            .collect()
    }

    /// A path in the cluster's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Everything that the processes of the cluster have logged.
    pub(crate) fn logs(&self) -> String {
        let Ok(entries) = std::fs::read_dir(self.home.join("log")) else { return String::new() };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        entries.flatten().map(|e| format!("--- {:?}\n{}\n", e.path(), read(&e.path()))).collect()
    }
}

/// Speaks to a cluster's REST.
pub(crate) struct Rest {
    agent: ureq::Agent,
    address: String,
}

impl Rest {
    /// GET, as text.
    pub(crate) fn get(&self, path: &str) -> String {
        let response = self.agent.get(format!("http://{}{path}", self.address)).call();
        response.expect("REST answers").body_mut().read_to_string().expect("text")
    }

    /// GET, as JSON.
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    /// POST, with a body of this type; the answer as JSON.
    pub(crate) fn post(&self, path: &str, kind: &str, body: &[u8]) -> serde_json::Value {
        let request = self.agent.post(format!("http://{}{path}", self.address));
        let response = request.header("content-type", kind).send(body);
        let text = response.expect("REST answers").body_mut().read_to_string().expect("text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Uploads a program; its id.
    pub(crate) fn upload(&self, program: &Path) -> String {
        let mut form = b"--end\r\ncontent-disposition: form-data; name=\"jarfile\"; \
            filename=\"program\"\r\ncontent-type: application/octet-stream\r\n\r\n"
            .to_vec();
        form.extend(std::fs::read(program).expect("it is built"));
        form.extend(b"\r\n--end--\r\n");
        let answer = self.post("/jars/upload", "multipart/form-data; boundary=end", &form);
        let name = answer["filename"].as_str().unwrap_or_else(|| panic!("{answer}"));
        name.rsplit('/').next().expect("an id").to_owned()
    }

    /// Runs an uploaded program; the job's id.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let body = serde_json::json!({ "programArgsList": arguments }).to_string();
        let path = format!("/jars/{program}/run");
        let answer = self.post(&path, "application/json", body.as_bytes());
        answer["jobid"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Asks for a job's end.
    pub(crate) fn cancel(&self, job: &str) {
        let url = format!("http://{}/jobs/{job}?mode=cancel", self.address);
        let response = self.agent.patch(url).send_empty().expect("REST answers");
        assert!(response.status().is_success(), "{response:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let output = self.millstream(&["cluster", "stop"]);
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", text(&output));
            let left = self.job_processes();
            assert!(left.is_empty(), "job processes are left: {left:?}");
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// The test job's executable.
pub(crate) fn misbehave() -> PathBuf {
    example("misbehave")
}

/// The executable of an example, of whatever crate, next to this test's own directory.
pub(crate) fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("this test is a file");
    let profile = here.ancestors().nth(2).expect("target/PROFILE/deps/test");
    profile.join("examples").join(name)
}

/// Everything that a command wrote.
pub(crate) fn text(output: &Output) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", part(&output.stdout), part(&output.stderr))
}

/// A process of this machine.
pub(crate) struct Process {
    pub pid: u32,
    pub parent: u32,
    pub executable: String,
}

/// All processes whose executable can be seen.
pub(crate) fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let process = |pid: u32| {
        let executable = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit(") ").next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(Process { pid, parent, executable: executable.to_string_lossy().into_owned() })
    };
    pids.filter_map(process).collect()
}

/// Ends a process at once, as `kill -9` does, and waits until it has ended: the signal only asks,
/// and whoever starts a successor before that finds the predecessor's locks held.
pub(crate) fn kill(pid: u32) {
    let number = rustix::process::Pid::from_raw(pid as i32).expect("not 0");
    rustix::process::kill_process(number, rustix::process::Signal::KILL).expect("it is ours");
    let deadline = Instant::now() + PATIENCE;
    while millstream_host::process::is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}
