//! The marker by which a program that links the engine is known: `MILLSTREAM-JOB-LINK:3;`.
//!
//! The facade embeds it and keeps the linker from dropping it:
//!
//! ```
//! use millstream_host::artefact::job_link_marker;
//!
//! # const JOB_LINK_VERSION: u32 = 3;
//! #[used]
//! static JOB_LINK: [u8; 32] = job_link_marker(JOB_LINK_VERSION);
//!
//! // In `execute`, which no job program is without:
//! std::hint::black_box(&JOB_LINK);
//! ```
//!
//! The text without a number behind it is in every program that links this crate; the number and the
//! semicolon make the marker.

/// How the marker begins.
pub const JOB_LINK_MARKER: &str = "MILLSTREAM-JOB-LINK:";

const MARKER_BYTES: usize = 32;
const DIGITS_MAX: usize = 10;
/// A marker that begins in the last so many bytes of a piece may go on in the next.
const CARRIED_BYTES: usize = JOB_LINK_MARKER.len() + DIGITS_MAX;

/// The marker of one version, filled up with zero bytes.
pub const fn job_link_marker(version: u32) -> [u8; MARKER_BYTES] {
    let mut marker = [0; MARKER_BYTES];
    let mut at = 0;
    while at < JOB_LINK_MARKER.len() {
        marker[at] = JOB_LINK_MARKER.as_bytes()[at];
        at += 1;
    }
    let mut unit = 1;
    while 10 <= version / unit {
        unit *= 10;
    }
    while 0 < unit {
        marker[at] = b'0' + (version / unit % 10) as u8;
        at += 1;
        unit /= 10;
    }
    marker[at] = b';';
    marker
}

/// Looks for the marker in a file that comes in pieces. The highest version counts.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The end of what came before.
    carried: Vec<u8>,
    found: Option<u32>,
}

impl Search {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let mut seam = std::mem::take(&mut self.carried);
        seam.extend_from_slice(&piece[..piece.len().min(CARRIED_BYTES)]);
        self.look_at(&seam);
        self.look_at(piece);
        self.carried = if piece.len() < CARRIED_BYTES { seam } else { piece.to_vec() };
        self.carried.drain(..self.carried.len().saturating_sub(CARRIED_BYTES));
    }

    pub(super) fn found(&self) -> Option<u32> {
        self.found
    }

    fn look_at(&mut self, bytes: &[u8]) {
        for at in memchr::memmem::find_iter(bytes, JOB_LINK_MARKER) {
            self.found = self.found.max(version(&bytes[at + JOB_LINK_MARKER.len()..]));
        }
    }
}

/// Digits and a semicolon.
fn version(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&bytes[..digits]).ok()?;
    if bytes.get(digits) == Some(&b';') { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in_pieces(bytes: &[u8], piece_bytes: usize) -> Option<u32> {
        let mut search = Search::default();
        bytes.chunks(piece_bytes).for_each(|piece| search.feed(piece));
        search.found()
    }

    #[test]
    fn a_marker_reads_back_as_its_version() {
        for number in [0, 1, 9, 10, 307, u32::MAX] {
            let marker = job_link_marker(number);
            assert_eq!(found_in_pieces(&marker, marker.len()), Some(number));
        }
        assert!(job_link_marker(12).starts_with(b"MILLSTREAM-JOB-LINK:12;\0"));
    }

    #[test]
    fn a_marker_is_found_across_any_cut() {
        let mut bytes = vec![b'M'; 100];
        bytes.extend_from_slice(&job_link_marker(4_294_967_295));
        bytes.extend_from_slice(&[b'M'; 100]);
        for piece_bytes in 1..bytes.len() {
            assert_eq!(found_in_pieces(&bytes, piece_bytes), Some(u32::MAX), "{piece_bytes}");
        }
    }

    #[test]
    fn the_bare_text_is_no_marker() {
        for text in [
            "MILLSTREAM-JOB-LINK:",
            "MILLSTREAM-JOB-LINK:;",
            "MILLSTREAM-JOB-LINK:3",
            "MILLSTREAM-JOB-LINK:99999999999;",
            "MILLSTREAM-JOB-LINK:3x;",
        ] {
            assert_eq!(found_in_pieces(text.as_bytes(), text.len()), None, "{text}");
        }
    }
}
