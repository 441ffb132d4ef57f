//! What the configuration says of high availability.

use millstream_core::config::{ConfigError, Configuration, catalog};
use std::path::PathBuf;

/// Where the record is, and how patient everybody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaSettings {
    /// The directory of this cluster.
    pub directory: PathBuf,
    /// How long a silent leader is waited for, in milliseconds.
    pub lease_ms: u64,
}

impl HaSettings {
    /// What the configuration says; nothing: a JobManager is not replaced.
    pub fn read(configuration: &Configuration) -> Result<Option<Self>, ConfigError> {
        let kind = configuration.get(&catalog::HA_TYPE)?;
        match kind.trim().to_ascii_lowercase().as_str() {
            "none" | "" => return Ok(None),
            "filesystem" => (),
            _ => {
                let why = "expected `NONE` or `filesystem`; other services are not built in yet";
                return Err(refuse(catalog::HA_TYPE.key, kind, why));
            }
        }
        let root = configuration.get(&catalog::HA_DIRECTORY)?;
        let root = root.strip_prefix("file://").unwrap_or(&root).to_owned();
        if root.is_empty() {
            let why = "`high-availability.type: filesystem` needs a directory here, the same one for \
                       all processes of the cluster";
            return Err(refuse(catalog::HA_DIRECTORY.key, root, why));
        }
        let cluster = configuration.get(&catalog::HA_CLUSTER)?;
        let name = cluster.trim_matches('/').to_owned();
        let is_odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
        if name.is_empty() || name.starts_with('.') || name.contains(is_odd) {
            let why = "expected a name of letters, digits, `-`, `_` and `.`";
            return Err(refuse(catalog::HA_CLUSTER.key, cluster, why));
        }
        let lease_ms = configuration.get(&catalog::HA_LEASE)?;
        if lease_ms < 100 {
            let text = format!("{lease_ms} ms");
            return Err(refuse(catalog::HA_LEASE.key, text, "expected at least 100 ms"));
        }
        Ok(Some(Self { directory: PathBuf::from(root).join(name), lease_ms }))
    }
}

fn refuse(key: &str, text: String, why: &str) -> ConfigError {
    ConfigError { key: key.to_owned(), text, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Option<HaSettings>, ConfigError> {
        let mut configuration = Configuration::default();
        for (key, value) in entries {
            configuration.set(key, *value);
        }
        HaSettings::read(&configuration)
    }

    #[test]
    fn flinks_keys_name_the_directory_of_the_cluster() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("high-availability.type", "NONE")]), Ok(None));
        let on = ("high-availability.type", "filesystem");
        let root = ("high-availability.storageDir", "file:///shared/ha");
        let settings = read(&[on, root]).expect("well formed").expect("on");
        assert_eq!(settings.directory, PathBuf::from("/shared/ha/default"));
        assert_eq!(settings.lease_ms, 15_000);
        let other = ("high-availability.cluster-id", "/blue");
        let settings = read(&[on, root, other]).expect("well formed").expect("on");
        assert_eq!(settings.directory, PathBuf::from("/shared/ha/blue"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let on = ("high-availability.type", "filesystem");
        let root = ("high-availability.storageDir", "/ha");
        for (entries, key) in [
            (&[("high-availability.type", "zookeeper")][..], "high-availability.type"),
            (&[on], "high-availability.storageDir"),
            (&[on, root, ("high-availability.cluster-id", "../x")], "cluster-id"),
            (&[on, root, ("high-availability.filesystem.lease-duration", "1 ms")], "lease"),
        ] {
            let error = read(entries).expect_err("it is refused").to_string();
            assert!(error.contains(key), "{key} is not in {error}");
        }
    }
}
