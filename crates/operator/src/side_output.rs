//! Side outputs: further streams that an operator gives besides its own, each under a typed tag.
//!
//! A user's function gives a record under a tag ([`OutputTag`]) with `ctx.output`; the program reads
//! them with `stream.side_output(&tag)`. What nobody reads is dropped. The operator keeps
//! [`SideOutputs`], in which its task attaches a batch for each tag that is read, and which the task
//! empties after each call: so side outputs are bounded and travel as all other records do.

use crate::flat_map::check_surplus_of;
use millstream_core::time::Timestamp;
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{BoxBatch, cast};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Names a side output and says what its records are. Within one operator a name stands for one type.
///
/// ```
/// use millstream_operator::side_output::OutputTag;
///
/// let late = OutputTag::<(String, u64)>::new("late");
/// assert_eq!(late.name(), "late");
/// ```
pub struct OutputTag<T> {
    name: Arc<str>,
    _record: PhantomData<fn(T) -> T>,
}

impl<T: Record> OutputTag<T> {
    /// A tag of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), _record: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Clone for OutputTag<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), _record: PhantomData }
    }
}

impl<T> fmt::Debug for OutputTag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputTag<{}>({:?})", type_name::<T>(), self.name)
    }
}

/// The side outputs of one operator of one task.
#[derive(Default)]
pub struct SideOutputs {
    /// Those that somebody reads, in the order of the plan.
    sides: Vec<Side>,
    /// There are records in one of them.
    pending: bool,
    /// One of them has a full batch.
    full: bool,
    /// The time of what is given out now.
    time: Option<Timestamp>,
}

struct Side {
    name: Arc<str>,
    batch: BoxBatch,
    target: usize,
}

impl SideOutputs {
    /// No side output is read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody reads the side output of this name; `batch` is an empty batch of its type.
    pub fn attach(&mut self, name: Arc<str>, batch: BoxBatch) {
        let target = batch.target();
        self.sides.push(Side { name, batch, target });
    }

    /// Whether anybody reads any.
    pub fn is_attached(&self) -> bool {
        !self.sides.is_empty()
    }

    /// Whether anybody reads this one: who computes a record only for it can ask before.
    pub fn is_read<T>(&self, tag: &OutputTag<T>) -> bool {
        self.sides.iter().any(|side| side.name == tag.name)
    }

    /// What is given out from now on has this time, or none.
    #[inline]
    pub fn set_time(&mut self, time: Option<Timestamp>) {
        self.time = time;
    }

    /// Gives a record out.
    #[inline]
    pub fn emit<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        if !self.sides.is_empty() {
            self.emit_attached(tag, record);
        }
    }

    fn emit_attached<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        let Some(side) = self.sides.iter_mut().find(|side| side.name == tag.name) else { return };
        let Some(batch) = side.batch.as_any().downcast_mut() else {
            panic!(
                "side output `{}` was given a {}, but is read as another type: use one tag for both",
                tag.name,
                type_name::<T>()
            )
        };
        let batch: &mut millstream_shuffle::batch::Batch<T> = batch;
        batch.items.push(record);
        batch.stamp(batch.items.len() - 1, self.time);
        self.pending = true;
        self.full |= batch.items.len() >= side.target;
    }

    /// Whether the operator should stop until its side outputs have been taken.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there is something to be taken.
    #[inline]
    pub fn has_pending(&self) -> bool {
        self.pending
    }

    /// One call of a user's function may give more than there is room for, but not without a bound.
    pub fn check(&self) -> Result<(), OperatorError> {
        if !self.full {
            return Ok(());
        }
        let mut sides = self.sides.iter();
        sides.try_for_each(|side| check_surplus_of(side.batch.len(), side.batch.record_bytes()))
    }

    /// Gives every batch that is not empty, with its number, to somebody who empties it.
    pub fn take<E>(
        &mut self,
        mut give: impl FnMut(usize, &mut BoxBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        (self.pending, self.full) = (false, false);
        for (at, side) in self.sides.iter_mut().enumerate() {
            if !side.batch.is_empty() {
                give(at, &mut side.batch)?;
            }
        }
        Ok(())
    }

    /// Takes what was given under a tag that is attached: for tests that drive an operator alone.
    pub fn take_records<T: Record>(&mut self, tag: &OutputTag<T>) -> Vec<T> {
        let side = self.sides.iter_mut().find(|side| side.name == tag.name);
        side.map_or(Vec::new(), |side| std::mem::take(&mut cast::<T>(side.batch.as_mut()).items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_shuffle::batch::Batch;

    fn attached() -> (SideOutputs, OutputTag<u64>) {
        let (mut sides, tag) = (SideOutputs::new(), OutputTag::new("odd"));
        sides.attach(tag.name().into(), Box::new(Batch::<u64>::new()));
        (sides, tag)
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_the_rest_is_taken_once() {
        let (mut sides, tag) = attached();
        sides.emit(&OutputTag::<String>::new("unread"), "x".to_owned());
        assert!(!sides.has_pending());
        sides.emit(&tag, 7);
        assert!(sides.has_pending() && !sides.is_full());
        let mut taken = Vec::new();
        let give = |at, batch: &mut BoxBatch| {
            taken.push((at, std::mem::take(&mut cast::<u64>(batch.as_mut()).items)));
            Ok::<(), ()>(())
        };
        sides.take(give).expect("nothing fails");
        assert_eq!(taken, [(0, vec![7])]);
        assert!(!sides.has_pending());
    }

    #[test]
    fn a_full_batch_asks_the_operator_to_stop() {
        let (mut sides, tag) = attached();
        for i in 0..Batch::<u64>::target() as u64 {
            assert!(!sides.is_full());
            sides.emit(&tag, i);
        }
        assert!(sides.is_full());
        assert_eq!(sides.check(), Ok(()));
    }

    #[test]
    #[should_panic(expected = "side output `odd` was given a")]
    fn one_name_stands_for_one_type() {
        let (mut sides, _) = attached();
        sides.emit(&OutputTag::<String>::new("odd"), "x".to_owned());
    }
}
