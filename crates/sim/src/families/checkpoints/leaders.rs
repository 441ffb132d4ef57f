//! JobManagers that crash, sleep and follow each other: each with the shipped election and recorder,
//! over one record in a store that may not say what it did. The worker goes with whoever the record
//! says leads; what it hears of others has another token.
//!
//! What is asserted besides:
//! - a job goes on from a checkpoint that is no older than any of which tasks were told;
//! - tasks are told only of what is recorded; what is recorded is there, with all its files;
//! - a deposed leader that wakes up changes neither the record nor a file that it refers to.

use super::model::{Event, HEAL_AT_MS, World};
use super::seat::Seat;
use crate::ha::plan::{Emphasis, Plan};
use crate::ha::store::{Store as RecordStore, draw_fate, ill};
use millstream_checkpoint::handle::written_for;
use millstream_checkpoint::metadata::METADATA_FILE;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{ExecutionAttemptId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_core::time::{Mono, Timestamp};
use millstream_jobmanager::ha::{
    Change, ChangeEnd, ChangeId, CheckpointRecord, CheckpointRecorder, Grant, HaConfig, HaDone,
    HaOp, HaRecord, HaTimer, JobRecord, LeaderElection, Presence, Published, RecorderStep,
    ResultRecord, UNSOLICITED,
};
use millstream_jobmanager::job_master::{JobMasterDone, JobMasterOp, JobRecovery};
use millstream_rpc::machine::{Cx, Effect, Input, Machine, OpId, Rng};
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use std::collections::{BTreeMap, BTreeSet};

/// The job must have ended by then, in milliseconds.
const END_AT_MS: u64 = 240_000;

/// Trouble begins no later.
const TROUBLE_MS: u64 = 8_000;

/// What all contenders have to do with.
pub(super) struct Leaders {
    plan: Plan,
    store: RecordStore,
    /// The newest version of the record.
    record: HaRecord,
    /// Checkpoints that are in it, or were.
    recorded: BTreeSet<CheckpointId>,
    /// The term that the worker goes with.
    followed: u64,
    /// Who has submitted an attempt.
    submitted_by: BTreeMap<ExecutionAttemptId, usize>,
    /// How the job ended, if its master has said so.
    end: Option<Box<ExecutionGraphDetails>>,
    /// What a master has seen of former ones' unfinished checkpoints: it has to go.
    orphans: Orphans,
}

/// Files of former terms that a master knows of.
#[derive(Default)]
struct Orphans {
    epoch: u64,
    paths: Vec<String>,
    /// How many checkpoints have been written since: works are done one after the other.
    written_since: u32,
}

/// One contender.
pub(super) struct Leadership {
    name: String,
    election: LeaderElection,
    rng: Rng,
    timer: Option<Mono>,
    term: Option<Term>,
    changes: u64,
    waiting: BTreeMap<ChangeId, (u64, Waiter)>,
}

/// What belongs to a term.
struct Term {
    grant: Grant,
    over: bool,
    recorder: CheckpointRecorder,
    /// The checkpoints of the record, as far as this term has written it.
    known: Vec<CheckpointRecord>,
    /// What is to be deleted when the end of the job is on record.
    remains: Vec<String>,
}

/// Who waits for a change.
#[derive(Clone, Debug)]
pub(super) enum Waiter {
    Job,
    Recorded(CheckpointRecord),
    Forgotten(Vec<CheckpointId>),
    End(Box<ExecutionGraphDetails>),
}

/// Something that happens to a contender, or to the record.
pub(super) enum HaEvent {
    Timer(usize, Mono),
    Done(usize, OpId, HaDone),
    Prepared(usize, u64),
    Changed(usize, u64, Waiter, ChangeEnd),
    Kept(usize, OpId),
    Stop(usize, OpId),
    Write { bytes: Vec<u8>, expected: Option<Version>, teller: Option<(usize, OpId)>, told_us: u64 },
    Read { seat: usize, op: OpId, fails: bool, told_us: u64 },
    Crash { restart_after_us: u64 },
    Pause { for_us: u64 },
    NewProcess,
    Follow(u64),
}

impl Default for Leaders {
    fn default() -> Self {
        let plan = Plan {
            contenders: 0,
            lease_ms: 1,
            emphasis: Emphasis::default(),
            rates: Vec::new(),
            faults: Vec::new(),
            jobs: Vec::new(),
            heal_at_ms: HEAL_AT_MS,
            end_at_ms: END_AT_MS,
        };
        Self {
            plan,
            store: RecordStore::default(),
            record: HaRecord::default(),
            recorded: BTreeSet::new(),
            followed: 0,
            submitted_by: BTreeMap::new(),
            end: None,
            orphans: Orphans::default(),
        }
    }
}

impl HaEvent {
    fn seat(&self) -> Option<usize> {
        match self {
            Self::Timer(seat, _)
            | Self::Done(seat, ..)
            | Self::Prepared(seat, _)
            | Self::Changed(seat, ..)
            | Self::Kept(seat, _)
            | Self::Stop(seat, _) => Some(*seat),
            _ => None,
        }
    }
}

impl World<'_> {
    /// Plays a job whose masters come and go.
    pub(super) fn play_leaders(&mut self) {
        let rng = &mut self.rng;
        let mut some = |most: u64| if rng.below(3) == 0 { rng.below(most) } else { 0 };
        let (unknown, failed, slow) = (some(200), some(200), some(200));
        let plan = &mut self.leaders.plan;
        plan.lease_ms = 300 + rng.below(700);
        (plan.emphasis.unknown, plan.emphasis.failed, plan.emphasis.slow) = (unknown, failed, slow);
        let lease_us = plan.lease_ms * 1_000;
        for _ in 0..1 + self.rng.below(5) {
            let at_us = self.rng.below(TROUBLE_MS * 1_000);
            let event = match self.rng.below(2) {
                0 => HaEvent::Crash { restart_after_us: self.rng.below(2 * lease_us) },
                _ => HaEvent::Pause { for_us: self.rng.below(4 * lease_us) },
            };
            self.schedule(at_us, Event::Ha(event));
        }
        for _ in 0..2 {
            self.new_process();
        }
        while self.ended.is_none() {
            let status = self.status();
            assert!(self.now_us < END_AT_MS * 1_000, "I14: the job does not end: {status:?}");
            self.advance();
        }
    }

    /// Whether something can happen now: not to who is dead, later to who sleeps.
    pub(super) fn awake(&mut self, event: Event) -> Option<Event> {
        let seat = match &event {
            Event::Say(seat, ..) | Event::Answer(seat, ..) | Event::Work(seat, _) => Some(*seat),
            Event::Ha(event) => event.seat(),
            _ => None,
        };
        let Some(seat) = seat.map(|seat| &self.seats[seat]) else { return Some(event) };
        if !seat.alive {
            return None;
        }
        let until_us = seat.paused_until_us;
        if until_us > self.now_us {
            self.schedule(until_us - self.now_us, event);
            return None;
        }
        Some(event)
    }

    /// The seat that leads, as far as the record says.
    pub(super) fn leading(&self) -> Option<usize> {
        if !self.knobs.leaders {
            return Some(0);
        }
        self.seat_of(self.leaders.record.epoch)
    }

    fn seat_of(&self, epoch: u64) -> Option<usize> {
        let leads = |seat: &Seat| {
            let term = seat.ha.as_ref().and_then(|ha| ha.term.as_ref());
            seat.alive && term.is_some_and(|term| term.grant.epoch == epoch)
        };
        self.seats.iter().position(leads)
    }

    fn ha(&mut self, seat: usize) -> Option<&mut Leadership> {
        self.seats[seat].ha.as_mut()
    }

    fn term(&mut self, seat: usize, epoch: u64) -> Option<&mut Term> {
        self.ha(seat)?.term.as_mut().filter(|term| term.grant.epoch == epoch)
    }

    fn new_process(&mut self) {
        let number = self.seats.len();
        let config = HaConfig {
            process: ResourceId(format!("jm{number}")),
            rpc: format!("jm{number}:6123"),
            lease_ms: self.leaders.plan.lease_ms,
        };
        let mut seat = Seat::empty(Rng::new(self.rng.next_u64()));
        seat.ha = Some(Leadership {
            name: config.process.0.clone(),
            election: LeaderElection::new(config),
            rng: Rng::new(self.rng.next_u64()),
            timer: None,
            term: None,
            changes: 0,
            waiting: BTreeMap::new(),
        });
        self.seats.push(seat);
        self.election(number, Input::Start);
    }

    pub(super) fn on_leaders(&mut self, event: HaEvent) {
        self.trace_event(&event);
        match event {
            HaEvent::Timer(seat, at) => {
                let ha = self.ha(seat);
                if ha.is_some_and(|ha| ha.timer.take_if(|due| *due == at).is_some()) {
                    self.election(seat, Input::Timer(HaTimer));
                }
            }
            HaEvent::Done(seat, op, result) => self.election(seat, Input::Done { op, result }),
            HaEvent::Prepared(seat, epoch) => self.prepared(seat, epoch),
            HaEvent::Stop(seat, op) => {
                self.seats[seat].master = None;
                self.seats[seat].works.clear();
                self.ha(seat).expect("it led").term = None;
                self.election(seat, Input::Done { op, result: HaDone::Stopped });
            }
            HaEvent::Changed(seat, epoch, waiter, end) => self.changed(seat, epoch, waiter, end),
            HaEvent::Kept(seat, op) => {
                self.give(seat, Input::Done { op, result: JobMasterDone::Done });
            }
            HaEvent::Write { bytes, expected, teller, told_us } => {
                let put = self.leaders.store.put_if(&bytes, expected.as_ref());
                if matches!(put, Put::Written(_)) {
                    self.on_record(&bytes);
                }
                if let Some((seat, op)) = teller {
                    self.later(told_us, HaEvent::Done(seat, op, HaDone::Put(put)));
                }
            }
            HaEvent::Read { seat, op, fails, told_us } => {
                let read = if fails { Err(ill(false)) } else { Ok(self.leaders.store.read()) };
                self.later(told_us, HaEvent::Done(seat, op, HaDone::Read(read)));
            }
            HaEvent::Crash { restart_after_us } => {
                let seat = self.victim();
                self.seats[seat].alive = false;
                self.later(restart_after_us, HaEvent::NewProcess);
            }
            HaEvent::Pause { for_us } => {
                let seat = self.victim();
                self.seats[seat].paused_until_us = self.now_us + for_us;
            }
            HaEvent::NewProcess => self.new_process(),
            HaEvent::Follow(epoch) => self.follow_leader(epoch),
        }
    }

    fn trace_event(&mut self, event: &HaEvent) {
        let number = event.seat().unwrap_or(99);
        let text = || match event {
            HaEvent::Timer(..) => "its timer".to_owned(),
            HaEvent::Done(_, op, HaDone::Read(_)) => format!("{op:?}: the record was read"),
            HaEvent::Done(_, op, done) => format!("{op:?}: {done:?}"),
            HaEvent::Prepared(_, epoch) => format!("term {epoch} is prepared"),
            HaEvent::Changed(_, epoch, waiter, end) => match waiter {
                Waiter::End(_) => format!("term {epoch}: the end: {end:?}"),
                waiter => format!("term {epoch}: {waiter:?}: {end:?}"),
            },
            HaEvent::Kept(..) => "remains are kept".to_owned(),
            HaEvent::Stop(..) => "its term has been stopped".to_owned(),
            HaEvent::Write { expected, .. } => format!("a write over {expected:?}"),
            HaEvent::Read { .. } => "a read".to_owned(),
            HaEvent::Crash { .. } => "a crash".to_owned(),
            HaEvent::Pause { for_us } => format!("a pause of {for_us} us"),
            HaEvent::NewProcess => "a new process".to_owned(),
            HaEvent::Follow(epoch) => format!("the worker goes with term {epoch}"),
        };
        self.trace.event(self.now_us, number, text);
    }

    /// Mostly who leads.
    fn victim(&mut self) -> usize {
        let any = self.rng.below(self.seats.len() as u64) as usize;
        let leads = self.leading().filter(|_| self.rng.below(4) > 0);
        leads.unwrap_or(any)
    }

    fn later(&mut self, delay_us: u64, event: HaEvent) {
        self.schedule(delay_us, Event::Ha(event));
    }

    fn healed(&self) -> bool {
        self.now_us >= HEAL_AT_MS * 1_000
    }

    fn election(&mut self, seat: usize, input: Input<HaTimer, HaDone>) {
        let (now, wall) = (self.now(), (self.now_us / 1_000) as Timestamp);
        let mut out = Vec::new();
        let Some(ha) = self.ha(seat) else { return };
        ha.election.step(&mut Cx { now, wall, rng: &mut ha.rng, out: &mut out }, input);
        ha.election.check();
        for effect in out {
            match effect {
                Effect::SetTimer { at, .. } => {
                    let delay_us = (at.0 * 1_000).saturating_sub(self.now_us);
                    self.later(delay_us, HaEvent::Timer(seat, at));
                    self.ha(seat).expect("it is there").timer = Some(at);
                }
                Effect::ClearTimer { .. } => self.ha(seat).expect("it is there").timer = None,
                Effect::Op { op, what } => self.election_op(seat, op, what),
                Effect::Fatal(reason) => panic!("jm{seat}: {reason}"),
                _ => {}
            }
        }
    }

    fn election_op(&mut self, seat: usize, op: OpId, what: HaOp) {
        match what {
            HaOp::Read => {
                let emphasis = self.leaders.plan.emphasis;
                let fails = !self.healed() && self.rng.one_in_thousand(emphasis.failed);
                let (effect, told_us) = (100 + self.rng.below(3_000), 100 + self.rng.below(3_000));
                self.later(effect, HaEvent::Read { seat, op, fails, told_us });
            }
            HaOp::Put { bytes, expected } => self.begin_write(seat, op, bytes, expected),
            HaOp::Probe { process, .. } => {
                let is_it =
                    |it: &Seat| it.alive && it.ha.as_ref().is_some_and(|ha| ha.name == process.0);
                let presence = match self.rng.below(4) {
                    0 => Presence::Silent,
                    _ if self.seats.iter().any(is_it) => Presence::There,
                    _ => Presence::Gone,
                };
                let delay_us = 100 + self.rng.below(20_000);
                self.later(delay_us, HaEvent::Done(seat, op, HaDone::Probed(presence)));
            }
            HaOp::Lead(grant) => self.lead(seat, *grant),
            HaOp::StopLeading { .. } => {
                // Whoever is busy hears of it a little later.
                let delay_us = 10 + self.rng.below(400_000);
                self.later(delay_us, HaEvent::Stop(seat, op));
            }
            HaOp::TellChange { change, end } => {
                let waiter = self.ha(seat).and_then(|ha| ha.waiting.remove(&change));
                let (epoch, waiter) = waiter.expect("a change ends once");
                let delay_us = 50 + self.rng.below(20_000);
                self.later(delay_us, HaEvent::Changed(seat, epoch, waiter, end));
            }
        }
    }

    fn begin_write(&mut self, seat: usize, op: OpId, bytes: Vec<u8>, expected: Option<Version>) {
        let healed = self.healed();
        let fate = draw_fate(&mut self.rng, &self.leaders.plan, healed);
        let teller = (!fate.unknown).then_some((seat, op));
        match fate.effect_us {
            Some(effect_us) => {
                let told_us = fate.told_us.saturating_sub(effect_us);
                self.later(effect_us, HaEvent::Write { bytes, expected, teller, told_us });
            }
            None if fate.unknown => {}
            None => {
                let put = Put::Failed(ill(false));
                self.later(fate.told_us, HaEvent::Done(seat, op, HaDone::Put(put)));
            }
        }
        if fate.unknown {
            let put = Put::Unknown(ill(true));
            self.later(fate.told_us, HaEvent::Done(seat, op, HaDone::Put(put)));
        }
    }

    /// A term begins: never from less than what anybody was told of.
    fn lead(&mut self, seat: usize, grant: Grant) {
        let job = grant.record.jobs.get(&self.job);
        let newest = job.and_then(|known| known.checkpoints.last()).map(|it| it.id);
        let announced = self.announced;
        assert!(newest >= announced, "{announced:?} was announced, {newest:?} is recorded");
        let epoch = grant.epoch;
        let known = job.map(|known| known.checkpoints.clone()).unwrap_or_default();
        let term = Term {
            grant,
            over: false,
            recorder: CheckpointRecorder::default(),
            known,
            remains: Vec::new(),
        };
        self.ha(seat).expect("it leads").term = Some(term);
        let delay_us = 100 + self.rng.below(100_000);
        self.later(delay_us, HaEvent::Prepared(seat, epoch));
    }

    fn prepared(&mut self, seat: usize, epoch: u64) {
        let job = self.job;
        let Some(term) = self.term(seat, epoch) else { return };
        let record = &term.grant.record;
        if let Some(result) = record.results.get(&job) {
            // Nothing is left to do but to clean up.
            let remains = result.remains.clone();
            return self.job_has_ended(&remains);
        }
        match record.jobs.get(&job).cloned() {
            Some(known) => {
                self.seats[seat].complete = known.checkpoints.last().map(|it| it.id);
                let paths = known.checkpoints.iter().map(|it| it.path.clone());
                let mut older: Vec<String> = paths.collect();
                let checkpoint = older.pop();
                let left = JobRecovery { checkpoint, older, first: known.first_checkpoint };
                self.begin_job(seat, epoch, left);
            }
            None => {
                let record = JobRecord::new("jobs/1".to_owned(), 0);
                self.change(seat, epoch, Change::AddJob { job, record }, Waiter::Job);
            }
        }
        let published = Published { rest: "rest".to_owned(), blob: "blob".to_owned() };
        let led = HaDone::Led { epoch, result: Ok(published) };
        self.election(seat, Input::Done { op: UNSOLICITED, result: led });
    }

    fn begin_job(&mut self, seat: usize, epoch: u64, left: JobRecovery) {
        let (job, graph) = (self.job, self.graph.clone());
        let Some(term) = self.term(seat, epoch) else { return };
        let token = term.grant.token;
        self.seats[seat].begin(job, &graph, token, Some(left));
        self.start_master(seat);
    }

    /// The worker learns of a leader: what it did for the former one ends.
    fn follow_leader(&mut self, epoch: u64) {
        if epoch != self.leaders.record.epoch || epoch == self.leaders.followed {
            return;
        }
        let Some(seat) = self.seat_of(epoch) else { return };
        if self.seats[seat].master.is_none() {
            return self.later(20_000, HaEvent::Follow(epoch));
        }
        self.leaders.followed = epoch;
        self.former.extend(std::mem::take(&mut self.tasks).into_keys());
        self.follow(seat);
    }

    /// Whether an attempt comes from whom the worker goes with.
    pub(super) fn may_begin(&self, attempt: ExecutionAttemptId) -> bool {
        let by = self.leaders.submitted_by.get(&attempt);
        by.is_none_or(|seat| *seat == self.followed)
    }

    pub(super) fn note_submission(&mut self, seat: usize, attempt: ExecutionAttemptId) {
        self.leaders.submitted_by.insert(attempt, seat);
    }

    /// Something is in the record now.
    fn on_record(&mut self, bytes: &[u8]) {
        let record = HaRecord::decode(bytes).expect("only records are written");
        let former = std::mem::replace(&mut self.leaders.record, record);
        let record = &self.leaders.record;
        assert!(record.epoch >= former.epoch, "I3: terms go back");
        let epoch = record.epoch;
        let known = record.jobs.get(&self.job);
        self.leaders.recorded.extend(known.iter().flat_map(|it| &it.checkpoints).map(|it| it.id));
        let leader = record.leader.as_ref();
        if leader.is_some_and(|leader| leader.published.is_some()) && self.leaders.followed < epoch
        {
            let delay_us = 100 + self.rng.below(300_000);
            self.later(delay_us, HaEvent::Follow(epoch));
        }
        self.check_record();
    }

    /// I7: what is recorded is there.
    fn check_record(&self) {
        let known = self.leaders.record.jobs.get(&self.job);
        if self.leaders.record.results.contains_key(&self.job) {
            return; // The job has ended, and what is left of it goes.
        }
        for checkpoint in known.iter().flat_map(|known| &known.checkpoints) {
            let path = format!("{}/{METADATA_FILE}", checkpoint.path);
            assert!(self.store.has(&path), "{path} is recorded and does not exist");
            let metadata = &self.metadata[&checkpoint.id];
            metadata.files().for_each(|file| self.check_file(file));
        }
    }

    /// Tasks are told only of what is recorded.
    pub(super) fn check_recorded(&self, checkpoint: CheckpointId) {
        let recorded = !self.knobs.leaders || self.leaders.recorded.contains(&checkpoint);
        assert!(recorded, "checkpoint {checkpoint} is announced and not recorded");
    }

    fn change(&mut self, seat: usize, epoch: u64, what: Change, waiter: Waiter) {
        if self.term(seat, epoch).is_none_or(|term| term.over) {
            let end = ChangeEnd::Failed { reason: "it is over".to_owned(), deposed: true };
            return self.later(10, HaEvent::Changed(seat, epoch, waiter, end));
        }
        let Some(ha) = self.ha(seat) else { return };
        ha.changes += 1;
        let change = ChangeId(ha.changes);
        ha.waiting.insert(change, (epoch, waiter));
        let result = HaDone::Change { change, epoch, what };
        self.election(seat, Input::Done { op: UNSOLICITED, result });
    }

    fn changed(&mut self, seat: usize, epoch: u64, waiter: Waiter, end: ChangeEnd) {
        let Some(term) = self.term(seat, epoch) else { return };
        let written = end == ChangeEnd::Written;
        term.over |= !written && !matches!(end, ChangeEnd::Failed { deposed: false, .. });
        match waiter {
            Waiter::Job if written => {
                let first = CheckpointId(1);
                let left = JobRecovery { checkpoint: None, older: Vec::new(), first };
                self.begin_job(seat, epoch, left);
            }
            Waiter::Job => {
                let record = JobRecord::new("jobs/1".to_owned(), 0);
                let job = self.job;
                if !self.term(seat, epoch).is_some_and(|term| term.over) {
                    self.change(seat, epoch, Change::AddJob { job, record }, Waiter::Job);
                }
            }
            Waiter::Recorded(checkpoint) => {
                if written {
                    term.known.push(checkpoint);
                }
                let next = term.recorder.on_changed(end);
                self.go_on_with_work(seat, epoch, next);
            }
            Waiter::Forgotten(ids) => {
                if written {
                    term.known.retain(|known| !ids.contains(&known.id));
                }
                let next = term.recorder.on_changed(end);
                self.go_on_with_work(seat, epoch, next);
            }
            Waiter::End(_) if written => {
                let remains = term.remains.clone();
                self.job_has_ended(&remains);
            }
            Waiter::End(details) if !term.over => self.record_end(seat, details),
            Waiter::End(_) => {}
        }
    }

    /// A work of a job master begins.
    pub(super) fn begin_recorded(&mut self, seat: usize) {
        let Some((_, what)) = self.seats[seat].works.front().cloned() else { return };
        let Some(term) = self.ha(seat).and_then(|ha| ha.term.as_mut()) else { return };
        let over = term.over.then(|| "it is over".to_owned());
        let (epoch, next) = (term.grant.epoch, term.recorder.begin(what, over));
        self.go_on_with_work(seat, epoch, next);
    }

    /// Does what the recorder wants, until it has to wait.
    fn go_on_with_work(&mut self, seat: usize, epoch: u64, mut next: RecorderStep) {
        loop {
            let job = self.job;
            next = match next {
                RecorderStep::Act(what) => {
                    let done = self.act(&what);
                    self.check_record();
                    let Some(term) = self.term(seat, epoch) else { return };
                    term.recorder.on_acted(done)
                }
                RecorderStep::Forget(paths) => {
                    let Some(term) = self.term(seat, epoch) else { return };
                    let doomed = term.known.iter().filter(|known| paths.contains(&known.path));
                    let checkpoints: Vec<CheckpointId> = doomed.map(|known| known.id).collect();
                    if checkpoints.is_empty() {
                        term.recorder.on_changed(ChangeEnd::Written)
                    } else {
                        let waiter = Waiter::Forgotten(checkpoints.clone());
                        let what = Change::DropCheckpoints { job, checkpoints };
                        return self.change(seat, epoch, what, waiter);
                    }
                }
                RecorderStep::Record(id, path) => {
                    let checkpoint = CheckpointRecord { id, path };
                    let waiter = Waiter::Recorded(checkpoint.clone());
                    let what = Change::CompleteCheckpoint { job, checkpoint };
                    return self.change(seat, epoch, what, waiter);
                }
                RecorderStep::End(done) => return self.end_work(seat, done),
            };
        }
    }

    /// What a job leaves at its end is kept until that is on record.
    pub(super) fn keep_for_the_end(
        &mut self,
        seat: usize,
        op: OpId,
        what: JobMasterOp,
    ) -> Option<JobMasterOp> {
        match (self.ha(seat).and_then(|ha| ha.term.as_mut()), what) {
            (Some(term), JobMasterOp::Delete { paths, ended: true }) => {
                term.remains = paths;
                self.later(0, HaEvent::Kept(seat, op));
                None
            }
            (_, what) => Some(what),
        }
    }

    /// A job master says how its job ended.
    pub(super) fn record_end(&mut self, seat: usize, details: Box<ExecutionGraphDetails>) {
        let ended = (self.now_us / 1_000) as Timestamp;
        let Some(term) = self.ha(seat).and_then(|ha| ha.term.as_ref()) else { return };
        let status = details.summary.status;
        if status == JobStatus::Suspended {
            return;
        }
        let result = ResultRecord {
            status,
            name: "a job".to_owned(),
            submitted: 0,
            ended,
            failure: None,
            remains: term.remains.clone(),
        };
        let epoch = term.grant.epoch;
        self.leaders.end = Some(details.clone());
        let (job, waiter) = (self.job, Waiter::End(details));
        self.change(seat, epoch, Change::RecordResult { job, result }, waiter);
    }

    /// A master has looked what is there: files of former terms that no checkpoint ever referred to.
    pub(super) fn note_orphans(&mut self, paths: &[String]) {
        let record = &self.leaders.record;
        let Some(job) = record.jobs.get(&self.job) else { return };
        let of_former =
            |path: &String| written_for(path).is_some_and(|it| it < job.first_checkpoint);
        let completed: BTreeSet<CheckpointId> =
            self.written.iter().chain(&self.leaders.recorded).copied().collect();
        let known = |path: &String| match path.starts_with("shared/") {
            true => self.metadata.values().flat_map(|it| it.files()).any(|it| it.path == *path),
            false => written_for(path).is_some_and(|it| completed.contains(&it)),
        };
        let orphans = paths.iter().filter(|path| of_former(path) && !known(path));
        let orphans = orphans.map(|path| format!("{}/{path}", self.directory)).collect();
        self.leaders.orphans = Orphans { epoch: record.epoch, paths: orphans, written_since: 0 };
    }

    /// I7: what former masters left unfinished goes while the job runs: some checkpoints after it
    /// was seen, at the latest.
    pub(super) fn check_orphans(&mut self) {
        let orphans = &mut self.leaders.orphans;
        orphans.written_since += 1;
        let is_due = orphans.written_since > 4 && orphans.epoch == self.leaders.record.epoch;
        for path in orphans.paths.iter().filter(|_| is_due) {
            assert!(!self.store.has(path), "{path} of a checkpoint that was never complete stays");
        }
    }

    /// The end of the job is on record.
    fn job_has_ended(&mut self, remains: &[String]) {
        let paths = remains.to_vec();
        self.store.perform(&JobMasterOp::Delete { paths, ended: true }, 0, &mut self.rng);
        self.ended = self.leaders.end.clone();
    }
}
