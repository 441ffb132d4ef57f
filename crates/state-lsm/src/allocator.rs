//! The C library's allocator, from which RocksDB has its memory.
//!
//! Blocks of a few KiB that live long lie between buffers of some hundred KiB that come and go. Left to
//! itself the allocator soon takes both from one heap, and what is free in it between the former does not
//! go back to the system and does not hold the latter. Large buffers on pages of their own cost a system
//! call each, and do go back.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

/// Buffers of so many bytes have pages of their own. What writes are collected in is no smaller.
pub(crate) const OWN_PAGES: usize = 64 << 10;

/// Sets that for the process. Rust has another allocator where the program says so.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_large_buffers_pages_of_their_own() {
    // SAFETY: takes two numbers, and may be called by any thread at any time. The threshold is within the
    // bounds that `mallopt(3)` names; where it is refused, everything is as before.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES as libc::c_int) };
}

/// Other C libraries decide for themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_large_buffers_pages_of_their_own() {}
