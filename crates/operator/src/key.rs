//! Keys of records: selectors, erased per batch, and the hashing that a keyed exchange does.

use millstream_core::{Key, Record};
use millstream_shuffle::batch::{AnyBatch, cast};
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
