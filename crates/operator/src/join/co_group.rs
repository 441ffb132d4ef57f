//! What two streams have in a window: all of both at once ([`CoGroupFunction`]), or each pair
//! ([`JoinPairs`]).

use crate::context::TaskContext;
use crate::either::Either;
use crate::process::FunctionResult;
use crate::window::{ProcessWindowFunction, WindowContext};
use millstream_core::{Key, Record};
use std::marker::PhantomData;

/// Makes results of what both streams have for a key in a window. One of the two may have nothing.
///
/// ```
/// use millstream_operator::join::CoGroupFunction;
/// use millstream_operator::process::FunctionResult;
/// use millstream_operator::window::WindowContext;
///
/// /// Orders without a payment.
/// #[derive(Clone)]
/// struct Unpaid;
///
/// impl CoGroupFunction<u64, String, i64> for Unpaid {
///     type Out = String;
///
///     fn co_group(
///         &mut self,
///         orders: Vec<String>,
///         payments: Vec<i64>,
///         ctx: &mut WindowContext<'_, u64, String>,
///     ) -> FunctionResult {
///         if payments.is_empty() {
///             orders.into_iter().for_each(|order| ctx.emit(order));
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait CoGroupFunction<K: Key, L: Record, R: Record>: Clone + Send + 'static {
    /// What it gives.
    type Out: Record;

    /// Before the first window of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A window fires.
    fn co_group(
        &mut self,
        left: Vec<L>,
        right: Vec<R>,
        ctx: &mut WindowContext<'_, K, Self::Out>,
    ) -> FunctionResult;
}

/// A [`CoGroupFunction`] as the function of a window of both streams.
#[derive(Clone)]
pub struct CoGroup<F>(pub F);

impl<K, L, R, F> ProcessWindowFunction<K, Vec<Either<L, R>>> for CoGroup<F>
where
    K: Key,
    L: Record,
    R: Record,
    F: CoGroupFunction<K, L, R>,
{
    type Out = F::Out;

    fn open(&mut self, context: &TaskContext) -> FunctionResult {
        self.0.open(context)
    }

    fn process(
        &mut self,
        both: Vec<Either<L, R>>,
        ctx: &mut WindowContext<'_, K, F::Out>,
    ) -> FunctionResult {
        let (left, right) = divide(both);
        self.0.co_group(left, right, ctx)
    }
}

/// Gives what a function makes of each pair: an inner join.
pub struct JoinPairs<F, O>(F, PhantomData<fn() -> O>);

impl<F, O> JoinPairs<F, O> {
    /// Of this function.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<F: Clone, O> Clone for JoinPairs<F, O> {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl<K, L, R, F, O> ProcessWindowFunction<K, Vec<Either<L, R>>> for JoinPairs<F, O>
where
    K: Key,
    L: Record,
    R: Record,
    O: Record,
    F: Fn(&L, &R) -> O + Clone + Send + 'static,
{
    type Out = O;

    fn process(
        &mut self,
        both: Vec<Either<L, R>>,
        ctx: &mut WindowContext<'_, K, O>,
    ) -> FunctionResult {
        let (left, right) = divide(both);
        for left in &left {
            right.iter().for_each(|right| ctx.emit((self.0)(left, right)));
        }
        Ok(())
    }
}

fn divide<L, R>(both: Vec<Either<L, R>>) -> (Vec<L>, Vec<R>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for record in both {
        match record {
            Either::First(record) => left.push(record),
            Either::Second(record) => right.push(record),
        }
    }
    (left, right)
}
