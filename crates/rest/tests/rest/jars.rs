//! Uploading, listing, planning, running and deleting programs.

use crate::cluster::{Cluster, Setup};
use crate::fixtures::RUNNING;
use crate::http::{Connection, Request};
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{ContentHash, JobId};
use millstream_rest::{ArtefactErrorKind, Launch, Restore};
use serde_json::json;
use std::time::Duration;

const PROGRAM: &[u8] = b"\x7fELF and so on";

fn uploaded(cluster: &Cluster) -> ContentHash {
    let form = Request::new("POST", "/jars/upload").form(&[("jarfile", Some("job"), PROGRAM)]);
    let filename = cluster.send(&form).json()["filename"].as_str().expect("a text").to_owned();
    filename.rsplit('/').next().expect("an id").parse().expect("an id")
}

#[test]
fn an_upload_gets_the_hash_of_its_content_as_id_and_keeps_its_name_for_people_only() {
    let cluster = Cluster::start();
    for (given, shown) in [("job", "job"), ("../../../etc/cron.d/job", "job"), ("..", "program")] {
        let form = Request::new("POST", "/jars/upload").form(&[("jarfile", Some(given), PROGRAM)]);
        let id = ContentHash(xxh3_128(PROGRAM));
        let answer = cluster.send(&form);
        assert_eq!(answer.status, 200, "{answer:?}");
        let expected = json!({"filename": format!("/jars/{id}"), "status": "success"});
        assert_eq!(answer.json(), expected);
        assert_eq!(cluster.store.inner().kept[&id].1, PROGRAM);
        let files = cluster.get("/jars").json();
        assert_eq!(files["files"][0]["id"], id.to_string());
        assert_eq!(files["files"][0]["name"], shown);
        assert_eq!(files["address"], format!("http://{}", cluster.address));
    }
}

#[test]
fn a_large_upload_arrives_whole() {
    let cluster = Cluster::start();
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let form = Request::new("POST", "/jars/upload").form(&[("jarfile", Some("job"), &content)]);
    assert_eq!(cluster.send(&form).status, 200);
    let inner = cluster.store.inner();
    let (_, kept) = inner.kept.values().next().expect("it was kept");
    assert!(*kept == content);
}

#[test]
fn a_form_must_hold_exactly_the_one_file() {
    let cluster = Cluster::start();
    let upload = |fields: &[(&str, Option<&str>, &[u8])]| {
        cluster.send(&Request::new("POST", "/jars/upload").form(fields))
    };
    assert!(upload(&[]).refusal(400).contains("received 0"));
    assert!(upload(&[("other", Some("job"), PROGRAM)]).refusal(400).contains("`jarfile`"));
    assert!(upload(&[("jarfile", None, PROGRAM)]).refusal(400).contains("`jarfile`"));
    let file = ("jarfile", Some("job"), PROGRAM);
    assert!(upload(&[file, file]).refusal(400).contains("received more"));
    let no_form = Request::new("POST", "/jars/upload").json("{}");
    cluster.send(&no_form).refusal(415);
    assert!(cluster.store.inner().kept.is_empty());
}

#[test]
fn an_upload_above_the_limit_is_refused_and_forgotten() {
    let mut setup = Setup::default();
    setup.config.upload_bytes_max = 1_000;
    let cluster = Cluster::with(setup);
    let form = |length| {
        let content = vec![7; length];
        Request::new("POST", "/jars/upload").form(&[("jarfile", Some("job"), &content)])
    };
    assert_eq!(cluster.send(&form(1_000)).status, 200);
    assert!(cluster.send(&form(1_001)).refusal(413).contains("1000 bytes"));
    // Announced: refused before anything is read.
    let announced = Request::new("POST", "/jars/upload")
        .header("content-type", "multipart/form-data; boundary=x")
        .header("content-length", "1000000000");
    cluster.send(&announced).refusal(413);
    assert_eq!(cluster.store.inner().kept.len(), 1);
}

#[test]
fn an_upload_that_breaks_off_is_an_error_for_the_store() {
    let cluster = Cluster::start();
    let mut connection = Connection::open(cluster.address);
    let head = format!(
        "POST /jars/upload HTTP/1.1\r\nhost: {}\r\ncontent-length: 100000\r\n\
         content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n\
         content-disposition: form-data; name=\"jarfile\"; filename=\"job\"\r\n\r\nabc",
        cluster.address
    );
    connection.write(head.as_bytes());
    // The store has begun when the server has taken a place for it; then the client goes away.
    std::thread::sleep(Duration::from_millis(50));
    drop(connection);
    let broken = || cluster.store.inner().broken.clone();
    for _ in 0..200 {
        if !broken().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(broken(), ["the upload broke off"]);
    assert_eq!(cluster.audit().len(), 1, "it leaves a line all the same");
    assert!(cluster.store.inner().kept.is_empty());
}

#[test]
fn a_run_passes_on_everything_that_body_and_query_say() {
    let cluster = Cluster::start();
    let id = uploaded(&cluster);
    let run = |target: String, body: &str| cluster.send(&Request::new("POST", &target).json(body));
    let job = JobId(0xBEEF);
    let body = json!({
        "entryClass": "ignored", "programArgsList": ["--to", "a,b"], "parallelism": 3, "jobId": job,
        "savepointPath": "/sp/1", "allowNonRestoredState": true, "claimMode": "CLAIM",
        "flinkConfiguration": {"pipeline.name": "x"}, "whatever": 1,
    });
    let answer = run(format!("/jars/{id}/run?parallelism=9"), &body.to_string());
    assert_eq!(answer.json(), json!({"jobid": job, "applicationId": job}));
    let query = "programArg=--to,x&programArg=y&parallelism=2&savepointPath=/sp/2";
    let answer = run(format!("/jars/{id}/run?{query}"), "");
    assert_eq!(answer.json()["jobid"], RUNNING.to_string());
    let launches = cluster.store.inner().launches.clone();
    let arguments = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    let restore = |path: &str, allow, mode: Option<&str>| Restore {
        savepoint_path: path.to_owned(),
        allow_non_restored_state: allow,
        claim_mode: mode.map(str::to_owned),
    };
    let first = Launch {
        arguments: arguments(&["--to", "a,b"]),
        parallelism: Some(3),
        configuration: [("pipeline.name".to_owned(), "x".to_owned())].into(),
        job: Some(job),
        restore: Some(restore("/sp/1", true, Some("CLAIM"))),
    };
    let second = Launch {
        arguments: arguments(&["--to", "x", "y"]),
        parallelism: Some(2),
        restore: Some(restore("/sp/2", false, None)),
        ..Launch::default()
    };
    assert_eq!(launches, [(id, first), (id, second)]);
}

#[test]
fn a_plan_is_shown_without_running_anything() {
    let cluster = Cluster::start();
    let id = uploaded(&cluster);
    for method in ["GET", "POST"] {
        let target = format!("/jars/{id}/plan?parallelism=2");
        let plan = cluster.send(&Request::new(method, &target)).json()["plan"].clone();
        assert_eq!(plan["name"], "planned");
        assert_eq!(plan["nodes"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn a_request_that_makes_no_sense_is_refused_before_the_store_hears_of_it() {
    let cluster = Cluster::start();
    let id = uploaded(&cluster);
    let target = format!("/jars/{id}/run");
    let run = |body: &str| cluster.send(&Request::new("POST", &target).json(body));
    assert!(run("{\"x").refusal(400).contains("cannot be read"));
    assert!(run("{\"parallelism\": 0}").refusal(400).contains("at least 1"));
    assert!(run("{\"parallelism\": -3}").refusal(400).contains("at least 1"));
    assert!(run("{\"jobId\": \"zz\"}").refusal(400).contains("32 hexadecimal digits"));
    let steal = "{\"savepointPath\": \"/sp\", \"claimMode\": \"STEAL\"}";
    assert!(run(steal).refusal(400).contains("claimMode"));
    let query = format!("{target}?parallelism=many");
    let answer = cluster.send(&Request::new("POST", &query));
    assert!(answer.refusal(400).contains("query parameter (parallelism)"));
    let mut text = Request::new("POST", &target).header("content-type", "text/plain");
    text.body = b"{}".to_vec();
    assert!(cluster.send(&text).refusal(415).contains("application/json"));
    assert!(cluster.store.inner().launches.is_empty());
}

#[test]
fn a_deleted_program_is_gone() {
    let cluster = Cluster::start();
    let id = uploaded(&cluster);
    let delete = || cluster.send(&Request::new("DELETE", &format!("/jars/{id}")));
    assert_eq!(
        (delete().status, delete().refusal(404)),
        (200, format!("there is no program {id}"))
    );
    let run = cluster.send(&Request::new("POST", &format!("/jars/{id}/run")));
    run.refusal(404);
}

#[test]
fn refusals_of_the_store_become_statuses() {
    use ArtefactErrorKind::*;
    let cluster = Cluster::start();
    let target = format!("/jars/{}/run", uploaded(&cluster));
    for (kind, status) in [
        (Unknown, 404),
        (Invalid, 400),
        (Conflict, 409),
        (TooLarge, 413),
        (Unavailable, 503),
        (Internal, 500),
    ] {
        cluster.store.inner().refusal = Some(kind);
        let answer = cluster.send(&Request::new("POST", &target));
        assert_eq!(answer.refusal(status), "the store refuses");
    }
}

#[test]
fn a_server_without_a_store_says_so() {
    let cluster = Cluster::with(Setup { with_store: false, ..Setup::default() });
    assert_eq!(cluster.get("/jars").json()["files"], json!([]));
    assert_eq!(cluster.get("/config").json()["features"]["web-submit"], false);
    let form = Request::new("POST", "/jars/upload").form(&[("jarfile", Some("job"), PROGRAM)]);
    assert!(cluster.send(&form).refusal(403).contains("keeps no programs"));
}
