//! Compares JSON with the shapes of Flink's messages: `fixtures/rest`.

use serde_json::Value;

/// One line of `endpoints.jsonl` or `recorded.jsonl`.
pub(crate) struct Known {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) response: Value,
    /// The whole line.
    pub(crate) line: Value,
}

/// The shapes of all endpoints.
pub(crate) fn endpoints() -> Vec<Known> {
    lines(include_str!("../../../../fixtures/rest/endpoints.jsonl"))
}

/// What a Flink cluster answered.
pub(crate) fn recorded() -> Vec<Known> {
    lines(include_str!("../../../../fixtures/rest/recorded.jsonl"))
}

fn lines(text: &str) -> Vec<Known> {
    let parse = |line| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        Known {
            method: text("method"),
            path: text("path"),
            response: line["response"].clone(),
            line: line.clone(),
        }
    };
    text.lines().map(parse).collect()
}

/// What is missing or of another kind than the shape says; nothing: it fits.
pub(crate) fn differences(value: &Value, shape: &Value, at: &str) -> Vec<String> {
    match shape {
        Value::Object(fields) if fields.contains_key("*") => match value.as_object() {
            Some(map) => {
                let each = map.iter();
                each.flat_map(|(k, v)| differences(v, &fields["*"], &format!("{at}.{k}"))).collect()
            }
            None => vec![format!("{at} is no map: {value}")],
        },
        Value::Object(fields) => match value.as_object() {
            Some(map) => fields
                .iter()
                .flat_map(|(name, shape)| match map.get(name) {
                    Some(value) => differences(value, shape, &format!("{at}.{name}")),
                    None => vec![format!("{at}.{name} is missing")],
                })
                .collect(),
            None => vec![format!("{at} is no object: {value}")],
        },
        Value::Array(shapes) => match value.as_array() {
            Some(values) => {
                values.iter().flat_map(|v| differences(v, &shapes[0], &format!("{at}[]"))).collect()
            }
            None => vec![format!("{at} is no list: {value}")],
        },
        Value::String(word) if fits(value, word) => Vec::new(),
        Value::Null => Vec::new(),
        shape => vec![format!("{at} is {value}, expected {shape}")],
    }
}

fn fits(value: &Value, word: &str) -> bool {
    let hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(words) = word.strip_prefix("enum:") {
        return value.as_str().is_some_and(|text| words.split('|').any(|word| word == text));
    }
    match word {
        "long" | "Long" | "int" | "Integer" => value.is_i64() || value.is_u64(),
        "double" | "Double" => value.is_number(),
        "boolean" | "Boolean" => value.is_boolean(),
        "String" | "ResourceID" => value.is_string(),
        "JobID" | "JobVertexID" | "ApplicationID" | "SlotSharingGroupId" => {
            value.as_str().is_some_and(hex)
        }
        // Raw JSON, and types that only `recorded` tells about.
        _ => true,
    }
}

/// Fields that a recorded message has and ours has not, or of another kind.
pub(crate) fn lacks(ours: &Value, recorded: &Value, at: &str) -> Vec<String> {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(fields)) => theirs
            .iter()
            .flat_map(|(name, theirs)| match fields.get(name) {
                Some(value) => lacks(value, theirs, &format!("{at}.{name}")),
                None => vec![format!("{at}.{name} is missing")],
            })
            .collect(),
        (Value::Array(theirs), Value::Array(values)) => match (theirs.first(), values.first()) {
            (Some(theirs), Some(value)) => lacks(value, theirs, &format!("{at}[]")),
            _ => Vec::new(),
        },
        (Value::Number(theirs), Value::Number(number)) if theirs.is_f64() == number.is_f64() => {
            Vec::new()
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => Vec::new(),
        _ => vec![format!("{at} is {ours}, in Flink {recorded}")],
    }
}

#[test]
fn what_is_missing_or_different_is_found() {
    let shape = serde_json::json!({
        "id": "JobID", "n": "long", "state": "enum:A|B", "map": {"*": "Integer"}, "list": [{"x": "String"}],
    });
    let check = |value: Value, expected: &[&str]| {
        assert_eq!(differences(&value, &shape, ""), expected, "{value}");
    };
    let id = "0123456789abcdef0123456789abcdef";
    let with = |name: &str, changed: Value| {
        let mut value = serde_json::json!({
            "id": id, "n": 1, "state": "A", "map": {"k": 1}, "list": [{"x": "y", "extra": 1}], "more": 1,
        });
        value[name] = changed;
        value
    };
    check(with("n", 2.into()), &[]);
    check(with("n", 0.5.into()), &[".n is 0.5, expected \"long\""]);
    check(with("state", "C".into()), &[".state is \"C\", expected \"enum:A|B\""]);
    check(with("id", "12".into()), &[".id is \"12\", expected \"JobID\""]);
    check(with("map", serde_json::json!({"k": "v"})), &[".map.k is \"v\", expected \"Integer\""]);
    check(with("list", serde_json::json!([{}])), &[".list[].x is missing"]);
    check(with("list", Value::Null), &[".list is no list: null"]);
    let recorded = serde_json::json!({"a": 1, "b": [{"c": 1.5}]});
    let ours = serde_json::json!({"b": [{"c": 1}]});
    let expected = [".a is missing", ".b[].c is 1, in Flink 1.5"];
    assert_eq!(lacks(&ours, &recorded, ""), expected);
}
