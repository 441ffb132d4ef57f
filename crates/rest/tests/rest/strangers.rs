//! Pages of other sites, other names for this server, and what is switched off.

use crate::cluster::{Cluster, Setup};
use crate::fixtures::RUNNING;
use crate::http::Request;
use millstream_rpc::protocol::Message;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use serde_json::json;

/// A request to each endpoint, with parameters that could be.
fn requests() -> Vec<(String, String)> {
    let id = RUNNING.to_string();
    let fill = |path: &str| {
        let segments = path.split('/').map(|segment| match segment {
            ":subtaskindex" => "0",
            segment if segment.starts_with(':') => &id,
            segment => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    };
    millstream_rest::endpoints().map(|(method, path)| (method, fill(path))).collect()
}

#[test]
fn another_origin_is_refused_on_every_endpoint() {
    let cluster = Cluster::start();
    for (method, target) in requests() {
        for origin in ["http://evil.example", "null", "https://localhost"] {
            let request = Request::new(&method, &target).header("origin", origin);
            let refusal = cluster.send(&request).refusal(403);
            assert!(refusal.contains("another origin"), "{method} {target}: {refusal}");
        }
    }
    assert!(cluster.heard.lock().expect("unbroken").is_empty(), "nobody has heard of it");
}

#[test]
fn another_host_is_refused_on_every_endpoint_and_off_them() {
    let cluster = Cluster::start();
    let nowhere = ("GET".to_owned(), "/nowhere".to_owned());
    for (method, target) in requests().into_iter().chain([nowhere]) {
        let host = format!("evil.example:{}", cluster.address.port());
        for host in [host, "localhost".to_owned(), String::new()] {
            let request = Request::new(&method, &target).header("host", host);
            let refusal = cluster.send(&request).refusal(403);
            assert!(refusal.contains("Host"), "{method} {target}: {refusal}");
        }
    }
    assert!(cluster.heard.lock().expect("unbroken").is_empty(), "nobody has heard of it");
}

#[test]
fn our_own_page_is_served_under_each_of_our_names() {
    let mut setup = Setup::default();
    setup.config.hosts = vec!["flink.example".to_owned(), "mapped.example:9000".to_owned()];
    let cluster = Cluster::with(setup);
    let port = cluster.address.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("flink.example:{port}"),
        "mapped.example:9000".to_owned(),
    ] {
        let request = Request::new("GET", "/overview")
            .header("origin", format!("http://{host}"))
            .header("sec-fetch-site", "same-origin")
            .header("host", host);
        assert_eq!(cluster.send(&request).status, 200);
    }
}

#[test]
fn answers_are_not_for_other_pages() {
    let cluster = Cluster::start();
    for target in ["/overview", "/nowhere"] {
        let response = cluster.get(target);
        assert_eq!(response.header("access-control-allow-origin"), None);
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    let preflight = Request::new("OPTIONS", "/cluster")
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "DELETE");
    cluster.send(&preflight).refusal(403);
}

#[test]
fn nothing_is_changed_by_reading() {
    let cluster = Cluster::start();
    for (method, target) in requests().iter().filter(|(method, _)| method == "GET") {
        cluster.send(&Request::new(method, target));
    }
    for message in cluster.heard.lock().expect("unbroken").iter() {
        let changes = matches!(
            message,
            Message::Dispatcher(ToDispatcher::CancelJob { .. } | ToDispatcher::Shutdown)
        );
        assert!(!changes, "{message:?}");
    }
    assert!(cluster.audit().is_empty());
}

#[test]
fn every_change_leaves_a_line_with_its_result_and_without_its_query() {
    let cluster = Cluster::start();
    let job = format!("/jobs/{RUNNING}");
    cluster.send(&Request::new("PATCH", &format!("{job}?mode=cancel")));
    cluster.send(&Request::new("DELETE", "/cluster").header("origin", "http://evil.example"));
    cluster.send(&Request::new("POST", "/nowhere?password=hunter2"));
    assert_eq!(
        cluster.audit(),
        [
            format!("PATCH {job} -> 202"),
            "DELETE /cluster -> 403".to_owned(),
            "POST /nowhere -> 404".to_owned(),
        ]
    );
}

#[test]
fn a_read_only_server_refuses_every_change() {
    let mut setup = Setup::default();
    setup.config.read_only = true;
    let cluster = Cluster::with(setup);
    for (method, target) in requests().iter().filter(|(method, _)| method != "GET") {
        let refusal = cluster.send(&Request::new(method, target)).refusal(403);
        assert!(refusal.contains("read-only"), "{method} {target}: {refusal}");
    }
    assert!(cluster.heard.lock().expect("unbroken").is_empty(), "nobody has heard of it");
    let features = cluster.get("/config").json()["features"].clone();
    let none = json!({
        "web-submit": false, "web-cancel": false, "web-rescale": false, "web-history": false,
    });
    assert_eq!(features, none);
    assert_eq!(cluster.get("/jobs").status, 200);
}

#[test]
fn what_is_switched_off_names_its_option() {
    let mut setup = Setup::default();
    (setup.config.submit, setup.config.cancel) = (false, false);
    let cluster = Cluster::with(setup);
    let cancel = cluster.send(&Request::new("PATCH", &format!("/jobs/{RUNNING}")));
    assert!(cancel.refusal(403).contains("web.cancel.enable"));
    let run = cluster.send(&Request::new("POST", &format!("/jars/{RUNNING}/run")));
    assert!(run.refusal(403).contains("web.submit.enable"));
}
