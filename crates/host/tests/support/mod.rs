//! Children for the tests: this test program itself, started again with a role in its environment.
//!
//! Each test file has a test `child_program` that calls [`play_role`]; in an ordinary run there is no
//! role and it passes.
#![allow(dead_code, reason = "each test file uses a part")]

use millstream_host::child::{
    self, Child, ChildSpec, ExitReport, OutputSpec, OutputStreams, SpawnError, Supervisor,
};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const ROLE: &str = "HOST_TEST_ROLE";

/// Nothing here takes so long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the test program does when it is started as a child.
pub(crate) fn play_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("exit", code) => {
            println!("goodbye from standard output");
            eprintln!("goodbye from standard error");
            std::process::exit(code.parse().unwrap());
        }
        ("panic", _) => {
            let result = std::panic::catch_unwind(|| panic!("the operator `map` has had enough"));
            assert!(result.is_err());
            std::process::abort();
        }
        ("segfault", _) => loop {
            // The first only ends Rust's own handler, which looks for a stack overflow.
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::SEGV,
            );
        },
        ("sleep", _) => sleep(),
        ("environment", file) => report_environment(Path::new(file)),
        ("echo", _) => echo(),
        ("watch", _) => {
            let control = child::control_socket_from_env().expect("started as a child");
            child::exit_when_closed(&control).unwrap();
            // User code that holds on to what it can.
            let _stdout = std::io::stdout().lock();
            sleep();
        }
        ("grandchild", file) => {
            let mut sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
            publish(Path::new(file), &sleeper.id().to_string());
            let _ = sleeper.wait();
        }
        ("orphan", file) => leave_orphan(Path::new(file)),
        ("daemon", file) => {
            // Leaves session and group, and keeps the output open.
            let script = "setsid sleep 600 & echo $! > \"$1.new\"; mv \"$1.new\" \"$1\"";
            let status = std::process::Command::new("sh").args(["-c", script, "sh", file]).status();
            assert!(status.unwrap().success());
            std::process::exit(0);
        }
        ("flood", megabytes) => flood(megabytes.parse().unwrap()),
        ("connections", _) => serve_connections(),
        ("supervise", file) => supervise(Path::new(file)),
        ("init", file) => be_init(Path::new(file)),
        _ => panic!("there is no role `{role}`"),
    }
}

fn sleep() -> ! {
    println!("sleeping");
    loop {
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// Writes a file that is there in full or not at all.
fn publish(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

fn report_environment(file: &Path) {
    let mut text = format!("directory {}\n", std::env::current_dir().unwrap().display());
    for (name, value) in std::env::vars() {
        text.push_str(&format!("variable {name}={value}\n"));
    }
    // The descriptor that lists the others is not one of them.
    let mut open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    open.retain(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    open.sort_unstable();
    text.push_str(&format!("descriptors {open:?}\n"));
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    text.push_str(&format!("score {}\n", score.trim()));
    let own = millstream_host::process::ProcessInfo::of(std::process::id()).unwrap();
    text.push_str(&format!("leads {} {}\n", own.group == own.pid, own.session == own.pid));
    publish(file, &text);
    std::process::exit(0);
}

fn echo() {
    let mut control = child::control_socket_from_env().expect("started as a child");
    assert!(child::control_socket_from_env().is_none(), "there is one owner");
    let mut bytes = [0; 5];
    control.read_exact(&mut bytes).unwrap();
    control.write_all(&bytes).unwrap();
    std::process::exit(0);
}

fn leave_orphan(file: &Path) {
    // The shell ends at once, so the sleeper's parent becomes whoever adopts orphans.
    let script = "setsid sleep 0.2 & echo $!";
    let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
    publish(file, std::str::from_utf8(&output.stdout).unwrap().trim());
    std::process::exit(0);
}

fn flood(megabytes: usize) {
    let line = "all work and no play makes Jack a dull boy\n".repeat(1 << 10);
    let mut stdout = std::io::stdout().lock();
    for _ in 0..megabytes * (1 << 20) / line.len() {
        stdout.write_all(line.as_bytes()).unwrap();
    }
    stdout.write_all(b"the very last line\n").unwrap();
    stdout.flush().unwrap();
    std::process::exit(0);
}

/// Answers each connection that is handed over with what came before it.
fn serve_connections() {
    let data = child::data_socket_from_env().expect("started as a child");
    while let Some((descriptor, preface)) =
        millstream_host::descriptor::receive_stream(&data).unwrap()
    {
        let mut connection = std::net::TcpStream::from(descriptor);
        connection.write_all(&preface).unwrap();
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).unwrap();
        connection.write_all(&rest).unwrap();
    }
    std::process::exit(0);
}

/// Is a TaskManager with one child, until it is killed.
fn supervise(file: &Path) {
    let place = Place::at(file.with_extension("children"));
    let supervisor = Supervisor::start().unwrap();
    let child = supervisor.spawn(place.spec("sleep"), Box::new(|_| ())).unwrap();
    publish(file, &child.pid().to_string());
    sleep();
}

/// Adopts orphans, has a child leave one, and ends well if nothing of it is left.
fn be_init(file: &Path) {
    let place = Place::at(file.with_extension("children"));
    let supervisor = Supervisor::start().unwrap();
    assert_eq!(supervisor.reap_orphans_if_init(), std::process::id() == 1);
    supervisor.adopt_orphans().unwrap();
    let orphan = place.file("orphan");
    let report = place.run(&supervisor, &format!("orphan {}", orphan.display()));
    assert!(report.is_success(), "{report}");
    let orphan: u32 = fs::read_to_string(&orphan).unwrap().parse().unwrap();
    // Its parent is this process, or it has been reaped already.
    let parent = millstream_host::process::ProcessInfo::of(orphan).map(|process| process.parent);
    assert!(parent.is_none_or(|parent| parent == std::process::id()), "{parent:?}");
    wait_for("the orphan to be reaped", || is_gone(orphan));
    std::process::exit(0);
}

/// Directories for the children of one test, removed at its end.
pub(crate) struct Place {
    root: PathBuf,
    count: AtomicU32,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-host-it-{}-{number}", std::process::id());
        Self::at(std::env::temp_dir().join(name))
    }

    fn at(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        Place { root, count: AtomicU32::new(0) }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// How many files and directories there are, at any depth.
    pub(crate) fn files(&self) -> usize {
        fn count(directory: &Path) -> usize {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| 1 + if path.is_dir() { count(&path) } else { 0 }).sum()
        }
        count(&self.root)
    }

    /// This test program in a role.
    pub(crate) fn spec(&self, role: &str) -> ChildSpec {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        ChildSpec {
            executable: std::env::current_exe().unwrap(),
            arguments: ["child_program", "--exact", "--nocapture", "--test-threads=1", "-q"]
                .map(Into::into)
                .to_vec(),
            environment: vec![
                (ROLE.into(), role.into()),
                ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
            ],
            working_directory: self.root.join(format!("work/{number}")),
            output: OutputSpec {
                directory: self.root.join("log"),
                stem: "child".to_owned(),
                bytes_max: 1 << 20,
                streams: OutputStreams::Separate,
            },
            oom_score_adj: Some(child::spec::OOM_SCORE_ADJ),
            memory_limit: None,
        }
    }

    /// Starts a child in a role.
    pub(crate) fn spawn(&self, supervisor: &Supervisor, role: &str) -> (Child, ExitWatch) {
        start(supervisor, self.spec(role)).unwrap()
    }

    /// Runs a child to its end.
    pub(crate) fn run(&self, supervisor: &Supervisor, role: &str) -> ExitReport {
        let (_child, exit) = self.spawn(supervisor, role);
        exit.wait()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Where the report of a child's end arrives.
pub(crate) struct ExitWatch(mpsc::Receiver<ExitReport>);

impl ExitWatch {
    #[track_caller]
    pub(crate) fn wait(&self) -> ExitReport {
        self.0.recv_timeout(PATIENCE).expect("the child ends")
    }
}

pub(crate) fn start(
    supervisor: &Supervisor,
    spec: ChildSpec,
) -> Result<(Child, ExitWatch), SpawnError> {
    let (sender, receiver) = mpsc::channel();
    let on_exit = Box::new(move |report| {
        let _ = sender.send(report);
    });
    supervisor.spawn(spec, on_exit).map(|child| (child, ExitWatch(receiver)))
}

/// Waits until the file is there, and reads the number in it.
#[track_caller]
pub(crate) fn number_in(file: &Path) -> u32 {
    wait_for("a process to write its number", || file.exists());
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// Whether there is not even a zombie.
pub(crate) fn is_gone(pid: u32) -> bool {
    millstream_host::process::ProcessInfo::of(pid).is_none()
}

/// Whether it has ended, though whoever inherited it may not have reaped it.
pub(crate) fn has_ended(pid: u32) -> bool {
    !millstream_host::process::is_alive(pid)
}

#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What this process has open and running.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) children: usize,
}

pub(crate) fn footprint() -> Footprint {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").unwrap();
    let children = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(millstream_host::process::ProcessInfo::of)
        .filter(|process| process.parent == own)
        .count();
    Footprint {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
        children,
    }
}
