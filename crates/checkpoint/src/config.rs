//! How a job takes checkpoints and what it goes on from, with Flink's keys and defaults; the keys are
//! in core's catalog. One default is ours: checkpoints are on, every ten seconds.

use millstream_core::checkpoint::{Alignment, SnapshotKind};
use millstream_core::config::option::ConfigOption;
use millstream_core::config::{ConfigError, Configuration, catalog};

/// No timer of checkpoints is shorter.
const SHORTEST_MS: u64 = 10;

/// So many checkpoints are taken at once at most. Every channel and every task has a place for twice as
/// many barriers, for those of given-up ones may still be on their way.
const CONCURRENT_MAX: u32 = 8;

/// How a job takes checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// They are taken at all.
    pub enabled: bool,
    /// How often one is taken; nothing: only when somebody asks, and at the end of bounded input.
    pub interval_ms: Option<u64>,
    /// How long one may take.
    pub timeout_ms: u64,
    /// The least time between the end of one and the begin of the next periodic one.
    pub min_pause_ms: u64,
    /// How many may be pending.
    pub concurrent_max: u32,
    /// How many may fail in a row.
    pub failures_max: u32,
    /// What becomes of them at the job's end.
    pub retention: Retention,
    /// How many completed ones are kept.
    pub retained_max: u32,
    /// The directory below which the job's own one is.
    pub directory: Option<String>,
    /// The directory of savepoints for which none is named.
    pub savepoint_directory: Option<String>,
    /// What a restored job guarantees.
    pub mode: CheckpointingMode,
    /// Barriers overtake data.
    pub unaligned: bool,
    /// How long an unaligned one tries to be aligned first.
    pub aligned_timeout_ms: u64,
    /// They may refer to files of earlier ones.
    pub incremental: bool,
    /// State of less than so many bytes travels with its handle.
    pub inline_bytes_max: u32,
}

/// What a restored job guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointingMode {
    /// State reflects each record once.
    ExactlyOnce,
    /// State reflects each record, perhaps twice; no channel waits for another.
    AtLeastOnce,
}

/// What becomes of completed checkpoints when the job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They are deleted; those of a job that failed as well.
    Never,
    /// They are kept if the job fails.
    OnFailure,
    /// They are kept if the job fails or is cancelled.
    OnCancellation,
}

/// What a job goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// The directory of a checkpoint or savepoint, or the metadata file in it.
    pub path: String,
    /// State that no operator of the job claims is left behind.
    pub ignore_unclaimed: bool,
    /// Who owns it from now on.
    pub claim: ClaimMode,
}

/// Who owns what a job goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimMode {
    /// Whoever owned it: it is never deleted, and the first checkpoint refers to nothing of it.
    NoClaim,
    /// The job: it is deleted like a checkpoint of its own.
    Claim,
}

impl CheckpointConfig {
    /// Reads a job's configuration.
    pub fn read(configuration: &Configuration) -> Result<Self, ConfigError> {
        let interval_ms = configuration.get(&catalog::CHECKPOINT_INTERVAL)?;
        let mode = choice(configuration, &catalog::CHECKPOINT_MODE, &MODES)?;
        let min_pause_ms = configuration.get(&catalog::CHECKPOINT_MIN_PAUSE)?;
        let concurrent_max = configuration.get(&catalog::CHECKPOINTS_CONCURRENT)?;
        let inline = configuration.get(&catalog::INLINE_STATE_MAX)?;
        let config = Self {
            enabled: configuration.get(&catalog::CHECKPOINTING)? && interval_ms > 0,
            interval_ms: (interval_ms > 0).then_some(interval_ms),
            timeout_ms: configuration.get(&catalog::CHECKPOINT_TIMEOUT)?,
            min_pause_ms,
            // A pause between checkpoints leaves no room for two at a time.
            concurrent_max: if min_pause_ms > 0 { 1 } else { concurrent_max },
            failures_max: configuration.get(&catalog::CHECKPOINT_FAILURES)?,
            retention: choice(configuration, &catalog::CHECKPOINT_RETENTION, &RETENTIONS)?,
            retained_max: configuration.get(&catalog::CHECKPOINTS_RETAINED)?,
            directory: directory(configuration, &catalog::CHECKPOINT_DIR)?,
            savepoint_directory: directory(configuration, &catalog::SAVEPOINT_DIR)?,
            mode,
            unaligned: configuration.get(&catalog::UNALIGNED)?,
            aligned_timeout_ms: configuration.get(&catalog::ALIGNED_TIMEOUT)?,
            incremental: configuration.get(&catalog::INCREMENTAL)?,
            inline_bytes_max: u32::try_from(inline).unwrap_or(u32::MAX).min(INLINE_BYTES_MAX),
        };
        config.problem(configuration).map_or(Ok(config), Err)
    }

    fn problem(&self, configuration: &Configuration) -> Option<ConfigError> {
        if self.interval_ms.is_some_and(|interval_ms| interval_ms < SHORTEST_MS) {
            let why = format!("expected at least {SHORTEST_MS} ms, or 0 for no checkpoints");
            return Some(refuse(configuration, &catalog::CHECKPOINT_INTERVAL, why));
        }
        if self.timeout_ms < SHORTEST_MS {
            let why = format!("expected at least {SHORTEST_MS} ms");
            return Some(refuse(configuration, &catalog::CHECKPOINT_TIMEOUT, why));
        }
        if !(1..=CONCURRENT_MAX).contains(&self.concurrent_max) {
            let why = format!("expected 1 to {CONCURRENT_MAX}");
            return Some(refuse(configuration, &catalog::CHECKPOINTS_CONCURRENT, why));
        }
        if self.unaligned && self.mode == CheckpointingMode::AtLeastOnce {
            let why = "unaligned checkpoints need EXACTLY_ONCE; at least once nothing is aligned";
            return Some(refuse(configuration, &catalog::UNALIGNED, why.to_owned()));
        }
        if self.unaligned && self.concurrent_max > 1 {
            let key = catalog::CHECKPOINTS_CONCURRENT.key;
            let why = format!("unaligned checkpoints are taken one at a time: set {key} to 1");
            return Some(refuse(configuration, &catalog::UNALIGNED, why));
        }
        None
    }

    /// How the barriers of such a snapshot pass queues. Savepoints are always aligned.
    pub fn alignment(&self, kind: SnapshotKind) -> Alignment {
        match self.mode {
            CheckpointingMode::AtLeastOnce if !kind.is_savepoint() => Alignment::AtLeastOnce,
            CheckpointingMode::ExactlyOnce if self.unaligned && !kind.is_savepoint() => {
                match u32::try_from(self.aligned_timeout_ms).unwrap_or(u32::MAX) {
                    0 => Alignment::Unaligned,
                    timeout_ms => Alignment::AlignedUntil(timeout_ms),
                }
            }
            _ => Alignment::Aligned,
        }
    }
}

impl RecoveryConfig {
    /// Reads a job's configuration; nothing: the job begins afresh.
    pub fn read(configuration: &Configuration) -> Result<Option<Self>, ConfigError> {
        let claim = choice(configuration, &catalog::RECOVERY_CLAIM_MODE, &CLAIM_MODES)?;
        let ignore_unclaimed = configuration.get(&catalog::RECOVERY_IGNORE_UNCLAIMED)?;
        let path = directory(configuration, &catalog::RECOVERY_PATH)?;
        Ok(path.map(|path| Self { path, ignore_unclaimed, claim }))
    }
}

/// Handles travel in messages: state that is larger than this has a file of its own.
const INLINE_BYTES_MAX: u32 = 1 << 20;

const MODES: [(&str, CheckpointingMode); 2] = [
    ("EXACTLY_ONCE", CheckpointingMode::ExactlyOnce),
    ("AT_LEAST_ONCE", CheckpointingMode::AtLeastOnce),
];

const RETENTIONS: [(&str, Retention); 3] = [
    ("NO_EXTERNALIZED_CHECKPOINTS", Retention::Never),
    ("DELETE_ON_CANCELLATION", Retention::OnFailure),
    ("RETAIN_ON_CANCELLATION", Retention::OnCancellation),
];

const CLAIM_MODES: [(&str, ClaimMode); 2] =
    [("NO_CLAIM", ClaimMode::NoClaim), ("CLAIM", ClaimMode::Claim)];

/// One of several words, in any case, with `-` for `_` if one likes.
fn choice<T: Copy>(
    configuration: &Configuration,
    option: &ConfigOption<String>,
    words: &[(&str, T)],
) -> Result<T, ConfigError> {
    let text = configuration.get(option)?;
    let word = text.trim().to_ascii_uppercase().replace('-', "_");
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<String> = words.iter().map(|(known, _)| format!("`{known}`")).collect();
        refuse(configuration, option, format!("expected {}", known.join(" or ")))
    })
}

/// A directory without the slashes at its end.
fn directory(
    configuration: &Configuration,
    option: &ConfigOption<String>,
) -> Result<Option<String>, ConfigError> {
    let text = configuration.get(option)?;
    let text = text.trim();
    let path = text.trim_end_matches('/');
    // The root is all slashes.
    let path = if path.is_empty() && !text.is_empty() { "/" } else { path };
    Ok((!path.is_empty()).then(|| path.to_owned()))
}

fn refuse<T>(configuration: &Configuration, option: &ConfigOption<T>, why: String) -> ConfigError {
    let keys = std::iter::once(&option.key).chain(option.fallback_keys);
    let mut set = keys.filter_map(|key| Some((*key, configuration.0.get(*key)?)));
    let (key, text) = set.next().map_or((option.key, option.default_text), |(k, t)| (k, t));
    ConfigError { key: key.to_owned(), text: text.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(entries: &[(&str, &str)]) -> Configuration {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Configuration(entries.collect())
    }

    fn read(entries: &[(&str, &str)]) -> CheckpointConfig {
        CheckpointConfig::read(&configuration(entries)).expect("can be read")
    }

    #[test]
    fn without_a_word_checkpoints_are_taken_every_ten_seconds_with_flinks_defaults() {
        let expected = CheckpointConfig {
            enabled: true,
            interval_ms: Some(10_000),
            timeout_ms: 600_000,
            min_pause_ms: 0,
            concurrent_max: 1,
            failures_max: 0,
            retention: Retention::Never,
            retained_max: 1,
            directory: None,
            savepoint_directory: None,
            mode: CheckpointingMode::ExactlyOnce,
            unaligned: false,
            aligned_timeout_ms: 0,
            incremental: false,
            inline_bytes_max: 20_480,
        };
        assert_eq!(read(&[]), expected);
        assert_eq!(RecoveryConfig::read(&configuration(&[])), Ok(None));
    }

    #[test]
    fn an_interval_of_zero_or_a_switch_turns_them_off() {
        assert!(!read(&[("execution.checkpointing.interval", "0")]).enabled);
        assert!(!read(&[("execution.checkpointing.enabled", "false")]).enabled);
    }

    #[test]
    fn former_keys_count_and_a_pause_leaves_one_at_a_time() {
        let config = read(&[
            ("state.checkpoints.dir", "/data/checkpoints/"),
            ("execution.checkpointing.min-pause", "1 s"),
            ("execution.checkpointing.max-concurrent-checkpoints", "3"),
            ("execution.checkpointing.mode", "at-least-once"),
        ]);
        assert_eq!(config.directory.as_deref(), Some("/data/checkpoints"));
        assert_eq!(config.concurrent_max, 1);
        assert_eq!(config.alignment(SnapshotKind::Checkpoint), Alignment::AtLeastOnce);
        assert_eq!(config.alignment(SnapshotKind::Savepoint), Alignment::Aligned);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_key_and_value() {
        for (entries, expected) in [
            (
                &[("execution.checkpointing.mode", "twice")][..],
                "`execution.checkpointing.mode: twice` cannot be read: expected `EXACTLY_ONCE` or",
            ),
            (&[("execution.checkpointing.interval", "3 ms")], "expected at least 10 ms, or 0"),
            (
                &[("execution.checkpointing.max-concurrent-checkpoints", "9")],
                "`execution.checkpointing.max-concurrent-checkpoints: 9` cannot be read: expected 1 to",
            ),
            (
                &[
                    ("execution.checkpointing.unaligned", "true"),
                    ("execution.checkpointing.mode", "AT_LEAST_ONCE"),
                ],
                "`execution.checkpointing.unaligned: true` cannot be read: unaligned checkpoints",
            ),
        ] {
            let error = CheckpointConfig::read(&configuration(entries)).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_job_goes_on_from_what_is_named() {
        let found = RecoveryConfig::read(&configuration(&[
            ("execution.state-recovery.path", "/s/savepoint-1/"),
            ("execution.state-recovery.claim-mode", "CLAIM"),
        ]));
        let expected = RecoveryConfig {
            path: "/s/savepoint-1".to_owned(),
            ignore_unclaimed: false,
            claim: ClaimMode::Claim,
        };
        assert_eq!(found, Ok(Some(expected)));
    }
}
