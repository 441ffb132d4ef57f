//! What people can do about an error of an object store.

use object_store::Error;

/// An error with its causes, and what can be done: the client's own text often names the last cause
/// only.
pub(crate) fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    match advice(error, &text) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

fn advice(error: &Error, text: &str) -> Option<&'static str> {
    match error {
        _ if text.contains("NoSuchBucket") => {
            Some("create the bucket, or name another one: nobody but its owner can make it")
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Some(
            "check `s3.access-key` and `s3.secret-key`, and that they may read, write, list and \
             delete there",
        ),
        Error::Generic { .. } => {
            Some("check `s3.endpoint` and that it can be reached from this machine")
        }
        _ => None,
    }
}
