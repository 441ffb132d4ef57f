//! No path parameter ever names a file: a corpus of traversal spellings on each of them.

use crate::cluster::Cluster;
use crate::fixtures::{RUNNING, SINK};
use crate::http::Request;
use millstream_rpc::protocol::Message;

/// Several hundred spellings of "somewhere else".
fn corpus() -> Vec<String> {
    const UP: [&str; 12] = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "..%00",
        "%c0%ae%c0%ae",
        "....",
        "..;",
        "%u002e%u002e",
        "..%20",
    ];
    const SEPARATORS: [&str; 7] = ["/", "%2f", "%2F", "%5c", "%252f", "%c0%af", "//"];
    const TARGETS: [&str; 4] = ["etc%2fpasswd", "conf%2fconfig.yaml", "log", ""];
    let mut all = Vec::new();
    for up in UP {
        for separator in SEPARATORS {
            for target in TARGETS {
                all.push(format!("{}{target}", format!("{up}{separator}").repeat(3)));
            }
        }
    }
    let whole = [
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "C:%5cboot.ini",
        "%5c%5chost%5cshare",
        "file:%2f%2f%2fetc",
        "%00",
        "%0d%0aset-cookie:a",
        "%ff%fe",
        "~root",
        "$HOME",
        "%7e",
        "con",
        "nul",
        "-",
        "*",
        "0000000000000000000000000000000",
        "000000000000000000000000000000000",
        "%2b0000000000000000000000000000001",
        "0x000000000000000000000000000001",
        "00000000-0000-0000-0000-000000000000",
        "%20",
        "null",
        "'%20or%201=1",
        "%3cscript%3e",
    ];
    all.extend(whole.map(str::to_owned));
    all
}

#[test]
fn no_spelling_of_somewhere_else_gets_past_a_path_parameter() {
    let cluster = Cluster::start();
    let vertex = format!("/jobs/{RUNNING}/vertices");
    let templates = [
        ("GET", "/jobs/*".to_owned()),
        ("PATCH", "/jobs/*".to_owned()),
        ("GET", "/jobs/*/logs".to_owned()),
        ("GET", "/jobs/*/exceptions".to_owned()),
        ("GET", format!("{vertex}/*")),
        ("GET", format!("{vertex}/{SINK}/subtasks/*")),
        ("GET", "/taskmanagers/*/log".to_owned()),
        ("DELETE", "/jars/*".to_owned()),
        ("POST", "/jars/*/run".to_owned()),
        ("GET", "/jars/*/plan".to_owned()),
    ];
    let corpus = corpus();
    assert!(corpus.len() >= 350, "{}", corpus.len());
    let mut connection = crate::http::Connection::open(cluster.address);
    for (method, template) in templates {
        for spelling in &corpus {
            let target = template.replacen('*', spelling, 1);
            let response = connection.send(&Request::new(method, &target));
            let refused = matches!(response.status, 400 | 404 | 405);
            assert!(refused, "{method} {target}: {response:?}");
            assert!(response.body.starts_with("{\"errors\":["), "{method} {target}: {response:?}");
            assert_eq!(response.header("set-cookie"), None);
        }
    }
    // Nothing but plain names has reached anybody.
    assert!(cluster.store.inner().launches.is_empty());
    for message in cluster.heard.lock().expect("unbroken").iter() {
        let Message::ResourceManager(message) = message else { continue };
        let text = format!("{message:?}");
        assert!(!text.contains("etc/") && !text.contains('\\'), "{text}");
    }
}

#[test]
fn an_id_of_another_form_is_a_bad_request_in_flinks_words() {
    let cluster = Cluster::start();
    for (target, name, value) in [
        ("/jobs/zz".to_owned(), "jobid", "zz"),
        (format!("/jobs/{RUNNING}/vertices/zz"), "vertexid", "zz"),
        (format!("/jobs/{RUNNING}/vertices/{SINK}/subtasks/-1"), "subtaskindex", "-1"),
        ("/taskmanagers/a%20b".to_owned(), "taskmanagerid", "a b"),
        ("/jars/job.jar/plan".to_owned(), "jarid", "job.jar"),
    ] {
        assert_eq!(
            cluster.get(&target).refusal(400),
            format!(
                "Bad request, could not parse parameters: \
                 Cannot resolve path parameter ({name}) from value \"{value}\"."
            )
        );
    }
}
