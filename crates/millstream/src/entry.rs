//! How a program learns what it was started for: its arguments and its launch mode.

use crate::embedded::EmbeddedExecutor;
use millstream_api::args::Args;
use millstream_api::{Result, StreamExecutionEnvironment};
use millstream_core::config::Configuration;
use std::collections::BTreeMap;

/// The short name of the environment.
pub type Env = StreamExecutionEnvironment;

/// Entry points of programs, as functions of [`Env`].
pub trait EnvFromArgs: Sized {
    /// An environment from the process's arguments (`--name value`, `--parallelism P`,
    /// `-D key=value`) and its launch mode.
    fn from_args() -> Result<Self>;
}

impl EnvFromArgs for Env {
    fn from_args() -> Result<Self> {
        let args = Args::parse(std::env::args().skip(1))?;
        let mut configuration = Configuration(args.configuration().clone());
        configuration.0.entry("parallelism.default".to_owned()).or_insert_with(cores);
        let defaults = configuration.0.clone();
        let executor = Box::new(EmbeddedExecutor::new(configuration));
        Ok(Env::with_executor(args, defaults, BTreeMap::new(), executor))
    }
}

/// Embedded jobs use the whole machine unless told otherwise.
fn cores() -> String {
    std::thread::available_parallelism().map_or(1, usize::from).to_string()
}
