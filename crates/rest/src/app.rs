//! The way of one request: guard, permissions, router; and what handlers share.

use crate::artefacts::Artefacts;
use crate::artefacts::work::{WORK_MAX, Work};
use crate::audit::{self, Audit};
use crate::config::RestConfig;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::guard::Guard;
use crate::job_types::JobTypes;
use crate::routes;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use millstream_core::config::Configuration;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What handlers share.
pub(crate) struct App {
    pub(crate) config: RestConfig,
    /// Where the server listens.
    pub(crate) bound: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) job_types: JobTypes,
    /// The JobManager's effective configuration.
    pub(crate) configuration: Configuration,
    pub(crate) artefacts: Option<Arc<dyn Artefacts>>,
    /// Places for pieces of work that the store does.
    places: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(
        config: RestConfig,
        bound: SocketAddr,
        gateway: Gateway,
        configuration: Configuration,
        artefacts: Option<Arc<dyn Artefacts>>,
    ) -> Self {
        let (job_types, places) = (JobTypes::default(), Arc::new(Semaphore::new(WORK_MAX)));
        Self { config, bound, gateway, job_types, configuration, artefacts, places }
    }

    /// The right to have the store of uploaded programs do one thing.
    pub(crate) fn work(&self) -> Result<Work, ApiError> {
        if !self.config.allows_submission() {
            return Err(ApiError::forbidden(self.why_no_submission()));
        }
        let artefacts = self.artefacts.clone();
        let artefacts = artefacts.ok_or_else(|| {
            ApiError::forbidden("this server keeps no programs; submit with `millstream run`")
        })?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            ApiError::unavailable(format!("{WORK_MAX} uploads and launches are under way"))
        })?;
        Ok(Work::new(artefacts, place))
    }

    fn why_no_submission(&self) -> &'static str {
        if self.config.read_only {
            "this REST server is read-only: the job runs embedded in its own process"
        } else {
            "uploads and submissions over REST are switched off (web.submit.enable: false)"
        }
    }
}

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

    /// Answers one request.
    pub(crate) async fn answer(&self, from: SocketAddr, request: Request<Body>) -> Response {
        let config = &self.0.app.config;
        let audit = Audit::begin(&config.log, from, request.method(), request.uri().path());
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
        if self.0.app.config.read_only && audit::mutates(&parts.method) {
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
