//! Knows where everything is, provides the input, and runs a contestant once.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use millstream_rivals::{Result, corpus, lines};

use crate::cluster::Cluster;
use crate::contestant::{
    Absence, Contestant, EVENTS, EVENTS_FOLDER, How, SQL_FOLDER, TEXT, TEXT_HALVES,
};
use crate::flink::{self, Flink};
use crate::measure::{self, Figures};

/// How many of each kind are in `fixtures/nexmark/events.json.gz`.
const FIXTURE_EVENTS: [(&str, u64); 3] = [("person", 2_400), ("auction", 4_800), ("bid", 52_800)];

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
    /// The input of Nexmark as JSON.
    pub(crate) events: PathBuf,
    /// Two workers for our jobs between processes.
    pub(crate) cluster: Cluster,
    /// Kinds of contestants that are not wanted.
    pub(crate) without: Vec<String>,
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

    /// Makes the events unless they are there: so many times those of the fixtures.
    pub(crate) fn provide_events(&self, copies: u64) -> Result<()> {
        if !self.events.exists() {
            let json = self.events.parent().expect("a file is in a folder");
            let folder = json.parent().expect("and that in another");
            fs::create_dir_all(json)?;
            for (kind, count) in FIXTURE_EVENTS {
                fs::write(folder.join(format!("{kind}.rows")), (count * copies).to_string())?;
            }
            let packed =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/nexmark/events.json.gz");
            let file = File::create(&self.events)?;
            for _ in 0..copies {
                let unpacked = file.try_clone()?;
                Command::new("gzip").args(["-dc", packed]).stdout(unpacked).status()?;
            }
        }
        io::copy(&mut File::open(&self.events)?, &mut io::sink())?;
        Ok(())
    }

    fn events_folder(&self) -> PathBuf {
        let folder = self.events.parent().and_then(|json| json.parent());
        folder.map(PathBuf::from).unwrap_or_default()
    }

    fn text_halves(&self) -> PathBuf {
        self.text.with_extension("halves")
    }

    fn argument(&self, word: &str) -> OsString {
        match word {
            TEXT => self.text.clone().into_os_string(),
            TEXT_HALVES => self.text_halves().into_os_string(),
            EVENTS => self.events.clone().into_os_string(),
            EVENTS_FOLDER => self.events_folder().into_os_string(),
            SQL_FOLDER => flink::sql_folder().into_os_string(),
            _ => word.into(),
        }
    }

    /// Runs a contestant once.
    pub(crate) fn launch(&self, contestant: &Contestant) -> std::result::Result<Figures, Absence> {
        let family = contestant.name.split([',', ' ']).next().unwrap_or_default();
        if self.without.iter().any(|unwanted| unwanted == family) {
            return Err(Absence::Missing(format!("--without {family}")));
        }
        let arguments = contestant.arguments.split_whitespace().map(|word| self.argument(word));
        let command = match contestant.how {
            How::Rival => command(self.rivals.join(&contestant.program), arguments)?,
            How::Ours => self.our_command(contestant, arguments)?,
            How::OursOnCluster => {
                let program = self.our_command(contestant, arguments)?;
                return self.cluster.run(&program, self.time_limit);
            }
            How::Flink => self.flink()?.command(&contestant.program, arguments),
        };
        Ok(measure::run(command, self.time_limit)?)
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
