//! One child from its start to its end, in all orders of events.

use super::*;
use crate::op::ExitStatus;
use millstream_core::ids::{AllocationId, ExecutionGraphId, JobId, JobVertexId};
use millstream_core::job_graph::{JobGraph, PlanSignature, RuntimeMode};
use millstream_core::key_group::MaxParallelism;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use std::collections::BTreeMap;

fn information() -> JobInformation {
    JobInformation {
        job: JobId(7),
        graph: JobGraph {
            name: "job".to_owned(),
            vertices: Vec::new(),
            edges: Vec::new(),
            mode: RuntimeMode::Streaming,
            configuration: BTreeMap::new(),
            signature: PlanSignature::default(),
            program: None,
        },
    }
}

fn attempt(number: u32) -> ExecutionAttemptId {
    ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: 0,
        attempt: number,
    }
}

fn deploy(number: u32) -> ToJobProcess {
    ToJobProcess::Deploy(Box::new(TaskDeploymentDescriptor {
        job: JobId(7),
        attempt: attempt(number),
        task_name: "map".to_owned(),
        allocation: AllocationId(1),
        parallelism: 1,
        max_parallelism: MaxParallelism::default_for(1),
        partitions: Vec::new(),
        gates: Vec::new(),
        checkpointing: None,
        restore: None,
    }))
}

fn show(action: &Action) -> Option<String> {
    Some(match action {
        Action::Start { incarnation, .. } => format!("start {incarnation}"),
        Action::Send { incarnation, message } => match message {
            ToJobProcess::Start { .. } => format!("be {incarnation}"),
            ToJobProcess::Deploy(descriptor) => {
                format!("deploy {} to {incarnation}", descriptor.attempt.attempt)
            }
            ToJobProcess::Dismiss => format!("dismiss {incarnation}"),
            other => format!("{other:?}"),
        },
        Action::Kill { incarnation, .. } => format!("kill {incarnation}"),
        Action::Lost(loss) => format!("lost {}: {}", loss.incarnation, loss.failure.message),
        Action::SetTimer(..) | Action::ClearTimer(_) => return None,
    })
}

/// Feeds steps, separated by commas, to a child at time 0; what it wants done after each, timers
/// aside. A step `kind!` is a timer.
#[track_caller]
fn check(steps: &str, expected: &[&str]) {
    let mut child = Child::new(ChildConfig::default(), ResourceId("worker".to_owned()));
    let mut seen = Vec::new();
    let now = Mono(0);
    let exit = |status| ChildExit { status, last_lines: String::new() };
    for step in steps.split(", ") {
        let mut out = Vec::new();
        let out_ref = &mut out;
        match step {
            "idle" => child.become_idle(now, out_ref),
            "retire" => child.retire(now, out_ref),
            "busy" => child.become_busy(out_ref),
            "no start" => {
                let failure = StartFailure { message: "no such file".to_owned(), permanent: true };
                child.on_started(child.incarnation, Err(failure), now, out_ref);
            }
            "hello" => child.on_hello(JOB_LINK_VERSION, 99, now, out_ref),
            "old hello" => child.on_hello(0, 99, now, out_ref),
            "ready" => child.on_ready(out_ref),
            "unfit" => child.on_unfit("plans differ", now, out_ref),
            "exit" => child.on_exit(&exit(ExitStatus::Code(3)), now, out_ref),
            "link lost" => child.on_link_lost("end of file", now, out_ref),
            "sigkill" => child.on_exit(&exit(ExitStatus::Signal("SIGKILL".into())), now, out_ref),
            "segfault" => child.on_exit(&exit(ExitStatus::Signal("SIGSEGV".into())), now, out_ref),
            "kill" => child.kill(nobody_waits("it must go"), now, out_ref),
            "cannot kill" => child.on_killed(Err("in-process".to_owned()), now, out_ref),
            "start!" => child.on_timer(ChildTimerKind::Start, now, out_ref),
            "linger!" => child.on_timer(ChildTimerKind::Linger, now, out_ref),
            "dismiss!" => child.on_timer(ChildTimerKind::Dismiss, now, out_ref),
            "kill!" => child.on_timer(ChildTimerKind::Kill, now, out_ref),
            _ => match step.split_once(' ') {
                Some(("deploy", n)) => {
                    let n = n.parse().expect("a number");
                    child.deliver(deploy(n), &information(), now, out_ref);
                }
                Some(("withdraw", n)) => {
                    let n = n.parse().expect("a number");
                    seen.push(format!("withdrawn: {}", child.withdraw(&attempt(n))));
                }
                _ => panic!("unknown step {step}"),
            },
        }
        child.check();
        seen.extend(out.iter().filter_map(show));
    }
    assert_eq!(seen, expected);
}

#[test]
fn what_comes_while_it_starts_goes_out_when_it_is_ready() {
    check(
        "deploy 0, deploy 1, hello, ready, deploy 2",
        &["start 1", "be 1", "deploy 0 to 1", "deploy 1 to 1", "deploy 2 to 1"],
    );
}

#[test]
fn what_waits_can_be_taken_back() {
    check(
        "deploy 0, deploy 1, withdraw 0, hello, ready, withdraw 1",
        &["start 1", "withdrawn: true", "be 1", "deploy 1 to 1", "withdrawn: false"],
    );
}

#[test]
fn a_program_of_another_age_is_refused_by_name() {
    check(
        "deploy 0, old hello, exit",
        &[
            "start 1",
            "kill 1",
            "lost 1: the program speaks version 0 of the job link, this worker versions 3 to 3: \
             rebuild it with a Millstream of this cluster's age",
        ],
    );
}

#[test]
fn a_crash_tells_its_signal_and_the_next_deployment_starts_anew() {
    check(
        "deploy 0, hello, ready, segfault, deploy 1",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "lost 1: job process 1 (pid 99) was killed by SIGSEGV",
            "start 2",
        ],
    );
}

#[test]
fn a_killed_child_is_not_used_again() {
    check(
        "deploy 0, hello, ready, kill, deploy 1, exit, hello, ready",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "kill 1",
            "lost 1: it must go",
            "start 2",
            "be 2",
            "deploy 1 to 2",
        ],
    );
}

#[test]
fn an_idle_child_lingers_and_is_dismissed() {
    check(
        "deploy 0, hello, ready, idle, linger!, exit",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "dismiss 1",
            "lost 1: job process 1 (pid 99) ended with exit code 3",
        ],
    );
}

#[test]
fn the_child_of_a_job_that_has_ended_for_good_goes_with_its_last_slot() {
    let dismissed = ["start 1", "be 1", "deploy 0 to 1", "dismiss 1"];
    check("deploy 0, hello, ready, retire, idle", &dismissed);
    check("deploy 0, hello, ready, idle, retire", &dismissed);
    check(
        "deploy 0, hello, withdraw 0, idle, retire",
        &["start 1", "be 1", "withdrawn: true", "kill 1"],
    );
}

#[test]
fn a_child_that_is_needed_again_in_time_stays() {
    check(
        "deploy 0, hello, ready, idle, busy, linger!, deploy 1",
        &["start 1", "be 1", "deploy 0 to 1", "deploy 1 to 1"],
    );
}

#[test]
fn what_comes_after_the_dismissal_is_for_the_next_child() {
    check(
        "deploy 0, hello, ready, idle, linger!, busy, deploy 1, dismiss!, exit",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "dismiss 1",
            "kill 1",
            "lost 1: it did not end when dismissed",
            "start 2",
        ],
    );
}

#[test]
fn a_child_that_cannot_be_killed_is_said_to_leak() {
    let words = "it could not be killed (in-process), so its threads are leaked and go on";
    let lost = format!("lost 1: it must go; {words}");
    check(
        "deploy 0, hello, ready, kill, cannot kill, deploy 1",
        &["start 1", "be 1", "deploy 0 to 1", "kill 1", &lost, "start 2"],
    );
}

#[test]
fn a_start_that_fails_or_takes_too_long_fails_who_waited() {
    check(
        "deploy 0, no start",
        &["start 1", "lost 1: job process 1 could not be started: no such file"],
    );
    check(
        "deploy 0, hello, start!, exit",
        &[
            "start 1",
            "be 1",
            "kill 1",
            "lost 1: job process 1 (pid 99) was not ready within 60000 ms",
        ],
    );
}

#[test]
fn stale_timers_do_nothing() {
    check(
        "deploy 0, hello, ready, start!, linger!, dismiss!, kill!",
        &["start 1", "be 1", "deploy 0 to 1"],
    );
}

#[test]
fn a_crash_whose_link_breaks_first_still_tells_its_signal() {
    check(
        "deploy 0, hello, ready, link lost, segfault",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "kill 1",
            "lost 1: job process 1 (pid 99) was killed by SIGSEGV",
        ],
    );
}

#[test]
fn a_child_that_can_no_longer_be_led_is_killed() {
    check(
        "deploy 0, hello, ready, link lost, sigkill",
        &[
            "start 1",
            "be 1",
            "deploy 0 to 1",
            "kill 1",
            "lost 1: the link to job process 1 (pid 99) was lost: end of file",
        ],
    );
}
