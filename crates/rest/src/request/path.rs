//! Path parameters. Each is parsed into an id; none ever becomes part of a file's path.

use crate::error::ApiError;
use axum::extract::{FromRequestParts, RawPathParams};
use hyper::http::request::Parts;
use millstream_core::ids::{ContentHash, JobId, JobVertexId, ResourceId, TriggerId};
use std::str::FromStr;

/// The decoded parameters of a path, by name.
pub(crate) struct PathParameters(Vec<(String, String)>);

/// No TaskManager has a longer name.
const TASK_MANAGER_NAME_MAX: usize = 255;

impl PathParameters {
    pub(crate) fn job(&self) -> Result<JobId, ApiError> {
        self.parse("jobid")
    }

    pub(crate) fn vertex(&self) -> Result<JobVertexId, ApiError> {
        self.parse("vertexid")
    }

    pub(crate) fn artefact(&self) -> Result<ContentHash, ApiError> {
        self.parse("jarid")
    }

    pub(crate) fn trigger(&self) -> Result<TriggerId, ApiError> {
        self.parse("triggerid")
    }

    pub(crate) fn subtask(&self) -> Result<u32, ApiError> {
        let text = self.text("subtaskindex");
        // `parse` would take a sign and any number of zeros as well.
        let plain = text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
        let index = text.parse().ok().filter(|_| plain);
        index.ok_or_else(|| ApiError::bad_path("subtaskindex", text))
    }

    pub(crate) fn task_manager(&self) -> Result<ResourceId, ApiError> {
        let text = self.text("taskmanagerid");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:[]".contains(&b);
        if text.len() > TASK_MANAGER_NAME_MAX || !text.bytes().all(plain) {
            return Err(ApiError::bad_path("taskmanagerid", &text.escape_debug().to_string()));
        }
        Ok(ResourceId(text.to_owned()))
    }

    fn parse<T: FromStr>(&self, name: &str) -> Result<T, ApiError> {
        let text = self.text(name);
        text.parse().map_err(|_| ApiError::bad_path(name, &text.escape_debug().to_string()))
    }

    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).expect("the route names its parameters")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let raw = RawPathParams::from_request_parts(parts, state).await;
        let raw = raw.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
        Ok(Self(raw.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(name: &str, value: &str) -> PathParameters {
        PathParameters(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_subtask_index_is_digits_only() {
        assert_eq!(parameters("subtaskindex", "7").subtask(), Ok(7));
        for text in ["", "-1", "+1", " 1", "1.0", "4294967296", "00000000000", "../0"] {
            assert!(parameters("subtaskindex", text).subtask().is_err(), "{text}");
        }
    }

    #[test]
    fn a_task_managers_name_is_a_short_plain_word() {
        for text in ["127.0.0.1:37417-417d22", "[::1]:5-a", "worker_1"] {
            let id = parameters("taskmanagerid", text).task_manager();
            assert_eq!(id, Ok(ResourceId(text.to_owned())));
        }
        for text in ["../log", "a b", "a\\b", "a\0b", "ä", &"a".repeat(256)] {
            assert!(parameters("taskmanagerid", text).task_manager().is_err(), "{text}");
        }
    }
}
