//! Knows where everything is, provides the input, and runs a contestant once.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use millstream_rivals::{Result, corpus, lines};

use crate::contestant::{Absence, Contestant, How, TEXT, TEXT_HALVES};
use crate::flink::Flink;
use crate::measure::{self, Figures};

/// Where everything is.
pub(crate) struct Launcher {
    /// Folder of the rivals' programs, and of this one.
    pub(crate) rivals: PathBuf,
    /// Folder of our examples.
    pub(crate) ours: PathBuf,
    /// `key=value` for each of our programs.
    pub(crate) ours_configuration: Vec<String>,
    pub(crate) flink: std::result::Result<Flink, String>,
    /// The input of WordCount.
    pub(crate) text: PathBuf,
    /// A program that takes longer is ended.
    pub(crate) time_limit: Duration,
}

impl Launcher {
    /// Makes the text unless it is there.
    pub(crate) fn provide_text(&self, mb: u64, vocabulary: usize) -> Result<()> {
        if !self.text.exists() {
            corpus::write(&self.text, (mb as usize) << 20, vocabulary, 0)?;
        }
        // One reading before the first run, so that it does not wait for the disk either.
        io::copy(&mut File::open(&self.text)?, &mut io::sink())?;
        if self.flink.is_ok() && !self.text_halves().exists() {
            self.provide_text_halves()?;
        }
        Ok(())
    }

    fn provide_text_halves(&self) -> Result<()> {
        fs::create_dir(self.text_halves())?;
        for index in 0..2 {
            let half = self.text_halves().join(format!("part-{index}"));
            let mut half = BufWriter::new(File::create(half)?);
            for line in lines::share(&self.text, index, 2)? {
                writeln!(half, "{line}")?;
            }
            half.flush()?;
        }
        Ok(())
    }

    fn text_halves(&self) -> PathBuf {
        self.text.with_extension("halves")
    }

    fn argument(&self, word: &str) -> OsString {
        match word {
            TEXT => self.text.clone().into_os_string(),
            TEXT_HALVES => self.text_halves().into_os_string(),
            _ => word.into(),
        }
    }

    /// Runs a contestant once.
    pub(crate) fn launch(&self, contestant: &Contestant) -> std::result::Result<Figures, Absence> {
        let arguments = contestant.arguments.split_whitespace().map(|word| self.argument(word));
        let command = match contestant.how {
            How::Rival => command(self.rivals.join(&contestant.program), arguments)?,
            How::Ours => self.our_command(contestant, arguments)?,
            How::Flink => self.flink()?.command(&contestant.program, arguments),
        };
        measure::run(command, self.time_limit).map_err(|error| Absence::Failed(error.to_string()))
    }

    fn our_command(
        &self,
        contestant: &Contestant,
        arguments: impl Iterator<Item = OsString>,
    ) -> std::result::Result<Command, Absence> {
        let mut command = command(self.ours.join(&contestant.program), arguments)?;
        command.env("MILLSTREAM_BENCH_JSON", "1");
        for setting in &self.ours_configuration {
            command.args(["-D", setting]);
        }
        Ok(command)
    }

    fn flink(&self) -> std::result::Result<&Flink, Absence> {
        self.flink.as_ref().map_err(|reason| Absence::Missing(reason.clone()))
    }
}

fn command(
    program: PathBuf,
    arguments: impl Iterator<Item = OsString>,
) -> std::result::Result<Command, Absence> {
    if !program.exists() {
        let name = program.file_name().unwrap_or_default().display();
        return Err(Absence::Missing(format!("{name} is not built")));
    }
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}
