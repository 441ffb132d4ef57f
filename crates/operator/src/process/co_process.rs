//! Functions of two inputs: [`CoProcessFunction`] without a key, [`KeyedCoProcessFunction`] with state
//! and timers per key that both inputs share.
//!
//! They run in the operators for one input, on records that are marked with their input
//! ([`Either`]).

use super::context::ProcessContext;
use super::function::{FunctionResult, KeyedProcessFunction, Timer};
use super::operator_process::{OperatorContext, ProcessFunction};
use crate::context::TaskContext;
use crate::either::Either;
use crate::key::KeySelector;
use millstream_core::{Key, Record};
use millstream_state::KeyedState;
use millstream_state::operator_state::OperatorState;

/// Handles the records of two streams one by one, as they come.
pub trait CoProcessFunction<A: Record, B: Record>: Clone + Send + 'static {
    /// What each subtask has: a struct with `#[derive(OperatorState)]`, or `()`.
    type State: OperatorState;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask, and before its state is there.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record of the first input has come.
    fn process_first(
        &mut self,
        record: A,
        ctx: &mut OperatorContext<'_, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// A record of the second input has come.
    fn process_second(
        &mut self,
        record: B,
        ctx: &mut OperatorContext<'_, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// Handles the records of two keyed streams one by one, as they come. The state and the timers of a key
/// are the same for both.
pub trait KeyedCoProcessFunction<K: Key, A: Record, B: Record>: Clone + Send + 'static {
    /// What each key has: a struct with `#[derive(KeyedState)]`, or `()`.
    type State: KeyedState;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record of the first input has come.
    fn process_first(
        &mut self,
        record: A,
        ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// A record of the second input has come.
    fn process_second(
        &mut self,
        record: B,
        ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// The time of a timer has come. `ctx` is of the key for which it was registered.
    fn on_timer(
        &mut self,
        _timer: Timer,
        _ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult {
        Ok(())
    }

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// A function of two inputs as one of marked records.
#[derive(Clone)]
pub struct OfEither<F>(pub F);

impl<A: Record, B: Record, F: CoProcessFunction<A, B>> ProcessFunction<Either<A, B>>
    for OfEither<F>
{
    type State = F::State;
    type Out = F::Out;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        self.0.open(context)
    }

    #[inline]
    fn process(
        &mut self,
        record: Either<A, B>,
        ctx: &mut OperatorContext<'_, F::State, F::Out>,
    ) -> FunctionResult {
        match record {
            Either::First(record) => self.0.process_first(record, ctx),
            Either::Second(record) => self.0.process_second(record, ctx),
        }
    }

    fn close(&mut self) -> FunctionResult {
        self.0.close()
    }
}

impl<K: Key, A: Record, B: Record, F: KeyedCoProcessFunction<K, A, B>>
    KeyedProcessFunction<K, Either<A, B>> for OfEither<F>
{
    type State = F::State;
    type Out = F::Out;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        self.0.open(context)
    }

    #[inline]
    fn process(
        &mut self,
        record: Either<A, B>,
        ctx: &mut ProcessContext<'_, K, F::State, F::Out>,
    ) -> FunctionResult {
        match record {
            Either::First(record) => self.0.process_first(record, ctx),
            Either::Second(record) => self.0.process_second(record, ctx),
        }
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        ctx: &mut ProcessContext<'_, K, F::State, F::Out>,
    ) -> FunctionResult {
        self.0.on_timer(timer, ctx)
    }

    fn close(&mut self) -> FunctionResult {
        self.0.close()
    }
}

/// The keys of marked records: each input has its own way to find them.
pub struct EitherSelector<K, A, B> {
    /// Of the first.
    pub first: Box<dyn KeySelector<K, A>>,
    /// Of the second.
    pub second: Box<dyn KeySelector<K, B>>,
}

impl<K: Key, A: Record, B: Record> KeySelector<K, Either<A, B>> for EitherSelector<K, A, B> {
    fn keys(&self, records: &[Either<A, B>], out: &mut Vec<K>) {
        for record in records {
            match record {
                Either::First(record) => self.first.keys(std::slice::from_ref(record), out),
                Either::Second(record) => self.second.keys(std::slice::from_ref(record), out),
            }
        }
    }

    fn hashes(&self, records: &[Either<A, B>], out: &mut Vec<u64>) {
        for record in records {
            match record {
                Either::First(record) => self.first.hashes(std::slice::from_ref(record), out),
                Either::Second(record) => self.second.hashes(std::slice::from_ref(record), out),
            }
        }
    }

    fn boxed(&self) -> Box<dyn KeySelector<K, Either<A, B>>> {
        Box::new(Self { first: self.first.boxed(), second: self.second.boxed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ByValue;

    #[test]
    fn equal_keys_of_both_inputs_have_equal_hashes() {
        let first: Box<dyn KeySelector<u64, (u64, u8)>> = Box::new(ByValue(|a: &(u64, u8)| a.0));
        let second: Box<dyn KeySelector<u64, u32>> = Box::new(ByValue(|b: &u32| u64::from(*b)));
        let key = EitherSelector { first, second }.boxed();
        let records = [Either::First((7, 1)), Either::Second(8), Either::Second(7)];
        let (mut keys, mut hashes) = (Vec::new(), Vec::new());
        key.keys(&records, &mut keys);
        key.hashes(&records, &mut hashes);
        assert_eq!(keys, [7, 8, 7]);
        assert_eq!(hashes, keys.iter().map(Record::hash64).collect::<Vec<_>>());
    }
}
