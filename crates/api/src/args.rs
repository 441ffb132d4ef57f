//! Command-line arguments of a job: `--name value`, plus `--parallelism P`, `-p P` and
//! `-D key=value`, which every job takes.
//!
//! A program asks for its arguments by name. What nobody has asked for by the time of `execute` is
//! an unknown flag, and the nearest known name is told.

use crate::error::{Error, ErrorCode, Result};
use millstream_core::config::edits;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The arguments of a program.
#[derive(Debug, Default)]
pub struct Args {
    values: BTreeMap<String, String>,
    /// `--parallelism`.
    pub(crate) parallelism: Option<u32>,
    /// `-D`.
    pub(crate) configuration: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Args {
    /// Reads arguments, without the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => {
                    (flag.to_owned(), Some(value.to_owned()))
                }
                _ => (argument, None),
            };
            let mut value = || match &value {
                Some(value) => Ok(value.clone()),
                None => arguments.next().ok_or_else(|| wrong(format!("`{flag}` needs a value"))),
            };
            match flag.as_str() {
                "--parallelism" | "-p" => args.parallelism = Some(parallelism(&value()?)?),
                "-D" => args.define(&value()?)?,
                short if short.starts_with("-D") => args.define(&short[2..])?,
                long if long.starts_with("--") && long.len() > 2 => {
                    args.values.insert(long[2..].to_owned(), value()?);
                }
                other => return Err(wrong(format!("`{other}` is not a flag"))),
            }
        }
        Ok(args)
    }

    fn define(&mut self, definition: &str) -> Result<()> {
        match definition.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                self.configuration.insert(key.to_owned(), value.to_owned());
                Ok(())
            }
            _ => Err(wrong(format!("`-D {definition}` is not `-D key=value`"))),
        }
    }

    /// What `-D` set.
    pub fn configuration(&self) -> &BTreeMap<String, String> {
        &self.configuration
    }

    /// The value of `--name`, if it was given.
    pub fn get(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).cloned()
    }

    /// The value of `--name`, which has to be given.
    pub fn require(&self, name: &str) -> Result<String> {
        self.get(name).ok_or_else(|| {
            let error = wrong(format!("`--{name}` is missing"));
            match nearest(name, self.values.keys().map(String::as_str)) {
                Some(given) => error.next(format!("write `--{name}` instead of `--{given}`")),
                None => error.next(format!("add `--{name} <value>`")),
            }
        })
    }

    /// The value of `--name` as a number or anything else that can be read from text.
    pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| {
            wrong(format!("`--{name} {text}` cannot be read")).why(error.to_string())
        })
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn check_all_asked(&self) -> Result<()> {
        let asked = self.asked.borrow();
        let Some(unknown) = self.values.keys().find(|name| !asked.contains(*name)) else {
            return Ok(());
        };
        let known = asked.iter().map(String::as_str).chain(["parallelism"]);
        let error = wrong(format!("unknown flag `--{unknown}`"));
        Err(match nearest(unknown, known) {
            Some(name) => error.next(format!("did you mean `--{name}`?")),
            None => error,
        })
    }
}

fn parallelism(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(parallelism) if parallelism > 0 => Ok(parallelism),
        _ => Err(wrong(format!("`--parallelism {text}` is not a number above 0"))),
    }
}

fn wrong(summary: String) -> Error {
    Error::new(ErrorCode::Argument, summary).attempted("read the program's arguments")
}

/// The candidate with the fewest edits, if that is few.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.map(|candidate| (edits(text, candidate), candidate));
    scored.min().filter(|(n, _)| *n <= text.len().div_ceil(3)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args> {
        Args::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_in_all_spellings() {
        let args = parse("--input a.txt --output=out -p 2 -D a.b=c -Dx=y").expect("well formed");
        assert_eq!(args.require("input").as_deref(), Ok("a.txt"));
        assert_eq!(args.get("output").as_deref(), Some("out"));
        assert_eq!(args.parallelism, Some(2));
        assert_eq!(args.configuration["a.b"], "c");
        assert_eq!(args.configuration["x"], "y");
        assert_eq!(args.check_all_asked(), Ok(()));
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_nearest_known_one() {
        let args = parse("--inptu a.txt").expect("well formed");
        assert_eq!(args.get("input"), None);
        let error = args.check_all_asked().expect_err("nobody asks for it");
        assert_eq!(error.summary, "unknown flag `--inptu`");
        assert_eq!(error.next.as_deref(), Some("did you mean `--input`?"));
    }

    #[test]
    fn a_missing_flag_is_told_with_the_one_that_was_mistyped() {
        let args = parse("--inptu a.txt").expect("well formed");
        let error = args.require("input").expect_err("it is not there");
        assert_eq!(error.next.as_deref(), Some("write `--input` instead of `--inptu`"));
    }

    #[test]
    fn malformed_arguments_are_refused() {
        for text in ["a.txt", "--input", "-p 0", "-p two", "-D key", "-D =v", "--", "-x"] {
            assert_eq!(parse(text).expect_err(text).code, ErrorCode::Argument, "{text}");
        }
    }
}
