//! One client per bucket: connections, certificates and credentials are shared by all that use it.

use crate::bucket::{Bucket, address};
use crate::files::Files;
use crate::options::{self, Patience};
use crate::records::Records;
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_checkpoint::storage::{Storage, StorageError};
use object_store::aws::AmazonS3;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many clients are kept; a cluster uses one or two buckets.
const CLIENTS_MAX: usize = 64;

/// The object stores that a configuration describes. Cheap to clone.
#[derive(Clone, Default)]
pub struct ObjectStores(Arc<Shared>);

#[derive(Default)]
struct Shared {
    configuration: BTreeMap<String, String>,
    clients: Mutex<BTreeMap<(String, Patience), Arc<AmazonS3>>>,
}

impl ObjectStores {
    /// The configuration says where the store is and who we are, with Flink's keys (`s3.endpoint`,
    /// `s3.region`, `s3.access-key`, `s3.secret-key`, `s3.path-style-access`); what it leaves open is
    /// taken from the environment (`AWS_*`). Other keys are of no interest.
    pub fn new(configuration: BTreeMap<String, String>) -> Self {
        Self(Arc::new(Shared { configuration, clients: Mutex::default() }))
    }

    /// The state files below `s3://BUCKET/PREFIX`. Nothing is asked of the store before the first
    /// call.
    pub fn storage(&self, uri: &str) -> Result<Arc<dyn Storage>, StorageError> {
        let bucket = self.bucket(uri, Patience::Files)?;
        Ok(Arc::new(Files(Arc::new(bucket))))
    }

    /// Records below `s3://BUCKET/PREFIX`. The store has to honour `If-Match` and `If-None-Match`.
    /// One that has not answered after `patience` is not waited for any longer: whoever changes a
    /// record has to decide then, and asks again.
    pub fn records(
        &self,
        uri: &str,
        patience: Duration,
    ) -> Result<Arc<dyn ConditionalStore>, StorageError> {
        let bucket = self.bucket(uri, Patience::Records(patience))?;
        Ok(Arc::new(Records(Arc::new(bucket))))
    }

    fn bucket(&self, uri: &str, patience: Patience) -> Result<Bucket, StorageError> {
        let refuse = |cause: String| StorageError {
            attempt: "use object store".to_owned(),
            path: uri.to_owned(),
            cause,
            unknown: false,
        };
        let (name, prefix) = address(uri)
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| refuse("write `s3://BUCKET/PREFIX`".to_owned()))?;
        let client = self.client(name, patience).map_err(|error| refuse(error.to_string()))?;
        Ok(Bucket::new(client, uri, prefix))
    }

    fn client(&self, bucket: &str, patience: Patience) -> object_store::Result<Arc<AmazonS3>> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (bucket.to_owned(), patience);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = Arc::new(options::client(bucket, &self.0.configuration, patience)?);
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_of_another_kind_is_refused_with_what_to_write() {
        for uri in ["/state", "s3://", "s3:///x", "hdfs://a/b"] {
            let error = ObjectStores::default().storage(uri).err().expect(uri);
            assert!(error.to_string().contains("write `s3://BUCKET/PREFIX`"), "{error}");
        }
    }

    #[test]
    fn a_bucket_has_one_client_for_its_files_and_one_for_its_records() {
        let stores = ObjectStores::default();
        for prefix in ["a", "b/c"] {
            stores.storage(&format!("s3://bucket/{prefix}")).expect("a URI");
            stores.records(&format!("s3://bucket/{prefix}"), Duration::from_secs(1)).expect("one");
        }
        assert_eq!(stores.0.clients.lock().expect("not poisoned").len(), 2);
    }
}
