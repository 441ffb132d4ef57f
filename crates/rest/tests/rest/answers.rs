//! What single answers say: values, not only shapes; and refusals.

use crate::cluster::{Cluster, Setup};
use crate::fixtures::*;
use crate::http::Request;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::{EndpointName, Message};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn the_overview_counts_workers_slots_and_jobs() {
    let overview = Cluster::start().get("/overview").json();
    assert_eq!(
        overview,
        json!({
            "taskmanagers": 2, "slots-total": 4, "slots-available": 2,
            "taskmanagers-blocked": 0, "slots-free-and-blocked": 0,
            "jobs-running": 2, "jobs-finished": 1, "jobs-cancelled": 1, "jobs-failed": 1,
            "flink-version": format!("2.3.0-millstream-{}", env!("CARGO_PKG_VERSION")),
            "flink-commit": "abc1234", "millstream-version": env!("CARGO_PKG_VERSION"),
        })
    );
}

#[test]
fn accumulators_are_joined_over_the_tasks_of_a_vertex_and_of_the_job() {
    let cluster = Cluster::start();
    let lines =
        |sum: u32| json!([{"name": "lines", "type": "LongCounter", "value": sum.to_string()}]);
    let of_vertex = cluster.get(&format!("/jobs/{RUNNING}/vertices/{SINK}/accumulators")).json();
    assert_eq!(of_vertex, json!({ "id": SINK, "user-accumulators": lines(20) }));
    let of_job = cluster.get(&format!("/jobs/{RUNNING}/accumulators")).json();
    assert_eq!(of_job["user-task-accumulators"], lines(40));
}

#[test]
fn watermarks_are_told_subtask_by_subtask() {
    let watermarks =
        Cluster::start().get(&format!("/jobs/{RUNNING}/vertices/{SINK}/watermarks")).json();
    let of = |subtask: i64| {
        let id = format!("{subtask}.currentInputWatermark");
        json!({ "id": id, "value": (T0 + subtask).to_string() })
    };
    assert_eq!(watermarks, json!([of(0), of(1)]));
}

#[test]
fn metrics_are_listed_and_the_ones_that_are_asked_for_have_values() {
    let cluster = Cluster::start();
    let vertex = format!("/jobs/{RUNNING}/vertices/{SINK}");
    let ids = |target: &str| -> Vec<String> {
        let listed = cluster.get(&format!("{vertex}{target}")).json();
        let listed = listed.as_array().expect("a list").clone();
        assert!(listed.iter().all(|metric| metric.get("value").is_none()), "{listed:?}");
        listed.iter().map(|metric| metric["id"].as_str().expect("an id").to_owned()).collect()
    };
    let of_vertex = ids("/metrics");
    for known in ["0.numRecordsIn", "1.print.lines", "1.print.sizes_p99", "0.currentInputWatermark"]
    {
        assert!(of_vertex.iter().any(|id| id == known), "{known} is not in {of_vertex:?}");
    }
    let of_subtask = ids("/subtasks/1/metrics");
    assert_eq!(of_subtask.len() * 2, of_vertex.len());
    assert!(of_subtask.iter().any(|id| id == "print.lines"), "{of_subtask:?}");
    let get = |target: &str| cluster.get(&format!("{vertex}{target}")).json();
    let expected = json!([
        { "id": "1.print.lines", "value": "11" },
        { "id": "0.print.sizes_mean", "value": "3.5" },
    ]);
    assert_eq!(get("/metrics?get=1.print.lines,nothing,0.print.sizes_mean"), expected);
    let expected = json!([{ "id": "numRecordsOut", "value": "20" }]);
    assert_eq!(get("/subtasks/0/metrics?get=numRecordsOut"), expected);
    for wrong in ["/subtasks/2/metrics", "/subtasks/7/metrics?get=numRecordsIn"] {
        cluster.get(&format!("{vertex}{wrong}")).refusal(404);
    }
}

#[test]
fn metrics_of_several_subtasks_are_brought_together() {
    let cluster = Cluster::start();
    let target = format!("/jobs/{RUNNING}/vertices/{SINK}/subtasks/metrics");
    let get = |query: &str| cluster.get(&format!("{target}{query}")).json();
    let all = json!([
        { "id": "print.lines", "min": 10.0, "max": 11.0, "avg": 10.5, "sum": 21.0, "skew": 1.0 / 21.0 * 100.0 }
    ]);
    assert_eq!(get("?get=print.lines"), all);
    let some = json!([{ "id": "print.lines", "max": 11.0, "sum": 11.0 }]);
    assert_eq!(get("?get=print.lines&agg=sum,max&subtasks=1-7"), some);
    assert!(
        get("").as_array().is_some_and(|listed| listed.contains(&json!({"id": "numRecordsIn"})))
    );
    for wrong in ["?agg=median", "?subtasks=1-", "?subtasks=3-1", "?subtasks=x"] {
        cluster.get(&format!("{target}{wrong}")).refusal(400);
    }
}

#[test]
fn the_list_of_jobs_tells_type_times_and_tasks() {
    let cluster = Cluster::start();
    let jobs = cluster.get("/jobs/overview").json()["jobs"].clone();
    let tasks = |running: u32, finished: u32| {
        json!({
            "total": running + finished, "running": running, "finished": finished, "created": 0,
            "scheduled": 0, "deploying": 0, "initializing": 0, "canceling": 0, "canceled": 0,
            "failed": 0, "reconciling": 0,
        })
    };
    assert_eq!(
        jobs[1],
        json!({
            "jid": FINISHED, "name": "count", "jobType": "BATCH", "schedulerType": "Default",
            "start-time": T0, "end-time": T0 + 500, "duration": 500, "state": "FINISHED",
            "last-modification": T0 + 500, "tasks": tasks(0, 4), "pending-operators": 0,
        })
    );
    assert_eq!(jobs[0]["jobType"], "STREAMING");
    assert_eq!(jobs[0]["end-time"], -1);
    assert_eq!(jobs[0]["tasks"], tasks(4, 0));
}

#[test]
fn the_type_of_a_job_is_asked_for_once() {
    let cluster = Cluster::start();
    let asked = || {
        let heard = cluster.heard.lock().expect("unbroken");
        let details =
            |m: &&Message| matches!(m, Message::Dispatcher(ToDispatcher::RequestJobDetails { .. }));
        heard.iter().filter(details).count()
    };
    for _ in 0..3 {
        assert_eq!(cluster.get("/jobs/overview").status, 200);
        assert_eq!(asked(), jobs().len());
    }
}

#[test]
fn a_job_tells_its_states_its_plan_and_what_it_waits_for() {
    let job = Cluster::start().get(&format!("/jobs/{RUNNING}")).json();
    assert_eq!(job["state"], "RUNNING");
    assert_eq!(job["timestamps"]["INITIALIZING"], T0);
    assert_eq!(job["timestamps"]["FINISHED"], 0);
    assert_eq!(job["status-counts"]["RUNNING"], 2);
    assert_eq!(job["waiting-for"], "waiting for a better example");
    assert_eq!(job["restart-count"], 2);
    let sink = &job["vertices"][1];
    assert_eq!(sink["id"], SINK.to_string());
    assert_eq!(sink["tasks"]["RUNNING"], 2);
    assert_eq!(sink["metrics"]["read-records"], 21);
    assert_eq!(sink["metrics"]["busyTimeMsPerSecond"], 700);
    assert_eq!(sink["metrics"]["currentInputWatermark"], T0);
    let node = &job["plan"]["nodes"][0];
    assert_eq!(node["description"], "&lt;inc&gt;<br/>+- print<br/>");
    assert_eq!(node["inputs"][0]["id"], SOURCE.to_string());
    assert_eq!(node["inputs"][0]["ship_strategy"], "HASH");
    assert_eq!(node["inputs"][0]["exchange"], "pipelined_bounded");
}

#[test]
fn a_job_without_an_execution_graph_has_vertices_that_are_created() {
    let cluster = Cluster::start();
    let job = cluster.get(&format!("/jobs/{INITIALIZING}")).json();
    assert_eq!(job["vertices"][0]["status"], "CREATED");
    assert_eq!(job["vertices"][0]["tasks"]["CREATED"], 2);
    assert_eq!(job["vertices"][0]["start-time"], -1);
    let subtask = format!("/jobs/{INITIALIZING}/vertices/{SINK}/subtasks/1");
    let subtask = cluster.get(&subtask).json();
    assert_eq!(subtask["status"], "CREATED");
    assert_eq!(subtask["taskmanager-id"], "(unassigned)");
}

#[test]
fn a_vertex_is_told_worker_by_worker() {
    let target = format!("/jobs/{RUNNING}/vertices/{SINK}/taskmanagers");
    let workers = Cluster::start().get(&target).json()["taskmanagers"].clone();
    let ids: Vec<_> = (0..2).map(|i| workers[i]["taskmanager-id"].clone()).collect();
    assert_eq!(ids, [json!(worker("a")), json!(worker("b"))]);
    assert_eq!(workers[0]["status-counts"]["RUNNING"], 1);
    assert_eq!(workers[1]["metrics"]["read-records"], 11);
}

#[test]
fn exceptions_begin_with_the_root_cause_and_can_be_limited() {
    let cluster = Cluster::start();
    let target = format!("/jobs/{FAILED}/exceptions");
    let history = cluster.get(&target).json()["exceptionHistory"].clone();
    let names: Vec<_> = (0..3).map(|i| history["entries"][i]["exceptionName"].clone()).collect();
    assert_eq!(names, ["restarts are used up", "boom at 50", "slots lost"]);
    assert_eq!(history["truncated"], false);
    assert_eq!(history["entries"][1]["taskName"], "numbers (1/2)");
    assert_eq!(history["entries"][1]["endpoint"], "127.0.0.1:7001");
    assert_eq!(history["entries"][0]["taskManagerId"], "(unassigned)");
    let one = cluster.get(&format!("{target}?maxExceptions=1")).json();
    assert_eq!(one["exceptionHistory"]["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["exceptionHistory"]["truncated"], true);
    cluster.get(&format!("{target}?maxExceptions=many")).refusal(400);
}

#[test]
fn a_result_says_how_the_job_ended_and_why() {
    let cluster = Cluster::start();
    let result = |job| cluster.get(&format!("/jobs/{job}/execution-result")).json();
    assert_eq!(result(RUNNING), json!({"status": {"id": "IN_PROGRESS"}}));
    for (job, status) in [(FINISHED, "SUCCEEDED"), (CANCELED, "CANCELED"), (FAILED, "FAILED")] {
        assert_eq!(result(job)["job-execution-result"]["application-status"], status);
    }
    let cause = &result(FAILED)["job-execution-result"]["failure-cause"];
    assert_eq!(cause["stack-trace"], "restarts are used up");
    assert_eq!(result(FINISHED)["job-execution-result"]["net-runtime"], 500);
}

#[test]
fn a_result_can_be_waited_for() {
    let cluster = Cluster::start();
    let wait = |job, ms| cluster.get(&format!("/jobs/{job}/execution-result?wait-ms={ms}"));
    assert_eq!(wait(FINISHED, 10_000).json()["status"]["id"], "COMPLETED");
    let began = Instant::now();
    assert_eq!(wait(RUNNING, 50).json()["status"]["id"], "IN_PROGRESS");
    assert!(began.elapsed() >= Duration::from_millis(50));
    wait(UNKNOWN, 50).refusal(404);
}

#[test]
fn secrets_of_a_job_are_not_shown() {
    let config = Cluster::start().get(&format!("/jobs/{RUNNING}/config")).json();
    let execution = &config["execution-config"];
    assert_eq!(execution["user-config"]["db.password"], "******");
    assert_eq!(execution["restart-strategy"], "none");
    assert_eq!(execution["job-parallelism"], 2);
}

#[test]
fn a_worker_tells_its_memory_in_flinks_units() {
    let one = Cluster::start().get(&format!("/taskmanagers/{}", worker("a"))).json();
    assert_eq!(one["totalResource"]["cpuCores"], 1.5);
    assert_eq!(one["totalResource"]["taskHeapMemory"], 256);
    assert_eq!(one["memoryConfiguration"]["totalFlinkMemory"], (512 + 128 + 256) << 20);
    assert_eq!((&one["dataPort"], &one["jmxPort"]), (&json!(7001), &json!(-1)));
    assert_eq!((&one["slotsNumber"], &one["freeSlots"]), (&json!(2), &json!(1)));
    assert_eq!(one["allocatedSlots"][0]["jobId"], RUNNING.to_string());
    assert_eq!(one["timeSinceLastHeartbeat"], T0 + 1_000);
}

#[test]
fn what_is_not_there_is_not_found() {
    let cluster = Cluster::start();
    let not_found = |target: &str| cluster.get(target).refusal(404);
    let job = format!("Job could not be found: Job {UNKNOWN} not found");
    for rest in ["", "/plan", "/config", "/status", "/exceptions", "/execution-result", "/logs"] {
        assert_eq!(not_found(&format!("/jobs/{UNKNOWN}{rest}")), job);
    }
    for rest in ["", "/subtasktimes", "/taskmanagers", "/subtasks/0"] {
        let vertex = format!("/jobs/{RUNNING}/vertices/{UNKNOWN}{rest}");
        assert_eq!(not_found(&vertex), format!("JobVertex {UNKNOWN} not found"));
    }
    let subtask = format!("/jobs/{RUNNING}/vertices/{SINK}/subtasks/2");
    assert_eq!(not_found(&subtask), format!("Invalid subtask index for vertex {SINK}"));
    let nobody = "No TaskExecutor registered under nobody.";
    assert_eq!(not_found("/taskmanagers/nobody"), nobody);
    assert_eq!(not_found("/taskmanagers/nobody/log"), nobody);
    assert_eq!(not_found("/nothing"), "Not found: /nothing");
    assert_eq!(not_found("/v1/nothing"), "Not found: /v1/nothing");
    assert_eq!(not_found("/v2/overview"), "Not found: /v2/overview");
    let wrong = cluster.send(&Request::new("PATCH", &format!("/jobs/{UNKNOWN}")));
    assert_eq!(wrong.refusal(404), job);
}

#[test]
fn a_method_that_an_endpoint_has_not_is_named() {
    let cluster = Cluster::start();
    for target in ["/jobs", "/v1/jobs"] {
        let refusal = cluster.send(&Request::new("DELETE", target)).refusal(405);
        assert_eq!(refusal, format!("DELETE is not possible on {target}"));
    }
}

#[test]
fn cancelling_is_accepted_and_passed_on() {
    let cluster = Cluster::start();
    for query in ["?mode=cancel", ""] {
        let target = format!("/jobs/{RUNNING}{query}");
        let response = cluster.send(&Request::new("PATCH", &target));
        assert_eq!((response.status, response.body.as_str()), (202, "{}"));
    }
    let cancel = Message::Dispatcher(ToDispatcher::CancelJob { job: RUNNING });
    assert!(cluster.has_heard(&cancel));
    let again = cluster.send(&Request::new("PATCH", &format!("/jobs/{CANCELED}")));
    assert_eq!(again.status, 202);
    let ended = cluster.send(&Request::new("PATCH", &format!("/jobs/{FINISHED}")));
    assert_eq!(
        ended.refusal(409),
        "Job cancellation failed because the job has already reached another terminal state \
         (FINISHED)."
    );
    let other = cluster.send(&Request::new("PATCH", &format!("/jobs/{RUNNING}?mode=stop")));
    assert!(other.refusal(400).contains("query parameter (mode) from value \"stop\""));
}

#[test]
fn the_cluster_can_be_shut_down() {
    let cluster = Cluster::start();
    let response = cluster.send(&Request::new("DELETE", "/cluster"));
    assert_eq!((response.status, response.body.as_str()), (200, "{}"));
    assert!(cluster.has_heard(&Message::Dispatcher(ToDispatcher::Shutdown)));
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_named_with_503() {
    let mut setup = Setup { silent: vec![EndpointName::Dispatcher], ..Setup::default() };
    setup.config.ask_timeout = Duration::from_millis(300);
    let cluster = Cluster::with(setup);
    let targets = ["/jobs", "/jobs/overview", "/overview"].map(str::to_owned);
    for target in targets.into_iter().chain([format!("/jobs/{RUNNING}")]) {
        let refusal = cluster.get(&target).refusal(503);
        assert!(refusal.starts_with("no answer from dispatcher@"), "{refusal}");
        assert!(refusal.contains("within 300 ms"), "{refusal}");
    }
    assert_eq!(cluster.get("/taskmanagers").status, 200);
}

#[test]
fn a_worker_that_does_not_answer_in_time_is_named_with_503() {
    let mut setup = Setup { silent: vec![EndpointName::TaskExecutor], ..Setup::default() };
    setup.config.ask_timeout = Duration::from_millis(300);
    let refusal = Cluster::with(setup).get(&format!("/taskmanagers/{}/log", worker("a")));
    assert!(refusal.refusal(503).starts_with("no answer from taskexecutor@"));
}
