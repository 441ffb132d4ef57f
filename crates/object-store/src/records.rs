//! Records as objects that are replaced by compare-and-set on their entity tag.
//!
//! An entity tag may be no more than a hash of the content. So that no two versions ever have the
//! same one, each begins with 16 bytes that no other write has.

use crate::bucket::{Bucket, is_ambiguous, wait};
use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use millstream_checkpoint::storage::StorageError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in front of a record's own.
const MARK_BYTES: usize = 16;

/// Records below a prefix.
pub(crate) struct Records(pub(crate) Arc<Bucket>);

impl ConditionalStore for Records {
    fn root(&self) -> &str {
        self.0.uri()
    }

    fn read(&self, key: &str) -> Result<Option<(Version, Vec<u8>)>, StorageError> {
        let found = self.fetch(key)?;
        found
            .map(|(version, mut content)| match content.len() {
                MARK_BYTES.. => Ok((version, content.split_off(MARK_BYTES))),
                n => {
                    let cause = format!("it has {n} bytes and was not written by this program");
                    Err(self.0.error("read", key, cause, false))
                }
            })
            .transpose()
    }

    fn put_if(&self, key: &str, bytes: &[u8], expected: Option<&Version>) -> Put {
        let object = match self.0.object("write", key) {
            Ok(object) => object,
            Err(error) => return Put::Failed(error),
        };
        let content = [&mark()[..], bytes].concat();
        let mode = match expected {
            None => PutMode::Create,
            Some(Version(tag)) => {
                PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None })
            }
        };
        match self.write(&object, content.clone(), mode) {
            Ok(Some(tag)) => Put::Written(Version(tag)),
            // Without a tag in the answer, or after one that says no to what may have been a second
            // try of the client's own: what is there tells.
            Ok(None) => self.look(key, &content),
            Err(object_store::Error::AlreadyExists { .. })
            | Err(object_store::Error::Precondition { .. })
            | Err(object_store::Error::NotModified { .. }) => self.look(key, &content),
            Err(error) => {
                let ambiguous = is_ambiguous(&error);
                let error = self.0.changed("write", key, &error);
                if ambiguous { Put::Unknown(error) } else { Put::Failed(error) }
            }
        }
    }
}

impl Records {
    fn write(
        &self,
        object: &Path,
        content: Vec<u8>,
        mode: PutMode,
    ) -> object_store::Result<Option<String>> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from(content);
        wait(self.0.client().put_opts(object, payload, options)).map(|result| result.e_tag)
    }

    fn fetch(&self, key: &str) -> Result<Option<(Version, Vec<u8>)>, StorageError> {
        let object = self.0.object("read", key)?;
        let fetched = wait(async {
            let found = self.0.client().get(&object).await?;
            let tag = found.meta.e_tag.clone();
            Ok((tag, found.bytes().await?))
        });
        match fetched {
            Ok((Some(tag), content)) => Ok(Some((Version(tag), content.into()))),
            Ok((None, _)) => Err(self.0.error("read", key, "the store gives no entity tag", false)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.0.refused("read", key, &error)),
        }
    }

    /// Whether what is there is what was to be written.
    fn look(&self, key: &str, content: &[u8]) -> Put {
        match self.fetch(key) {
            Ok(Some((version, found))) if found == content => Put::Written(version),
            Ok(_) => Put::Conflict,
            Err(error) => Put::Unknown(StorageError { unknown: true, ..error }),
        }
    }
}

/// Bytes that no other write has: 64 random ones of this process, and a count.
fn mark() -> [u8; MARK_BYTES] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut mark = [0; MARK_BYTES];
    // Keyed anew with random keys for every state that is made: no need for a source of our own.
    mark[..8].copy_from_slice(&RandomState::new().hash_one(count).to_le_bytes());
    mark[8..].copy_from_slice(&RandomState::new().hash_one(!count).to_le_bytes());
    mark
}
