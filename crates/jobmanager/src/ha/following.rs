//! A contender that waits for its turn: it looks at the record, and writes itself down when the
//! leader has resigned, is gone, or has not written for a whole lease of this process's clock.
//!
//! Only a write that is known to have succeeded grants leadership. One with an unknown outcome may
//! turn out to have succeeded: the record then names this process, which takes over from itself, in a
//! term of which it has never acted before.

use super::change::take_over;
use super::election::{Context, Io, LeaderElection, Role, Seen};
use super::leading::Term;
use super::record::{HaRecord, LeaderRecord, RecordError};
use super::work::{Grant, HaOp};
use crate::mutant;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_core::time::Mono;

impl LeaderElection {
    /// Does what is due.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>) {
        if self.io.is_none() && self.poll_at <= cx.now {
            self.begin_io(cx, HaOp::Read, Io::Read);
        }
    }

    pub(super) fn on_followers_read(
        &mut self,
        cx: &mut Context<'_>,
        result: Result<Option<(Version, Vec<u8>)>, StorageError>,
    ) {
        match result {
            Err(_) => self.poll_at = cx.now + self.config.retry_ms(),
            Ok(None) if self.seen.is_some() => self.fail(cx, vanished()),
            Ok(None) => self.begin_first_term(cx),
            Ok(Some((version, bytes))) => match HaRecord::decode(&bytes) {
                Err(error) => self.fail(cx, unreadable(&version, &error)),
                Ok(record) => self.on_seen(cx, version, record),
            },
        }
    }

    fn on_seen(&mut self, cx: &mut Context<'_>, version: Version, record: HaRecord) {
        match &self.seen {
            Some(seen) if seen.version == version => (),
            Some(seen) if went_back(&seen.record, &record) => {
                return self.fail(cx, gone_back(&version));
            }
            _ => self.seen = Some(Seen { version, record, since: cx.now }),
        }
        if self.may_take_over(cx.now) {
            return self.take_over(cx);
        }
        self.poll_at = cx.now + self.config.poll_ms();
        self.probe_leader(cx);
    }

    /// Whether nobody else leads any more, as far as this process can know. To be wrong is harmless:
    /// the other one is fenced.
    fn may_take_over(&self, now: Mono) -> bool {
        let Some(seen) = &self.seen else { return false };
        let Some(leader) = &seen.record.leader else { return true };
        if leader.process == self.config.process || mutant::on("ha_impatient_takeover") {
            return true;
        }
        let deposed = self.deposed_at.is_some_and(|at| now.since(at) < self.config.lease_ms);
        let gone = self.gone.as_ref() == Some(&leader.process) && !deposed;
        gone || now.since(seen.since) >= self.config.lease_ms
    }

    fn begin_first_term(&mut self, cx: &mut Context<'_>) {
        let lineage = cx.rng.next_u64() | 1;
        let record = HaRecord { lineage, ..HaRecord::default() };
        self.write_take_over(cx, record, None);
    }

    fn take_over(&mut self, cx: &mut Context<'_>) {
        if let Some(Seen { version, record, .. }) = self.seen.clone() {
            self.write_take_over(cx, record, Some(version));
        }
    }

    fn write_take_over(
        &mut self,
        cx: &mut Context<'_>,
        mut record: HaRecord,
        expected: Option<Version>,
    ) {
        let (process, rpc) = (self.config.process.clone(), self.config.rpc.clone());
        take_over(&mut record, LeaderRecord { process, rpc, published: None });
        record.beat += 1;
        let what = HaOp::Put { bytes: record.encode(), expected };
        self.begin_io(cx, what, Io::TakeOver { record: Box::new(record), begun: cx.now });
    }

    pub(super) fn on_take_over(
        &mut self,
        cx: &mut Context<'_>,
        record: HaRecord,
        begun: Mono,
        put: Put,
    ) {
        match put {
            // So late that the lease is nearly over: once more.
            Put::Written(_) if cx.now.since(begun) >= self.config.patience_ms() => {
                self.poll_at = cx.now;
            }
            Put::Written(version) => self.grant(cx, version, record, begun),
            Put::Conflict => self.poll_at = cx.now,
            Put::Failed(_) | Put::Unknown(_) => self.poll_at = cx.now + self.config.retry_ms(),
        }
    }

    fn grant(&mut self, cx: &mut Context<'_>, version: Version, record: HaRecord, begun: Mono) {
        let (epoch, token) = (record.epoch, record.token());
        self.last_epoch = epoch;
        self.gone = None;
        self.seen = Some(Seen { version: version.clone(), record: record.clone(), since: cx.now });
        self.role = Role::Leading(Box::new(Term::new(version, record.clone(), begun)));
        self.op(cx, HaOp::Lead(Box::new(Grant { epoch, token, record })));
    }

    /// Has the shell look whether the leader's process is still there.
    fn probe_leader(&mut self, cx: &mut Context<'_>) {
        let leader = self.seen.as_ref().and_then(|seen| seen.record.leader.clone());
        let Some(leader) = leader.filter(|_| self.probing.is_none()) else { return };
        let (rpc, process) = (leader.rpc, leader.process);
        let op = self.op(cx, HaOp::Probe { rpc, process: process.clone() });
        self.probing = Some((op, process));
    }

    /// A connection is lost. If it was that to the leader, it is time to look.
    pub(super) fn on_peer_lost(&mut self, cx: &mut Context<'_>, process: &str) {
        if !matches!(self.role, Role::Following) {
            return;
        }
        let leader = self.seen.as_ref().and_then(|seen| seen.record.leader.as_ref());
        if leader.is_some_and(|leader| leader.rpc == process) {
            self.poll_at = cx.now;
        }
    }
}

/// A record of the same lineage never loses a term or a write.
pub(super) fn went_back(before: &HaRecord, after: &HaRecord) -> bool {
    let order = |record: &HaRecord| (record.epoch, record.beat);
    before.lineage == after.lineage && order(after) < order(before)
}

pub(super) fn vanished() -> String {
    "the record has vanished from high-availability.storageDir: has the directory been emptied, or \
     is its file system not mounted any more?"
        .to_owned()
}

pub(super) fn unreadable(version: &Version, error: &RecordError) -> String {
    format!(
        "version {version} of the record in high-availability.storageDir cannot be read: {error}; \
         nothing is overwritten, so that nothing is lost"
    )
}

pub(super) fn gone_back(version: &Version) -> String {
    format!(
        "version {version} of the record in high-availability.storageDir is older than what has \
         been there before: has the directory been restored from a copy?"
    )
}
