//! What goes back to a client: JSON as Flink sends it, or text.

use crate::error::ApiError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// What a handler gives.
pub(crate) type Reply<T> = Result<Json<T>, ApiError>;

/// A message of Flink's, with 200 OK.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

/// A message of Flink's, with 202 Accepted: it has been set off.
pub(crate) struct Queued<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Queued<T> {
    fn into_response(self) -> Response {
        json(StatusCode::ACCEPTED, &self.0)
    }
}

/// Flink's `EmptyResponseBody`, `{}`, with 202: it will be done.
pub(crate) struct Accepted;

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        json(StatusCode::ACCEPTED, &crate::json::error::EmptyBody {})
    }
}

/// Plain text.
pub(crate) struct Text(pub(crate) String);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        body(StatusCode::OK, "text/plain; charset=UTF-8", Body::from(self.0))
    }
}

/// A response with this message.
pub(crate) fn json<T: Serialize>(status: StatusCode, message: &T) -> Response {
    let bytes = serde_json::to_vec(message).expect("messages have text keys and finite numbers");
    body(status, "application/json; charset=UTF-8", Body::from(bytes))
}

fn body(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
