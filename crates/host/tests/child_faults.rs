//! Children that end in every way, and the ways in which starting one fails.
#![cfg(target_os = "linux")]

mod support;

use millstream_host::ErrorKind;
use millstream_host::child::{
    ChildSpec, ExitStatus, MemoryLimit, OutputStreams, SpawnError, Supervisor,
};
use millstream_host::descriptor::send_stream;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Place, has_ended, is_gone, number_in, start, wait_for};

#[test]
fn child_program() {
    support::play_role();
}

fn signal(status: &ExitStatus) -> &str {
    match status {
        ExitStatus::Signal { name, .. } => name,
        other => panic!("not a signal: {other}"),
    }
}

#[test]
fn an_exit_code_arrives_with_the_last_words() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let report = place.run(&supervisor, "exit 3");
    assert_eq!(report.status, ExitStatus::Code(3));
    assert!(!report.kill_requested && !report.core_dumped && !report.out_of_memory);
    let end = &report.last_lines[report.last_lines.len() - 2..];
    assert_eq!(end, ["goodbye from standard output", "goodbye from standard error"]);
    let log = fs::read_to_string(place.file("log/child.err")).unwrap();
    assert_eq!(log, "goodbye from standard error\n");
}

#[test]
fn a_child_killed_by_somebody_else_is_told_from_one_that_we_killed() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let (child, exit) = place.spawn(&supervisor, "sleep");
    assert!(child.is_running());
    let kill = std::process::Command::new("kill").args(["-9", &child.pid().to_string()]).status();
    assert!(kill.unwrap().success());
    let report = exit.wait();
    assert_eq!(signal(&report.status), "SIGKILL");
    assert!(!report.kill_requested && !child.is_running());

    let (child, exit) = place.spawn(&supervisor, "sleep");
    child.kill_group();
    let report = exit.wait();
    assert_eq!(signal(&report.status), "SIGKILL");
    assert!(report.kill_requested);
    assert!(is_gone(child.pid()));
    // Long since reaped: nobody is hit.
    child.kill_group();
}

#[test]
fn a_segmentation_fault_and_an_abort_are_called_by_their_names() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let report = place.run(&supervisor, "segfault");
    assert_eq!(signal(&report.status), "SIGSEGV");
    let report = place.run(&supervisor, "panic");
    assert_eq!(signal(&report.status), "SIGABRT");
    let said = report.last_lines.iter().any(|line| line.contains("`map` has had enough"));
    assert!(said, "{report}");
}

#[test]
fn a_child_finds_what_it_was_given_and_nothing_else() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    // A descriptor that is not close-on-exec, as a careless library would leave it.
    let careless = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();

    let file = place.file("environment");
    let mut spec = place.spec(&format!("environment {}", file.display()));
    spec.environment.push(("GREETING".into(), "hello".into()));
    let directory = fs::canonicalize(place.file(""))
        .unwrap()
        .join(spec.working_directory.strip_prefix(place.file("")).unwrap());
    let (child, exit) = start(&supervisor, spec).unwrap();
    let report = exit.wait();
    assert!(report.is_success(), "{report}");

    let text = fs::read_to_string(file).unwrap();
    let lines = |prefix: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(prefix)).collect()
    };
    assert_eq!(lines("directory "), [directory.to_str().unwrap()]);
    let mut names: Vec<_> =
        lines("variable ").iter().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "GREETING",
            "HOST_TEST_ROLE",
            "MILLSTREAM_CONTROL_FD",
            "MILLSTREAM_DATA_FD",
            "MILLSTREAM_SUPERVISOR_PID",
            "PATH"
        ]
    );
    let number = |name: &str| {
        let line = lines("variable ").into_iter().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches('=').to_owned()
    };
    let mut expected: Vec<i32> = vec![0, 1, 2];
    expected.push(number("MILLSTREAM_CONTROL_FD").parse().unwrap());
    expected.push(number("MILLSTREAM_DATA_FD").parse().unwrap());
    expected.sort_unstable();
    assert_eq!(lines("descriptors "), [format!("{expected:?}")]);
    assert_eq!(lines("score "), ["500"]);
    assert_eq!(lines("leads "), ["true true"]);
    assert!(!directory.exists(), "its directory goes with it");
    drop(child);
}

#[test]
fn the_control_socket_goes_both_ways() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let (mut child, exit) = place.spawn(&supervisor, "echo");
    child.control.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    child.control.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"hello");
    assert!(exit.wait().is_success());
}

#[test]
fn a_child_ends_when_its_control_socket_is_closed() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let (child, exit) = place.spawn(&supervisor, "watch");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.is_running());
    drop(child);
    assert_eq!(signal(&exit.wait().status), "SIGKILL");
}

#[test]
fn a_data_port_hands_each_connection_to_the_child_it_is_for() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let children =
        [place.spawn(&supervisor, "connections"), place.spawn(&supervisor, "connections")];
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    let clients: Vec<_> = (0..10_u8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut connection = TcpStream::connect(address).unwrap();
                let mut preface = [number; 32];
                preface[0] = number % 2;
                connection.write_all(&preface).unwrap();
                connection.write_all(b"payload").unwrap();
                connection.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                connection.read_to_end(&mut answer).unwrap();
                assert_eq!(answer, [&preface[..], b"payload"].concat());
            })
        })
        .collect();
    for _ in 0..clients.len() {
        let (mut connection, _) = port.accept().unwrap();
        let mut preface = [0; 32];
        connection.read_exact(&mut preface).unwrap();
        let (child, _) = &children[usize::from(preface[0])];
        send_stream(&child.data, &connection, &preface).unwrap();
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    for (child, exit) in children {
        drop(child);
        assert!(exit.wait().is_success());
    }
}

#[test]
fn grandchildren_die_with_the_group_however_the_child_ends() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let file = place.file("grandchild");
    let role = format!("grandchild {}", file.display());
    // Killed by us, by somebody else, and by the end of the supervisor.
    let (child, exit) = place.spawn(&supervisor, &role);
    let grandchild = number_in(&file);
    child.kill_group();
    exit.wait();
    wait_for("the grandchild's end", || has_ended(grandchild));

    fs::remove_file(&file).unwrap();
    let (child, exit) = place.spawn(&supervisor, &role);
    let grandchild = number_in(&file);
    let _ = std::process::Command::new("kill").args(["-9", &child.pid().to_string()]).status();
    exit.wait();
    wait_for("the grandchild's end", || has_ended(grandchild));

    fs::remove_file(&file).unwrap();
    let (_child, exit) = place.spawn(&supervisor, &role);
    let grandchild = number_in(&file);
    drop(supervisor);
    assert!(exit.wait().kill_requested);
    wait_for("the grandchild's end", || has_ended(grandchild));
}

#[test]
fn a_daemon_that_keeps_the_output_open_does_not_hold_up_the_report() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let file = place.file("daemon");
    let begin = Instant::now();
    let report = place.run(&supervisor, &format!("daemon {}", file.display()));
    assert!(report.is_success(), "{report}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let daemon = number_in(&file);
    let _ = std::process::Command::new("kill").args(["-9", &daemon.to_string()]).status();
}

#[test]
fn dropping_the_supervisor_kills_all_children_and_calls_back_for_each() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let children: Vec<_> = (0..5).map(|_| place.spawn(&supervisor, "sleep")).collect();
    assert_eq!(supervisor.children(), 5);
    drop(supervisor);
    for (child, exit) in &children {
        assert!(exit.wait().kill_requested);
        assert!(is_gone(child.pid()));
    }
}

#[test]
fn a_callback_may_drop_the_supervisor() {
    let place = Place::new();
    let supervisor = Arc::new(Supervisor::start().unwrap());
    let (sender, done) = std::sync::mpsc::channel();
    let held = supervisor.clone();
    let on_exit = Box::new(move |_| {
        // Waits until it is the last.
        while Arc::strong_count(&held) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(held);
        sender.send(()).unwrap();
    });
    let _child = supervisor.spawn(place.spec("exit 0"), on_exit).unwrap();
    drop(supervisor);
    done.recv_timeout(support::PATIENCE).unwrap();
}

#[test]
fn a_child_does_not_survive_the_murder_of_its_parent() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let file = place.file("child");
    let (parent, exit) = place.spawn(&supervisor, &format!("supervise {}", file.display()));
    let child = number_in(&file);
    assert!(!has_ended(child));
    // The parent only: its group would be too easy.
    let _ = std::process::Command::new("kill").args(["-9", &parent.pid().to_string()]).status();
    exit.wait();
    wait_for("the child's end", || has_ended(child));
}

#[test]
fn who_adopts_orphans_reaps_them() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let report = place.run(&supervisor, &format!("init {}", place.file("init").display()));
    assert!(report.is_success(), "{report}");
}

/// Process 1 of a container of its own, where this user may make one.
#[test]
fn the_first_process_of_a_container_reaps_orphans() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let unshare = PathBuf::from("/usr/bin/unshare");
    let arguments = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let probe = std::process::Command::new(&unshare).args(arguments).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a process namespace");
        return;
    }
    let mut spec = place.spec(&format!("init {}", place.file("init").display()));
    let program = std::mem::replace(&mut spec.executable, unshare);
    let rest = std::mem::take(&mut spec.arguments);
    spec.arguments = arguments.map(Into::into).to_vec();
    spec.arguments.push(program.into());
    spec.arguments.extend(rest);
    let (_child, exit) = start(&supervisor, spec).unwrap();
    let report = exit.wait();
    assert!(report.is_success(), "{report}");
}

#[test]
fn a_flood_of_output_is_bounded_on_disk_and_its_end_is_remembered() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let report = place.run(&supervisor, "flood 64");
    assert!(report.is_success(), "{report}");
    assert_eq!(report.last_lines.last().unwrap(), "the very last line");
    assert!(report.last_lines.len() <= 20);
    let length = |name: &str| fs::metadata(place.file(name)).unwrap().len();
    assert!(length("log/child.out") <= 1 << 20 && length("log/child.out.1") <= 1 << 20);
    assert!(length("log/child.out.1") > 1 << 19);
    assert_eq!(fs::read_dir(place.file("log")).unwrap().count(), 3);
    assert_eq!(report.output_bytes_lost, 0);
}

#[test]
fn a_flooding_child_can_be_killed() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let (child, exit) = place.spawn(&supervisor, "flood 1000000");
    wait_for("the flood", || place.file("log/child.out.1").exists());
    child.kill_group();
    assert!(exit.wait().kill_requested);
}

#[test]
fn both_streams_go_into_one_file_if_asked() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let mut spec = place.spec("exit 0");
    spec.output.streams = OutputStreams::Together;
    let (_child, exit) = start(&supervisor, spec).unwrap();
    assert!(exit.wait().is_success());
    let log = fs::read_to_string(place.file("log/child.log")).unwrap();
    assert!(log.ends_with("goodbye from standard output\ngoodbye from standard error\n"), "{log}");
}

#[test]
fn a_full_disk_costs_the_log_and_not_the_job() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    fs::create_dir(place.file("log")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.file("log/child.out")).unwrap();
    let report = place.run(&supervisor, "exit 0");
    assert!(report.is_success());
    assert!(report.output_bytes_lost > 20, "{}", report.output_bytes_lost);
    let said = report.last_lines.iter().any(|line| line == "goodbye from standard output");
    assert!(said, "{report}");
}

#[test]
fn a_memory_limit_that_cannot_be_enforced_is_a_warning() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let mut spec = place.spec("exit 0");
    spec.memory_limit =
        Some(MemoryLimit { bytes: 1 << 30, parent_group: place.file("no-such-group") });
    let (child, exit) = start(&supervisor, spec).unwrap();
    assert_eq!(child.warnings.len(), 1);
    assert!(child.warnings[0].contains("no-such-group"), "{:?}", child.warnings);
    assert!(exit.wait().is_success());
}

// --- What cannot be started -------------------------------------------------------------------

/// Starting this file fails with these words, says who has to act, and leaves nothing.
#[track_caller]
fn check_not_started(place: &Place, executable: &Path, kind: ErrorKind, words: &str) {
    let supervisor = Supervisor::start().unwrap();
    let spec = ChildSpec { executable: executable.to_owned(), ..place.spec("exit 0") };
    let directory = spec.working_directory.clone();
    let error = start(&supervisor, spec).map(|_| ()).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let text = format!("{error}: {source}");
    assert!(text.contains(words), "{text}");
    assert!(text.contains(&*executable.to_string_lossy()), "{text}");
    assert_eq!(error.kind(), kind, "{text}");
    assert!(!directory.exists());
    assert_eq!(supervisor.children(), 0);
}

fn write_program(place: &Place, content: &[u8], mode: u32) -> PathBuf {
    let path = place.file("program");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn what_is_no_program_is_refused_in_clear_words() {
    let place = Place::new();
    let missing = place.file("missing");
    check_not_started(&place, &missing, ErrorKind::Request, "there is no file");
    check_not_started(&place, &place.file(""), ErrorKind::Request, "is not a file");
    let path = write_program(&place, b"just text", 0o755);
    check_not_started(&place, &path, ErrorKind::Request, "is not a Linux executable");
    let path = write_program(&place, b"#!/no/such/interpreter\n", 0o755);
    check_not_started(&place, &path, ErrorKind::Machine, "find its interpreter");
    let path = write_program(&place, b"#!/bin/sh\n", 0o644);
    check_not_started(&place, &path, ErrorKind::Request, "may not be executed");
}

#[test]
fn a_program_for_another_processor_or_loader_is_refused_in_clear_words() {
    let place = Place::new();
    let mut program = fs::read("/bin/true").unwrap();
    let machine = u16::from_le_bytes([program[18], program[19]]);
    let other: u16 = if machine == 62 { 183 } else { 62 };
    program[18..20].copy_from_slice(&other.to_le_bytes());
    let path = write_program(&place, &program, 0o755);
    check_not_started(&place, &path, ErrorKind::Request, "and this machine is");

    program[18..20].copy_from_slice(&machine.to_le_bytes());
    let at = program.windows(4).position(|window| window == b"/lib").unwrap();
    program[at..at + 4].copy_from_slice(b"/bil");
    let path = write_program(&place, &program, 0o755);
    check_not_started(&place, &path, ErrorKind::Request, "needs the loader /bil");
}

#[test]
fn a_file_system_without_exec_is_named_as_the_cause() {
    let place = Place::new();
    let mount = place.file("mount");
    fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "noexec,size=8m", "tmpfs"])
        .arg(&mount)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not mount");
        return;
    }
    let program = mount.join("true");
    fs::copy("/bin/true", &program).unwrap();
    let checked = std::panic::catch_unwind(|| {
        check_not_started(&place, &program, ErrorKind::Machine, "mounted noexec");
    });
    let _ = std::process::Command::new("umount").arg(&mount).status();
    checked.unwrap();
}

#[test]
fn a_file_still_open_for_writing_is_waited_for() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let program = place.file("true");
    fs::copy("/bin/true", &program).unwrap();
    let writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(writer);
    });
    let spec = ChildSpec { executable: program.clone(), ..place.spec("") };
    let (_child, exit) = start(&supervisor, spec).unwrap();
    assert!(exit.wait().is_success());
    closer.join().unwrap();

    let _writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
    check_not_started(&place, &program, ErrorKind::Transient, "open for writing");
}

#[test]
fn a_working_directory_that_is_not_empty_is_refused_and_left_alone() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let spec = place.spec("exit 0");
    fs::create_dir_all(&spec.working_directory).unwrap();
    let precious = spec.working_directory.join("precious");
    fs::write(&precious, "").unwrap();
    let error = start(&supervisor, spec).map(|_| ()).unwrap_err();
    assert!(matches!(error, SpawnError::WorkingDirectory { .. }), "{error}");
    assert!(precious.exists());
}

#[test]
fn an_order_that_contradicts_itself_is_refused() {
    let (place, supervisor) = (Place::new(), Supervisor::start().unwrap());
    let stems = ["", "../../etc/passwd", ".hidden", "a/b"];
    for stem in stems {
        let mut spec = place.spec("exit 0");
        spec.output.stem = stem.to_owned();
        let error = start(&supervisor, spec).map(|_| ()).unwrap_err();
        assert!(matches!(error, SpawnError::BadSpec(_)), "{error}");
    }
    let mut spec = place.spec("exit 0");
    spec.oom_score_adj = Some(1001);
    assert!(matches!(start(&supervisor, spec), Err(SpawnError::BadSpec(_))));
}
