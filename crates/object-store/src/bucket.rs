//! A bucket and a prefix in it, and calls that block until the store has answered.

use crate::advice::explain;
use millstream_checkpoint::storage::StorageError;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;

/// Part of a bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    client: Arc<AmazonS3>,
    /// As the user writes it.
    uri: String,
    /// Without slashes at its ends; perhaps empty.
    prefix: String,
}

/// Whether a URI names an object store, and not a directory.
pub fn is_object_store(uri: &str) -> bool {
    address(uri).is_some()
}

/// Bucket and prefix.
pub(crate) fn address(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let known = matches!(scheme, "s3" | "s3a" | "s3p");
    known.then(|| rest.split_once('/').unwrap_or((rest, "")))
}

impl Bucket {
    /// What is below a prefix, through the client of its bucket.
    pub(crate) fn new(client: Arc<AmazonS3>, uri: &str, prefix: &str) -> Self {
        let (uri, prefix) = (uri.trim_end_matches('/'), prefix.trim_matches('/'));
        Self { client, uri: uri.to_owned(), prefix: prefix.to_owned() }
    }

    /// The part of it below a path.
    pub(crate) fn below(&self, path: &str) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        Self { client: self.client.clone(), uri: format!("{}/{path}", self.uri), prefix }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    pub(crate) fn client(&self) -> &Arc<AmazonS3> {
        &self.client
    }

    /// The name of an object. A path that is no plain path below us is refused.
    pub(crate) fn object(&self, attempt: &str, path: &str) -> Result<Path, StorageError> {
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let whole = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        match Path::parse(&whole) {
            Ok(object) if plain => Ok(object),
            Ok(_) => Err(self.error(attempt, path, "it is not a path below the root", false)),
            Err(error) => Err(self.error(attempt, path, error, false)),
        }
    }

    /// Everything below us, or below a path.
    pub(crate) fn directory(&self, attempt: &str, path: &str) -> Result<Path, StorageError> {
        match (path, self.prefix.as_str()) {
            ("", "") => Ok(Path::default()),
            ("", prefix) => {
                Path::parse(prefix).map_err(|error| self.error(attempt, path, error, false))
            }
            _ => self.object(attempt, path),
        }
    }

    /// The path below us of an object that was listed.
    pub(crate) fn path_of(&self, object: &Path) -> Option<String> {
        let whole = object.as_ref();
        match self.prefix.as_str() {
            "" => Some(whole.to_owned()),
            prefix => whole.strip_prefix(prefix)?.strip_prefix('/').map(str::to_owned),
        }
    }

    pub(crate) fn error(
        &self,
        attempt: &str,
        path: &str,
        cause: impl std::fmt::Display,
        unknown: bool,
    ) -> StorageError {
        StorageError {
            attempt: attempt.to_owned(),
            path: format!("{}/{path}", self.uri),
            cause: cause.to_string(),
            unknown,
        }
    }

    /// A request that changes nothing has failed.
    pub(crate) fn refused(
        &self,
        attempt: &str,
        path: &str,
        error: &object_store::Error,
    ) -> StorageError {
        self.error(attempt, path, explain(error), false)
    }

    /// A request that changes something has failed: perhaps only its answer was lost.
    pub(crate) fn changed(
        &self,
        attempt: &str,
        path: &str,
        error: &object_store::Error,
    ) -> StorageError {
        self.error(attempt, path, explain(error), is_ambiguous(error))
    }
}

/// Whether the store may have done what it was asked to.
pub(crate) fn is_ambiguous(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    !matches!(
        error,
        E::NotFound { .. }
            | E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::UnknownConfigurationKey { .. }
    )
}

/// Waits for the store's answer. Belongs on a thread that may block.
pub(crate) fn wait<R>(answer: impl Future<Output = R>) -> R {
    runtime().block_on(answer)
}

/// One thread for the connections of all object stores of this process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()
            .expect("a thread can be started")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(uri: &str) -> Bucket {
        let client = object_store::aws::AmazonS3Builder::new().with_bucket_name("state").build();
        let (_, prefix) = address(uri).expect("a URI");
        Bucket::new(Arc::new(client.expect("enough is known")), uri, prefix)
    }

    #[test]
    fn objects_are_named_below_the_prefix_and_nowhere_else() {
        let bucket = bucket("s3://state/jobs/");
        let object = |path| bucket.object("read", path).map(|object| object.to_string());
        assert_eq!(object("chk-1/a").as_deref(), Ok("jobs/chk-1/a"));
        for path in ["", "/a", "../a", "a/../b", "a//b", "./a"] {
            let error = object(path).expect_err(path);
            assert!(error.path.starts_with("s3://state/jobs/"), "{error}");
        }
        let below = bucket.below("abc");
        assert_eq!(below.uri(), "s3://state/jobs/abc");
        let object = below.object("read", "x").expect("a path");
        assert_eq!(below.path_of(&object).as_deref(), Some("x"));
        assert_eq!(bucket.path_of(&object).as_deref(), Some("abc/x"));
    }

    #[test]
    fn object_stores_are_told_from_directories() {
        assert!(is_object_store("s3://b/x") && is_object_store("s3a://b"));
        assert!(!is_object_store("/b") && !is_object_store("file:///b"));
    }
}
