//! Checks what `ledger` has written: `ledger_check --records N --keys K DIR`.
//!
//! Shares nothing with the engine. Reads the lines `id,key,n` of all files of the directory whose names
//! do not begin with a dot, and tells how many records of `0..N` are
//! - lost: in no line;
//! - doubled: in a line although they were in one before;
//! - reordered: with another key than `id mod K`, or another count than `id / K + 1`, which is what a
//!   record gets that is counted too early or too late, or with state that is too old or too new;
//! - foreign: not in `0..N`;
//! - torn: no line of that form, or without its end.
//!
//! It fails unless all of them are 0. A bit per record is kept: 125 MB for 10⁹.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

/// More records need more than 8 GiB of memory.
const RECORDS_MAX: u64 = 1 << 36;

/// So much is read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// No line of a ledger is longer: three numbers, two commas, a newline.
const LINE_BYTES_MAX: u64 = 64;

/// So many examples of each fault are told.
const EXAMPLES_MAX: usize = 20;

/// What was found so far.
struct Ledger {
    records: u64,
    keys: u64,
    /// A bit per record: it was in a line.
    seen: Vec<u64>,
    lines: u64,
    found: u64,
    doubled: Fault,
    reordered: Fault,
    foreign: Fault,
    torn: Fault,
}

/// How often something was wrong, and the first of them.
#[derive(Default)]
struct Fault {
    count: u64,
    examples: Vec<String>,
}

impl Fault {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

impl Ledger {
    fn new(records: u64, keys: u64) -> Self {
        Self {
            records,
            keys,
            seen: vec![0; records.div_ceil(64) as usize],
            lines: 0,
            found: 0,
            doubled: Fault::default(),
            reordered: Fault::default(),
            foreign: Fault::default(),
            torn: Fault::default(),
        }
    }

    /// Takes all lines of a file.
    fn read(&mut self, name: &str, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        let mut place = 0;
        loop {
            line.clear();
            let bytes = read_line(&mut input, &mut line)?;
            if bytes == 0 {
                return Ok(());
            }
            self.lines += 1;
            match parse(&line) {
                Some(fields) => self.take(name, fields),
                None => self.torn.add(|| {
                    let text = String::from_utf8_lossy(&line);
                    format!(
                        "{name} at byte {place}: {:?}",
                        text.chars().take(40).collect::<String>()
                    )
                }),
            }
            place += bytes;
        }
    }

    fn take(&mut self, name: &str, (id, key, count): (u64, u64, u64)) {
        let line = || format!("{name}: {id},{key},{count}");
        if id >= self.records {
            return self.foreign.add(line);
        }
        if key != id % self.keys || count != id / self.keys + 1 {
            self.reordered.add(line);
        }
        let (word, bit) = (&mut self.seen[(id / 64) as usize], 1 << (id % 64));
        if *word & bit != 0 {
            return self.doubled.add(line);
        }
        *word |= bit;
        self.found += 1;
    }

    fn lost(&self) -> Fault {
        let mut lost = Fault::default();
        for (at, word) in self.seen.iter().enumerate() {
            let mut missing = !word;
            while missing != 0 && lost.examples.len() < EXAMPLES_MAX {
                let id = at as u64 * 64 + u64::from(missing.trailing_zeros());
                missing &= missing - 1;
                if id < self.records {
                    lost.examples.push(id.to_string());
                }
            }
        }
        lost.count = self.records - self.found;
        lost
    }

    /// Tells what was found; whether all is well.
    fn report(&self) -> bool {
        let lost = self.lost();
        let faults = [
            ("lost", &lost),
            ("doubled", &self.doubled),
            ("reordered", &self.reordered),
            ("foreign", &self.foreign),
            ("torn", &self.torn),
        ];
        let counts = faults.map(|(fault, found)| format!("{fault} {}", found.count)).join(", ");
        println!("{} records, {} lines: {counts}", self.records, self.lines);
        for (fault, found) in faults.iter().filter(|(_, found)| found.count > 0) {
            println!("first {fault}: {}", found.examples.join("; "));
        }
        faults.iter().all(|(_, found)| found.count == 0)
    }
}

/// Appends a line with its newline; one that is too long is cut, and what follows is not kept. Gives
/// the number of bytes that it has in the file.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let buffer = input.fill_buf()?;
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let part = newline.map_or(buffer.len(), |newline| newline + 1);
        let room = (LINE_BYTES_MAX as usize + 1).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..part.min(room)]);
        let is_end = buffer.is_empty() || newline.is_some();
        input.consume(part);
        bytes += part as u64;
        if is_end {
            return Ok(bytes);
        }
    }
}

/// `id,key,n` and a newline, in digits without anything else.
fn parse(line: &[u8]) -> Option<(u64, u64, u64)> {
    let mut fields = line.strip_suffix(b"\n")?.split(|byte| *byte == b',').map(number);
    let all = (fields.next()??, fields.next()??, fields.next()??);
    fields.next().is_none().then_some(all)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads the whole directory; hidden files are not part of the result.
fn check(directory: &Path, records: u64, keys: u64) -> Result<Ledger, String> {
    let failed =
        |path: &Path, error: io::Error| format!("could not read {}: {error}", path.display());
    let mut ledger = Ledger::new(records, keys);
    let entries = fs::read_dir(directory).map_err(|error| failed(directory, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(directory, error))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if !name.starts_with('.') {
            let file = File::open(&path).map_err(|error| failed(&path, error))?;
            let input = BufReader::with_capacity(BUFFER_BYTES, file);
            ledger.read(&name, input).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(ledger)
}

/// Records, keys and directory.
fn arguments(given: impl IntoIterator<Item = String>) -> Result<(u64, u64, String), String> {
    const USAGE: &str = "usage: ledger_check --records N --keys K DIR";
    let (mut records, mut keys, mut directory) = (None, None, None);
    let mut given = given.into_iter();
    while let Some(argument) = given.next() {
        let slot = match argument.as_str() {
            "--records" => &mut records,
            "--keys" => &mut keys,
            _ if argument.starts_with('-') || directory.is_some() => {
                return Err(format!("`{argument}` is not known; {USAGE}"));
            }
            _ => {
                directory = Some(argument);
                continue;
            }
        };
        let value = given.next().unwrap_or_default();
        let parsed = number(value.as_bytes()).filter(|number| *number <= RECORDS_MAX);
        *slot = Some(parsed.ok_or_else(|| format!("`{argument} {value}` is no number; {USAGE}"))?);
    }
    match (records, keys, directory) {
        (Some(records), Some(keys), Some(directory)) if keys > 0 => Ok((records, keys, directory)),
        _ => Err(USAGE.to_owned()),
    }
}

fn main() -> ExitCode {
    let checked = arguments(std::env::args().skip(1))
        .and_then(|(records, keys, directory)| check(Path::new(&directory), records, keys));
    match checked {
        Ok(ledger) if ledger.report() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64, keys: u64) -> String {
        format!("{id},{},{}\n", id % keys, id / keys + 1)
    }

    fn ledger(records: u64, keys: u64, files: &[String]) -> Ledger {
        let mut ledger = Ledger::new(records, keys);
        for (number, file) in files.iter().enumerate() {
            ledger.read(&format!("part-{number}"), file.as_bytes()).expect("a slice is readable");
        }
        ledger
    }

    /// Lost, doubled, reordered, foreign, torn.
    fn counts(ledger: &Ledger) -> [u64; 5] {
        let Ledger { doubled, reordered, foreign, torn, .. } = ledger;
        [ledger.lost().count, doubled.count, reordered.count, foreign.count, torn.count]
    }

    #[test]
    fn a_whole_ledger_is_whole_in_whatever_files_and_order_its_lines_are() {
        for (records, keys) in [(0, 1), (1, 1), (63, 7), (64, 64), (65, 100), (1000, 7)] {
            let even = (0..records).step_by(2).map(|id| line(id, keys)).collect();
            let odd =
                (0..records).rev().filter(|id| id % 2 == 1).map(|id| line(id, keys)).collect();
            let ledger = ledger(records, keys, &[odd, even]);
            assert_eq!(counts(&ledger), [0; 5], "{records} {keys}");
            assert!(ledger.report());
        }
    }

    #[test]
    fn every_planted_fault_is_found() {
        let whole: Vec<String> = (0..1000).map(|id| line(id, 7)).collect();
        let planted = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            let ledger = ledger(1000, 7, &[lines.concat()]);
            assert!(!ledger.report());
            counts(&ledger)
        };
        assert_eq!(planted(&|lines| drop(lines.remove(500))), [1, 0, 0, 0, 0]);
        assert_eq!(planted(&|lines| drop(lines.drain(990..))), [10, 0, 0, 0, 0]);
        assert_eq!(planted(&|lines| lines.push(line(3, 7))), [0, 1, 0, 0, 0]);
        assert_eq!(planted(&|lines| lines[8] = "8,1,3\n".to_owned()), [0, 0, 1, 0, 0]);
        assert_eq!(planted(&|lines| lines[8] = "8,2,2\n".to_owned()), [0, 0, 1, 0, 0]);
        assert_eq!(planted(&|lines| lines.push(line(1000, 7))), [0, 0, 0, 1, 0]);
        // A record that was counted twice: each later one of its key is one too high.
        let recounted = planted(&|lines| {
            (14..1000).step_by(7).for_each(|id| lines[id] = format!("{id},0,{}\n", id / 7 + 2));
        });
        assert_eq!(recounted, [0, 0, 141, 0, 0]);
    }

    #[test]
    fn a_line_that_is_not_whole_is_torn() {
        let long = format!("{},0,1\n", "0".repeat(100));
        for torn in ["0,0,1", "0,0\n", "0,0,1,2\n", "0,,1\n", "x\n", "\n", "0,0,-1\n", &long] {
            let ledger = ledger(1, 1, &[torn.to_owned()]);
            assert_eq!(counts(&ledger), [1, 0, 0, 0, 1], "{torn:?}");
        }
        let both = ledger(2, 1, &[format!("{long}1,0,2\n")]);
        assert_eq!(counts(&both), [1, 0, 0, 0, 1], "the line after a long one is read");
    }

    #[test]
    fn the_first_faults_are_named() {
        let lines: String =
            (0..100).filter(|id| ![5, 77].contains(id)).map(|id| line(id, 3)).collect();
        let ledger = ledger(100, 3, &[lines, line(8, 3)]);
        assert_eq!(ledger.lost().examples, ["5", "77"]);
        assert_eq!(ledger.doubled.examples, ["part-1: 8,2,3"]);
    }

    #[test]
    fn hidden_files_are_no_part_of_the_result_and_the_rest_is() {
        let directory = std::env::temp_dir().join(format!("ledger-check-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("it can be made");
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).expect("it can be written");
        };
        write("part-0-1.csv", "0,0,1\n");
        write("part-1-3.csv", "1,0,2\n");
        write(".part-1.csv-0-4-0.pending", "1,0,2\nha");
        let counted = check(&directory, 2, 1).map(|ledger| counts(&ledger));
        fs::remove_dir_all(&directory).expect("it is there");
        assert_eq!(counted, Ok([0; 5]));
        let error = check(&directory, 2, 1).err().expect("it is gone");
        assert!(error.contains("could not read"), "{error}");
    }

    #[test]
    fn arguments_that_are_missing_or_not_known_are_refused() {
        let read = |text: &str| arguments(text.split_whitespace().map(str::to_owned));
        let whole = read("--keys 7 out --records 100");
        assert_eq!(whole, Ok((100, 7, "out".to_owned())));
        for text in
            ["", "--records 1 --keys 1", "--records x --keys 1 out", "--records 1 --keys 0 o"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("--records 1 --keys 1 --fast out").is_err());
        assert!(read("--records 1 --keys 1 out more").is_err());
    }
}
