//! The configuration of a process: `conf/config.yaml` of the home directory, then `-D`.
//!
//! Keys that nothing reads are told, with the nearest known one.

use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::config::Configuration;
use millstream::process::storage::Storages;
use millstream_host::configuration;
use millstream_host::directories::Home;
use std::path::Path;

/// The home directory that the environment names.
pub(crate) fn home() -> Result<Home> {
    Home::from_env().map_err(|error| {
        Error::new(ErrorCode::Configuration, "no home directory").why(error.to_string())
    })
}

/// File and definitions together.
pub(crate) fn load(home: &Home, definitions: &[String]) -> Result<Configuration> {
    let mut configuration = read_file(&home.config_file())?;
    for definition in definitions {
        configuration.define(definition).map_err(|error| {
            Error::new(ErrorCode::Argument, format!("`-D {definition}`: {}", error.why))
        })?;
    }
    for unknown in configuration.unknown() {
        match unknown.nearest {
            Some(known) => {
                eprintln!("warning: unknown key `{}`; did you mean `{known}`?", unknown.key);
            }
            None => eprintln!("warning: unknown key `{}`", unknown.key),
        }
    }
    Ok(configuration)
}

/// The storages that file and definitions describe.
pub(crate) fn storages(definitions: &[String]) -> Result<Storages> {
    Ok(Storages::new(&load(&home()?, definitions)?))
}

/// The file; nothing if there is none.
fn read_file(path: &Path) -> Result<Configuration> {
    let failed = |why: String| {
        Error::new(ErrorCode::Configuration, "the configuration file cannot be read")
            .at(path.display().to_string())
            .why(why)
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error.to_string())),
    };
    configuration::parse(&text).map_err(failed)
}
