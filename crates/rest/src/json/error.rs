//! `ErrorResponseBody` and `EmptyResponseBody`.

use serde::Serialize;

/// Why a request is not answered.
#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    pub(crate) errors: [&'a str; 1],
}

/// `{}`: done.
#[derive(Serialize)]
pub(crate) struct EmptyBody {}
