//! The storage that a directory's name means: a path, or with the feature `object-store` a bucket.
//!
//! Processes of a cluster know from their configuration how object stores are reached. Job processes
//! and clients are told by those who start them, in a variable: what may be secret is neither in the
//! job's graph nor on a command line.

use millstream_api::error::{Error, ErrorCode, Result as Outcome};
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_core::config::Configuration;
use millstream_host::pointer::DirectoryStore;
#[cfg(feature = "object-store")]
use millstream_object_store::{ObjectStores, is_object_store};
use millstream_task::storages::StorageFactory;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `session`, `job-process`: how object stores are reached, as JSON: keys `s3.*` with their values.
pub const OBJECT_STORE: &str = "MILLSTREAM_OBJECT_STORE";

/// Keys that say how object stores are reached begin so.
const KEYS: &str = "s3.";

/// What the environment says of Amazon's object store begins so.
const AWS: &str = "AWS_";

/// What else counts on the way to an object store: certificates and proxies.
const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Opens storages. Cheap to clone.
#[derive(Clone, Default)]
pub struct Storages {
    /// How object stores are reached: `s3.*`.
    configuration: Arc<BTreeMap<String, String>>,
    #[cfg(feature = "object-store")]
    stores: ObjectStores,
}

impl Storages {
    /// What the configuration says of object stores counts.
    pub fn new(configuration: &Configuration) -> Self {
        let ours = configuration.0.iter().filter(|(key, _)| is_object_store_key(key));
        Self::of(ours.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn of(configuration: BTreeMap<String, String>) -> Self {
        Self {
            #[cfg(feature = "object-store")]
            stores: ObjectStores::new(configuration.clone()),
            configuration: Arc::new(configuration),
        }
    }

    /// What whoever started this process said of object stores counts.
    pub fn from_environment() -> Outcome<Self> {
        let told = std::env::var(OBJECT_STORE).unwrap_or_else(|_| "{}".to_owned());
        let configuration = serde_json::from_str(&told).map_err(|error| {
            let summary = format!("`{OBJECT_STORE}` cannot be read");
            Error::new(ErrorCode::Process, summary).why(error.to_string())
        })?;
        Ok(Self::of(configuration))
    }

    /// The variables from which a process that we start learns what we know.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let counts = |(name, _): &(OsString, OsString)| {
            name.to_str().is_some_and(|name| name.starts_with(AWS) || VARIABLES.contains(&name))
        };
        let mut variables: Vec<_> = std::env::vars_os().filter(counts).collect();
        if !self.configuration.is_empty() {
            let told = serde_json::to_string(&*self.configuration).expect("a map of strings");
            variables.push((OBJECT_STORE.into(), told.into()));
        }
        variables
    }

    /// The storage at a path or URI.
    pub fn open(&self, directory: &str) -> Result<Arc<dyn Storage>, StorageError> {
        #[cfg(feature = "object-store")]
        if is_object_store(directory) {
            return self.stores.storage(directory);
        }
        millstream_host::storage::open(directory)
    }

    /// The storage in which a file or directory is, and its name there.
    pub fn open_parent<'a>(
        &self,
        path: &'a str,
    ) -> Result<(Arc<dyn Storage>, &'a str), StorageError> {
        let (parent, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            // A bucket is in nothing.
            Some((scheme, _)) if scheme.ends_with(":/") => (path, ""),
            Some((parent, name)) => (parent, name),
            None => (".", path),
        };
        Ok((self.open(parent)?, name))
    }

    /// Deletes a file, or a directory with all that is in it.
    pub fn delete(&self, path: &str) -> Result<(), StorageError> {
        let (parent, name) = self.open_parent(path)?;
        parent.delete(name)
    }

    /// The records at a path or URI, which need not be there yet. A store that has not answered after
    /// `patience` is not waited for any longer.
    pub fn records(
        &self,
        directory: &str,
        patience: Duration,
    ) -> Result<Arc<dyn ConditionalStore>, StorageError> {
        #[cfg(feature = "object-store")]
        if is_object_store(directory) {
            return self.stores.records(directory, patience);
        }
        // A file system gives up when it does.
        let _ = patience;
        let directory = millstream_host::storage::open(directory)?;
        Ok(Arc::new(DirectoryStore::at(Path::new(directory.root()))))
    }

    /// The same, for somebody who is going to write: a directory is made if it is not there.
    pub fn create_records(
        &self,
        directory: &str,
        patience: Duration,
    ) -> Result<Arc<dyn ConditionalStore>, StorageError> {
        let records = self.records(directory, patience)?;
        if directory.contains("://") && !directory.starts_with("file:") {
            return Ok(records);
        }
        Ok(Arc::new(DirectoryStore::create(Path::new(records.root()))?))
    }

    /// For whoever opens storages without knowing us.
    pub fn factory(&self) -> StorageFactory {
        let storages = self.clone();
        Arc::new(move |directory| storages.open(directory))
    }
}

/// Whether a key says how object stores are reached: something that a job does not carry about.
pub fn is_object_store_key(key: &str) -> bool {
    key.starts_with(KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(path: &str) -> (String, String) {
        let storages = Storages::default();
        let (parent, name) = storages.open_parent(path).expect("it can be opened");
        (parent.root().to_owned(), name.to_owned())
    }

    #[test]
    fn whatever_can_be_named_can_be_deleted() {
        let root = std::env::temp_dir().join(format!("millstream-delete-{}", std::process::id()));
        let storages = Storages::default();
        let directory = root.display().to_string();
        let storage = storages.open(&directory).expect("a directory");
        storage.create("chk-1/a").and_then(|file| file.finish()).expect("is written");
        storages.delete(&format!("{directory}/chk-1/a")).expect("it is deleted");
        storages.delete(&format!("{directory}/chk-1")).expect("it is deleted");
        storages.delete(&format!("{directory}/none/a")).expect("what is not there is no error");
        assert_eq!(storage.list(""), Ok(Vec::new()));
        std::fs::remove_dir_all(&root).expect("can be removed");
        assert_eq!(parent("/state"), ("/".to_owned(), "state".to_owned()));
        assert_eq!(parent("state").1, "state");
    }

    #[test]
    #[cfg(feature = "object-store")]
    fn paths_in_a_bucket_are_cut_like_those_in_a_directory() {
        let pair = |root: &str, name: &str| (root.to_owned(), name.to_owned());
        assert_eq!(parent("s3://b/jobs/chk-1/_metadata"), pair("s3://b/jobs/chk-1", "_metadata"));
        assert_eq!(parent("s3://b/jobs"), pair("s3://b", "jobs"));
        assert_eq!(parent("s3://b"), pair("s3://b", ""));
    }

    #[test]
    fn only_what_is_about_object_stores_is_told() {
        let mut configuration = Configuration::default();
        configuration.set("s3.secret-key", "x=\"y\"\nz");
        configuration.set("rest.port", "0");
        let told = Storages::new(&configuration).environment();
        let told = told.iter().find(|(name, _)| name == OBJECT_STORE).expect("it is told");
        assert_eq!(told.1.to_str(), Some(r#"{"s3.secret-key":"x=\"y\"\nz"}"#));
        let nothing = Storages::new(&Configuration::default()).environment();
        assert!(nothing.iter().all(|(name, _)| name != OBJECT_STORE));
    }
}
