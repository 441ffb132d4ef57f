//! [`TimerQueue`]: times per key and namespace, each at most once, given out in order; on the heap, or in a
//! backend as everything else of the operator.

mod heap;

use crate::backend::Backing;
use crate::entry_table::declare_entries;
use crate::restore::RestoreError;
use crate::stored::timers::StoredTimers;
use heap::HeapTimers;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::Key;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;

/// The name of a timer among those of its key.
pub(crate) type Name<N> = (N, Timestamp);

/// Timers of keys `K`, divided by namespaces `N`.
///
/// ```
/// use millstream_core::Record;
/// use millstream_state::TimerQueue;
///
/// let mut timers = TimerQueue::<u64, ()>::new();
/// timers.register(7_u64.hash64(), &7, (), 2_000);
/// timers.register(8_u64.hash64(), &8, (), 1_000);
/// timers.register(7_u64.hash64(), &7, (), 2_000);
/// assert_eq!((timers.len(), timers.next()), (2, Some(1_000)));
/// assert_eq!(timers.pop(1_500).map(|due| (due.key, due.time)), Some((8, 1_000)));
/// assert_eq!(timers.pop(1_500).is_none(), true);
/// ```
#[expect(clippy::large_enum_variant, reason = "a few per operator; the heap's are at hand at once")]
pub enum TimerQueue<K, N> {
    /// In memory.
    Heap(HeapTimers<K, N>),
    /// In a backend.
    Stored(Box<StoredTimers<K, N>>),
}

/// A timer that has come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<K, N> {
    /// The hash of its key.
    pub hash: u64,
    /// Its key.
    pub key: K,
    /// Its namespace.
    pub namespace: N,
    /// The time for which it was registered.
    pub time: Timestamp,
}

impl<K: Key, N: Key> TimerQueue<K, N> {
    /// No timers and no memory; on the heap.
    pub fn new() -> Self {
        Self::Heap(HeapTimers::new())
    }

    /// No timers; on the heap, if there is no backend.
    pub fn open(name: &str, backing: Option<&Backing>) -> Self {
        match backing {
            None => Self::new(),
            Some(backing) => Self::Stored(Box::new(StoredTimers::new(name, backing))),
        }
    }

    /// How many timers are pending. A backend has to count them.
    pub fn len(&mut self) -> usize {
        match self {
            Self::Heap(timers) => timers.len(),
            Self::Stored(timers) => timers.count(),
        }
    }

    /// Whether no timer is pending.
    pub fn is_empty(&self) -> bool {
        self.next().is_none()
    }

    /// The time of the first timer.
    #[inline]
    pub fn next(&self) -> Option<Timestamp> {
        match self {
            Self::Heap(timers) => timers.next(),
            Self::Stored(timers) => timers.next(),
        }
    }

    /// What it has in memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Heap(timers) => timers.memory_bytes(),
            Self::Stored(timers) => timers.memory_bytes(),
        }
    }

    /// Adds a timer, unless it is there.
    pub fn register(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) {
        match self {
            Self::Heap(timers) => timers.register(hash, key, namespace, time),
            Self::Stored(timers) => timers.register(hash, key, namespace, time),
        }
    }

    /// Removes a timer; whether it was there.
    pub fn delete(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) -> bool {
        match self {
            Self::Heap(timers) => timers.delete(hash, key, namespace, time),
            Self::Stored(timers) => timers.delete(hash, key, namespace, time),
        }
    }

    /// Takes out the first timer, if its time is at most this.
    pub fn pop(&mut self, until: Timestamp) -> Option<Due<K, N>> {
        match self {
            Self::Heap(timers) => timers.pop(until),
            Self::Stored(timers) => timers.pop(until),
        }
    }

    /// Forgets all timers.
    pub fn clear(&mut self) {
        match self {
            Self::Heap(_) => *self = Self::new(),
            Self::Stored(timers) => while timers.pop(Timestamp::MAX).is_some() {},
        }
    }

    /// What its snapshots hold, as the job graph names it.
    pub fn declared(name: &str) -> DeclaredState {
        declare_entries::<K, Name<N>, ()>(name)
    }

    /// The timers as they are now.
    pub fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot {
        match self {
            Self::Heap(timers) => timers.freeze(name, max, base),
            Self::Stored(timers) => timers.freeze(name),
        }
    }

    /// Takes over what snapshots hold.
    pub fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        match self {
            Self::Heap(timers) => timers.restore(tables, max),
            Self::Stored(timers) => timers.restore(tables),
        }
    }
}

impl<K: Key, N: Key> Default for TimerQueue<K, N> {
    fn default() -> Self {
        Self::new()
    }
}
