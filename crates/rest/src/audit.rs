//! One line for each mutating call: who, what, with what result.

use crate::config::LogHook;
use hyper::{Method, StatusCode};
use std::net::SocketAddr;
use std::time::Instant;

/// Whether a request may change something.
pub(crate) fn mutates(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Writes its line when it is dropped: also when the client goes away before it has an answer.
pub(crate) struct Audit {
    log: LogHook,
    from: SocketAddr,
    method: Method,
    /// Without the query, which may hold arguments of a program.
    path: String,
    began: Instant,
    result: Option<StatusCode>,
}

impl Audit {
    /// Begins the line of a request, if it needs one.
    pub(crate) fn begin(
        log: &LogHook,
        from: SocketAddr,
        method: &Method,
        path: &str,
    ) -> Option<Self> {
        mutates(method).then(|| Self {
            log: log.clone(),
            from,
            method: method.clone(),
            path: path.to_owned(),
            began: Instant::now(),
            result: None,
        })
    }

    /// The request has been answered.
    pub(crate) fn end(mut self, result: StatusCode) {
        self.result = Some(result);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let Self { from, method, path, .. } = self;
        let result = match self.result {
            Some(status) => status.as_u16().to_string(),
            None => "unknown, the client went away".to_owned(),
        };
        let took = self.began.elapsed().as_millis();
        (self.log)(&format!("rest audit: {from} {method} {path} -> {result} ({took} ms)"));
    }
}
