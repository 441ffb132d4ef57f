//! The configuration of a process: `conf/config.yaml` of the home directory, then `-D`.
//!
//! The file may be nested or flat. Keys that nothing reads are told, with the nearest known one.

use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::config::Configuration;
use millstream_host::directories::Home;
use serde_json::Value;
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
    parse(&text).map_err(failed)
}

fn parse(text: &str) -> std::result::Result<Configuration, String> {
    let mut configuration = Configuration::default();
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if text.lines().any(is_content) {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        flatten("", &value, &mut configuration)?;
    }
    Ok(configuration)
}

/// `a: {b: 1}` and `a.b: 1` are the same.
fn flatten(
    prefix: &str,
    value: &Value,
    into: &mut Configuration,
) -> std::result::Result<(), String> {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into)?;
            }
        }
        _ if prefix.is_empty() => return Err("expected keys with values".to_owned()),
        Value::Null => (),
        Value::String(text) => into.set(prefix, text),
        Value::Array(items) => {
            let texts =
                items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned));
            into.set(prefix, texts.collect::<Vec<_>>().join(";"));
        }
        other => into.set(prefix, other.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_keys_are_the_same() {
        let nested = "rest:\n  port: 9000\n  bind-address: localhost\nio.tmp.dirs: [a, b]\n";
        let configuration = parse(nested).expect("well formed");
        assert_eq!(configuration.0["rest.port"], "9000");
        assert_eq!(configuration.0["rest.bind-address"], "localhost");
        assert_eq!(configuration.0["io.tmp.dirs"], "a;b");
    }

    #[test]
    fn an_empty_file_sets_nothing_and_a_bad_one_is_refused() {
        assert_eq!(parse("# nothing\n\n").expect("empty"), Configuration::default());
        assert!(parse("- a\n- b\n").is_err());
        assert!(parse("a: [1\n").is_err());
    }
}
