//! What lies beside a copy and shows that it is whole, and of which file.
//!
//! ```text
//! MSLOCAL1                8 bytes
//! length of the file      8 bytes, as all numbers least significant first
//! bytes of its origin     8 bytes
//! origin                  the file's name with its storage's root
//! XXH3-64 of each chunk   8 bytes each; a chunk has 256 KiB, the last one what is left
//! XXH3-64 of all before   8 bytes
//! ```
//!
//! A copy is not synced and may have been lying about for long: any part of it may be that of another
//! file, or of none. Nothing of a chunk is used whose sum is not the one that was written.

use millstream_core::hash::xxh3_64;
use std::ops::Range;

const MAGIC: &[u8; 8] = b"MSLOCAL1";

/// Reads are made of whole chunks: small enough that little is read in vain.
pub const CHUNK_BYTES: u64 = 256 * 1024;

/// Magic, two numbers, and the sum at the end.
const FIXED_BYTES: usize = 8 + 8 + 8 + 8;

/// What is known of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    origin: String,
    bytes: u64,
    chunks: Vec<u64>,
}

impl Proof {
    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As it lies beside the copy.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.origin.len() + 8 * self.chunks.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.origin.len() as u64).to_le_bytes());
        bytes.extend_from_slice(self.origin.as_bytes());
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.to_le_bytes()));
        let sum = xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what lies beside the copy of the file of this origin; why it proves nothing.
    pub fn decode(proof: &[u8], origin: &str) -> Result<Self, String> {
        let damaged = || "its proof is damaged".to_owned();
        let (content, sum) = proof.split_last_chunk::<8>().ok_or_else(damaged)?;
        if u64::from_le_bytes(*sum) != xxh3_64(content) {
            return Err(damaged());
        }
        let rest = content.strip_prefix(MAGIC).ok_or("its proof is of another version")?;
        let (bytes, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (found, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        if found != origin.as_bytes() {
            return Err(format!("it is a copy of `{}`", String::from_utf8_lossy(found)));
        }
        let (chunks, none) = rest.as_chunks::<8>();
        let bytes = u64::from_le_bytes(*bytes);
        if !none.is_empty() || chunks.len() as u64 != bytes.div_ceil(CHUNK_BYTES) {
            return Err(damaged());
        }
        let chunks = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        Ok(Self { origin: origin.to_owned(), bytes, chunks })
    }

    /// The whole chunks that these bytes are in; nothing if the file has no such bytes.
    pub fn covering(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let is_inside = range.start <= range.end && range.end <= self.bytes;
        let end = || range.end.div_ceil(CHUNK_BYTES).saturating_mul(CHUNK_BYTES).min(self.bytes);
        is_inside.then(|| range.start / CHUNK_BYTES * CHUNK_BYTES..end())
    }

    /// Whether these are the bytes from `start`, where a chunk begins; else why not.
    pub fn check(&self, start: u64, bytes: &[u8]) -> Result<(), String> {
        let first = usize::try_from(start / CHUNK_BYTES).unwrap_or(usize::MAX);
        for (number, chunk) in (first..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
            if self.chunks.get(number) != Some(&xxh3_64(chunk)) {
                let from = number as u64 * CHUNK_BYTES;
                let to = from + chunk.len() as u64;
                return Err(format!("bytes {from} to {to} are not those that were written"));
            }
        }
        Ok(())
    }
}

/// Makes the proof of a file while that is written.
pub struct ProofWriter {
    origin: String,
    bytes: u64,
    chunks: Vec<u64>,
    /// What has come of the chunk that is not complete.
    open: Vec<u8>,
}

impl ProofWriter {
    /// Nothing has been written. The origin is the file's name with its storage's root.
    pub fn new(origin: String) -> Self {
        Self { origin, bytes: 0, chunks: Vec::new(), open: Vec::new() }
    }

    /// These bytes follow.
    pub fn add(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = CHUNK_BYTES as usize - self.open.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(now);
            if self.open.len() as u64 == CHUNK_BYTES {
                self.close_chunk();
            }
            bytes = later;
        }
    }

    fn close_chunk(&mut self) {
        self.chunks.push(xxh3_64(&self.open));
        self.open.clear();
    }

    /// That was all.
    pub fn finish(mut self) -> Proof {
        if !self.open.is_empty() {
            self.close_chunk();
        }
        let Self { origin, bytes, chunks, .. } = self;
        Proof { origin, bytes, chunks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: &str = "s3://state/job/chk-7/a-0";

    fn proof_of(content: &[u8]) -> Proof {
        let mut writer = ProofWriter::new(ORIGIN.to_owned());
        content.chunks(1000).for_each(|part| writer.add(part));
        writer.finish()
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn a_file_is_read_in_whole_chunks_whatever_part_is_wanted() {
        let chunk = CHUNK_BYTES;
        let proof = proof_of(&content(2 * chunk as usize + 10));
        for (wanted, covering) in [
            (0..1, Some(0..chunk)),
            (chunk..chunk, Some(chunk..chunk)),
            (chunk - 1..chunk + 1, Some(0..2 * chunk)),
            (2 * chunk + 3..2 * chunk + 10, Some(2 * chunk..2 * chunk + 10)),
            (2 * chunk..2 * chunk + 11, None),
        ] {
            assert_eq!(proof.covering(&wanted), covering, "{wanted:?}");
        }
        let empty = proof_of(&[]);
        assert_eq!((empty.bytes(), empty.covering(&(0..0))), (0, Some(0..0)));
    }

    #[test]
    fn a_proof_is_of_one_file_only() {
        let encoded = proof_of(&content(5)).encode();
        assert!(Proof::decode(&encoded, ORIGIN).is_ok());
        let other = Proof::decode(&encoded, "s3://state/job/chk-8/a-0").expect_err("refused");
        assert_eq!(other, format!("it is a copy of `{ORIGIN}`"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_written_is_proven_and_nothing_else(
            length in 0_usize..3 * CHUNK_BYTES as usize,
            at in any::<proptest::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let content = content(length);
            let proof = proof_of(&content);
            prop_assert_eq!(Proof::decode(&proof.encode(), ORIGIN), Ok(proof.clone()));
            prop_assert_eq!(proof.check(0, &content), Ok(()));
            if length > 0 {
                let mut damaged = content.clone();
                damaged[at.index(length)] ^= 1 << bit;
                prop_assert!(proof.check(0, &damaged).is_err());
            }
            let mut damaged = proof.encode();
            let place = at.index(damaged.len());
            damaged[place] ^= 1 << bit;
            prop_assert!(Proof::decode(&damaged, ORIGIN).is_err());
            prop_assert!(Proof::decode(&damaged[..place], ORIGIN).is_err());
        }
    }
}
