//! The machine: its state, what reaches it.
//!
//! At most one operation on the record is under way. Time is compared at the begin of every step, so
//! a process that was paused notices that its lease is over before it does anything else, whatever
//! woke it.

use super::change::{Change, ChangeEnd, ChangeId};
use super::config::HaConfig;
use super::leading::Term;
use super::record::HaRecord;
use super::work::{HaDone, HaOp, Presence, UNSOLICITED};
use crate::mutant;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_core::ids::ResourceId;
use millstream_core::time::Mono;
use millstream_rpc::machine::{Cx, Effect, Input, Machine, OpId};
use millstream_rpc::protocol::{Answer, Refusal};

pub(super) type Context<'a> = Cx<'a, LeaderElection>;

/// The one timer: it is set to whatever comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HaTimer;

/// One process's part in the election, and the only hand that writes the record here.
#[derive(Debug)]
pub struct LeaderElection {
    /// What it was told at the start. Never changes.
    pub(super) config: HaConfig,
    pub(super) role: Role,
    /// The process is to end.
    pub(super) ending: bool,
    /// The operation on the record that is under way.
    pub(super) io: Option<(OpId, Io)>,
    /// The newest version that this process has seen or written while it did not lead.
    pub(super) seen: Option<Seen>,
    /// A contender looks at the record then.
    pub(super) poll_at: Mono,
    /// The leader's process is being looked for.
    pub(super) probing: Option<(OpId, ResourceId)>,
    /// A process that is surely gone.
    pub(super) gone: Option<ResourceId>,
    /// When this process lost a term. For a lease from then on it waits for leases to run out, so
    /// that two that cannot see each other do not depose each other all the time.
    pub(super) deposed_at: Option<Mono>,
    /// The last term that was granted to this process.
    pub(super) last_epoch: u64,
    /// Counts operations: each gets an id of its own.
    ops_made: u64,
    /// What the timer is set to.
    armed: Option<Mono>,
    /// The time of the last step, for the check after it.
    pub(super) now: Mono,
    pub(super) counters: Counters,
}

/// Where a process stands.
#[derive(Debug)]
pub(super) enum Role {
    Created,
    /// It waits for its turn.
    Following,
    /// It leads.
    Leading(Box<Term>),
    /// It has led; what belongs to the term is being stopped.
    Leaving {
        stop: OpId,
    },
    Stopped,
}

/// An operation on the record.
#[derive(Debug)]
pub(super) enum Io {
    Read,
    /// A contender writes itself down as leader.
    TakeOver {
        record: Box<HaRecord>,
        begun: Mono,
    },
    /// A leader writes; what, stands in its term.
    Write {
        epoch: u64,
    },
}

/// A version of the record.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) record: HaRecord,
    /// Since when it has been the newest, as far as this process has looked.
    pub(super) since: Mono,
}

/// What was dropped, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes that somebody wanted in a term that is over.
    pub stale_changes: u64,
    /// Outcomes that nobody waits for.
    pub stale: u64,
    /// Terms that this process has lost.
    pub deposed: u64,
}

impl LeaderElection {
    /// A contender that has not begun.
    pub fn new(config: HaConfig) -> Self {
        Self {
            config,
            role: Role::Created,
            ending: false,
            io: None,
            seen: None,
            poll_at: Mono(0),
            probing: None,
            gone: None,
            deposed_at: None,
            last_epoch: 0,
            ops_made: UNSOLICITED.0,
            armed: None,
            now: Mono(0),
            counters: Counters::default(),
        }
    }

    /// The term in which this process leads, if it does.
    pub fn leads(&self) -> Option<u64> {
        match &self.role {
            Role::Leading(term) if !term.resigning => Some(term.epoch),
            _ => None,
        }
    }

    /// Whether nothing follows any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.role, Role::Stopped)
    }

    /// What was dropped.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Has work done; the name of its end.
    pub(super) fn op(&mut self, cx: &mut Context<'_>, what: HaOp) -> OpId {
        self.ops_made += 1;
        let op = OpId(self.ops_made);
        cx.out.push(Effect::Op { op, what });
        op
    }

    /// Begins an operation on the record.
    pub(super) fn begin_io(&mut self, cx: &mut Context<'_>, what: HaOp, io: Io) {
        assert!(self.io.is_none(), "two operations on the record at a time");
        let op = self.op(cx, what);
        self.io = Some((op, io));
    }

    /// Tells whoever wanted a change what became of it.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, change: ChangeId, end: ChangeEnd) {
        self.op(cx, HaOp::TellChange { change, end });
    }

    /// The process cannot go on.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>, reason: String) {
        self.role = Role::Stopped;
        cx.out.push(Effect::Fatal(format!("high availability: {reason}")));
    }

    fn on_done(&mut self, cx: &mut Context<'_>, op: OpId, result: HaDone) {
        match result {
            HaDone::Read(result) => self.on_read(cx, op, result),
            HaDone::Put(put) => self.on_put(cx, op, put),
            HaDone::Probed(presence) => self.on_probed(op, presence),
            HaDone::Led { epoch, result } => self.on_led(cx, epoch, result),
            HaDone::Stopped => self.on_stopped(cx, op),
            HaDone::Change { change, epoch, what } => self.on_change(cx, change, epoch, what),
        }
    }

    fn on_read(
        &mut self,
        cx: &mut Context<'_>,
        op: OpId,
        result: Result<Option<(Version, Vec<u8>)>, StorageError>,
    ) {
        match self.io.take_if(|(current, io)| *current == op && matches!(io, Io::Read)) {
            None => self.counters.stale += 1,
            Some(_) => match self.role {
                Role::Following => self.on_followers_read(cx, result),
                Role::Leading(_) => self.on_leaders_read(cx, result),
                _ => self.counters.stale += 1,
            },
        }
    }

    fn on_put(&mut self, cx: &mut Context<'_>, op: OpId, put: Put) {
        let Some((_, io)) = self.io.take_if(|(current, _)| *current == op) else {
            self.counters.stale += 1;
            return;
        };
        match (io, &self.role) {
            (Io::TakeOver { record, begun }, Role::Following) => {
                self.on_take_over(cx, *record, begun, put);
            }
            (Io::Write { epoch }, Role::Leading(term)) if term.epoch == epoch => {
                self.on_written(cx, put);
            }
            // The term is over. What became of the write, the record will tell.
            _ => self.counters.stale += 1,
        }
    }

    fn on_probed(&mut self, op: OpId, presence: Presence) {
        match self.probing.take_if(|(current, _)| *current == op) {
            None => self.counters.stale += 1,
            Some((_, process)) if presence == Presence::Gone => self.gone = Some(process),
            Some(_) => (),
        }
    }

    fn on_change(&mut self, cx: &mut Context<'_>, change: ChangeId, epoch: u64, what: Change) {
        match &mut self.role {
            Role::Leading(term)
                if term.epoch == epoch || mutant::on("ha_stale_change_accepted") =>
            {
                if let Err(reason) = term.want(change, what) {
                    let end = ChangeEnd::Failed { reason, deposed: false };
                    self.tell(cx, change, end);
                }
            }
            _ => {
                self.counters.stale_changes += 1;
                let reason = format!("this process does not lead in term {epoch} any more");
                self.tell(cx, change, ChangeEnd::Failed { reason, deposed: true });
            }
        }
    }

    fn on_stopped(&mut self, cx: &mut Context<'_>, op: OpId) {
        match &mut self.role {
            Role::Leaving { stop } if *stop == op => {
                if self.ending {
                    return self.stop(cx);
                }
                self.role = Role::Following;
                self.poll_at = cx.now;
            }
            Role::Leading(term) if term.stopping == Some(op) => term.resigning = true,
            _ => self.counters.stale += 1,
        }
    }

    /// The process is to end. A leader first has its part stopped, then writes that it leads no more.
    fn on_stop(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        match &self.role {
            Role::Leading(term) => {
                let (epoch, reason) = (term.epoch, "the process is to end".to_owned());
                let stop = self.op(cx, HaOp::StopLeading { epoch, reason, orderly: true });
                if let Role::Leading(term) = &mut self.role {
                    term.stopping = Some(stop);
                }
            }
            Role::Leaving { .. } => (),
            Role::Created | Role::Following | Role::Stopped => self.stop(cx),
        }
    }

    pub(super) fn stop(&mut self, cx: &mut Context<'_>) {
        if let Role::Leading(term) = std::mem::replace(&mut self.role, Role::Stopped) {
            self.answer_all(cx, *term, "the process has ended");
        }
        cx.out.push(Effect::Stopped);
    }

    /// Sets the timer to whatever comes next.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let next = match &self.role {
            Role::Following => self.io.is_none().then_some(self.poll_at),
            Role::Leading(term) => Some(term.wake_at(&self.config, self.io.is_some())),
            Role::Created | Role::Leaving { .. } | Role::Stopped => None,
        };
        if next == self.armed {
            return;
        }
        self.armed = next;
        cx.out.push(match next {
            Some(at) => Effect::SetTimer { timer: HaTimer, at },
            None => Effect::ClearTimer { timer: HaTimer },
        });
    }
}

impl Machine for LeaderElection {
    type Timer = HaTimer;
    type Op = HaOp;
    type Done = HaDone;

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Self::Timer, Self::Done>) {
        self.now = cx.now;
        if self.is_stopped() {
            self.counters.stale += 1;
            return;
        }
        self.watch_lease(cx);
        match input {
            Input::Start if matches!(self.role, Role::Created) => {
                self.role = Role::Following;
                self.poll_at = cx.now;
            }
            Input::Timer(HaTimer) => self.armed = None,
            Input::Done { op, result } => self.on_done(cx, op, result),
            Input::PeerLost { process, .. } => self.on_peer_lost(cx, &process),
            Input::Stop => self.on_stop(cx),
            Input::Message { reply: Some(to), .. } => {
                let why = "an election is not spoken to".to_owned();
                cx.out.push(Effect::Reply { to, answer: Answer::Refused(Refusal::Invalid(why)) });
            }
            Input::Start | Input::Message { .. } | Input::Answered { .. } => {
                self.counters.stale += 1;
            }
        }
        match self.role {
            Role::Following => self.follow(cx),
            Role::Leading(_) => self.lead(cx),
            Role::Created | Role::Leaving { .. } | Role::Stopped => (),
        }
        if !self.is_stopped() {
            self.arm(cx);
        }
    }

    fn check(&self) {
        self.check_invariants();
    }
}
