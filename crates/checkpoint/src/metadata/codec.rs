//! The `_metadata` file, byte by byte.
//!
//! A permanent format. All numbers are little-endian.
//!
//! ```text
//! file = "MILLCHKP" version:u32 zero:u32 length:u64 checksum:u64 payload
//! ```
//!
//! `length` is that of the payload, `checksum` its XXH3-64. The payload is JSON, so that people and
//! other programs can read it (`tail -c +33 _metadata`); ids and bytes are hexadecimal digits.
//! Readers know this version and all before it, and ignore fields that they do not know.

use super::CheckpointMetadata;
use millstream_core::hash::xxh3_64;

/// How the file begins.
pub const MAGIC: &[u8; 8] = b"MILLCHKP";

/// The version that is written.
pub const VERSION: u32 = 1;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 32;

/// No payload is longer.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// A file that cannot be read as the metadata of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMetadata {
    /// It is something else.
    #[error("`{file}` is not the metadata of a checkpoint: it does not begin with MILLCHKP")]
    Foreign {
        /// Which.
        file: String,
    },
    /// A later version of this program wrote it.
    #[error(
        "`{file}` has version {version} and this program reads up to {VERSION}: \
         restore it with the version of Millstream that wrote it, or a later one"
    )]
    Newer {
        /// Which.
        file: String,
        /// Its version.
        version: u32,
    },
    /// It is not what was written.
    #[error("checkpoint metadata `{file}` is damaged at byte {offset}: {what}")]
    Damaged {
        /// Which.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

/// The file of a checkpoint.
pub fn encode(metadata: &CheckpointMetadata) -> Vec<u8> {
    let payload = serde_json::to_vec(metadata).expect("maps have text keys, nothing else can fail");
    let mut file = Vec::with_capacity(HEADER_BYTES + payload.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    file.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
    file.extend_from_slice(&payload);
    file
}

/// Reads the file; `file` is its name, for messages.
pub fn decode(bytes: &[u8], file: &str) -> Result<CheckpointMetadata, BadMetadata> {
    let damaged = |offset: u64, what: String| {
        let file = file.to_owned();
        BadMetadata::Damaged { file, offset, what }
    };
    if !bytes.starts_with(MAGIC) {
        return Err(BadMetadata::Foreign { file: file.to_owned() });
    }
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else {
        let (there, at) = (bytes.len(), bytes.len() as u64);
        return Err(damaged(at, format!("it ends in its header of {HEADER_BYTES}, after {there}")));
    };
    let version = u64_at(header, 8) as u32;
    if version == 0 {
        return Err(damaged(8, "version 0 does not exist".to_owned()));
    }
    if version > VERSION {
        return Err(BadMetadata::Newer { file: file.to_owned(), version });
    }
    if u64_at(header, 8) >> 32 != 0 {
        return Err(damaged(12, "expected zeros".to_owned()));
    }
    let length = u64_at(header, 16);
    if length > PAYLOAD_BYTES_MAX {
        return Err(damaged(16, format!("a payload of {length} bytes is too long")));
    }
    if length != payload.len() as u64 {
        let there = payload.len();
        return Err(damaged(16, format!("{length} bytes should follow the header, {there} do")));
    }
    if u64_at(header, 24) != xxh3_64(payload) {
        return Err(damaged(24, "the checksum is that of another content".to_owned()));
    }
    let metadata: CheckpointMetadata = serde_json::from_slice(payload).map_err(|error| {
        let at = HEADER_BYTES + error.column().saturating_sub(1);
        damaged(at as u64, error.to_string())
    })?;
    match metadata.problem() {
        Some(problem) => Err(damaged(HEADER_BYTES as u64, problem)),
        None => Ok(metadata),
    }
}

fn u64_at(header: &[u8], at: usize) -> u64 {
    let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::testing::sample;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read() {
        let metadata = sample();
        assert_eq!(decode(&encode(&metadata), "f"), Ok(metadata));
    }

    #[test]
    fn the_payload_is_json_with_ids_as_digits() {
        let file = encode(&sample());
        let text = String::from_utf8(file[HEADER_BYTES..].to_vec()).expect("JSON");
        assert!(text.starts_with(r#"{"job":"000000000000000000000000000000ab","checkpoint":7,"#));
        assert!(text.contains(r#"{"Inline":"00ff01"}"#), "{text}");
    }

    fn with_payload(payload: &[u8]) -> Vec<u8> {
        let mut file = encode(&sample());
        file.truncate(16);
        file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        file.extend_from_slice(&xxh3_64(payload).to_le_bytes());
        file.extend_from_slice(payload);
        file
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        let good = encode(&sample());
        let mut newer = good.clone();
        newer[8] = 9;
        let mut sparse = sample();
        sparse.vertices.values_mut().for_each(|vertex| vertex.subtasks.clear());
        let deep = "[".repeat(100_000);
        for (bytes, expected) in [
            (&b"{}"[..], "`f` is not the metadata of a checkpoint"),
            (&good[..20], "damaged at byte 20: it ends in its header of 32, after 20"),
            (&good[..good.len() - 1], "should follow the header"),
            (&newer, "`f` has version 9 and this program reads up to 1"),
            (&with_payload(b"{\"job\": 7}"), "damaged at byte 40: invalid type: integer `7`"),
            (&with_payload(deep.as_bytes()), "damaged at byte"),
            (&encode(&sparse), "(`source`): 0 subtasks, and the max parallelism is 128"),
        ] {
            let error = decode(bytes, "f").expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut file = encode(&sample());
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(decode(&file, "f").is_err());
        }

        #[test]
        fn a_truncated_or_longer_file_is_noticed(at in any::<prop::sample::Index>(), more: u8) {
            let mut file = encode(&sample());
            let at = at.index(file.len());
            prop_assert!(decode(&file[..at], "f").is_err());
            file.push(more);
            prop_assert!(decode(&file, "f").is_err());
        }

        #[test]
        fn arbitrary_bytes_and_arbitrary_payloads_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(decode(&bytes, "f").is_err());
            prop_assert!(decode(&with_payload(&bytes), "f").is_err());
        }

        #[test]
        fn a_damaged_text_with_a_good_checksum_never_panics(
            at in any::<prop::sample::Index>(), byte: u8,
        ) {
            let file = encode(&sample());
            let mut payload = file[HEADER_BYTES..].to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = decode(&with_payload(&payload), "f");
        }
    }
}
