//! Where the store is and who we are: Flink's `s3.*` keys, then the environment.

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ClientOptions, RetryConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// A request without an answer fails after this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that is not there after this will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests that can be repeated are, for so long; in seconds, [`RETRY_KEY`] says otherwise.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// For how many seconds a request that failed is repeated.
const RETRY_KEY: &str = "s3.retry-timeout-seconds";

/// Flink's keys, with the older spellings that Flink accepts, and what they mean to the client.
const KEYS: [(&str, AmazonS3ConfigKey); 9] = [
    ("s3.endpoint", AmazonS3ConfigKey::Endpoint),
    ("s3.region", AmazonS3ConfigKey::Region),
    ("s3.endpoint.region", AmazonS3ConfigKey::Region),
    ("s3.access-key", AmazonS3ConfigKey::AccessKeyId),
    ("s3.access.key", AmazonS3ConfigKey::AccessKeyId),
    ("s3.secret-key", AmazonS3ConfigKey::SecretAccessKey),
    ("s3.secret.key", AmazonS3ConfigKey::SecretAccessKey),
    ("s3.session-token", AmazonS3ConfigKey::Token),
    ("s3.session.token", AmazonS3ConfigKey::Token),
];

/// How long the store is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Patience {
    /// As long as the configuration says: a checkpoint may take its time.
    Files,
    /// For so long, once: whoever asks tries again, or has lost what it asked for.
    Records(Duration),
}

/// The client of one bucket.
pub(crate) fn client(
    bucket: &str,
    configuration: &BTreeMap<String, String>,
    patience: Patience,
) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    for (key, meaning) in KEYS {
        if let Some(value) = configuration.get(key) {
            builder = builder.with_config(meaning, value.trim());
        }
    }
    // Only a store of one's own is reached without TLS, and it is named with its scheme.
    let endpoint = configuration.get("s3.endpoint").map(String::as_str).unwrap_or_default();
    let plain = endpoint.trim().starts_with("http://");
    let path_style = ["s3.path-style-access", "s3.path.style.access"];
    let path_style = path_style.iter().find_map(|key| configuration.get(*key));
    let virtual_hosted = path_style.is_some_and(|value| value.trim() == "false");
    let (timeout, retry) = match patience {
        Patience::Files => (REQUEST_TIMEOUT, retries(configuration)?),
        Patience::Records(once) => {
            (once, RetryConfig { max_retries: 0, retry_timeout: once, ..RetryConfig::default() })
        }
    };
    let connect = timeout.min(CONNECT_TIMEOUT);
    let client = ClientOptions::new()
        .with_timeout(timeout)
        .with_connect_timeout(connect)
        .with_allow_http(plain);
    builder
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_client_options(client)
        .with_retry(retry)
        .build()
}

/// How often and how long a request is repeated that failed.
fn retries(configuration: &BTreeMap<String, String>) -> object_store::Result<RetryConfig> {
    let retry_timeout = match configuration.get(RETRY_KEY).map(|text| text.trim().parse()) {
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(error)) => {
            let source = format!("`{RETRY_KEY}` is no number of seconds: {error}").into();
            return Err(object_store::Error::Generic { store: "configuration", source });
        }
        None => RETRY_TIMEOUT,
    };
    Ok(RetryConfig { retry_timeout, ..RetryConfig::default() })
}
