//! Logs of workers and the output of jobs.

use crate::cluster::Cluster;
use crate::fixtures::{INITIALIZING, RUNNING, worker};

#[test]
fn the_log_of_a_worker_is_its_own_as_text() {
    let cluster = Cluster::start();
    for name in ["a", "b"] {
        let log = cluster.get(&format!("/taskmanagers/{}/log", worker(name)));
        assert_eq!(log.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(log.body, format!("log of {} (at most 1048576)\n", worker(name)));
    }
}

#[test]
fn the_length_of_a_log_can_be_chosen_within_bounds() {
    let cluster = Cluster::start();
    let target = format!("/taskmanagers/{}/log", worker("a"));
    assert!(cluster.get(&format!("{target}?bytes=100")).body.contains("(at most 100)"));
    let most = cluster.get(&format!("{target}?bytes=4294967295")).body;
    assert!(most.contains("(at most 16777216)"), "{most}");
    cluster.get(&format!("{target}?bytes=-1")).refusal(400);
}

#[test]
fn the_output_of_a_job_is_collected_from_its_workers() {
    let cluster = Cluster::start();
    let (a, b) = (worker("a"), worker("b"));
    assert_eq!(
        cluster.get(&format!("/jobs/{RUNNING}/logs")).body,
        format!(
            "==> {a} <==\noutput of {RUNNING} on a\n==> {b}: no output, unknown no output <==\n"
        )
    );
}

#[test]
fn a_job_that_is_nowhere_has_no_output() {
    let response = Cluster::start().get(&format!("/jobs/{INITIALIZING}/logs"));
    assert_eq!((response.status, response.body.as_str()), (200, ""));
}
