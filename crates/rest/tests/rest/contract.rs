//! Every endpoint answers with the fields, types and words of Flink's contract.

use crate::cluster::Cluster;
use crate::fixtures::*;
use crate::http::{Request, Response};
use crate::shapes::{Known, differences, endpoints, lacks, recorded};
use std::collections::BTreeSet;

/// Endpoints that Flink has not.
const OURS: [(&str, &str); 1] = [("GET", "/jobs/:jobid/logs")];

/// One request for each endpoint, and more where it has several faces. The first upload makes the
/// program that the others use.
fn requests() -> Vec<(&'static str, String)> {
    let job = |id: millstream_core::ids::JobId| format!("/jobs/{id}");
    let vertex = format!("/jobs/{RUNNING}/vertices/{SINK}");
    let jar = "/jars/:uploaded".to_owned();
    let worker = worker("a").0;
    let mut all = vec![
        ("GET", "/overview".to_owned()),
        ("GET", "/config".to_owned()),
        ("GET", "/jobmanager/config".to_owned()),
        ("GET", "/jobmanager/environment".to_owned()),
        ("GET", "/jobs".to_owned()),
        ("GET", "/jobs/overview".to_owned()),
        ("GET", format!("{vertex}/subtasks/0")),
        ("GET", format!("{vertex}/subtasks/1")),
        ("GET", "/taskmanagers".to_owned()),
        ("GET", format!("/taskmanagers/{worker}")),
        ("GET", format!("/taskmanagers/{worker}/log")),
        ("POST", "/jars/upload".to_owned()),
        ("GET", "/jars".to_owned()),
        ("GET", format!("{jar}/plan")),
        ("POST", format!("{jar}/plan")),
        ("POST", format!("{jar}/run")),
        ("DELETE", jar),
        ("POST", format!("{}/savepoints", job(RUNNING))),
        ("GET", format!("{}/savepoints/{TAKEN}", job(RUNNING))),
        ("GET", format!("{}/savepoints/{FAILED_TRIGGER}", job(RUNNING))),
        ("GET", format!("{}/savepoints/{WAITING}", job(RUNNING))),
        ("POST", format!("{}/checkpoints", job(RUNNING))),
        ("GET", format!("{}/checkpoints/{TAKEN}", job(RUNNING))),
        ("GET", format!("{}/checkpoints/{FAILED_TRIGGER}", job(RUNNING))),
        ("POST", format!("{}/stop", job(RUNNING))),
        ("PATCH", format!("{}?mode=cancel", job(RUNNING))),
        ("DELETE", "/cluster".to_owned()),
    ];
    for id in [RUNNING, FINISHED, FAILED, CANCELED, INITIALIZING] {
        for rest in [
            "",
            "/accumulators",
            "/plan",
            "/config",
            "/checkpoints",
            "/checkpoints/config",
            "/status",
            "/exceptions",
            "/execution-result",
            "/logs",
        ] {
            all.push(("GET", format!("{}{rest}", job(id))));
        }
        for id in [SOURCE, SINK].map(|vertex| format!("{}/vertices/{vertex}", job(id))) {
            for rest in [
                "",
                "/accumulators",
                "/subtasktimes",
                "/taskmanagers",
                "/watermarks",
                "/metrics",
                "/metrics?get=0.numRecordsIn",
                "/subtasks/metrics",
                "/subtasks/metrics?get=numRecordsIn&agg=sum",
                "/subtasks/1",
                "/subtasks/1/metrics",
            ] {
                all.push(("GET", format!("{id}{rest}")));
            }
        }
    }
    all
}

/// The endpoint, as Flink writes it, that serves this target.
fn endpoint_of(method: &str, target: &str) -> &'static str {
    let target = target.split('?').next().expect("a path");
    let mut matching = millstream_rest::endpoints().filter(|(known, path)| {
        let (known_path, path): (Vec<_>, Vec<_>) =
            (path.split('/').collect(), target.split('/').collect());
        let same = |(known, given): (&&str, &&str)| known.starts_with(':') || known == given;
        known == method && known_path.len() == path.len() && known_path.iter().zip(&path).all(same)
    });
    // The table has fixed words before parameters.
    let (_, path) = matching.next().unwrap_or_else(|| panic!("no endpoint for {method} {target}"));
    path
}

fn fetch(cluster: &Cluster, method: &str, target: &str) -> Response {
    let uploaded = cluster.store.inner().kept.keys().next().map(ToString::to_string);
    let target = target.replace(":uploaded", &uploaded.unwrap_or_default());
    let request = Request::new(method, &target);
    let request = match (method, target.as_str()) {
        ("POST", "/jars/upload") => request.form(&[("jarfile", Some("job"), b"ELF")]),
        _ => request,
    };
    cluster.send(&request)
}

fn find<'a>(all: &'a [Known], method: &str, path: &str) -> Vec<&'a Known> {
    all.iter().filter(|known| known.method == method && known.path == path).collect()
}

#[test]
fn every_endpoint_answers_in_flinks_shape() {
    let (cluster, shapes) = (Cluster::start(), endpoints());
    let mut covered = BTreeSet::new();
    let mut wrong = Vec::new();
    for (method, target) in requests() {
        let path = endpoint_of(method, &target);
        covered.insert((method.to_owned(), path));
        let response = fetch(&cluster, method, &target);
        let known = find(&shapes, method, path);
        let Some(known) = known.first() else {
            assert!(OURS.contains(&(method, path)), "{method} {path} is not Flink's");
            assert_eq!(response.status, 200, "{method} {target}: {response:?}");
            continue;
        };
        let status = known.line["status"].as_str().unwrap_or("200 OK");
        assert!(status.starts_with(&response.status.to_string()), "{target}: {response:?}");
        if response.header("content-type") == Some("text/plain; charset=UTF-8") {
            assert!(known.response.is_null());
            continue;
        }
        let mut found = differences(&response.json(), &known.response, target.as_str());
        // As in Flink, a job that runs has no result.
        found.retain(|line| {
            !(line.ends_with("job-execution-result is missing")
                && response.body.contains("IN_PROGRESS"))
        });
        // As in Flink, what has not happened is null, and only savepoints have a format.
        found.retain(|line| {
            let nothing = line.contains("checkpoints.latest.") && line.ends_with("object: null");
            !(nothing || line.contains("savepointFormat is null"))
        });
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let all: BTreeSet<_> = millstream_rest::endpoints().collect();
    assert_eq!(covered, all, "every endpoint has its request here");
}

#[test]
fn no_field_that_a_real_cluster_sent_is_missing() {
    let (cluster, recorded) = (Cluster::start(), recorded());
    let mut wrong = Vec::new();
    let mut compared = BTreeSet::new();
    for (method, target) in requests() {
        let path = endpoint_of(method, &target);
        let ours = fetch(&cluster, method, &target);
        for known in find(&recorded, method, path) {
            let same_state = match path {
                "/jobs/:jobid/execution-result" => {
                    // A failed, a cancelled and a running job differ in what they have.
                    let theirs = &known.response["job-execution-result"]["application-status"];
                    let ours = ours.json();
                    ours["job-execution-result"]["application-status"] == *theirs
                }
                "/jobs/:jobid/exceptions" => target.contains(&FAILED.to_string()),
                _ => true,
            };
            if same_state {
                compared.insert((known.method.clone(), known.path.clone()));
                wrong.extend(lacks(&ours.json(), &known.response, &format!("{method} {target}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let all: BTreeSet<_> = recorded.iter().map(|k| (k.method.clone(), k.path.clone())).collect();
    assert_eq!(compared, all, "every recorded message is compared");
}

#[test]
fn every_endpoint_is_also_under_v1_and_takes_a_slash_at_its_end() {
    let cluster = Cluster::start();
    for (method, target) in requests().iter().filter(|(method, _)| *method == "GET") {
        if target.contains(":uploaded") {
            continue;
        }
        let end = target.find('?').unwrap_or(target.len());
        let (path, query) = target.split_at(end);
        for (version, slash) in [("/v1", ""), ("", "/"), ("/v1", "/")] {
            let spelling = format!("{version}{path}{slash}{query}");
            assert_eq!(fetch(&cluster, method, &spelling).status, 200, "{spelling}");
        }
    }
}
