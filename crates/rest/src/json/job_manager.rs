//! `ConfigurationInfo` and `EnvironmentInfo`.

use millstream_core::config::{Configuration, catalog, is_secret};
use serde::Serialize;

/// One key of the JobManager's configuration.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConfigurationEntry {
    key: String,
    value: String,
}

impl ConfigurationEntry {
    /// All entries. A value is shown if its key is a known option and no secret: what somebody else's
    /// key holds, nobody here can tell.
    pub(crate) fn shown(configuration: &Configuration) -> Vec<Self> {
        let known = catalog::keys();
        let show = |key: &str| known.contains(&key) && !is_secret(key);
        let entry = |(key, value): (&String, &String)| Self {
            key: key.clone(),
            value: if show(key) { value.clone() } else { "******".to_owned() },
        };
        configuration.0.iter().map(entry).collect()
    }
}

/// What the process runs on. There is no JVM; its place says what there is.
#[derive(Serialize)]
pub(crate) struct Environment {
    pub(crate) jvm: Runtime,
    pub(crate) classpath: [&'static str; 0],
}

/// In place of the JVM.
#[derive(Serialize)]
pub(crate) struct Runtime {
    pub(crate) version: String,
    pub(crate) arch: &'static str,
    pub(crate) options: [&'static str; 0],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_known_options_are_shown() {
        let mut configuration = Configuration::default();
        for (key, value) in
            [("rest.port", "1"), ("my.vault", "hunter2"), ("security.rest.token", "abc")]
        {
            configuration.set(key, value);
        }
        let shown = ConfigurationEntry::shown(&configuration);
        let shown: Vec<_> = shown.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        let hidden = "******";
        assert_eq!(
            shown,
            [("my.vault", hidden), ("rest.port", "1"), ("security.rest.token", hidden)]
        );
    }
}
