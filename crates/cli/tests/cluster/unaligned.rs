//! Checkpoints that overtake what waits before a slow sink, on real processes that are killed and
//! resumed with another parallelism: `ledger_check` counts what was lost, doubled or out of order.

use crate::harness::{Cluster, kill, text};
use crate::ledger::Ledger;
use std::path::Path;

/// Records that were under way belong to the checkpoint.
fn holds_records_in_flight(checkpoint: &str) -> bool {
    let metadata = std::fs::read(Path::new(checkpoint).join("_metadata")).expect("it is retained");
    let metadata = String::from_utf8_lossy(&metadata);
    metadata.contains(r#""place":"Input""#) || metadata.contains(r#""place":{"Output""#)
}

/// Cancels the job; its last complete checkpoint stays.
fn cancel(cluster: &Cluster, job: &str) -> String {
    let cancelled = cluster.millstream(&["cancel", job]);
    assert!(cancelled.status.success(), "{}", text(&cancelled));
    cluster.wait_for_state(job, "CANCELED");
    let checkpoints = cluster.json(&format!("/jobs/{job}/checkpoints"));
    let path = checkpoints["latest"]["completed"]["external_path"].as_str();
    path.expect("a checkpoint is complete").to_owned()
}

fn completed(cluster: &Cluster, job: &str) -> u64 {
    let checkpoints = cluster.json(&format!("/jobs/{job}/checkpoints"));
    checkpoints["counts"]["completed"].as_u64().unwrap_or_default()
}

fn resumed_and_killed(options: &[&str]) {
    let mut all = vec![
        "execution.checkpointing.interval=200ms",
        "execution.checkpointing.unaligned.enabled=true",
        "execution.checkpointing.externalized-checkpoint-retention=RETAIN_ON_CANCELLATION",
    ];
    all.extend(options);
    let cluster = Cluster::with_slots(1, 4, &all);
    let ledger = Ledger::under_pressure(&cluster, 150_000, 150);
    let soon = ["-D", "restart-strategy.exponential-delay.initial-backoff=50ms"];
    let submit = |more: &[&str]| ledger.submit(&[&soon[..], more].concat());
    let mut job = submit(&["-p", "2"]);
    let mut in_flight = 0;
    for parallelism in ["3", "1", "2"] {
        ledger.wait_for_checkpoints(&job, 2);
        let (child, _) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        kill(child);
        ledger.wait_for_checkpoints(&job, completed(&cluster, &job) + 2);
        let checkpoint = cancel(&cluster, &job);
        in_flight += u32::from(holds_records_in_flight(&checkpoint));
        job = submit(&["-p", parallelism, "-s", &checkpoint]);
    }
    cluster.wait_for_state(&job, "FINISHED");
    assert!(in_flight > 0, "nothing waited before the sink");
    ledger.check_records();
}

#[test]
fn what_barriers_overtake_survives_kills_and_another_parallelism() {
    resumed_and_killed(&[]);
}

#[test]
fn what_barriers_overtake_after_a_while_survives_kills_and_another_parallelism() {
    resumed_and_killed(&["execution.checkpointing.aligned-checkpoint-timeout=20ms"]);
}
