//! What a cluster says of the state backend: jobs have it unless they say something else. How state on local
//! disk fares on a cluster is tested where that backend is, in `crates/state-lsm`.

use crate::harness::{Cluster, misbehave, text};

#[test]
fn a_program_that_cannot_keep_state_on_disk_is_refused_by_a_cluster_that_wants_it_there() {
    let cluster = Cluster::start(1, &["state.backend.type=rocksdb"]);
    let program = misbehave();
    let program = program.to_str().expect("UTF-8");
    let refused = cluster.millstream(&["run", "-d", program, "--how", "forever"]);
    let said = text(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("feature `lsm`") && said.contains("state.backend.type"), "{said}");

    let rest = cluster.rest();
    let uploaded = rest.upload(&misbehave());
    let body = serde_json::json!({ "programArgsList": ["--how", "forever"] }).to_string();
    let path = format!("/jars/{uploaded}/run");
    let answer = rest.post(&path, "application/json", body.as_bytes());
    assert!(answer.to_string().contains("feature `lsm`"), "{answer}");

    let job = cluster.submit("forever", &["-D", "state.backend=hashmap"]);
    cluster.wait_for_tasks(&job, 1);
    cluster.rest().cancel(&job);
    cluster.wait_for_state(&job, "CANCELED");
}

#[test]
fn a_cluster_with_a_backend_that_nobody_knows_does_not_start() {
    let cluster = Cluster::start(1, &[]);
    let other = cluster.path("other");
    let arguments = ["jobmanager", "-D", "state.backend.type=rocks", "-D", "rest.port=0"];
    let output = cluster.command(&arguments).env("MILLSTREAM_HOME", &other).output();
    let said = text(&output.expect("the binary is built"));
    assert!(said.contains("`state.backend.type: rocks`") && said.contains("`hashmap`"), "{said}");
}
