//! The hash that places keys: XXH3-64 with seed 0 over the key's canonical encoding.
//!
//! A permanent format: stored state and running peers rely on it. Golden vectors are in the tests.
//! Source of the algorithm: Yann Collet, xxHash, `doc/xxhash_spec.md`; implementation: `xxhash-rust`.

/// XXH3-64, seed 0.
#[inline]
pub fn xxh3_64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// XXH3-128, seed 0: ids of operators and contents, where a collision must not happen.
pub fn xxh3_128(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// XXH3-64 of the eight little-endian bytes of `word`: the same value as [`xxh3_64`], small enough
/// to be inlined where a batch of integer keys is hashed.
#[inline]
pub fn xxh3_64_of_u64(word: u64) -> u64 {
    // The specification's branch for 4 to 8 bytes: secret bytes 8..16 xor 16..24, then `rrmxmx`.
    const FLIP: u64 = 0xc73a_b174_c5ec_d5a2;
    const PRIME: u64 = 0x9FB2_1C65_1E98_DF25;
    let mut h = word.rotate_left(32) ^ FLIP;
    h ^= h.rotate_left(49) ^ h.rotate_left(24);
    h = h.wrapping_mul(PRIME);
    h ^= (h >> 35).wrapping_add(8);
    h = h.wrapping_mul(PRIME);
    h ^ (h >> 28)
}

/// XXH3-64 of something that arrives in pieces: a file.
#[derive(Default)]
pub struct Hasher64(xxhash_rust::xxh3::Xxh3);

impl Hasher64 {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far: what [`xxh3_64`] gives for them.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// XXH3-128 of something that arrives in pieces: an artefact, a plan.
#[derive(Default)]
pub struct Hasher128(xxhash_rust::xxh3::Xxh3);

impl Hasher128 {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inlined_branch_equals_the_library() {
        let mut word = 1_u64;
        for _ in 0..10_000 {
            assert_eq!(xxh3_64_of_u64(word), xxh3_64(&word.to_le_bytes()));
            word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7) ^ 0x55;
        }
    }

    #[test]
    fn golden_vectors_never_change() {
        // From the reference implementation, through the Python package `xxhash`.
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(xxh3_64(b"\x05hello"), 0xcdba_870f_b04d_3213);
        assert_eq!(xxh3_64_of_u64(42), 0xd5a6_f8c8_38df_27c8);
    }
}
