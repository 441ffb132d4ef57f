//! A few works at once, each on a thread of its own but the last.

use std::thread::{self, ScopedJoinHandle};

/// So many threads are enough for one table: there are other tasks.
const THREADS_MAX: usize = 2;

/// With fewer rows a thread costs more than it saves.
pub(crate) const ROWS_PER_THREAD_MIN: usize = 512 << 10;

/// How many threads are worth it for so many rows.
pub(crate) fn threads_for(rows: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (rows / ROWS_PER_THREAD_MIN).clamp(1, cores.min(THREADS_MAX))
}

/// What the works give, in their order.
pub(crate) fn in_parallel<T: Send>(mut works: Vec<impl FnOnce() -> T + Send>) -> Vec<T> {
    let Some(last) = works.pop() else { return Vec::new() };
    thread::scope(|scope| {
        let others: Vec<_> = works.into_iter().map(|work| scope.spawn(work)).collect();
        let last = last();
        let join = |other: ScopedJoinHandle<'_, T>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let mut all: Vec<T> = others.into_iter().map(join).collect();
        all.push(last);
        all
    })
}
