//! What must end well although something went wrong, with a message that says what.

use crate::harness::{Cluster, kill, misbehave, text};

#[test]
fn a_panic_in_main_is_told_by_the_client() {
    let cluster = Cluster::start(1, &[]);
    let program = misbehave();
    let program = program.to_str().expect("UTF-8");
    let output = cluster.millstream(&["run", program, "--how", "panic-in-main"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("as asked, in main"), "{}", text(&output));
}

#[test]
fn failures_of_user_code_name_the_operator_its_line_and_the_cause() {
    let cluster = Cluster::start(1, &[]);
    let none = ["-D", "restart-strategy.type=none"];
    for (how, operator, cause) in [
        ("panic-in-map", "`mapped`", "panic: seven"),
        ("error-in-map", "`mapped`", "seven is refused"),
        ("panic-in-source", "`numbers`", "panic: in the source"),
        ("panic-in-key", "`keyed`", "panic: no key for seven"),
        ("panic-in-partitioner", "`mapped`", "panic: nowhere for seven"),
    ] {
        let failure = cluster.failure_of(&cluster.submit(how, &none));
        for part in [operator, cause, "examples/misbehave.rs:"] {
            assert!(failure.contains(part), "{how}: `{part}` is not in {failure}");
        }
    }
}

#[test]
fn a_failure_that_repeats_itself_ends_the_job_in_spite_of_its_restart_strategy() {
    let cluster = Cluster::start(1, &[]);
    let job = cluster.submit(
        "error-in-map",
        &[
            "-D",
            "restart-strategy.type=fixed-delay",
            "-D",
            "restart-strategy.fixed-delay.delay=10 ms",
            "-D",
            "restart-strategy.fixed-delay.attempts=1000",
        ],
    );
    let failure = cluster.failure_of(&job);
    assert!(failure.contains("seven is refused"), "{failure}");
}

#[test]
fn a_plan_that_differs_in_the_job_process_is_refused_and_the_operator_is_named() {
    let cluster = Cluster::start(1, &[]);
    for (how, operator) in
        [("other-edge", "`mapped`"), ("other-type", "`mapped`"), ("environment", "`here`")]
    {
        let failure = cluster.failure_of(&cluster.submit(how, &[]));
        for part in ["is not the submitted one", operator, "plan_value"] {
            assert!(failure.contains(part), "{how}: `{part}` is not in {failure}");
        }
    }
    let job = cluster.submit("plan-value", &[]);
    cluster.wait_for_state(&job, "FINISHED");
}

#[test]
fn a_job_without_enough_slots_says_how_many_are_missing_and_can_be_cancelled() {
    let cluster = Cluster::start(1, &[]);
    let job = cluster.submit("forever", &["-p", "5"]);
    let waiting = cluster.wait_for("a word about slots", || {
        cluster.json(&format!("/jobs/{job}"))["waiting-for"].as_str().map(str::to_owned)
    });
    assert!(waiting.contains("slots"), "{waiting}");
    assert!(cluster.millstream(&["cancel", &job]).status.success());
    cluster.wait_for_state(&job, "CANCELED");
}

#[test]
fn a_job_that_waits_too_long_for_slots_fails_and_says_so() {
    let cluster = Cluster::start(1, &["slot.request.timeout=1 s"]);
    let failure = cluster.failure_of(&cluster.submit("forever", &["-p", "5"]));
    assert!(failure.contains("slots"), "{failure}");
}

#[test]
fn a_killed_worker_fails_a_job_that_must_not_restart_and_is_named() {
    let cluster = Cluster::start(1, &[]);
    let job = cluster.submit("forever", &["-D", "restart-strategy.type=none"]);
    cluster.wait_for_tasks(&job, 1);
    let worker =
        cluster.json("/taskmanagers")["taskmanagers"][0]["id"].as_str().unwrap().to_owned();
    kill(cluster.pid("taskmanager-1"));
    let failure = cluster.failure_of(&job);
    assert!(failure.contains(&worker), "{worker} is not in {failure}");
}

#[test]
fn a_killed_worker_lets_its_job_go_on_elsewhere() {
    let cluster = Cluster::start(2, &[]);
    let job = cluster.submit("forever", &["-p", "2"]);
    cluster.wait_for_tasks(&job, 2);
    let (_, worker) = cluster.wait_for("a job process", || cluster.job_processes().pop());
    kill(worker);
    cluster.wait_for("the job to run on the other worker", || {
        let processes = cluster.job_processes();
        let elsewhere = processes.iter().any(|(_, parent)| *parent != worker);
        let details = cluster.json(&format!("/jobs/{job}"));
        let running = details["vertices"][0]["tasks"]["RUNNING"] == 2;
        (elsewhere && running && details["state"] == "RUNNING").then_some(())
    });
    assert!(cluster.millstream(&["cancel", &job]).status.success());
}

#[test]
fn a_killed_job_process_costs_its_job_only_and_the_signal_is_named() {
    let cluster = Cluster::start(1, &[]);
    let other = cluster.submit("forever", &[]);
    cluster.wait_for_tasks(&other, 1);
    let before = cluster.wait_for("its process", || cluster.job_processes().pop());
    let job = cluster.submit("forever", &["-D", "restart-strategy.type=none"]);
    cluster.wait_for_tasks(&job, 1);
    let (victim, worker) = cluster.wait_for("the job's process", || {
        cluster.job_processes().into_iter().find(|process| *process != before)
    });
    kill(victim);
    let failure = cluster.failure_of(&job);
    assert!(failure.contains("SIGKILL"), "{failure}");
    assert_eq!(worker, cluster.pid("taskmanager-1"));
    cluster.wait_for_state(&other, "RUNNING");
    assert!(cluster.job_processes().contains(&before));
    assert!(cluster.millstream(&["cancel", &other]).status.success());
}

#[test]
fn a_job_process_that_aborts_is_told_with_its_signal() {
    let cluster = Cluster::start(1, &[]);
    let job = cluster.submit("abort-in-map", &["-D", "restart-strategy.type=none"]);
    let failure = cluster.failure_of(&job);
    assert!(failure.contains("SIGABRT"), "{failure}");
}

#[test]
fn a_job_that_uses_too_much_memory_fails_before_its_worker_and_is_told_what_to_change() {
    let cluster = Cluster::start(1, &["taskmanager.memory.process.size=400m"]);
    let other = cluster.submit("forever", &[]);
    cluster.wait_for_tasks(&other, 1);
    let worker =
        cluster.json("/taskmanagers")["taskmanagers"][0]["id"].as_str().unwrap().to_owned();
    let failure =
        cluster.failure_of(&cluster.submit("greedy", &["-D", "restart-strategy.type=none"]));
    let budget = "the share of its 1 of 2 slots is 168 MiB";
    let change = "Raise `taskmanager.memory.process.size` (now 400 MiB)";
    for part in [worker.as_str(), budget, change] {
        assert!(failure.contains(part), "`{part}` is not in {failure}");
    }
    cluster.wait_for_state(&other, "RUNNING");
    cluster.wait_for_tasks(&other, 1);
    assert!(cluster.millstream(&["cancel", &other]).status.success());
}

#[test]
fn a_task_that_does_not_stop_costs_its_job_process_and_not_the_worker() {
    let cluster = Cluster::start(1, &[]);
    let other = cluster.submit("forever", &[]);
    let job = cluster.submit("stuck", &["-D", "task.cancellation.timeout=500 ms"]);
    cluster.wait_for_tasks(&other, 1);
    cluster.wait_for_tasks(&job, 1);
    cluster.wait_for("two job processes", || (cluster.job_processes().len() == 2).then_some(()));
    assert!(cluster.millstream(&["cancel", &job]).status.success());
    cluster.wait_for("the stuck process to end", || {
        (cluster.job_processes().len() == 1).then_some(())
    });
    cluster.wait_for("the stuck job to end", || {
        let state = cluster.json(&format!("/jobs/{job}"))["state"].as_str()?.to_owned();
        matches!(state.as_str(), "CANCELED" | "FAILED").then_some(())
    });
    cluster.wait_for_state(&other, "RUNNING");
    assert!(cluster.millstream(&["cancel", &other]).status.success());
}

#[test]
fn a_second_interrupt_ends_an_embedded_program_that_does_not_stop() {
    use std::io::{BufRead, BufReader};
    // Where this test runs in the background of a script, SIGINT is ignored, and programs leave it at that.
    let mut program = std::process::Command::new("env")
        .arg("--default-signal=INT")
        .arg(misbehave())
        .args(["--how", "stuck"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the example is built");
    let pid = rustix::process::Pid::from_child(&program);
    let interrupt = || {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    };
    let stuck = format!("/proc/{}/status", program.id());
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    // Signal 2 is handled from when the program waits for its job.
    while !std::fs::read_to_string(&stuck).expect("it runs").lines().any(|line| {
        let mask = line.strip_prefix("SigCgt:").map(str::trim);
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|m| m & 2 != 0)
    }) {
        assert!(std::time::Instant::now() < deadline, "it does not wait for its job");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    interrupt();
    let mut lines = BufReader::new(program.stderr.take().expect("piped")).lines();
    let mut next = || lines.next().expect("it says something").expect("text");
    assert!(next().contains("SIGINT: stopping job `stuck`"));
    interrupt();
    assert!(next().contains("ended at once"));
    assert_eq!(program.wait().expect("it ends").code(), Some(130));
}

#[test]
fn workers_come_back_to_a_job_manager_that_was_killed() {
    let cluster = Cluster::start(1, &[]);
    let addresses = std::fs::read_to_string(cluster.path("run/jobmanager.json")).expect("it runs");
    let addresses: serde_json::Value = serde_json::from_str(&addresses).expect("JSON");
    let port = |name: &str| {
        let address = addresses[name].as_str().expect("an address");
        address.rsplit(':').next().expect("a port").to_owned()
    };
    let definitions = [
        format!("jobmanager.rpc.port={}", port("rpc")),
        format!("blob.server.port={}", port("blob")),
        format!("rest.port={}", port("rest")),
    ];
    kill(cluster.pid("jobmanager"));
    let mut arguments = vec!["jobmanager"];
    definitions.iter().for_each(|definition| arguments.extend(["-D", definition]));
    let mut again = cluster.command(&arguments).spawn().expect("the binary is built");
    cluster.wait_for("the worker to register again", || {
        let agent: ureq::Agent = ureq::Agent::new_with_defaults();
        let url = format!("http://127.0.0.1:{}/overview", port("rest"));
        let overview = agent.get(url).call().ok()?.body_mut().read_to_string().ok()?;
        let overview: serde_json::Value = serde_json::from_str(&overview).ok()?;
        (overview["slots-total"] == 2).then_some(())
    });
    let job = cluster.submit("count", &[]);
    cluster.wait_for_state(&job, "FINISHED");
    drop(cluster);
    again.wait().expect("it was stopped with the cluster");
}

#[test]
fn wrong_use_is_told_with_what_to_do() {
    let cluster = Cluster::start(1, &[]);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["run", "/nonexistent"], 2, "there is no file /nonexistent"),
        (&["run", "/bin/ls"], 2, "not a Millstream program"),
        (&["run", "--nonsense", "x"], 2, "unexpected argument"),
        (&["cancel", "abc"], 2, "32 hexadecimal digits"),
        (&["cancel", "00000000000000000000000000000000"], 4, "error[E0402]"),
        (&["list", "-m", "127.0.0.1:1"], 3, "no JobManager answers at 127.0.0.1:1"),
    ];
    for (arguments, code, message) in cases {
        let output = cluster.millstream(arguments);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
}

#[test]
fn a_port_in_use_and_a_bad_directory_are_told_by_the_process_that_needs_them() {
    let cluster = Cluster::start(1, &[]);
    let home = cluster.path("other-home");
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = occupied.local_addr().expect("bound").port();
    let file = cluster.path("a-file");
    std::fs::write(&file, "not a directory").expect("there is room");
    for (definition, message) in [
        (format!("rest.port={port}"), format!("127.0.0.1:{port}")),
        (format!("io.tmp.dirs={}", file.display()), file.display().to_string()),
        ("jobmanager.bind-host=0.0.0.0".to_owned(), "without TLS".to_owned()),
    ] {
        let output = cluster
            .command(&[
                "cluster",
                "start",
                "-D",
                "jobmanager.rpc.port=0",
                "-D",
                "blob.server.port=0",
                "-D",
                "rest.port=0",
                "-D",
                &definition,
            ])
            .env("MILLSTREAM_HOME", &home)
            .output()
            .expect("the binary is built");
        let text = text(&output);
        assert!(!output.status.success(), "{definition}: {text}");
        assert!(text.contains(&message), "{definition}: {text}");
    }
}
