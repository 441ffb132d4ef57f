//! [`CallScope`]: the key and the time of the call of a user's function that is under way. Fields
//! that keep rows of their own (maps, lists) look here for whose rows are meant, and, when they are
//! opened, for where their rows are to be.

use crate::backend::Backing;
use millstream_core::time::Timestamp;
use std::cell::{Cell, Ref, RefCell};

/// The key and the time of the call that is under way.
pub struct CallScope<K> {
    key: RefCell<Option<K>>,
    hash: Cell<u64>,
    now: Cell<Timestamp>,
    backing: Option<Backing>,
}

impl<K: Clone> CallScope<K> {
    /// No call yet. Without a backend, rows are on the heap.
    pub(crate) fn new(backing: Option<Backing>) -> Self {
        Self { key: RefCell::new(None), hash: Cell::new(0), now: Cell::new(0), backing }
    }

    /// Where rows are, if not on the heap.
    pub(crate) fn backing(&self) -> Option<&Backing> {
        self.backing.as_ref()
    }

    /// The calls from now on are for this key.
    #[inline]
    pub(crate) fn enter(&self, hash: u64, key: &K) {
        self.hash.set(hash);
        match &mut *self.key.borrow_mut() {
            // A key that keeps its memory allocates nothing here.
            Some(former) => former.clone_from(key),
            none => *none = Some(key.clone()),
        }
    }

    /// The calls from now on happen at this time.
    #[inline]
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// The key and its hash.
    #[inline]
    pub(crate) fn key(&self) -> (Ref<'_, K>, u64) {
        let key = Ref::map(self.key.borrow(), |key| {
            key.as_ref().expect("state is used within calls of a user's function only")
        });
        (key, self.hash.get())
    }

    /// The time.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }
}
