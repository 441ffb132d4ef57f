//! Answers of asynchronous calls and the thread that waits for them, under every order of steps that shuttle
//! tries. An answer that nobody looks at shows as a deadlock, which is a failure.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-task --release conc_`
#![cfg(shuttle)]

use millstream_core::OperatorError;
use millstream_operator::asynchronous::{
    AsyncCall, AsyncFn, AsyncOptions, AsyncRuntime, AsyncWait, BoxedFuture, Spawn,
};
use millstream_operator::clock::ManualClock;
use millstream_operator::context::TaskContext;
use millstream_operator::operator::{Flow, Operator};
use millstream_shuffle::batch::{AnyBatch, Batch, cast};
use millstream_shuffle::sync::thread;
use millstream_shuffle::wake::Wake;
use std::task::{Context, Waker};

const SCHEDULES: usize = 20_000;

/// A thread for each call, which answers at once.
struct ThreadPerCall;

impl Spawn for ThreadPerCall {
    fn spawn(&self, mut future: BoxedFuture) -> Result<AsyncCall, OperatorError> {
        thread::spawn(move || {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready(), "these calls answer at once");
        });
        Ok(AsyncCall::new(|| ()))
    }
}

/// What a slot does with a task that waits for answers: it looks, and sleeps until it is called. Nothing
/// but the call says that there is something to look at.
fn finish(operator: &mut impl Operator, wake: &Wake) -> Vec<u64> {
    let mut out = Batch::<u64>::new();
    while operator.finish(&mut out, 100).expect("no call fails") == Flow::Waiting {
        wake.sleep(None, || true);
    }
    out.items
}

#[test]
fn conc_every_answer_wakes_the_thread_that_waits_for_it() {
    shuttle::check_random(
        || {
            let wake = Wake::new();
            wake.adopt_current_thread();
            let context = TaskContext {
                async_runtime: AsyncRuntime::new(ThreadPerCall),
                clock: ManualClock::default().clock(),
                wake: wake.clone(),
                ..TaskContext::alone()
            };
            let double = AsyncFn(|n: u64| async move { Ok::<u64, String>(n * 2) });
            let options = AsyncOptions::ordered().capacity(2).without_timeout();
            let mut operator = AsyncWait::new(double, options, &context).expect("it opens");
            let (mut input, mut out) = (Batch::<u64>::new(), Batch::<u64>::new());
            input.items.extend([1, 2, 3]);
            operator.process(&mut input, &mut out, 100).expect("no call fails");
            let mut given = std::mem::take(&mut cast::<u64>(&mut out as &mut dyn AnyBatch).items);
            given.extend(finish(&mut operator, &wake));
            assert_eq!(given, [2, 4, 6]);
        },
        SCHEDULES,
    );
}
