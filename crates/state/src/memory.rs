//! Zeroed memory, and the prefetch instruction.
//!
//! [`Zeroed`] is a boxed slice of zeros. Up to 2 MiB it comes from the global allocator, so that a
//! small table stays small; from there on it is mapped in whole huge pages. A random access to a large
//! table then costs one cache miss and not a second one for the address translation.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The size of a huge page, and the least size that is mapped instead of allocated.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// The alignment of every [`Zeroed`]: a cache line.
pub(crate) const LINE: usize = 64;

/// A type for which zeroed memory is a value.
///
/// # Safety
/// All bytes zero must be a valid value, and the alignment at most [`LINE`].
pub(crate) unsafe trait Plain: Copy + Send {}

// SAFETY: zero is a byte.
unsafe impl Plain for u8 {}

// SAFETY: zero is a number.
unsafe impl Plain for u64 {}

/// A slice of zeros on memory of its own. An empty one has no memory.
pub(crate) struct Zeroed<T: Plain> {
    // Invariant: `len` initialised items, in a block of `bytes()` bytes that `self` owns alone.
    start: NonNull<T>,
    len: usize,
}

// SAFETY: owns its items alone, like a `Box<[T]>`, and `Plain` types are `Send`.
unsafe impl<T: Plain> Send for Zeroed<T> {}
// SAFETY: whoever shares it can only read its items, like those of a `Box<[T]>`.
unsafe impl<T: Plain + Sync> Sync for Zeroed<T> {}

impl<T: Plain> Zeroed<T> {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        const { assert!(align_of::<T>() <= LINE) };
        let Some(bytes) = len.checked_mul(size_of::<T>()).filter(|bytes| *bytes > 0) else {
            assert!(len == 0 || size_of::<T>() == 0, "memory size overflows");
            return Self { start: NonNull::dangling(), len };
        };
        let start = if bytes < HUGE_PAGE { allocate(bytes) } else { map(footprint(bytes)) };
        Self { start: start.cast(), len }
    }

    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What the memory takes, including what was rounded up.
    pub(crate) fn bytes(&self) -> usize {
        footprint(self.len * size_of::<T>())
    }

    /// The first item, for a caller that keeps track of parts on its own, and of who may use them.
    pub(crate) fn start(&self) -> NonNull<T> {
        self.start
    }
}

impl<T: Plain> Deref for Zeroed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: by the invariant; the memory was zeroed, which is a value of a `Plain` type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Zeroed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for Zeroed<T> {
    fn drop(&mut self) {
        let bytes = self.len * size_of::<T>();
        if bytes == 0 {
            return;
        }
        let start = self.start.cast::<u8>();
        if bytes < HUGE_PAGE {
            // SAFETY: `new` allocated this block with the same layout; it is freed once, here.
            unsafe { dealloc(start.as_ptr(), layout(bytes)) };
        } else {
            unmap(start, footprint(bytes));
        }
    }
}

/// What `bytes` bytes take: mapped memory comes in whole huge pages.
fn footprint(bytes: usize) -> usize {
    if bytes < HUGE_PAGE { bytes } else { bytes.next_multiple_of(HUGE_PAGE) }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, LINE).expect("below 2 MiB")
}

fn allocate(bytes: usize) -> NonNull<u8> {
    let layout = layout(bytes);
    // SAFETY: the caller asks for at least one byte.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Maps whole huge pages: a little too much first, because the kernel aligns to small pages only.
fn map(bytes: usize) -> NonNull<u8> {
    let out_of_memory = || match Layout::from_size_align(bytes, HUGE_PAGE) {
        Ok(layout) => handle_alloc_error(layout),
        Err(_) => panic!("memory size overflows"),
    };
    let Some(wide) = bytes.checked_add(HUGE_PAGE) else { out_of_memory() };
    // SAFETY: a new anonymous mapping at a place of the kernel's choice touches nothing of ours.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            wide,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let start = match NonNull::new(start.cast::<u8>()) {
        Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => start,
        _ => out_of_memory(),
    };
    let before = start.as_ptr().align_offset(HUGE_PAGE);
    // SAFETY: `before` is below the huge page by which the mapping is too long.
    let aligned = unsafe { start.add(before) };
    unmap(start, before);
    // SAFETY: `before + bytes` is at most `wide`.
    unmap(unsafe { aligned.add(bytes) }, HUGE_PAGE - before);
    advise_huge(aligned, bytes);
    aligned
}

/// Asks for huge pages. A kernel that has none goes on with small ones.
#[cfg(target_os = "linux")]
fn advise_huge(start: NonNull<u8>, bytes: usize) {
    // SAFETY: an advice about memory that was just mapped and that nobody uses yet.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_start: NonNull<u8>, _bytes: usize) {}

fn unmap(start: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: called for a part of a mapping of ours, in whole pages, to which no reference
        // is left: by `map` for what is too much, by `drop` for the rest.
        let result = unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
        debug_assert_eq!(result, 0, "munmap of memory that was mapped");
    }
}

/// Brings the cache line at the address near. Any address will do: nothing is read.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch does not fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: a prefetch does not fault, whatever the address; it changes no register or flag.
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) at,
                options(nostack, readonly, preserves_flags)
            );
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_every_size_is_zero_aligned_and_counted() {
        for len in [1, 63, 64, 4096, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1] {
            let mut memory = Zeroed::<u8>::new(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|byte| *byte == 0));
            assert_eq!(memory.as_ptr().align_offset(LINE), 0);
            memory.fill(0xA5);
            let counted = if len < HUGE_PAGE {
                len
            } else {
                assert_eq!(memory.as_ptr().align_offset(HUGE_PAGE), 0);
                len.next_multiple_of(HUGE_PAGE)
            };
            assert_eq!(memory.bytes(), counted);
        }
    }

    #[test]
    fn nothing_takes_no_memory() {
        let memory = Zeroed::<u8>::new(0);
        assert_eq!((memory.len(), memory.bytes()), (0, 0));
    }

    #[test]
    fn any_address_can_be_prefetched() {
        prefetch(std::ptr::null::<u8>());
        prefetch(std::ptr::without_provenance::<u8>(usize::MAX));
    }
}
