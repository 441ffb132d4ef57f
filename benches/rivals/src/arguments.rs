//! Command line arguments: `--name value` pairs and bare words.

use std::collections::VecDeque;
use std::str::FromStr;

use crate::Result;

/// What stands on the command line and has not been asked for yet.
#[derive(Default)]
pub struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    /// Reads this process's arguments.
    pub fn of_process() -> Result<Self> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(given: impl Iterator<Item = String>) -> Result<Self> {
        let mut given: VecDeque<String> = given.collect();
        let (mut words, mut options) = (Vec::new(), Vec::new());
        while let Some(argument) = given.pop_front() {
            match argument.strip_prefix('-') {
                None => words.push(argument),
                Some(name) => {
                    let value = given
                        .pop_front()
                        .ok_or_else(|| format!("option {argument} needs a value"))?;
                    options.push((name.trim_start_matches('-').to_owned(), value));
                }
            }
        }
        Ok(Self { words, options })
    }

    /// The first bare word, which names a subcommand.
    pub fn command(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// All bare words that are left.
    pub fn words(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// Every value that was given for a name, in order.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (wanted, rest) =
            std::mem::take(&mut self.options).into_iter().partition(|(given, _)| given == name);
        self.options = rest;
        wanted.into_iter().map(|(_, value)| value).collect()
    }

    /// The last value that was given for a name.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    /// The last value that was given for a name; an error if there is none.
    pub fn required(&mut self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| format!("option --{name} is missing").into())
    }

    /// A value that is not text, most often a number.
    pub fn value<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| format!("option --{name} cannot be {text:?}").into())
            }
        }
    }

    /// Refuses what nobody asked for: a misspelt option must not pass for its default.
    pub fn finish(self) -> Result<()> {
        match (self.options.first(), self.words.first()) {
            (None, None) => Ok(()),
            (Some((name, _)), _) => Err(format!("unknown option --{name}").into()),
            (None, Some(word)) => Err(format!("unexpected argument {word:?}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options_and_words_mix_freely() {
        let mut arguments = parse("wordcount --runs 3 -D a=1 latency -D b=2").unwrap();
        assert_eq!(arguments.value("runs", 5).unwrap(), 3);
        assert_eq!(arguments.all("D"), ["a=1", "b=2"]);
        assert_eq!(arguments.words(), ["wordcount", "latency"]);
        arguments.finish().unwrap();
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let arguments = parse("--record 5").unwrap();
        assert_eq!(arguments.finish().unwrap_err().to_string(), "unknown option --record");
    }
}
