//! Where REST listens, what it allows, and its limits.

use millstream_core::config::{ConfigError, Configuration, catalog};
use std::sync::Arc;
use std::time::Duration;

/// Takes lines for people: one per mutating call, and warnings.
pub type LogHook = Arc<dyn Fn(&str) + Send + Sync>;

/// Which port is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one; 0: any free one.
    Exactly(u16),
    /// The first free one from there, among the next hundred.
    FirstFreeFrom(u16),
}

/// Where REST listens, what it allows, and its limits.
#[derive(Clone)]
pub struct RestConfig {
    /// The host or address that is bound. Beyond loopback only with `insecure`.
    pub bind_host: String,
    /// The port that is bound.
    pub port: Port,
    /// Names under which clients reach the server, besides loopback and `bind_host`: `host` (with
    /// the bound port) or `host:port` (behind a port mapping). A request for another name is a
    /// page's attempt to reach us through a name of its own, and is refused.
    pub hosts: Vec<String>,
    /// Listen beyond loopback although there is neither TLS nor authentication.
    pub insecure: bool,
    /// Embedded mode: the program decides what runs; nothing can be uploaded, run or cancelled.
    pub read_only: bool,
    /// Whether programs can be uploaded, planned and run.
    pub submit: bool,
    /// Whether jobs can be cancelled.
    pub cancel: bool,
    /// How often a dashboard should refresh, in milliseconds. Nothing here is cached for so long.
    pub refresh_interval_ms: u64,
    /// How long an endpoint may take to answer before the client is told 503.
    pub ask_timeout: Duration,
    /// The largest JSON body.
    pub json_bytes_max: usize,
    /// The largest artefact.
    pub upload_bytes_max: u64,
    /// How long a client may take to send its headers, also after the previous request.
    pub header_timeout: Duration,
    /// How long a client may pause within a body, or not take an answer.
    pub idle_timeout: Duration,
    /// How long requests may take that are under way when the server stops.
    pub stop_timeout: Duration,
    /// Connections at a time; the next one is told 503.
    pub connections_max: usize,
    /// Gets a line for each mutating call and for each warning.
    pub log: LogHook,
    /// The revision that the executable was built from.
    pub revision: String,
}

/// The version of Flink whose interface this is.
pub const FLINK_VERSION: &str = "2.3.0";

/// Headers of a request are not longer than this together.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;

impl Default for RestConfig {
    fn default() -> Self {
        Self {
            bind_host: "127.0.0.1".to_owned(),
            port: Port::Exactly(8081),
            hosts: Vec::new(),
            insecure: false,
            read_only: false,
            submit: true,
            cancel: true,
            refresh_interval_ms: 3_000,
            ask_timeout: Duration::from_secs(10),
            json_bytes_max: 1 << 20,
            upload_bytes_max: 1 << 30,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(2),
            connections_max: 1_000,
            log: Arc::new(|line| eprintln!("{line}")),
            revision: "unknown".to_owned(),
        }
    }
}

impl RestConfig {
    /// What a cluster's configuration says: `rest.*`, `web.*`, `security.insecure`.
    pub fn from_configuration(configuration: &Configuration) -> Result<Self, ConfigError> {
        Ok(Self {
            bind_host: configuration.get(&catalog::REST_BIND)?,
            port: Port::Exactly(configuration.get(&catalog::REST_PORT)?),
            hosts: vec![configuration.get(&catalog::REST_ADDRESS)?],
            insecure: configuration.get(&catalog::INSECURE)?,
            submit: configuration.get(&catalog::WEB_SUBMIT)?,
            cancel: configuration.get(&catalog::WEB_CANCEL)?,
            refresh_interval_ms: configuration.get(&catalog::WEB_REFRESH)?,
            ask_timeout: Duration::from_millis(configuration.get(&catalog::ASK_TIMEOUT)?),
            upload_bytes_max: configuration.get(&catalog::UPLOAD_MAX)?,
            ..Self::default()
        })
    }

    /// The same for embedded mode: read-only, on the first free port from the configured one.
    pub fn embedded(configuration: &Configuration) -> Result<Self, ConfigError> {
        let config = Self::from_configuration(configuration)?;
        let port = Port::FirstFreeFrom(configuration.get(&catalog::REST_PORT)?);
        Ok(Self { port, read_only: true, ..config })
    }

    /// Whether programs can be uploaded, planned and run at all.
    pub(crate) fn allows_submission(&self) -> bool {
        self.submit && !self.read_only
    }

    /// Whether jobs can be cancelled at all.
    pub(crate) fn allows_cancellation(&self) -> bool {
        self.cancel && !self.read_only
    }
}

/// What we call ourselves where Flink tells its version: clients compare the beginning.
pub(crate) fn version() -> String {
    format!("{FLINK_VERSION}-millstream-{}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_listens_where_the_configuration_says_and_an_embedded_job_on_a_free_port() {
        let mut configuration = Configuration::default();
        configuration.set("rest.port", "9000");
        configuration.set("rest.address", "jobmanager.example");
        configuration.set("web.cancel.enable", "false");
        let cluster = RestConfig::from_configuration(&configuration).expect("readable");
        assert_eq!(cluster.port, Port::Exactly(9000));
        assert_eq!(cluster.hosts, ["jobmanager.example"]);
        assert!(cluster.allows_submission() && !cluster.allows_cancellation());
        let embedded = RestConfig::embedded(&configuration).expect("readable");
        assert_eq!(embedded.port, Port::FirstFreeFrom(9000));
        assert!(!embedded.allows_submission());
    }
}
