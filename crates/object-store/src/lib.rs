//! State files and conditional records in S3-compatible object stores.
//!
//! A leaf: programs that keep their state in directories do without it, its HTTP and its TLS. In
//! reading order:
//! - [`options`]: which store, with Flink's `s3.*` keys;
//! - [`bucket`]: a bucket and a prefix, and calls that block until the store has answered;
//! - [`files`]: [`Storage`](millstream_checkpoint::storage::Storage) on it;
//! - [`upload`]: an object that is being written, in parts if it is large;
//! - [`records`]: [`ConditionalStore`](millstream_checkpoint::pointer::ConditionalStore) on it.

mod bucket;
mod files;
mod options;
mod records;
mod upload;

pub use bucket::is_object_store;

use millstream_checkpoint::pointer::ConditionalStore;
use millstream_checkpoint::storage::{Storage, StorageError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state files below `s3://BUCKET/PREFIX`. The configuration says where the store is and who we
/// are, with Flink's keys (`s3.endpoint`, `s3.region`, `s3.access-key`, `s3.secret-key`,
/// `s3.path-style-access`); what it leaves open is taken from the environment (`AWS_*`).
///
/// Nothing is asked of the store before the first call.
pub fn storage(
    uri: &str,
    configuration: &BTreeMap<String, String>,
) -> Result<Arc<dyn Storage>, StorageError> {
    let bucket = bucket::Bucket::open(uri, configuration)?;
    Ok(Arc::new(files::Files(Arc::new(bucket))))
}

/// Records below `s3://BUCKET/PREFIX`; configuration as for [`storage`]. The store has to honour
/// `If-Match` and `If-None-Match`.
pub fn records(
    uri: &str,
    configuration: &BTreeMap<String, String>,
) -> Result<Arc<dyn ConditionalStore>, StorageError> {
    let bucket = bucket::Bucket::open(uri, configuration)?;
    Ok(Arc::new(records::Records(Arc::new(bucket))))
}
