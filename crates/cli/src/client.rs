//! REST of a standing cluster, as far as the verbs need it.

use crate::arguments::Target;
use crate::configuration::{home, load};
use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::config::Configuration;
use millstream::core::config::catalog;
use millstream::process::daemon::JobManagerAddresses;
use millstream::process::ha::retrieval::{RECORDS_PATIENCE, find_leader};
use millstream::process::ha::settings::HaSettings;
use millstream::process::storage::Storages;
use millstream::state_backend::cluster_defaults;
use serde_json::Value;
use std::time::Duration;

/// No verb waits longer for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster's REST.
pub(crate) struct RestClient {
    agent: ureq::Agent,
    /// `host:port`.
    address: String,
}

impl RestClient {
    /// The cluster that the command line means: `-m`, else what runs from this home directory, else
    /// what the configuration says.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        let address = match &target.jobmanager {
            Some(address) => address.trim_start_matches("http://").to_owned(),
            None => default_address(target)?,
        };
        Ok(Self::at(address))
    }

    /// The REST at `host:port`.
    pub(crate) fn at(address: String) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .build();
        Self { agent: config.into(), address }
    }

    /// GET, answered with JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let response = self.agent.get(self.url(path)).call();
        self.read(path, response)
    }

    /// PATCH without a body.
    pub(crate) fn patch(&self, path: &str) -> Result<Value> {
        let response = self.agent.patch(self.url(path)).send_empty();
        self.read(path, response)
    }

    /// POST with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(self.url(path)).header("Content-Type", "application/json");
        self.read(path, request.send(body.to_string()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn read(
        &self,
        path: &str,
        response: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value> {
        let mut response = response.map_err(|error| {
            let address = &self.address;
            Error::new(ErrorCode::Unreachable, format!("no JobManager answers at {address}"))
                .why(error.to_string())
                .next("start one with `millstream cluster start`, or name another with `-m`")
        })?;
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
        }
        let errors: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let first = errors["errors"][0].as_str().unwrap_or(&text).to_owned();
        Err(Error::new(ErrorCode::Refused, first).attempted(format!("ask {path} ({status})")))
    }

    /// Where the JobManager takes submissions.
    pub(crate) fn submission_addresses(&self) -> Result<SubmissionAddresses> {
        let entries = self.get("/jobmanager/config")?;
        let value = |key: &str| {
            let entries = entries.as_array().into_iter().flatten();
            let entry = entries.into_iter().find(|entry| entry["key"] == key)?;
            entry["value"].as_str().map(str::to_owned)
        };
        let missing = |key: &str| {
            Error::new(ErrorCode::Refused, format!("the cluster does not say its `{key}`"))
        };
        let host = value(catalog::JOBMANAGER_ADDRESS.key)
            .ok_or_else(|| missing(catalog::JOBMANAGER_ADDRESS.key))?;
        let port = |key| value(key).ok_or_else(|| missing(key));
        let entries = entries.as_array().into_iter().flatten();
        let pairs = entries.filter_map(|it| Some((it["key"].as_str()?, it["value"].as_str()?)));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let configuration = Configuration(pairs.collect());
        let settings = HaSettings::read(&configuration).ok().flatten();
        Ok(SubmissionAddresses {
            job_manager: format!("{host}:{}", port(catalog::JOBMANAGER_PORT.key)?),
            blob_server: format!("{host}:{}", port(catalog::BLOB_PORT.key)?),
            session: value(catalog::LEADER_SESSION_ID.key),
            high_availability: settings.map(|settings| settings.directory),
            defaults: cluster_defaults(&configuration),
        })
    }
}

/// Where a JobManager takes submissions.
pub(crate) struct SubmissionAddresses {
    /// `host:port` for messages.
    pub job_manager: String,
    /// `host:port` for programs.
    pub blob_server: String,
    /// Its term of leadership.
    pub session: Option<String>,
    /// Where to find out who leads after it.
    pub high_availability: Option<String>,
    /// What the cluster says of jobs that do not say it.
    pub defaults: String,
}

/// REST of whoever leads.
fn leader_address(settings: &HaSettings, storages: &Storages) -> Result<String> {
    let problem = |summary: &str| {
        Error::new(ErrorCode::Unreachable, summary.to_owned())
            .at(settings.directory.clone())
            .next("start a JobManager with `millstream jobmanager`, or name one with `-m`")
    };
    let records = storages.records(&settings.directory, RECORDS_PATIENCE);
    match records.map_err(|error| error.to_string()).and_then(|it| find_leader(&*it)) {
        Ok(Some(leader)) => Ok(leader.rest),
        Ok(None) => Err(problem("no JobManager leads at the moment")),
        Err(why) => Err(problem("the leader cannot be found out").why(why)),
    }
}

fn default_address(target: &Target) -> Result<String> {
    let home = home()?;
    let configuration = load(&home, &target.definitions)?;
    let wrong = |error: millstream::core::config::ConfigError| {
        Error::new(ErrorCode::Configuration, error.to_string())
    };
    if let Some(settings) = HaSettings::read(&configuration).map_err(wrong)? {
        return leader_address(&settings, &Storages::new(&configuration));
    }
    if let Some(addresses) = JobManagerAddresses::read(&home) {
        return Ok(addresses.rest);
    }
    let host = configuration.get(&catalog::REST_ADDRESS).map_err(wrong)?;
    let port = configuration.get(&catalog::REST_PORT).map_err(wrong)?;
    Ok(format!("{host}:{port}"))
}
