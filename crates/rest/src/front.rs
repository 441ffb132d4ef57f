//! The way of one request: guard, permissions, router, audit.

use crate::app::App;
use crate::audit::{self, Audit};
use crate::config::RestConfig;
use crate::error::ApiError;
use crate::guard::Guard;
use crate::routes;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    guard: Guard,
    router: TowerToHyperService<axum::Router>,
}

impl Front {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let mut hosts = app.config.hosts.clone();
        hosts.push(app.config.bind_host.clone());
        let guard = Guard::new(app.bound, &hosts);
        let router = TowerToHyperService::new(routes::router(app.clone()));
        Self(Arc::new(Inner { app, guard, router }))
    }

    pub(crate) fn config(&self) -> &RestConfig {
        &self.0.app.config
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, from: SocketAddr, request: Request<Body>) -> Response {
        let log = &self.config().log;
        let audit = Audit::begin(log, from, request.method(), request.uri().path());
        let mut response = match self.admit(request) {
            Ok(request) => match self.0.router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(refusal) => refusal.into_response(),
        };
        harden(&mut response);
        if let Some(audit) = audit {
            audit.end(response.status());
        }
        response
    }

    fn admit(&self, request: Request<Body>) -> Result<Request<Body>, ApiError> {
        let (mut parts, body) = request.into_parts();
        self.0.guard.check(&parts)?;
        if self.config().read_only && audit::mutates(&parts.method) {
            return Err(ApiError::forbidden(
                "this REST server is read-only: the job runs embedded in its own process, \
                 and is stopped with it",
            ));
        }
        parts.uri = without_trailing_slash(parts.uri);
        Ok(Request::from_parts(parts, body))
    }
}

/// Flink answers `/jobs/` like `/jobs`.
fn without_trailing_slash(uri: Uri) -> Uri {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return uri;
    }
    let rewritten = match uri.query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let Ok(rewritten) = rewritten.parse::<PathAndQuery>() else { return uri };
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(rewritten);
    Uri::from_parts(parts).expect("only the path has become shorter")
}

/// Answers are for this moment, are what they say they are, and are not for pages of others.
fn harden(response: &mut Response) {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_makes_no_difference() {
        for (given, expected) in [
            ("/jobs/", "/jobs"),
            ("/jobs", "/jobs"),
            ("/", "/"),
            ("//", "//"),
            ("/jobs/?a=b", "/jobs?a=b"),
            ("http://localhost/jobs//", "http://localhost/jobs"),
        ] {
            let uri: Uri = given.parse().expect("a target");
            assert_eq!(without_trailing_slash(uri).to_string(), expected);
        }
    }
}
