//! Where encodings go that are too long for a cell of a row: slots in size classes.
//!
//! Two classes per power of two (32, 48, 64, 96, … bytes) waste at most a third of a slot. Each class
//! is a [`Pages`] of its own, so slots do not move and freed ones are given out again. What is longer
//! than the greatest class gets an allocation of exactly its length.
//!
//! A place is named by the length of the encoding, which gives the class, and the number of the slot.

use crate::pages::{FrozenPages, Pages};
use std::sync::Arc;

/// The least class, 2 to the power of this; shorter encodings stay in the cell.
const CLASS_MIN_LOG2: u32 = 5;

/// Up to 16 KiB: four slots per page.
const CLASSES: usize = 19;

/// A place for `len` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The length of the encoding.
    pub(crate) len: u32,
    /// The number of the slot in its class.
    pub(crate) slot: u32,
}

/// The slots of all classes; classes come into being when they are needed.
pub(crate) struct Slabs {
    classes: Vec<Pages>,
    /// The encodings that are longer than the greatest class. Never changed, only replaced:
    /// snapshots share them.
    long: Vec<Arc<[u8]>>,
    long_free: Vec<u32>,
    long_bytes: usize,
}

/// All slots as they were when a snapshot was taken.
pub(crate) struct FrozenSlabs {
    classes: Vec<Arc<FrozenPages>>,
    long: Vec<Arc<[u8]>>,
}

/// What an allocation for a long encoding of so many bytes takes: two counters go before it.
fn long_footprint(len: usize) -> usize {
    (2 * size_of::<usize>() + len).next_multiple_of(align_of::<usize>())
}

/// The number of the class for a length.
fn class_of(len: usize) -> usize {
    if len <= 1 << CLASS_MIN_LOG2 {
        return 0;
    }
    let below = (len - 1).ilog2();
    let upper_half = len > (1 << below) + (1 << (below - 1));
    ((below - CLASS_MIN_LOG2) * 2 + 1 + u32::from(upper_half)) as usize
}

/// The slot size of a class.
fn class_bytes(class: usize) -> usize {
    let base = 1 << (CLASS_MIN_LOG2 as usize + class / 2);
    if class.is_multiple_of(2) { base } else { base + base / 2 }
}

impl Slabs {
    /// No slots and no memory.
    pub(crate) fn new() -> Self {
        Self { classes: Vec::new(), long: Vec::new(), long_free: Vec::new(), long_bytes: 0 }
    }

    /// What slots, lists and long encodings take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let classes: usize = self.classes.iter().map(Pages::memory_bytes).sum();
        classes
            + self.classes.capacity() * size_of::<Pages>()
            + self.long.capacity() * size_of::<Arc<[u8]>>()
            + self.long_free.capacity() * size_of::<u32>()
            + self.long_bytes
    }

    /// All slots as they are now, for another thread.
    pub(crate) fn freeze(&mut self) -> FrozenSlabs {
        let classes = self.classes.iter_mut().map(Pages::freeze).collect();
        FrozenSlabs { classes, long: self.long.clone() }
    }

    /// The bytes at a place that was given out and not freed since.
    pub(crate) fn get(&self, place: Place) -> &[u8] {
        let len = place.len as usize;
        let class = class_of(len);
        if class >= CLASSES {
            return &self.long[place.slot as usize];
        }
        let slot = self.classes[class].get(place.slot, class_bytes(class));
        &slot.expect("the slot was given out")[..len]
    }

    /// Stores the bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Place {
        let len = u32::try_from(bytes.len()).expect("a record of state is below 4 GiB");
        let class = class_of(bytes.len());
        let slot =
            if class < CLASSES { self.put_in_class(class, bytes) } else { self.put_long(bytes) };
        Place { len, slot }
    }

    fn put_in_class(&mut self, class: usize, bytes: &[u8]) -> u32 {
        while self.classes.len() <= class {
            let next = class_bytes(self.classes.len());
            self.classes.push(Pages::new(next));
        }
        let pages = &mut self.classes[class];
        let slot = pages.allocate().expect("there are as many slots as rows");
        let target = pages.get_mut(slot, class_bytes(class)).expect("just given out");
        target[..bytes.len()].copy_from_slice(bytes);
        slot
    }

    fn put_long(&mut self, bytes: &[u8]) -> u32 {
        let slot = self.long_free.pop().unwrap_or_else(|| {
            self.long.push(Arc::default());
            (self.long.len() - 1) as u32
        });
        self.long[slot as usize] = bytes.into();
        self.long_bytes += long_footprint(bytes.len());
        slot
    }

    /// Stores other bytes instead of those at a place: in it, if they are of the same class.
    pub(crate) fn replace(&mut self, old: Place, bytes: &[u8]) -> Place {
        let class = class_of(bytes.len());
        if class != class_of(old.len as usize) || class >= CLASSES {
            let new = self.put(bytes);
            self.free(old);
            return new;
        }
        let slot = self.classes[class].get_mut(old.slot, class_bytes(class));
        slot.expect("the slot was given out")[..bytes.len()].copy_from_slice(bytes);
        Place { len: bytes.len() as u32, slot: old.slot }
    }

    /// Takes a place back.
    pub(crate) fn free(&mut self, place: Place) {
        let class = class_of(place.len as usize);
        if class < CLASSES {
            self.classes[class].free(place.slot);
        } else {
            self.long_bytes -= long_footprint(place.len as usize);
            self.long[place.slot as usize] = Arc::default();
            self.long_free.push(place.slot);
        }
    }
}

impl FrozenSlabs {
    /// Gives `f` the bytes at a place that was given out and not freed.
    pub(crate) fn with<R>(&self, place: Place, f: impl FnOnce(&[u8]) -> R) -> R {
        let len = place.len as usize;
        let class = class_of(len);
        if class >= CLASSES {
            return f(&self.long[place.slot as usize]);
        }
        let pages = &self.classes[class];
        let page = pages.view(pages.page_of(place.slot));
        f(&page.row(place.slot)[..len])
    }

    #[cfg(test)]
    pub(crate) fn copied_bytes(&self) -> usize {
        self.classes.iter().map(|pages| pages.copied_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_lengths_and_wastes_at_most_a_third() {
        assert_eq!(class_bytes(CLASSES - 1), 16 << 10);
        for len in 33..=class_bytes(CLASSES - 1) {
            let class = class_of(len);
            assert!(class < CLASSES && len <= class_bytes(class), "{len}");
            assert!(class_bytes(class) * 2 <= len * 3, "{len}");
        }
        assert_eq!(class_of(class_bytes(CLASSES - 1) + 1), CLASSES);
    }

    #[test]
    fn bytes_of_every_length_read_back_and_can_be_replaced() {
        let mut slabs = Slabs::new();
        let content = |len: usize| (0..len).map(|i| (i * 7 + len) as u8).collect::<Vec<_>>();
        let lengths = [24, 32, 33, 48, 49, 100, 5_000, 16_384, 16_385, 100_000];
        let mut places: Vec<_> = lengths.map(|len| slabs.put(&content(len))).into();
        for (place, len) in places.iter().zip(lengths) {
            assert_eq!(slabs.get(*place), content(len));
        }
        for (place, len) in places.iter_mut().zip(lengths.into_iter().rev()) {
            *place = slabs.replace(*place, &content(len));
        }
        for (place, len) in places.iter().zip(lengths.into_iter().rev()) {
            assert_eq!(slabs.get(*place), content(len));
        }
    }

    #[test]
    fn freed_places_are_reused() {
        let mut slabs = Slabs::new();
        for len in [40, 20_000] {
            let place = slabs.put(&vec![1; len]);
            let after_first = slabs.memory_bytes();
            for _ in 0..1_000 {
                slabs.free(place);
                assert_eq!(slabs.put(&vec![2; len]), place);
            }
            slabs.free(place);
            assert!(slabs.memory_bytes() <= after_first + 16);
        }
    }
}
