//! A text file read by several workers, each line by exactly one of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

/// The lines that begin in this worker's part of the file, without their ends.
pub fn share(
    path: &Path,
    index: usize,
    peers: usize,
) -> io::Result<impl Iterator<Item = String> + use<>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let bound = |index: usize| size * index as u64 / peers as u64;
    let (mut position, end) = (bound(index), bound(index + 1));
    let mut reader = BufReader::new(file);
    if position > 0 {
        // One byte back: a line that begins exactly at the bound is ours.
        reader.seek(SeekFrom::Start(position - 1))?;
        position += reader.skip_until(b'\n')? as u64 - 1;
    }
    Ok(std::iter::from_fn(move || {
        if position >= end {
            return None;
        }
        let mut line = String::new();
        let length = reader.read_line(&mut line).expect("the input file is readable text");
        position += length as u64;
        line.truncate(line.trim_end_matches(['\n', '\r']).len());
        (length > 0).then_some(line)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_by_exactly_one_worker() {
        let path = std::env::temp_dir().join(format!("rivals-lines-{}", std::process::id()));
        let text = "a\nbb\n\nccc ccc\ndddd\ne";
        std::fs::write(&path, text).unwrap();
        for peers in 1..=text.len() + 1 {
            let lines: Vec<String> =
                (0..peers).flat_map(|index| share(&path, index, peers).unwrap()).collect();
            assert_eq!(lines.join("\n"), text, "{peers} workers");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
