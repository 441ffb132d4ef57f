//! Where a job keeps its keyed state: on the heap, or, with the feature `lsm`, on local disk.
//!
//! The job's configuration says so (`state.backend.type`), with Flink's words; on a cluster that of the
//! cluster, for jobs that say nothing. It is read where the job is submitted, so that a mistake is told to
//! who made it, and once more in each job process.

use crate::launch;
use millstream_api::error::{Error, ErrorCode};
use millstream_core::config::{ConfigError, Configuration, catalog};
use millstream_operator::context::StateBackend;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Whether this program can run a job with this configuration.
pub(crate) fn check(configuration: &BTreeMap<String, String>) -> Result<(), Error> {
    match settings(configuration) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(ErrorCode::Configuration, "the state backend cannot be used")
            .at("state.backend.type")
            .why(error.to_string())),
    }
}

/// Whether this program can run a job with this configuration on the cluster that it is started for.
pub(crate) fn check_on_cluster(configuration: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut job = Configuration(configuration.clone());
    job.inherit_state_backend(&Configuration(launch::pairs(launch::DEFAULTS)));
    check(&job.0)
}

/// What of a cluster's configuration a program has to know to [`check_on_cluster`]: lines of
/// [`launch::DEFAULTS`].
pub fn cluster_defaults(cluster: &Configuration) -> String {
    let mut defaults = Configuration::default();
    defaults.inherit_state_backend(cluster);
    let lines = defaults.0.into_iter().map(|(key, value)| format!("{key}={value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a cluster can say this to its jobs. Whether a job can have it depends on its program.
pub(crate) fn check_default(cluster: &Configuration) -> Result<(), ConfigError> {
    is_on_disk(cluster)?;
    cluster.get(&catalog::LSM_MEMORY)?;
    cluster.get(&catalog::LSM_WRITE_BUFFER_RATIO).map(|_| ())
}

/// The backend of a job; nothing: the heap. Its files lie below `directory`, unless another one is
/// configured.
pub(crate) fn open(
    configuration: &BTreeMap<String, String>,
    directory: &Path,
) -> Result<Option<Arc<dyn StateBackend>>, ConfigError> {
    Ok(settings(configuration)?.map(|lsm| lsm.open(directory)))
}

/// What is configured; nothing: the heap.
fn settings(configuration: &BTreeMap<String, String>) -> Result<Option<Lsm>, ConfigError> {
    let configuration = Configuration(configuration.clone());
    if is_on_disk(&configuration)? { Lsm::read(&configuration).map(Some) } else { Ok(None) }
}

/// Which of both it is.
fn is_on_disk(configuration: &Configuration) -> Result<bool, ConfigError> {
    let word = configuration.get(&catalog::STATE_BACKEND)?;
    match word.trim().to_ascii_lowercase().as_str() {
        "hashmap" | "heap" | "" => Ok(false),
        "rocksdb" | "lsm" => Ok(true),
        _ => {
            let why = "expected `hashmap` (in memory) or `rocksdb` (on local disk)".to_owned();
            Err(ConfigError { key: catalog::STATE_BACKEND.key.to_owned(), text: word, why })
        }
    }
}

#[cfg(feature = "lsm")]
use with_lsm::Lsm;
#[cfg(not(feature = "lsm"))]
use without_lsm::Lsm;

#[cfg(feature = "lsm")]
mod with_lsm {
    use super::*;
    use millstream_state_lsm::config::MEMORY_MIN;
    use millstream_state_lsm::{LsmBackend, LsmConfig};
    use std::path::PathBuf;

    /// The backend on local disk.
    pub(super) struct Lsm {
        memory: usize,
        write_buffer_ratio: f64,
        directory: Option<PathBuf>,
    }

    impl Lsm {
        pub(super) fn read(configuration: &Configuration) -> Result<Self, ConfigError> {
            let memory = configuration.get(&catalog::LSM_MEMORY)?;
            let memory = usize::try_from(memory).unwrap_or(usize::MAX);
            if memory < MEMORY_MIN {
                let key = catalog::LSM_MEMORY.key.to_owned();
                let why = format!("expected at least {} MiB", MEMORY_MIN >> 20);
                return Err(ConfigError { key, text: memory.to_string(), why });
            }
            let write_buffer_ratio = configuration.get(&catalog::LSM_WRITE_BUFFER_RATIO)?;
            let directory = configuration.get(&catalog::LSM_DIRECTORY)?;
            let directory = Some(directory.trim()).filter(|directory| !directory.is_empty());
            Ok(Self { memory, write_buffer_ratio, directory: directory.map(PathBuf::from) })
        }

        pub(super) fn open(self, directory: &Path) -> Arc<dyn StateBackend> {
            let Self { memory, write_buffer_ratio, directory: configured } = self;
            let directory = configured.unwrap_or_else(|| directory.to_owned());
            Arc::new(LsmBackend::new(&LsmConfig { memory, write_buffer_ratio, directory }))
        }
    }
}

#[cfg(not(feature = "lsm"))]
mod without_lsm {
    use super::*;

    /// Nothing: this program was built without it.
    pub(super) enum Lsm {}

    impl Lsm {
        pub(super) fn read(_configuration: &Configuration) -> Result<Self, ConfigError> {
            Err(ConfigError {
                key: catalog::STATE_BACKEND.key.to_owned(),
                text: "rocksdb".to_owned(),
                why: "this program was built without the feature `lsm`: build it with \
                      `millstream = { features = [\"lsm\"], … }` in its Cargo.toml, which needs clang \
                      and a C++ compiler, or set `state.backend.type: hashmap`"
                    .to_owned(),
            })
        }

        pub(super) fn open(self, _directory: &Path) -> Arc<dyn StateBackend> {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(word: &str) -> BTreeMap<String, String> {
        [("state.backend.type".to_owned(), word.to_owned())].into()
    }

    #[test]
    fn the_heap_is_what_a_job_gets_that_says_nothing() {
        for configuration in [BTreeMap::new(), configured("hashmap"), configured("HASHMAP")] {
            assert!(open(&configuration, Path::new("/nowhere")).is_ok_and(|found| found.is_none()));
        }
    }

    #[test]
    fn a_word_that_names_no_backend_is_refused_with_those_that_do() {
        let error = check(&configured("rocks")).expect_err("refused").to_string();
        assert!(error.contains("`state.backend.type: rocks`"), "{error}");
        assert!(error.contains("`hashmap`") && error.contains("`rocksdb`"), "{error}");
    }

    #[test]
    fn a_cluster_tells_programs_what_it_says_of_the_backend_and_nothing_else() {
        let text = "rest.port=1\nstate.backend=rocksdb\nstate.checkpoints.num-retained=3";
        let mut cluster = Configuration::default();
        text.lines().for_each(|line| cluster.define(line).expect("a pair"));
        assert_eq!(cluster_defaults(&cluster), "state.backend.type=rocksdb");
        assert!(check_default(&cluster).is_ok());
        cluster.set("state.backend", "rocks");
        assert!(check_default(&cluster).is_err());
    }

    #[cfg(not(feature = "lsm"))]
    #[test]
    fn a_program_without_the_feature_says_which_one_is_missing() {
        let error = check(&configured("rocksdb")).expect_err("refused").to_string();
        assert!(error.contains("feature `lsm`"), "{error}");
    }
}
