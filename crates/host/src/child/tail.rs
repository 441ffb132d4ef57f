//! The end of a stream of text: what a failure message quotes.

/// At most so many lines are quoted.
pub(super) const LINES_MAX: usize = 20;

/// At most so many bytes are quoted.
pub(super) const BYTES_MAX: usize = 4096;

/// Remembers the last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Between `BYTES_MAX` and twice that once so much has come, so that moving them is cheap.
    bytes: Vec<u8>,
    /// Bytes have been forgotten: the first line is not whole.
    is_cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(BYTES_MAX)..];
        self.is_cut |= kept.len() < bytes.len();
        self.bytes.extend_from_slice(kept);
        if 2 * BYTES_MAX < self.bytes.len() {
            self.bytes.drain(..self.bytes.len() - BYTES_MAX);
            self.is_cut = true;
        }
    }

    /// The last lines, within both bounds. A line that is longer than the bytes allow is cut at its
    /// start.
    fn lines(&self, lines_max: usize, bytes_max: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut lines = Vec::new();
        let mut bytes_left = bytes_max;
        let mut candidates = text.trim_end_matches(['\n', '\r']).rsplit('\n').peekable();
        while let Some(line) = candidates.next() {
            let is_torn = self.is_cut && candidates.peek().is_none();
            let line = printable(line);
            if lines.len() == lines_max || (is_torn && !lines.is_empty()) {
                break;
            }
            if bytes_left < line.len() {
                if lines.is_empty() {
                    lines.push(end_of(&line, bytes_left).to_owned());
                }
                break;
            }
            bytes_left -= line.len();
            lines.push(line);
        }
        if lines == [""] {
            lines.clear();
        }
        lines.reverse();
        lines
    }
}

/// The last lines of a child: those of standard error, and before them as many of standard output
/// as there is room for.
pub(super) fn last_lines(out: Option<&Tail>, err: Option<&Tail>) -> Vec<String> {
    let mut err = err.map(|tail| tail.lines(LINES_MAX, BYTES_MAX)).unwrap_or_default();
    let bytes: usize = err.iter().map(String::len).sum();
    let lines_left = LINES_MAX - err.len();
    if lines_left == 0 {
        return err;
    }
    let out = out.map(|tail| tail.lines(lines_left, BYTES_MAX - bytes)).unwrap_or_default();
    let mut lines = out;
    lines.append(&mut err);
    lines
}

/// Without control characters, which could make a terminal do things when the message is printed.
fn printable(line: &str) -> String {
    line.chars().filter(|c| *c == '\t' || !c.is_control()).collect()
}

fn end_of(line: &str, bytes_max: usize) -> &str {
    let mut start = line.len().saturating_sub(bytes_max);
    while !line.is_char_boundary(start) {
        start += 1;
    }
    &line[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, piece_bytes: usize) -> Tail {
        let mut tail = Tail::default();
        text.as_bytes().chunks(piece_bytes).for_each(|piece| tail.push(piece));
        tail
    }

    #[test]
    fn the_last_twenty_lines_are_quoted() {
        let text: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        for piece_bytes in [1, 7, 4096, 100_000] {
            let lines = last_lines(Some(&tail(&text, piece_bytes)), None);
            assert_eq!(lines.len(), LINES_MAX);
            assert_eq!((&*lines[0], &*lines[19]), ("line 980", "line 999"));
        }
    }

    #[test]
    fn a_line_without_end_is_cut_at_its_start() {
        let lines = last_lines(None, Some(&tail(&"äb".repeat(50_000), 1000)));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() <= BYTES_MAX && BYTES_MAX - 8 < lines[0].len());
        assert!(lines[0].ends_with("äb"));
    }

    #[test]
    fn a_torn_first_line_is_left_out() {
        let text = format!("{}\nwhole\n", "x".repeat(3 * BYTES_MAX));
        assert_eq!(last_lines(Some(&tail(&text, 512)), None), ["whole"]);
    }

    #[test]
    fn standard_error_comes_last_and_first() {
        let out: String = (0..100).map(|number| format!("out {number}\n")).collect();
        let lines = last_lines(Some(&tail(&out, 64)), Some(&tail("thread panicked\nhere\n", 64)));
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[17..], ["out 99", "thread panicked", "here"]);
        let err: String = (0..100).map(|number| format!("err {number}\n")).collect();
        let lines = last_lines(Some(&tail(&out, 64)), Some(&tail(&err, 64)));
        assert_eq!(lines[0], "err 80");
    }

    #[test]
    fn silence_is_no_line_and_escapes_are_dropped() {
        assert!(last_lines(Some(&tail("", 1)), Some(&tail("\n\n", 1))).is_empty());
        assert_eq!(last_lines(None, Some(&tail("a\x1b[31mb\r\n", 3))), ["a[31mb"]);
    }
}
