//! The configuration file: YAML, as people write it for Flink.

use millstream_core::config::Configuration;
use serde_json::Value;

/// No key is longer.
pub const KEY_BYTES_MAX: usize = 1024;

/// Keys are nested no deeper.
const DEPTH_MAX: usize = 64;

/// What a file says: nested or flat keys.
pub fn parse(text: &str) -> Result<Configuration, String> {
    let mut configuration = Configuration::default();
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if text.lines().any(is_content) {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        flatten("", &value, DEPTH_MAX, &mut configuration)?;
    }
    Ok(configuration)
}

/// `a: {b: 1}` and `a.b: 1` are the same.
fn flatten(
    prefix: &str,
    value: &Value,
    depth: usize,
    into: &mut Configuration,
) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or("keys are nested too deep")?;
    if prefix.len() > KEY_BYTES_MAX {
        return Err(format!("a key of {} bytes is too long", prefix.len()));
    }
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, depth, into)?;
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
