//! The user's own partitioner.

use millstream_core::Record;
use millstream_shuffle::batch::{BoxBatch, cast};
use millstream_shuffle::partition::Router;
use std::marker::PhantomData;

/// Routes by a function of the record and the number of consumers.
pub struct CustomRouter<T, F> {
    function: F,
    targets: Vec<u32>,
    _record: PhantomData<fn(T)>,
}

impl<T, F: Fn(&T, u32) -> u32> CustomRouter<T, F> {
    /// Routes by this function.
    pub fn new(function: F) -> Self {
        Self { function, targets: Vec::new(), _record: PhantomData }
    }
}

impl<T: Record, F: Fn(&T, u32) -> u32 + Send> Router for CustomRouter<T, F> {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        let consumers = open.len() as u32;
        self.targets.clear();
        for record in &cast::<T>(batch.as_mut()).items {
            let target = (self.function)(record, consumers);
            assert!(
                target < consumers,
                "the partitioner chose consumer {target}, but there are {consumers}: \
                 return a number below the second argument"
            );
            self.targets.push(target);
        }
        batch.distribute(&self.targets, open);
    }
}
