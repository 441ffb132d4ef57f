//! An allocator that counts what each thread holds, and refuses what is far beyond reason.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// No decoder may hold more: an allocation that goes beyond it fails, which ends the program.
pub(crate) const BYTES_MAX: isize = 64 << 20;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static MEASURED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counted.
pub struct Counting;

/// Notes that so many bytes are held in addition; whether that is allowed.
fn note(bytes: isize) -> bool {
    let noted = HELD.try_with(|held| {
        let now = held.get() + bytes;
        if bytes > 0 && now > BYTES_MAX && MEASURED.get() {
            return false;
        }
        held.set(now);
        MOST.set(MOST.get().max(now));
        true
    });
    noted.unwrap_or(true)
}

// SAFETY: every call goes on to the system's allocator as it came, or gives null, as an allocator may.
// What is counted lies in cells of the thread that need no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !note(layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !note(layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if !note(bytes as isize - layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, bytes) }
    }
}

/// Calls `f`; the most bytes that this thread held meanwhile, beyond those it held before. None, if
/// [`Counting`] is not the program's allocator.
pub fn bytes_counted<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.replace(0);
    let measured = MEASURED.replace(true);
    let most_before = MOST.replace(0);
    let result = f();
    let most = MOST.replace(most_before.max(before + MOST.get()));
    MEASURED.set(measured);
    HELD.set(before + HELD.get());
    (result, most.max(0) as usize)
}
