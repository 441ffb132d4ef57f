//! State files as objects. An object appears as a whole or not at all, so nothing has to be renamed.

use crate::bucket::{Bucket, wait};
use crate::upload::Upload;
use millstream_checkpoint::storage::{StateOutput, Storage, StorageError};
use object_store::{ObjectStore, ObjectStoreExt};
use std::ops::Range;
use std::sync::Arc;

/// State files below a prefix.
pub(crate) struct Files(pub(crate) Arc<Bucket>);

impl Storage for Files {
    fn root(&self) -> &str {
        self.0.uri()
    }

    fn below(&self, path: &str) -> Arc<dyn Storage> {
        Arc::new(Self(Arc::new(self.0.below(path))))
    }

    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError> {
        let object = self.0.object("write", path)?;
        Ok(Box::new(Upload::new(self.0.clone(), path.to_owned(), object)))
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let object = self.0.object("read", path)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = range.end - range.start;
        let bytes = wait(self.0.client().get_range(&object, range))
            .map_err(|error| self.0.refused("read", path, &error))?;
        if bytes.len() as u64 != wanted {
            let cause = format!("{wanted} bytes were asked for, {} came", bytes.len());
            return Err(self.0.error("read", path, cause, false));
        }
        Ok(bytes.into())
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let object = self.0.object("look at", path)?;
        match wait(self.0.client().head(&object)) {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.0.refused("look at", path, &error)),
        }
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let object = self.0.object("delete", path)?;
        self.delete_object(path, &object)?;
        for below in self.list(path)? {
            let object = self.0.object("delete", &below)?;
            self.delete_object(&below, &object)?;
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StorageError> {
        let directory = self.0.directory("list", path)?;
        let found = wait(list_all(self.0.client().as_ref(), &directory))
            .map_err(|error| self.0.refused("list", path, &error))?;
        let mut paths: Vec<String> =
            found.iter().filter_map(|object| self.0.path_of(object)).collect();
        paths.sort_unstable();
        Ok(paths)
    }
}

impl Files {
    fn delete_object(
        &self,
        path: &str,
        object: &object_store::path::Path,
    ) -> Result<(), StorageError> {
        match wait(self.0.client().delete(object)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.0.changed("delete", path, &error)),
        }
    }
}

/// All objects below a directory, level by level.
async fn list_all(
    store: &dyn ObjectStore,
    directory: &object_store::path::Path,
) -> object_store::Result<Vec<object_store::path::Path>> {
    let (mut found, mut open) = (Vec::new(), vec![directory.clone()]);
    while let Some(directory) = open.pop() {
        let level = store.list_with_delimiter(Some(&directory)).await?;
        found.extend(level.objects.into_iter().map(|object| object.location));
        open.extend(level.common_prefixes);
    }
    Ok(found)
}
