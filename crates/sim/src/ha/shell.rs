//! What the shell of a process does, simulated: files of jobs are written before the record refers to
//! them and deleted after, a term's dispatcher is made when it is granted and stopped when it is over,
//! and whatever was begun goes on to its end, even when its term is over.

use super::process::{DispatcherEffect, ElectionEffect, Term};
use super::store::{self, draw_fate};
use super::world::{Client, Event, What, World};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;
use millstream_core::job_graph::{JobGraph, PlanSignature, RuntimeMode};
use millstream_core::status::JobStatus;
use millstream_jobmanager::dispatcher::{
    DispatcherDone, DispatcherOp, DispatcherTimer, UNSOLICITED as TO_DISPATCHER,
};
use millstream_jobmanager::ha::{
    Change, ChangeEnd, CheckpointRecord, HaDone, HaOp, HaTimer, JobRecord, Presence, Published,
    UNSOLICITED,
};
use millstream_rpc::machine::{Effect, Input, OpId};
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::{Answer, AskError, EndpointName, Message};
use std::collections::BTreeMap;

impl World<'_> {
    /// Steps the election of a process and does what it wants.
    pub(super) fn election(&mut self, p: usize, input: Input<HaTimer, HaDone>) {
        let now_us = self.now_us;
        let effects = self.processes[p].step_election(now_us, input);
        if let Some(epoch) = self.processes[p].election.leads() {
            self.judge.on_act(epoch, self.fair());
        }
        for effect in effects {
            self.perform_election(p, effect);
        }
    }

    fn perform_election(&mut self, p: usize, effect: ElectionEffect) {
        match effect {
            Effect::SetTimer { at, .. } => {
                self.processes[p].timer = Some(at);
                let at_us = self.processes[p].world_us(at);
                self.at(at_us, p, What::ElectionTimer(at));
            }
            Effect::ClearTimer { .. } => self.processes[p].timer = None,
            Effect::Op { op, what } => self.election_op(p, op, what),
            Effect::Stopped => self.exit(p),
            Effect::Fatal(reason) => panic!("{}: {reason}", self.processes[p].name()),
            other => panic!("an election wants {other:?}"),
        }
    }

    fn election_op(&mut self, p: usize, op: OpId, what: HaOp) {
        match what {
            HaOp::Read => self.begin_read(p, op),
            HaOp::Put { bytes, expected } => {
                let fate = draw_fate(&mut self.rng, &self.plan, self.healed);
                let writer = self.processes[p].name();
                let life = self.processes[p].life;
                let teller = (!fate.unknown).then_some((p, life, op));
                match fate.effect_us {
                    Some(effect) => {
                        let told_us = self.now_us + fate.told_us;
                        let event = Event::Write { bytes, expected, writer, teller, told_us };
                        self.schedule(self.now_us + effect, event);
                    }
                    None if fate.unknown => (),
                    None => {
                        let put = millstream_checkpoint::pointer::Put::Failed(store::ill(false));
                        self.after(fate.told_us, p, What::Election(op, HaDone::Put(put)));
                    }
                }
                if fate.unknown {
                    let put = millstream_checkpoint::pointer::Put::Unknown(store::ill(true));
                    self.after(fate.told_us, p, What::Election(op, HaDone::Put(put)));
                }
            }
            HaOp::Probe { process, .. } => {
                let alive = self.processes.iter().any(|it| it.alive && it.name() == process.0);
                let presence = match self.rng.below(4) {
                    0 => Presence::Silent,
                    _ if alive => Presence::There,
                    _ => Presence::Gone,
                };
                let delay = 100 + self.rng.below(20_000);
                self.after(delay, p, What::Election(op, HaDone::Probed(presence)));
            }
            HaOp::Lead(grant) => {
                self.judge.on_granted(&grant);
                let epoch = grant.epoch;
                assert!(self.processes[p].term.is_none(), "two terms in one process");
                self.processes[p].term = Some(Term::new(*grant));
                let delay = self.work_us();
                self.after(delay, p, What::Prepared(epoch));
            }
            HaOp::StopLeading { epoch, reason, orderly } => {
                self.stop_leading(p, op, epoch, &reason, orderly);
            }
            HaOp::TellChange { change, end } => {
                let found = self.processes[p].waiting.remove(&change);
                let (change, epoch, op) = found.expect("a change ends once");
                self.judge.on_change_end(&change, &end);
                self.after(50, p, What::ChangeEnded(epoch, op, Box::new(change), end));
            }
        }
    }

    fn begin_read(&mut self, p: usize, op: OpId) {
        let fails = !self.healed && self.rng.one_in_thousand(self.plan.emphasis.failed);
        let slow = !self.healed && self.rng.one_in_thousand(self.plan.emphasis.slow);
        let bound = if slow { self.plan.lease_ms * 1000 } else { 3_000 };
        let (effect, told) = (100 + self.rng.below(bound), 100 + self.rng.below(bound));
        let life = self.processes[p].life;
        let told_us = self.now_us + effect + told;
        self.schedule(self.now_us + effect, Event::Read { p, life, op, fails, told_us });
    }

    fn stop_leading(&mut self, p: usize, op: OpId, epoch: u64, reason: &str, orderly: bool) {
        let Some(term) = self.processes[p].term_of(epoch) else {
            return self.after(10, p, What::Election(op, HaDone::Stopped));
        };
        term.stopping.push(op);
        if term.dispatcher.is_none() {
            return self.term_is_over(p);
        }
        let input = match orderly {
            true => Input::Stop,
            false => {
                let result = DispatcherDone::Deposed { reason: reason.to_owned() };
                Input::Done { op: TO_DISPATCHER, result }
            }
        };
        self.dispatcher(p, input);
    }

    /// Nothing of the term is left.
    fn term_is_over(&mut self, p: usize) {
        let Some(term) = self.processes[p].term.take() else { return };
        for op in term.stopping {
            self.after(10, p, What::Election(op, HaDone::Stopped));
        }
    }

    /// Everything of a leader has been made.
    pub(super) fn prepared(&mut self, p: usize, epoch: u64) {
        let name = self.processes[p].name();
        let Some(term) = self.processes[p].term_of(epoch) else { return };
        let known: Vec<&String> = term.grant.record.jobs.values().map(|j| &j.directory).collect();
        let older = |directory: &str| {
            let of = directory.rsplit('-').next().and_then(|epoch| epoch.parse::<u64>().ok());
            of.is_some_and(|of| of < epoch)
        };
        self.judge.files.retain(|it| known.contains(&it) || !older(it));
        let dispatcher = term.make_dispatcher(&name, |_| graph());
        term.dispatcher = Some(dispatcher);
        let published = Published { rest: format!("{name}:8081"), blob: format!("{name}:6124") };
        let led = HaDone::Led { epoch, result: Ok(published) };
        self.dispatcher(p, Input::Start);
        self.election(p, Input::Done { op: UNSOLICITED, result: led });
    }

    /// Steps the dispatcher of a process, if it has one, and does what it wants.
    pub(super) fn dispatcher(&mut self, p: usize, input: Input<DispatcherTimer, DispatcherDone>) {
        let now_us = self.now_us;
        let effects = self.processes[p].step_dispatcher(now_us, input);
        for effect in effects {
            self.perform_dispatcher(p, effect);
        }
    }

    fn perform_dispatcher(&mut self, p: usize, effect: DispatcherEffect) {
        let Some(term) = &mut self.processes[p].term else { return };
        let epoch = term.grant.epoch;
        match effect {
            Effect::SetTimer { timer, at } => {
                term.timers.insert(timer, at);
                let at_us = self.processes[p].world_us(at);
                self.at(at_us, p, What::DispatcherTimer(epoch, timer, at));
            }
            Effect::ClearTimer { timer } => drop(term.timers.remove(&timer)),
            Effect::Op { op, what } => {
                let delay = self.work_us();
                self.after(delay, p, What::Work(epoch, op, what));
            }
            Effect::Reply { to, answer } => self.answered(to.correlation, answer),
            Effect::Ask { ask, to, message, .. } => {
                let EndpointName::JobMaster(job) = to.endpoint else { panic!("{to} is asked") };
                let there = term.masters.contains_key(&job);
                let cancels = matches!(message, Message::JobMaster(ToJobMaster::Cancel));
                if there && cancels {
                    self.after(2_000, p, What::JobEnds(epoch, job, JobStatus::Canceled));
                }
                let result = match there && cancels {
                    true => Ok(Answer::Ack),
                    false => {
                        Err(AskError::Unreachable { to: String::new(), reason: String::new() })
                    }
                };
                self.after(500, p, What::Answered(epoch, ask, result));
            }
            Effect::Stopped => self.term_is_over(p),
            other => panic!("a dispatcher wants {other:?}"),
        }
    }

    /// Work has come so far that it changes something.
    pub(super) fn work(&mut self, p: usize, epoch: u64, op: OpId, what: DispatcherOp) {
        match what {
            DispatcherOp::PersistGraph { job, submitted, .. } => {
                let directory = format!("jobs/{job}-{epoch}");
                self.judge.on_files(&directory);
                if let Some(term) = self.processes[p].term_of(epoch) {
                    term.directories.insert(job, directory.clone());
                }
                let record = JobRecord::new(directory, submitted);
                self.change(p, epoch, Some(op), Change::AddJob { job, record });
            }
            DispatcherOp::RecordResult { job, result, .. } => {
                self.change(p, epoch, Some(op), Change::RecordResult { job, result });
            }
            DispatcherOp::CleanUpJob { job, .. } => {
                let term = self.processes[p].term_of(epoch);
                let directory = term.and_then(|term| term.directories.get(&job).cloned());
                let directory = directory.unwrap_or_else(|| format!("jobs/{job}-{epoch}"));
                self.change(p, epoch, Some(op), Change::RemoveJob { job, directory });
            }
            DispatcherOp::StartJobMaster { job, .. } => self.start_master(p, epoch, op, job),
            DispatcherOp::StopJobMaster { job } => {
                let term = self.processes[p].term_of(epoch);
                let existed = term.and_then(|term| term.masters.remove(&job)).is_some();
                if existed {
                    self.tell_end(p, epoch, job, JobStatus::Suspended);
                }
                self.after(100, p, What::Dispatcher(epoch, op, DispatcherDone::Done));
            }
        }
    }

    fn start_master(&mut self, p: usize, epoch: u64, op: OpId, job: JobId) {
        let ill = !self.healed && self.rng.one_in_thousand(self.plan.emphasis.failed);
        let Some(term) = self.processes[p].term_of(epoch) else { return };
        let recovered = term.grant.record.jobs.get(&job);
        if ill && recovered.is_some() {
            let reason = "its checkpoint cannot be read".to_owned();
            let done = DispatcherDone::Failed { reason };
            return self.after(100, p, What::Dispatcher(epoch, op, done));
        }
        let first = recovered.map_or(CheckpointId(1), |known| known.first_checkpoint);
        term.masters.entry(job).or_insert(first);
        self.judge.on_start(job, epoch);
        let lasts_us = 1000 * self.plan.jobs[job.0 as usize - 1].1;
        self.after(lasts_us, p, What::JobEnds(epoch, job, JobStatus::Finished));
        let pause = self.plan.lease_ms * 250;
        self.after(pause, p, What::Checkpoint(epoch, job));
        self.after(100, p, What::Dispatcher(epoch, op, DispatcherDone::Done));
    }

    /// A checkpoint is triggered; it completes after a while, and the next one follows.
    pub(super) fn checkpoint(&mut self, p: usize, epoch: u64, job: JobId) {
        let Some(term) = self.processes[p].term_of(epoch) else { return };
        let Some(next) = term.masters.get_mut(&job) else { return };
        let id = *next;
        next.0 += 1;
        self.judge.on_checkpoint_begun(job, id, epoch);
        let delay = self.work_us();
        self.after(delay, p, What::CheckpointComplete(epoch, job, id));
        let pause = self.plan.lease_ms * 250;
        self.after(pause, p, What::Checkpoint(epoch, job));
    }

    /// Its metadata is there: whoever leads now is asked to record it.
    pub(super) fn complete_checkpoint(
        &mut self,
        p: usize,
        epoch: u64,
        job: JobId,
        id: CheckpointId,
    ) {
        let checkpoint = CheckpointRecord { id, path: format!("{job}/chk-{id}") };
        self.change(p, epoch, None, Change::CompleteCheckpoint { job, checkpoint });
    }

    fn change(&mut self, p: usize, epoch: u64, op: Option<OpId>, what: Change) {
        let change = self.processes[p].note_change(what.clone(), epoch, op);
        let result = HaDone::Change { change, epoch, what };
        self.election(p, Input::Done { op: UNSOLICITED, result });
    }

    pub(super) fn change_ended(
        &mut self,
        p: usize,
        epoch: u64,
        op: Option<OpId>,
        change: &Change,
        end: ChangeEnd,
    ) {
        let done = match end {
            ChangeEnd::Written => DispatcherDone::Done,
            ChangeEnd::Failed { reason, deposed: false } => DispatcherDone::Failed { reason },
            ChangeEnd::Failed { reason, .. } | ChangeEnd::Unknown { reason } => {
                DispatcherDone::Unknown { reason }
            }
        };
        if let (Change::RemoveJob { directory, .. }, DispatcherDone::Done) = (change, &done) {
            self.judge.files.remove(directory);
        }
        if let Some(op) = op {
            self.after(50, p, What::Dispatcher(epoch, op, done));
        }
    }

    /// A job master says how its job ended.
    pub(super) fn tell_end(&mut self, p: usize, epoch: u64, job: JobId, status: JobStatus) {
        let now = (self.now_us / 1000) as i64;
        let Some(term) = self.processes[p].term_of(epoch) else { return };
        let token = Some(term.grant.token);
        let details = Box::new(details(job, status, now));
        let message = Message::Dispatcher(ToDispatcher::JobEnded { job, details });
        self.dispatcher(p, Input::Message { token, message, reply: None });
    }

    fn answered(&mut self, correlation: u64, answer: Answer) {
        if let Some((client, what)) = self.asks.remove(&correlation) {
            self.schedule(self.now_us + 500, Event::Client(client, Client::Told(what, answer)));
        }
    }

    fn work_us(&mut self) -> u64 {
        let bound_us = match self.healed {
            true => 5_000,
            false => self.plan.emphasis.work * self.plan.lease_ms,
        };
        100 + self.rng.below(bound_us)
    }
}

/// Any plan.
pub(super) fn graph() -> JobGraph {
    JobGraph {
        name: "sim".to_owned(),
        vertices: Vec::new(),
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    }
}

fn details(job: JobId, status: JobStatus, now: i64) -> ExecutionGraphDetails {
    let summary = JobSummary {
        job,
        name: "sim".to_owned(),
        status,
        started: 0,
        ended: status.is_globally_terminal().then_some(now),
        last_modified: now,
        tasks: BTreeMap::new(),
    };
    ExecutionGraphDetails {
        summary,
        status_times: BTreeMap::new(),
        graph: graph(),
        vertices: Vec::new(),
        root_failure: None,
        failures: Vec::new(),
        waiting_for: None,
        restarts: 0,
        checkpoints: None,
    }
}
