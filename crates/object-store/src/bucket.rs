//! A bucket and a prefix in it, and calls that block until the store has answered.

use crate::options;
use millstream_checkpoint::storage::StorageError;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use std::collections::BTreeMap;
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
fn address(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let known = matches!(scheme, "s3" | "s3a" | "s3p");
    known.then(|| rest.split_once('/').unwrap_or((rest, "")))
}

impl Bucket {
    pub(crate) fn open(
        uri: &str,
        configuration: &BTreeMap<String, String>,
    ) -> Result<Self, StorageError> {
        let refuse = |cause: String| StorageError {
            attempt: "use object store".to_owned(),
            path: uri.to_owned(),
            cause,
            unknown: false,
        };
        let (bucket, prefix) = address(uri)
            .filter(|(bucket, _)| !bucket.is_empty())
            .ok_or_else(|| refuse("write `s3://BUCKET/PREFIX`".to_owned()))?;
        let client =
            options::client(bucket, configuration).map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            client: Arc::new(client),
            uri: uri.trim_end_matches('/').to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
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
        self.error(attempt, path, whole(error), false)
    }

    /// A request that changes something has failed: perhaps only its answer was lost.
    pub(crate) fn changed(
        &self,
        attempt: &str,
        path: &str,
        error: &object_store::Error,
    ) -> StorageError {
        self.error(attempt, path, whole(error), is_ambiguous(error))
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

/// An error with its causes: the client's own text often names the last one only.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
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

    fn bucket(uri: &str) -> Result<Bucket, StorageError> {
        let keys = [("s3.endpoint", "http://127.0.0.1:1"), ("s3.region", "nowhere")];
        let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Bucket::open(uri, &BTreeMap::from(keys))
    }

    #[test]
    fn objects_are_named_below_the_prefix_and_nowhere_else() {
        let bucket = bucket("s3://state/jobs/").expect("a URI");
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
    fn a_uri_of_another_kind_is_refused_with_what_to_write() {
        for uri in ["/state", "s3://", "s3:///x", "hdfs://a/b"] {
            let error = bucket(uri).err().expect(uri);
            assert!(error.to_string().contains("write `s3://BUCKET/PREFIX`"), "{error}");
        }
        assert!(is_object_store("s3://b/x") && is_object_store("s3a://b"));
        assert!(!is_object_store("/b") && !is_object_store("file:///b"));
    }
}
