//! Bodies: limited in size, and in how long the client may pause.

use crate::app::App;
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A JSON body; none at all is the message's default, as in Flink.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        refuse_longer(&parts.headers, app.config.json_bytes_max as u64)?;
        let bytes = read(body, app).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&parts.headers)?;
        let message = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::bad_request(format!("Bad request: the body cannot be read: {error}"))
        })?;
        Ok(Self(message))
    }
}

/// Refuses a body whose announced length is above the limit, before any of it is read.
pub(crate) fn refuse_longer(headers: &HeaderMap, bytes_max: u64) -> Result<(), ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: u64 = announced.and_then(|length| length.parse().ok()).unwrap_or(0);
    if announced > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

/// The body is above the limit.
pub(crate) fn too_large(bytes_max: u64) -> ApiError {
    ApiError::too_large(format!("the body is longer than {bytes_max} bytes"))
}

/// A body that is small is read as a whole, within the time that a pause may last.
async fn read(body: Body, app: &App) -> Result<Bytes, ApiError> {
    let bytes_max = app.config.json_bytes_max;
    let read = axum::body::to_bytes(body, bytes_max);
    match tokio::time::timeout(app.config.idle_timeout, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Too long, or broken off: in the second case nobody reads this.
        Ok(Err(_)) => Err(too_large(bytes_max as u64)),
        Err(_) => {
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
        }
    }
}

/// A form of another site can post text, but not this content type.
fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body must be JSON and say so: Content-Type: application/json",
    ))
}
