//! The record, and how it is written down.
//!
//! A format that stays: text, so that a person in need can read it. The first line is
//! `MILLSTREAM-HA <version> <XXH3-64 of all that follows, in hexadecimal>`, the rest is JSON. Fields
//! may be added with a default; anything else raises the version, and a reader refuses a version that
//! it does not know instead of losing what it does not understand.

use crate::mutant;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::hash::xxh3_64;
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the first line begins with.
const MAGIC: &str = "MILLSTREAM-HA";

/// The version that is written and read.
const VERSION: u32 = 1;

/// So many results of jobs are kept after everything of the job has been cleaned up: so long a
/// client may ask how its job ended, and so long its id is refused.
pub const RESULTS_MAX: usize = 100;

/// So many checkpoint ids belong to a term of leadership. What a deposed leader still writes has
/// another name than what its successor writes.
pub const CHECKPOINT_IDS: u64 = 1000;

/// Everything that outlives a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaRecord {
    /// Drawn when the record was made: distinguishes clusters, and lives of one whose directory was
    /// emptied.
    pub lineage: u64,
    /// Counts the terms of leadership.
    pub epoch: u64,
    /// Counts the writes: two versions of the record never have the same.
    pub beat: u64,
    /// Who leads in this epoch; nothing: whoever led has resigned.
    pub leader: Option<LeaderRecord>,
    /// Jobs that have not ended, and those that have and leave something behind.
    #[serde(default)]
    pub jobs: BTreeMap<JobId, JobRecord>,
    /// How jobs ended. One that is in `jobs` too is dirty: it only has to be cleaned up.
    #[serde(default)]
    pub results: BTreeMap<JobId, ResultRecord>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The process; a restarted one is another.
    pub process: ResourceId,
    /// `host:port` for messages.
    pub rpc: String,
    /// Where it serves; nothing as long as it prepares.
    pub published: Option<Published>,
}

/// Where a leader serves, besides messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `host:port` of REST.
    pub rest: String,
    /// `host:port` of the blob server.
    pub blob: String,
}

/// A job that has not ended, or leaves something behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Where its plan and its program are, below the directory of the record.
    pub directory: String,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its completed checkpoints, oldest first: whoever recovers it begins with the last.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointRecord>,
    /// The present leader's checkpoints are numbered from here.
    pub first_checkpoint: CheckpointId,
    /// The next leader's checkpoints are numbered from here.
    pub next_checkpoint: CheckpointId,
}

/// A completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Which.
    pub id: CheckpointId,
    /// Where its metadata is, as its storage calls it.
    pub path: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// The last status.
    pub status: JobStatus,
    /// What the job was called.
    pub name: String,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Files and directories of its checkpoints that nobody wants any more: whoever cleans up
    /// deletes them, and the last mention of them is this one.
    #[serde(default)]
    pub remains: Vec<String>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is none, or not whole.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It was written by a later version.
    #[error("it has format version {0}, and this program knows version {VERSION} only")]
    Version(u32),
}

impl JobRecord {
    /// A job that was submitted just now.
    pub fn new(directory: String, submitted: Timestamp) -> Self {
        Self {
            directory,
            submitted,
            checkpoints: Vec::new(),
            first_checkpoint: CheckpointId(1),
            next_checkpoint: CheckpointId(1 + CHECKPOINT_IDS),
        }
    }
}

impl HaRecord {
    /// The term of leadership, as endpoints check it. Never that of another cluster, never
    /// [zero](FencingToken), which is the term without high availability.
    pub fn token(&self) -> FencingToken {
        FencingToken(u128::from(self.lineage) << 64 | u128::from(self.epoch))
    }

    /// Whether this process leads, as far as the record says.
    pub fn is_led_by(&self, process: &ResourceId) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.process == *process)
    }

    /// Jobs that have ended and leave something behind.
    pub fn dirty(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().filter(|job| self.results.contains_key(job)).copied()
    }

    /// Jobs that have not ended.
    pub fn running(&self) -> impl Iterator<Item = (JobId, &JobRecord)> {
        let again = mutant::on("dirty_job_runs_again");
        let all = self.jobs.iter().filter(move |(job, _)| again || !self.results.contains_key(job));
        all.map(|(job, record)| (*job, record))
    }

    /// As it is written down.
    pub fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_string_pretty(self).expect("ids and texts can be written");
        format!("{MAGIC} {VERSION} {:016x}\n{body}\n", xxh3_64(format!("{body}\n").as_bytes()))
            .into_bytes()
    }

    /// Reads what was written down.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let damaged = |what: &str| RecordError::Damaged(what.to_owned());
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (first, body) = bytes.split_at(end.ok_or_else(|| damaged("it has no first line"))?);
        let (first, body) = (std::str::from_utf8(first), &body[1..]);
        let mut words = first.unwrap_or_default().split(' ');
        let words = [words.next(), words.next(), words.next(), words.next()];
        let [Some(MAGIC), Some(version), Some(checksum), None] = words else {
            return Err(damaged("its first line is not that of a record"));
        };
        match version.parse() {
            Ok(VERSION) => (),
            Ok(other) => return Err(RecordError::Version(other)),
            Err(_) => return Err(damaged("its version is no number")),
        }
        if u64::from_str_radix(checksum, 16) != Ok(xxh3_64(body)) {
            return Err(damaged("its checksum does not match"));
        }
        serde_json::from_slice(body).map_err(|error| RecordError::Damaged(error.to_string()))
    }
}
