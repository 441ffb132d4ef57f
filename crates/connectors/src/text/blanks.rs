//! Finds white space in 64 bytes at a time: a bit per byte.
//!
//! White space is what [`char::is_whitespace`] says. Among ASCII that is the blank and the bytes 9
//! to 13. The others are two or three bytes long and begin with one of four bytes, which texts in
//! most alphabets hardly contain; only those are looked at one by one.
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

/// How many bytes are looked at together.
pub(super) const WINDOW: usize = 64;

/// What 64 bytes are, a bit per byte, the first lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masks {
    /// The byte is ASCII white space.
    pub(super) blank: u64,
    /// The byte is part of a character beyond ASCII.
    pub(super) wide: u64,
}

/// With SSE2, which every x86-64 processor has. What compilers make of [`masks_by_array`] costs a
/// word 1.1 ns more, of 7 (`benches/words.rs`): hence the one `unsafe` call.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn masks(bytes: &[u8; WINDOW]) -> Masks {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { masks_by_sse2(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn masks_by_sse2(bytes: &[u8; WINDOW]) -> Masks {
    use std::arch::x86_64::*;
    let mut masks = Masks { blank: 0, wide: 0 };
    for (at, part) in bytes.as_chunks::<16>().0.iter().enumerate() {
        let bits = u128::from_le_bytes(*part);
        let part = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        let is_blank = _mm_cmpeq_epi8(part, _mm_set1_epi8(b' ' as i8));
        let from_tab = _mm_sub_epi8(part, _mm_set1_epi8(b'\t' as i8));
        let is_control = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
        let blank = _mm_movemask_epi8(_mm_or_si128(is_blank, is_control));
        masks.blank |= u64::from(blank as u16) << (16 * at);
        masks.wide |= u64::from(_mm_movemask_epi8(part) as u16) << (16 * at);
    }
    masks
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use masks_by_array as masks;

/// The same on any machine, written so that compilers make vector code of it.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
#[inline]
pub(super) fn masks_by_array(bytes: &[u8; WINDOW]) -> Masks {
    let is_control = |byte: u8| byte.wrapping_sub(b'\t') < 5;
    let blank = gather(bytes.map(|byte| u8::from((byte == b' ') | is_control(byte))));
    let wide = if bytes.is_ascii() { 0 } else { gather(bytes.map(|byte| byte >> 7)) };
    Masks { blank, wide }
}

/// The lowest bits of the bytes, side by side.
#[inline]
fn gather(flags: [u8; WINDOW]) -> u64 {
    let mut bits = [0; WINDOW / 8];
    for (bits, part) in bits.iter_mut().zip(flags.as_chunks::<8>().0) {
        // The bit of byte `i` is moved to place `56 + i`, and nothing else gets there.
        *bits = (u64::from_le_bytes(*part).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    u64::from_le_bytes(bits)
}

/// The bits of the white space beyond ASCII that begins in the window with which `text` begins, at
/// one of the bits of `within`. A character may reach beyond the window: so 128 bits.
#[cold]
pub(super) fn wide_blanks(text: &[u8], within: u64) -> u128 {
    let mut window = [0; WINDOW];
    let there = text.len().min(WINDOW);
    window[..there].copy_from_slice(&text[..there]);
    // What `blank_at` knows begins with C2, E1, E2 or E3.
    let is_candidate = |byte: u8| (byte == 0xC2) | (byte.wrapping_sub(0xE1) < 3);
    let mut candidates = within & gather(window.map(|byte| u8::from(is_candidate(byte))));
    let mut blanks = 0;
    while candidates != 0 {
        let at = candidates.trailing_zeros();
        candidates &= candidates - 1;
        blanks |= u128::from(blank_at(&text[at as usize..])) << at;
    }
    blanks
}

/// A bit per byte of the white space with which the text begins.
fn blank_at(text: &[u8]) -> u8 {
    match text {
        // U+0085, U+00A0
        [0xC2, 0x85 | 0xA0, ..] => 0b11,
        // U+1680; U+2000 to U+200A, U+2028, U+2029, U+202F; U+205F; U+3000
        [0xE1, 0x9A, 0x80, ..]
        | [0xE2, 0x80, 0x80..=0x8A | 0xA8 | 0xA9 | 0xAF, ..]
        | [0xE2, 0x81, 0x9F, ..]
        | [0xE3, 0x80, 0x80, ..] => 0b111,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_classified_as_the_standard_library_does() {
        for byte in 0..=u8::MAX {
            for at in 0..WINDOW {
                let mut bytes = [b'x'; WINDOW];
                bytes[at] = byte;
                let blank = byte.is_ascii() && char::from(byte).is_whitespace();
                let expected = Masks {
                    blank: u64::from(blank) << at,
                    wide: u64::from(!byte.is_ascii()) << at,
                };
                assert_eq!(masks(&bytes), expected, "{byte:#x} at {at}");
                assert_eq!(masks_by_array(&bytes), expected, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn white_space_beyond_ascii_is_what_the_standard_library_says() {
        for character in (0x80..=0x10_FFFF).filter_map(char::from_u32) {
            let mut bytes = [0; 4];
            let text = character.encode_utf8(&mut bytes);
            let expected = if character.is_whitespace() { (1 << text.len()) - 1 } else { 0 };
            assert_eq!(blank_at(text.as_bytes()), expected, "{character:?}");
            assert_eq!(wide_blanks(text.as_bytes(), 1), expected.into(), "{character:?}");
        }
    }
}
