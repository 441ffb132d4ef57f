//! A refusal: a status and a sentence, sent as Flink's `ErrorResponseBody`.

use crate::reply;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use millstream_core::ids::JobId;
use millstream_rpc::protocol::{AskError, Refusal};

/// Why a request is not answered with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// One sentence: what, why and, if there is one, the way out.
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// A path parameter that cannot be what it should be. Flink's words.
    pub(crate) fn bad_path(name: &str, value: &str) -> Self {
        Self::bad_request(format!(
            "Bad request, could not parse parameters: \
             Cannot resolve path parameter ({name}) from value \"{value}\"."
        ))
    }

    /// A query parameter that cannot be what it should be. Flink's words.
    pub(crate) fn bad_query(name: &str, value: &str) -> Self {
        Self::bad_request(format!(
            "Bad request, could not parse parameters: \
             Cannot resolve query parameter ({name}) from value \"{value}\"."
        ))
    }

    /// Flink's words.
    pub(crate) fn job_not_found(job: JobId) -> Self {
        Self::not_found(format!("Job could not be found: Job {job} not found"))
    }
}

/// Nobody answered: the same request may succeed later.
impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Timeout { .. } | AskError::Unreachable { .. } => {
                Self::unavailable(format!("{error}; the cluster may be starting, busy or gone"))
            }
            AskError::Unreadable { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid(_) => StatusCode::CONFLICT,
            Refusal::NotReady(_) | Refusal::Fenced { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        reply::json(self.status, &crate::json::error::ErrorBody { errors: [&self.message] })
    }
}
