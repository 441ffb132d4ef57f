//! Ctrl-C in programs of their own: examples, started as processes.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example's executable, next to this test's own directory.
fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("this test is a file");
    here.ancestors().nth(2).expect("target/PROFILE/deps/test").join("examples").join(name)
}

/// An example to which signals mean what they mean in a terminal: whoever runs this test in the background of
/// a script has SIGINT ignored, and a program that is started so leaves it at that.
fn in_a_terminal(name: &str) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM").arg(example(name));
    command
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// `socket_wordcount` at work: it has begun to write a file that is not finished. Its input does not
/// end before the socket is dropped.
fn counting(output: &Path, listener: &TcpListener) -> (Child, TcpStream) {
    let port = listener.local_addr().expect("bound").port().to_string();
    let program = in_a_terminal("socket_wordcount")
        .args(["--parallelism", "1", "--port", &port, "--output"])
        .arg(output)
        .args(["-D", "execution.checkpointing.enabled=false"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built");
    let (mut socket, _) = listener.accept().expect("the program connects");
    socket.write_all(b"to be or not to be\n").expect("it reads");
    wait_until("a file that is being written", || {
        names_in(output).iter().any(|name| name.ends_with(".inprogress"))
    });
    wait_until_it_listens(&program);
    (program, socket)
}

/// Signals are handled from when the program waits for its job; its tasks may run before.
fn wait_until_it_listens(program: &Child) {
    let status = format!("/proc/{}/status", program.id());
    // Signals 2 and 15.
    const INT_AND_TERM: u64 = 1 << 1 | 1 << 14;
    wait_until("the program to handle signals", || {
        let status = std::fs::read_to_string(&status).expect("it runs");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & INT_AND_TERM == INT_AND_TERM)
    });
}

fn ended_by(program: Child, signal: rustix::process::Signal) -> (Option<i32>, String) {
    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, signal).expect("it runs");
    let Output { status, stderr, .. } = program.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn an_interrupted_program_without_checkpoints_takes_back_what_is_unfinished_and_says_so() {
    for (signal, name) in
        [(rustix::process::Signal::INT, "SIGINT"), (rustix::process::Signal::TERM, "SIGTERM")]
    {
        let output = std::env::temp_dir().join(format!("interrupt-{}-{name}", std::process::id()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let (program, _socket) = counting(&output, &listener);
        let (code, errors) = ended_by(program, signal);
        assert_eq!(code, Some(130), "{errors}");
        assert!(errors.contains(&format!("{name}: job `socket_wordcount`")), "{errors}");
        assert!(errors.contains("was cancelled and its unfinished output removed"), "{errors}");
        assert_eq!(names_in(&output), Vec::<String>::new());
        std::fs::remove_dir_all(&output).expect("it was made");
    }
}

#[test]
fn an_interrupted_program_prints_the_command_that_goes_on_without_losing_or_doubling_a_record() {
    let home = std::env::temp_dir().join(format!("interrupt-home-{}", std::process::id()));
    let output = home.join("ledger");
    let numbers = ["--records", "200000", "--keys", "100"];
    let program = in_a_terminal("ledger")
        .args(numbers)
        .args(["--rate", "100000", "--parallelism", "2", "--output"])
        .arg(&output)
        .args(["-D", "execution.checkpointing.interval=100ms"])
        .env("MILLSTREAM_HOME", &home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built");
    let visible = |name: &String| !name.starts_with('.');
    wait_until("a committed file", || names_in(&output).iter().any(visible));
    wait_until_it_listens(&program);
    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
    let ended = program.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{errors}");
    assert!(errors.contains("was stopped with a savepoint; resume with:"), "{errors}");
    let command = String::from_utf8(ended.stdout).expect("UTF-8");
    assert!(command.contains("-D execution.state-recovery.path="), "{command}");
    let resumed = Command::new("sh")
        .args(["-c", command.trim()])
        .env("MILLSTREAM_HOME", &home)
        .output()
        .expect("there is a shell");
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let checked = Command::new(example("ledger_check"))
        .args(numbers)
        .arg(&output)
        .output()
        .expect("the example is built");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    std::fs::remove_dir_all(&home).expect("it was made");
}
