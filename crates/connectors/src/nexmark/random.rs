//! Random draws that are the same on every machine: SplitMix64, integers only.

use millstream_core::Str;

/// A sequence of draws.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The sequence of one event: of its own, so that an event depends on its index alone.
    #[inline]
    pub(super) fn of(seed: u64, index: u64) -> Self {
        let mut random = Self { state: seed };
        random.state = random.bits() ^ index.wrapping_mul(0xD134_2543_DE82_EF95);
        random
    }

    #[inline]
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..n`; `n` is at least 1.
    #[inline]
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Yes in all but one of `ratio` cases.
    #[inline]
    pub(super) fn is_hot(&mut self, ratio: u64) -> bool {
        self.below(ratio) > 0
    }

    #[inline]
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Fills with lower-case letters.
    #[inline]
    pub(super) fn fill_letters(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            for (letter, bits) in part.iter_mut().zip(bits) {
                *letter = b'a' + ((u16::from(bits) * 26) >> 8) as u8;
            }
        }
    }

    /// So many lower-case letters, at most [`LETTERS_MAX`].
    #[inline]
    pub(super) fn letters(&mut self, len: usize) -> Str {
        let mut letters = [0; LETTERS_MAX];
        let letters = &mut letters[..len.min(LETTERS_MAX)];
        self.fill_letters(letters);
        Str::new(std::str::from_utf8(letters).expect("letters are ASCII"))
    }

    /// A price, in cents: 1 to about a million dollars, small ones as likely as great ones.
    #[inline]
    pub(super) fn price(&mut self) -> i64 {
        const DOUBLINGS: u64 = 20;
        let least = 100_u64 << self.below(DOUBLINGS);
        (least + self.below(least)) as i64
    }
}

/// The most letters that are drawn at a time.
pub(super) const LETTERS_MAX: usize = 512;
