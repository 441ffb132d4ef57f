//! A leader that writes: changes that were wanted meanwhile go into one write, and without any it
//! writes to renew its lease.
//!
//! A write with an unknown outcome is read back before anything else happens. The same bytes are
//! written again if the record is unchanged, so a write that arrives late can at worst arrive instead
//! of its repetition. No change is reported as failed that could still be in the record.

use super::change::{Change, ChangeEnd, ChangeId};
use super::config::HaConfig;
use super::election::{Context, Io, LeaderElection, Role, Seen};
use super::following::{gone_back, unreadable, vanished, went_back};
use super::record::{HaRecord, Published};
use super::work::HaOp;
use crate::mutant;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_core::time::Mono;
use millstream_rpc::machine::OpId;
use std::collections::VecDeque;

/// So many changes may wait for the write before theirs.
const WAITING_MAX: usize = 10_000;

/// A term of leadership.
#[derive(Debug)]
pub(super) struct Term {
    /// Its number.
    pub(super) epoch: u64,
    /// The newest version of the record, as far as is certain.
    pub(super) version: Version,
    /// Its content.
    pub(super) record: HaRecord,
    /// When the write began that made it: others may replace us a lease after that.
    pub(super) lease_from: Mono,
    /// What is being written, or was, with an unknown outcome.
    pub(super) proposal: Option<Proposal>,
    /// The record is to be read before anything else is written.
    look: bool,
    /// Nothing is read or written before that, after a failure.
    not_before: Mono,
    /// Changes for the next write.
    pub(super) waiting: VecDeque<(ChangeId, Change)>,
    /// Where the leader serves; the next write says so.
    published: Option<Published>,
    /// Counts the writes.
    beats: u64,
    /// Everything of this term is being stopped in good order.
    pub(super) stopping: Option<OpId>,
    /// It has been: now it is to be written that nobody leads.
    pub(super) resigning: bool,
}

/// What is being written.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) record: HaRecord,
    bytes: Vec<u8>,
    /// Who waits for it.
    pub(super) changes: Vec<ChangeId>,
    /// When its write began, and when it began last.
    begun: (Mono, Mono),
    /// A write of it had an unknown outcome.
    doubtful: bool,
    /// It is the last one of the term.
    resigns: bool,
}

impl Term {
    pub(super) fn new(version: Version, record: HaRecord, lease_from: Mono) -> Self {
        Self {
            epoch: record.epoch,
            version,
            lease_from,
            proposal: None,
            look: false,
            not_before: Mono(0),
            waiting: VecDeque::new(),
            published: None,
            beats: record.beat,
            stopping: None,
            resigning: false,
            record,
        }
    }

    /// Somebody wants a change; an error: not now.
    pub(super) fn want(&mut self, id: ChangeId, change: Change) -> Result<(), String> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(format!("{WAITING_MAX} changes wait to be written already"));
        }
        self.waiting.push_back((id, change));
        Ok(())
    }

    /// When this process must have stopped acting.
    pub(super) fn lease_end(&self, config: &HaConfig) -> Mono {
        self.lease_from + config.patience_ms()
    }

    fn renew_at(&self, config: &HaConfig) -> Mono {
        (self.lease_from + config.renew_ms()).max(self.not_before)
    }

    /// Something is to be done then.
    pub(super) fn wake_at(&self, config: &HaConfig, busy: bool) -> Mono {
        let next = match () {
            () if busy => self.lease_end(config),
            () if self.look || self.proposal.is_some() || self.is_wanted() => self.not_before,
            () => self.renew_at(config),
        };
        next.min(self.lease_end(config))
    }

    /// Others do not know yet where the leader serves.
    fn is_unpublished(&self) -> bool {
        let leader = self.record.leader.as_ref();
        leader.is_some_and(|leader| leader.published != self.published)
    }

    /// Something is to be written as soon as possible.
    fn is_wanted(&self) -> bool {
        self.resigning || self.is_unpublished() || !self.waiting.is_empty()
    }

    /// What is to be written next, with the changes that must not be made and why.
    fn propose(&mut self, now: Mono) -> (Proposal, Vec<(ChangeId, String)>) {
        let mut record = self.record.clone();
        let resigns = self.resigning && self.waiting.is_empty();
        let (mut changes, mut refused) = (Vec::new(), Vec::new());
        for (id, change) in self.waiting.drain(..) {
            match change.apply(&mut record) {
                Ok(()) => changes.push(id),
                Err(reason) => refused.push((id, reason)),
            }
        }
        self.beats += 1;
        record.beat = self.beats;
        match &mut record.leader {
            Some(leader) if !resigns => leader.published.clone_from(&self.published),
            leader => *leader = None,
        }
        let bytes = record.encode();
        let proposal =
            Proposal { record, bytes, changes, begun: (now, now), doubtful: false, resigns };
        (proposal, refused)
    }
}

impl LeaderElection {
    /// Does what is due.
    pub(super) fn lead(&mut self, cx: &mut Context<'_>) {
        let Role::Leading(term) = &mut self.role else { return };
        if self.io.is_some() || cx.now < term.not_before {
            return;
        }
        if term.look {
            return self.begin_io(cx, HaOp::Read, Io::Read);
        }
        let due = term.is_wanted() || term.renew_at(&self.config) <= cx.now;
        if term.proposal.is_none() && due {
            let (proposal, refused) = term.propose(cx.now);
            term.proposal = Some(proposal);
            for (change, reason) in refused {
                self.tell(cx, change, ChangeEnd::Failed { reason, deposed: false });
            }
        }
        self.write(cx);
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        let Role::Leading(term) = &mut self.role else { return };
        let Some(proposal) = &mut term.proposal else { return };
        proposal.begun.1 = cx.now;
        let (epoch, bytes) = (term.epoch, proposal.bytes.clone());
        let expected = Some(term.version.clone());
        self.begin_io(cx, HaOp::Put { bytes, expected }, Io::Write { epoch });
    }

    pub(super) fn on_written(&mut self, cx: &mut Context<'_>, put: Put) {
        let Role::Leading(term) = &mut self.role else { return };
        let doubtful = term.proposal.as_ref().is_some_and(|proposal| proposal.doubtful);
        let resigns = term.proposal.as_ref().is_some_and(|proposal| proposal.resigns);
        match put {
            Put::Written(version) => {
                let begun = term.proposal.as_ref().map_or(term.lease_from, |it| it.begun.1);
                self.on_certain(cx, version, begun);
            }
            // It made no difference, or others wait for the lease.
            Put::Conflict | Put::Unknown(_) if resigns => self.stop(cx),
            Put::Conflict => term.look = true,
            Put::Failed(error) if !doubtful => {
                term.not_before = cx.now + self.config.retry_ms();
                self.give_up_proposal(cx, &error.to_string());
            }
            Put::Unknown(error) if mutant::on("ha_unknown_is_failure") => {
                self.give_up_proposal(cx, &error.to_string());
            }
            Put::Unknown(_) if mutant::on("ha_unknown_is_success") => {
                let (version, begun) = (term.version.clone(), term.lease_from);
                self.on_certain(cx, version, begun);
            }
            Put::Failed(_) | Put::Unknown(_) => {
                term.not_before = cx.now + self.config.retry_ms();
                term.look = true;
                if let Some(proposal) = &mut term.proposal {
                    proposal.doubtful = true;
                }
            }
        }
    }

    /// What was proposed is the record, not longer than since `begun`.
    fn on_certain(&mut self, cx: &mut Context<'_>, version: Version, begun: Mono) {
        let Role::Leading(term) = &mut self.role else { return };
        term.look = false;
        let Some(proposal) = term.proposal.take() else { return };
        (term.version, term.record) = (version, proposal.record);
        term.lease_from = begun;
        for change in proposal.changes {
            self.tell(cx, change, ChangeEnd::Written);
        }
        if proposal.resigns {
            return self.stop(cx);
        }
        // A write that took very long renewed a lease that is over by now.
        self.watch_lease(cx);
    }

    /// What was proposed has certainly not been written.
    fn give_up_proposal(&mut self, cx: &mut Context<'_>, reason: &str) {
        let Role::Leading(term) = &mut self.role else { return };
        let Some(proposal) = term.proposal.take() else { return };
        for change in proposal.changes {
            let end = ChangeEnd::Failed { reason: reason.to_owned(), deposed: false };
            self.tell(cx, change, end);
        }
        if proposal.resigns {
            // Others wait for the lease.
            self.stop(cx);
        }
    }

    /// The record as it is, after a write that may or may not have changed it.
    pub(super) fn on_leaders_read(
        &mut self,
        cx: &mut Context<'_>,
        result: Result<Option<(Version, Vec<u8>)>, StorageError>,
    ) {
        let Role::Leading(term) = &mut self.role else { return };
        match result {
            Err(_) => term.not_before = cx.now + self.config.retry_ms(),
            Ok(None) => self.fail(cx, vanished()),
            Ok(Some((version, bytes))) => match HaRecord::decode(&bytes) {
                Err(error) => self.fail(cx, unreadable(&version, &error)),
                Ok(record) => self.on_read_back(cx, version, record),
            },
        }
    }

    fn on_read_back(&mut self, cx: &mut Context<'_>, version: Version, record: HaRecord) {
        let Role::Leading(term) = &mut self.role else { return };
        let proposed = term.proposal.as_ref().map(|proposal| proposal.record.beat);
        let ours = record.lineage == term.record.lineage && record.epoch == term.epoch;
        match () {
            () if ours && Some(record.beat) == proposed => {
                // Whichever of the writes it was: the first is the oldest.
                let begun = term.proposal.as_ref().map_or(term.lease_from, |it| it.begun.0);
                self.on_certain(cx, version, begun);
            }
            // Not written, or not yet: the same once more.
            () if ours && record.beat == term.record.beat => {
                term.look = false;
                term.not_before = cx.now + self.config.retry_ms();
            }
            () if ours || went_back(&term.record, &record) => self.fail(cx, gone_back(&version)),
            () if mutant::on("ha_conflict_is_overwritten") => {
                term.look = false;
                term.version = version;
            }
            () => {
                let reason = match &record.leader {
                    Some(leader) => format!("{} leads in term {}", leader.process, record.epoch),
                    None => format!("term {} has begun", record.epoch),
                };
                self.seen = Some(Seen { version, record, since: cx.now });
                self.depose(cx, reason);
            }
        }
    }

    /// A leader whose lease may be over for others stops.
    pub(super) fn watch_lease(&mut self, cx: &mut Context<'_>) {
        let Role::Leading(term) = &self.role else { return };
        if term.lease_end(&self.config) <= cx.now && !mutant::on("ha_lease_is_not_watched") {
            let waited = cx.now.since(term.lease_from);
            self.depose(cx, format!("the lease could not be renewed for {waited} ms"));
        }
    }

    /// This process leads no more.
    fn depose(&mut self, cx: &mut Context<'_>, reason: String) {
        let Role::Leading(term) = std::mem::replace(&mut self.role, Role::Following) else {
            return;
        };
        self.counters.deposed += 1;
        self.deposed_at = Some(cx.now);
        let epoch = term.epoch;
        self.answer_all(cx, *term, &reason);
        // What is being stopped in good order is told that there is no time left for that.
        let stop = self.op(cx, HaOp::StopLeading { epoch, reason, orderly: false });
        self.role = Role::Leaving { stop };
    }

    /// Nobody who waits for a change is left without an answer.
    pub(super) fn answer_all(&mut self, cx: &mut Context<'_>, term: Term, reason: &str) {
        for change in term.proposal.into_iter().flat_map(|proposal| proposal.changes) {
            let end = ChangeEnd::Unknown { reason: reason.to_owned() };
            self.tell(cx, change, end);
        }
        for (change, _) in term.waiting {
            let end = ChangeEnd::Failed { reason: reason.to_owned(), deposed: true };
            self.tell(cx, change, end);
        }
    }

    /// What belongs to a leader has been made, or cannot be.
    pub(super) fn on_led(
        &mut self,
        cx: &mut Context<'_>,
        epoch: u64,
        result: Result<Published, String>,
    ) {
        match (&mut self.role, result) {
            (Role::Leading(term), Ok(published)) if term.epoch == epoch => {
                term.published = Some(published);
            }
            (Role::Leading(term), Err(reason)) if term.epoch == epoch => self.fail(cx, reason),
            _ => self.counters.stale += 1,
        }
    }
}
