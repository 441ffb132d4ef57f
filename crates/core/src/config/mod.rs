//! Configuration: dotted keys with Flink's names, values as text, options that are declared once.
//!
//! - [`value`]: durations, sizes, booleans and lists as people write them;
//! - [`option`]: one option: key, default, how its text is read, what it means;
//! - [`catalog`]: all options that processes read, in one list: the reference page is made from it.
//!
//! A [`Configuration`] is a flat map. Unknown keys are kept, and [`Configuration::unknown`] names
//! each with the nearest known one.

pub mod catalog;
pub mod option;
pub mod value;

pub use option::ConfigOption;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keys and their values, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Configuration(pub BTreeMap<String, String>);

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}: {text}` cannot be read: {why}")]
pub struct ConfigError {
    /// The key.
    pub key: String,
    /// What it is set to.
    pub text: String,
    /// What was expected.
    pub why: String,
}

/// A key that no option has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// As it was written.
    pub key: String,
    /// The nearest known key, if one is near.
    pub nearest: Option<&'static str>,
}

impl Configuration {
    /// The value of an option: what is set, or its default.
    pub fn get<T: Clone + 'static>(&self, option: &ConfigOption<T>) -> Result<T, ConfigError> {
        let keys = std::iter::once(&option.key).chain(option.fallback_keys);
        for key in keys {
            if let Some(text) = self.0.get(*key) {
                return (option.read)(text).map_err(|why| ConfigError {
                    key: (*key).to_owned(),
                    text: text.clone(),
                    why,
                });
            }
        }
        Ok((option.default)())
    }

    /// Whether the option is set.
    pub fn contains<T>(&self, option: &ConfigOption<T>) -> bool {
        let mut keys = std::iter::once(&option.key).chain(option.fallback_keys);
        keys.any(|key| self.0.contains_key(*key))
    }

    /// Takes over what another configuration says of an option that is not set here.
    pub fn inherit<T>(&mut self, option: &ConfigOption<T>, from: &Self) {
        if self.contains(option) {
            return;
        }
        let mut keys = std::iter::once(&option.key).chain(option.fallback_keys);
        if let Some(text) = keys.find_map(|key| from.0.get(*key)) {
            self.set(option.key, text.clone());
        }
    }

    /// Takes over what a cluster's configuration says of the state backend, where a job's own says
    /// nothing.
    pub fn inherit_state_backend(&mut self, cluster: &Self) {
        self.inherit(&catalog::STATE_BACKEND, cluster);
        self.inherit(&catalog::LSM_MEMORY, cluster);
        self.inherit(&catalog::LSM_WRITE_BUFFER_RATIO, cluster);
        self.inherit(&catalog::LSM_DIRECTORY, cluster);
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Reads `key=value`, as `-D` gives it.
    pub fn define(&mut self, definition: &str) -> Result<(), ConfigError> {
        match definition.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.set(key.trim(), value.trim());
                Ok(())
            }
            _ => Err(ConfigError {
                key: definition.to_owned(),
                text: String::new(),
                why: "expected key=value".to_owned(),
            }),
        }
    }

    /// Keys that no option has, each with the nearest known one. Keys of other libraries
    /// (`env.java.`, `akka.`) are accepted in silence: files are shared with Flink.
    pub fn unknown(&self) -> Vec<UnknownKey> {
        let known = catalog::keys();
        let foreign = |key: &str| key.starts_with("env.java.") || key.starts_with("akka.");
        let unknown = self.0.keys().filter(|key| !known.contains(&key.as_str()) && !foreign(key));
        let nearest = |key: &str| {
            let scored = known.iter().map(|candidate| (edits(key, candidate), *candidate));
            scored
                .min()
                .filter(|(n, _)| *n <= key.len().div_ceil(3))
                .map(|(_, candidate)| candidate)
        };
        unknown.map(|key| UnknownKey { key: key.clone(), nearest: nearest(key) }).collect()
    }

    /// The entries, with the values of secret keys masked.
    pub fn masked(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| {
            let shown = if is_secret(key) { "******" } else { value };
            (key.as_str(), shown)
        })
    }
}

/// Whether a key's value must not be shown.
pub fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 8] =
        ["password", "secret", "token", "apikey", "api-key", "auth", "access-key", "access.key"];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
}

/// Levenshtein distance: how near a mistyped name is to a known one.
pub fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_value_wins_over_the_default_and_a_bad_one_is_named() {
        let mut configuration = Configuration::default();
        assert_eq!(configuration.get(&catalog::REST_PORT), Ok(8081));
        configuration.set("rest.port", "9000");
        assert_eq!(configuration.get(&catalog::REST_PORT), Ok(9000));
        configuration.set("rest.port", "nine");
        let error = configuration.get(&catalog::REST_PORT).expect_err("not a number");
        assert_eq!(
            error.to_string(),
            "`rest.port: nine` cannot be read: expected a number between 0 and 65535"
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_known_one() {
        let mut configuration = Configuration::default();
        configuration.set("rest.prot", "1");
        configuration.set("rest.port", "1");
        configuration.set("env.java.opts.all", "-Xmx1g");
        configuration.set("completely.different.and.long", "1");
        let unknown = configuration.unknown();
        let nearest: Vec<_> = unknown.iter().map(|u| (u.key.as_str(), u.nearest)).collect();
        assert_eq!(
            nearest,
            [("completely.different.and.long", None), ("rest.prot", Some("rest.port"))]
        );
    }

    #[test]
    fn a_job_says_itself_where_its_state_is_whichever_name_of_the_option_it_uses() {
        let configuration = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
            Configuration(entries.collect())
        };
        let memory = "state.backend.rocksdb.memory.fixed-per-tm";
        let cluster = configuration(&[("state.backend", "rocksdb"), (memory, "64m")]);
        let mut silent = configuration(&[("pipeline.name", "silent")]);
        silent.inherit_state_backend(&cluster);
        assert_eq!(silent.get(&catalog::STATE_BACKEND), Ok("rocksdb".to_owned()));
        assert_eq!(silent.get(&catalog::LSM_MEMORY), Ok(64 << 20));
        let cluster = configuration(&[("state.backend.type", "rocksdb"), (memory, "64m")]);
        let mut own = configuration(&[("state.backend", "hashmap")]);
        own.inherit_state_backend(&cluster);
        assert_eq!(own.get(&catalog::STATE_BACKEND), Ok("hashmap".to_owned()));
    }

    #[test]
    fn secrets_are_masked() {
        let mut configuration = Configuration::default();
        configuration.set("security.rest.token", "abc");
        configuration.set("rest.port", "1");
        let shown: Vec<_> = configuration.masked().collect();
        assert_eq!(shown, [("rest.port", "1"), ("security.rest.token", "******")]);
    }
}
