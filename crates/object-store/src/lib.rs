//! State files and conditional records in S3-compatible object stores.
//!
//! A leaf: programs that keep their state in directories do without it, its HTTP and its TLS. In
//! reading order:
//! - [`options`]: which store, with Flink's `s3.*` keys;
//! - [`clients`]: one client per bucket, which all that use the bucket share;
//! - [`bucket`]: a bucket and a prefix, and calls that block until the store has answered;
//! - [`advice`]: what people can do about an error;
//! - [`files`]: [`Storage`](millstream_checkpoint::storage::Storage) on it;
//! - [`upload`]: an object that is being written, in parts if it is large;
//! - [`records`]: [`ConditionalStore`](millstream_checkpoint::pointer::ConditionalStore) on it.
//!
//! Every call waits for the store and belongs on a thread that may, never on one of a runtime.

mod advice;
mod bucket;
mod clients;
mod files;
mod options;
mod records;
mod upload;

pub use bucket::is_object_store;
pub use clients::ObjectStores;
