//! The prefetch instruction for memory that is about to be written.
//!
//! An emptied batch comes back from a thread on another core, whose cache holds its lines. Written one after
//! the other each would be waited for.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

/// Brings the cache line at the address near, for writing. Any address will do: nothing is read or changed.
#[inline(always)]
pub(crate) fn prefetch_for_writing<T>(at: *const T) {
    // The instruction is written out: the intrinsic asks for the line to read it where the compiler does not
    // know of a processor that can do more.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it does not fault, whatever the address, and changes neither registers nor memory; a processor
    // without it does nothing.
    unsafe {
        std::arch::asm!(
            "prefetchw byte ptr [{at}]",
            at = in(reg) at,
            options(nostack, readonly, preserves_flags)
        );
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "prfm pstl1keep, [{at}]",
            at = in(reg) at,
            options(nostack, readonly, preserves_flags)
        );
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}
