//! What the configuration says of high availability.

use millstream_core::config::{ConfigError, Configuration, catalog};
use std::time::Duration;

/// Where the record is, and how patient everybody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaSettings {
    /// The directory of this cluster: a path, or `s3://…`.
    pub directory: String,
    /// How long a silent leader is waited for, in milliseconds.
    pub lease_ms: u64,
}

impl HaSettings {
    /// What the configuration says; nothing: a JobManager is not replaced.
    pub fn read(configuration: &Configuration) -> Result<Option<Self>, ConfigError> {
        let kind = configuration.get(&catalog::HA_TYPE)?;
        let in_bucket = match kind.trim().to_ascii_lowercase().as_str() {
            "none" | "" => return Ok(None),
            "filesystem" => false,
            "object-store" => true,
            _ => {
                let why = "expected `NONE`, `filesystem` or `object-store`; other services are not \
                           built in yet";
                return Err(refuse(catalog::HA_TYPE.key, kind, why));
            }
        };
        let root = configuration.get(&catalog::HA_DIRECTORY)?;
        let root = root.strip_prefix("file://").unwrap_or(&root).trim_end_matches('/').to_owned();
        if let Some(why) = objection(&root, in_bucket) {
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
        Ok(Some(Self { directory: format!("{root}/{name}"), lease_ms }))
    }

    /// How long one answer of an object store is waited for: a leader asks more than once before its
    /// lease is over.
    pub fn patience(&self) -> Duration {
        Duration::from_millis((self.lease_ms / 6).clamp(50, 5000))
    }
}

/// Why this cannot be the directory of all clusters.
fn objection(root: &str, in_bucket: bool) -> Option<&'static str> {
    match (root.split_once("://"), in_bucket) {
        (None, false) if root.is_empty() => Some(
            "`high-availability.type: filesystem` needs a directory here, the same one for all \
             processes of the cluster",
        ),
        (None, false) => None,
        (Some(("s3" | "s3a" | "s3p", bucket)), true) if !bucket.is_empty() => None,
        (_, true) => Some("`high-availability.type: object-store` needs `s3://BUCKET/PREFIX` here"),
        (Some(_), false) => Some(
            "`high-availability.type: filesystem` needs a directory here; for a bucket set the type \
             to `object-store`",
        ),
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
        assert_eq!(settings.directory, "/shared/ha/default");
        assert_eq!(settings.lease_ms, 15_000);
        let other = ("high-availability.cluster-id", "/blue");
        let settings = read(&[on, root, other]).expect("well formed").expect("on");
        assert_eq!(settings.directory, "/shared/ha/blue");
        let on = ("high-availability.type", "object-store");
        let root = ("high-availability.storageDir", "s3://bucket/ha/");
        let settings = read(&[on, root, other]).expect("well formed").expect("on");
        assert_eq!(settings.directory, "s3://bucket/ha/blue");
        assert_eq!(settings.patience(), Duration::from_millis(2500));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let on = ("high-availability.type", "filesystem");
        let root = ("high-availability.storageDir", "/ha");
        let store = ("high-availability.type", "object-store");
        let bucket = ("high-availability.storageDir", "s3://bucket");
        for (entries, key) in [
            (&[("high-availability.type", "zookeeper")][..], "high-availability.type"),
            (&[on], "high-availability.storageDir"),
            (&[on, bucket], "to `object-store`"),
            (&[store], "needs `s3://BUCKET/PREFIX`"),
            (&[store, root], "needs `s3://BUCKET/PREFIX`"),
            (&[store, ("high-availability.storageDir", "s3://")], "needs `s3://BUCKET/PREFIX`"),
            (&[on, root, ("high-availability.cluster-id", "../x")], "cluster-id"),
            (&[on, root, ("high-availability.filesystem.lease-duration", "1 ms")], "lease"),
        ] {
            let error = read(entries).expect_err("it is refused").to_string();
            assert!(error.contains(key), "{key} is not in {error}");
        }
    }
}
