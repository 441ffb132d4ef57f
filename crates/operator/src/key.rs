//! Keys of records: selectors, erased per batch, and the hashing that a keyed exchange does.

use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, cast};
use millstream_shuffle::partition::Keying;
use std::marker::PhantomData;

/// Finds the key of a record. Erased per batch, so that the type of a stream stays nameable.
pub trait KeySelector<K, T>: Send {
    /// Appends the keys of the records.
    fn keys(&self, records: &[T], out: &mut Vec<K>);

    /// Appends the hashes of the keys of the records.
    fn hashes(&self, records: &[T], out: &mut Vec<u64>);

    /// A copy for another operator or subtask.
    fn boxed(&self) -> Box<dyn KeySelector<K, T>>;
}

/// Computes the key.
#[derive(Clone)]
pub struct ByValue<F>(pub F);

/// Points to the key inside the record.
#[derive(Clone)]
pub struct ByRef<F>(pub F);

impl<K, T, F> KeySelector<K, T> for ByValue<F>
where
    K: Key,
    T: Record,
    F: Fn(&T) -> K + Clone + Send + 'static,
{
    fn keys(&self, records: &[T], out: &mut Vec<K>) {
        out.extend(records.iter().map(&self.0));
    }

    fn hashes(&self, records: &[T], out: &mut Vec<u64>) {
        out.extend(records.iter().map(|record| (self.0)(record).hash64()));
    }

    fn boxed(&self) -> Box<dyn KeySelector<K, T>> {
        Box::new(self.clone())
    }
}

impl<K, T, F> KeySelector<K, T> for ByRef<F>
where
    K: Key,
    T: Record,
    F: for<'a> Fn(&'a T) -> &'a K + Clone + Send + 'static,
{
    fn keys(&self, records: &[T], out: &mut Vec<K>) {
        out.extend(records.iter().map(|record| (self.0)(record).clone()));
    }

    fn hashes(&self, records: &[T], out: &mut Vec<u64>) {
        out.extend(records.iter().map(|record| (self.0)(record).hash64()));
    }

    fn boxed(&self) -> Box<dyn KeySelector<K, T>> {
        Box::new(self.clone())
    }
}

/// Finds the keys of a batch of a keyed stream, whose hashes have come with it.
///
/// The hash of the first is computed once more. A key that hashes to another number here than where the
/// record comes from would have its state in two places, or would not be found after a restore: that must
/// not go unnoticed, and once per batch costs nothing.
pub(crate) fn find_keys<K: Key, T: Record>(
    selector: &dyn KeySelector<K, T>,
    batch: &Batch<T>,
    keys: &mut Vec<K>,
) -> Result<(), OperatorError> {
    assert_eq!(batch.hashes.len(), batch.items.len(), "a keyed stream carries its hashes");
    keys.clear();
    selector.keys(&batch.items, keys);
    match (keys.first(), batch.hashes.first()) {
        (Some(key), Some(hash)) if key.hash64() != *hash => Err(unstable::<K>()),
        _ => Ok(()),
    }
}

#[cold]
fn unstable<K>() -> OperatorError {
    OperatorError::new(format!(
        "a key of type `{}` hashes to another number here than where its record comes from: the key \
         selector has to give the same key of a record in every process, and `Record::encode` of the key \
         the same bytes: nothing in it may depend on addresses, threads, random numbers or the order of \
         a hash map",
        std::any::type_name::<K>()
    ))
}

/// Hashes batches for a keyed exchange.
pub struct SelectorKeying<K, T> {
    selector: Box<dyn KeySelector<K, T>>,
    _key: PhantomData<fn() -> K>,
}

impl<K, T> SelectorKeying<K, T> {
    /// Hashes what the selector finds.
    pub fn new(selector: Box<dyn KeySelector<K, T>>) -> Self {
        Self { selector, _key: PhantomData }
    }
}

impl<K: Key, T: Record> Keying for SelectorKeying<K, T> {
    fn hash(&mut self, batch: &mut dyn AnyBatch) {
        let batch = cast::<T>(batch);
        batch.hashes.clear();
        self.selector.hashes(&batch.items, &mut batch.hashes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hashes: Vec<u64>) -> Result<Vec<u64>, OperatorError> {
        let batch = Batch { hashes, ..Batch::of(vec![(7_u64, 'a'), (8, 'b')]) };
        let mut keys = vec![1, 2, 3];
        let selector = ByValue(|record: &(u64, char)| record.0);
        find_keys(&selector, &batch, &mut keys).map(|()| keys)
    }

    #[test]
    fn a_hash_that_is_not_that_of_the_key_is_told_with_the_type_of_the_key() {
        assert_eq!(found(vec![7_u64.hash64(), 8_u64.hash64()]), Ok(vec![7, 8]));
        let error = found(vec![8_u64.hash64(), 8_u64.hash64()]).expect_err("another key's");
        assert!(error.message.contains("a key of type `u64` hashes to another"), "{error}");
    }
}
