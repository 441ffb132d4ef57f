//! What people ask. A running job's master knows best and is asked; if it does not answer soon,
//! people are told what the dispatcher knows itself.

use super::job::{Job, Phase};
use super::machine::{Asked, Dispatcher, Stage, reply};
use millstream_core::ids::JobId;
use millstream_rpc::machine::{AskId, Cx, ReplyTo};
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use millstream_rpc::protocol::dispatcher::DispatcherAnswer;
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::{Answer, AskError, Refusal};
use std::collections::BTreeSet;

/// Somebody waits for a list of jobs.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) to: ReplyTo,
    /// Jobs whose masters have not answered.
    pub(super) missing: BTreeSet<JobId>,
}

impl Dispatcher {
    pub(super) fn list_jobs(&mut self, cx: &mut Cx<'_, Self>, to: Option<ReplyTo>) {
        let Some(to) = to else {
            return;
        };
        let running = self.jobs.iter().filter(|(_, s)| s.phase == Phase::Running);
        let missing: BTreeSet<JobId> = running.map(|(job, _)| *job).collect();
        if missing.is_empty() {
            let answer = self.jobs_answer();
            return reply(cx, Some(to), answer);
        }
        for job in &missing {
            self.ask_for_details(cx, *job);
        }
        self.owed += 1;
        self.listings.push(Listing { to, missing });
    }

    pub(super) fn request_job_details(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        to: Option<ReplyTo>,
    ) {
        let Some(to) = to else {
            return;
        };
        match self.jobs.get_mut(&job) {
            Some(state) if state.phase == Phase::Running => {
                self.owed += 1;
                state.readers.push(to);
                self.ask_for_details(cx, job);
            }
            Some(state) => {
                let answer = details_answer(state.details());
                reply(cx, Some(to), answer);
            }
            None => {
                let answer = self.details_of_ended(job);
                reply(cx, Some(to), answer);
            }
        }
    }

    pub(super) fn await_job_end(&mut self, cx: &mut Cx<'_, Self>, job: JobId, to: Option<ReplyTo>) {
        let Some(to) = to else {
            return;
        };
        let Some(state) = self.jobs.get_mut(&job) else {
            let answer = self.details_of_ended(job);
            return reply(cx, Some(to), answer);
        };
        state.waiters.push_back(to);
        self.owed += 1;
        // Most likely the oldest has long given up.
        let crowded = state.waiters.len() > self.config.waiters_max;
        let oldest = if crowded { state.waiters.pop_front() } else { None };
        if let Some(oldest) = oldest {
            let why = format!("too many wait for the end of job {job}: ask again");
            self.settle(cx, oldest, Answer::Refused(Refusal::NotReady(why)));
        }
    }

    /// Nobody is left there to be answered.
    pub(super) fn forget_waiters_at(&mut self, process: &str) {
        for state in self.jobs.values_mut() {
            let before = state.waiters.len();
            state.waiters.retain(|to| to.process != process);
            self.owed -= (before - state.waiters.len()) as u64;
        }
    }

    /// One ask serves all who want to know.
    fn ask_for_details(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let asked = self.jobs.get(&job).and_then(|state| state.details_ask);
        if asked.is_some() {
            return;
        }
        let timeout_ms = self.config.details_timeout_ms;
        let ask = self.ask_job_master(
            cx,
            job,
            ToJobMaster::RequestDetails,
            Asked::Details(job),
            timeout_ms,
        );
        if let Some(state) = self.jobs.get_mut(&job) {
            state.details_ask = Some(ask);
        }
    }

    pub(super) fn on_details_answered(
        &mut self,
        cx: &mut Cx<'_, Self>,
        ask: AskId,
        job: JobId,
        result: Result<Answer, AskError>,
    ) {
        let Some(state) = self.jobs.get_mut(&job) else {
            self.counters.stale += 1;
            return;
        };
        if state.details_ask != Some(ask) {
            self.counters.stale += 1;
            return;
        }
        state.details_ask = None;
        let readers = std::mem::take(&mut state.readers);
        let details = hear(state, job, result);
        for to in readers {
            self.settle(cx, to, details_answer(details.clone()));
        }
        self.on_listed(cx, job);
    }

    /// The job's line in the lists is as good as it gets.
    pub(super) fn on_listed(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        for listing in &mut self.listings {
            listing.missing.remove(&job);
        }
        let is_complete = |listing: &mut Listing| listing.missing.is_empty();
        let complete: Vec<Listing> = self.listings.extract_if(.., is_complete).collect();
        for listing in complete {
            let answer = self.jobs_answer();
            self.settle(cx, listing.to, answer);
        }
    }

    fn jobs_answer(&self) -> Answer {
        let alive = self.jobs.values().map(Job::summary);
        let ended = self.ended.summaries().cloned();
        let mut jobs: Vec<JobSummary> = alive.chain(ended).collect();
        jobs.sort_by_key(|summary| (summary.started, summary.job));
        Answer::Dispatcher(DispatcherAnswer::Jobs(jobs))
    }

    fn details_of_ended(&self, job: JobId) -> Answer {
        if let Some(details) = self.ended.details(job) {
            return details_answer(details.clone());
        }
        Answer::Refused(match self.ended.status(job) {
            Some(status) => {
                let details = format!("details of job {job}: it is {status} and was long ago");
                Refusal::Unknown(details)
            }
            None => self.refusal_of_stranger(job),
        })
    }

    /// Nothing is known of the job here. While jobs are left to the next leader, that says nothing.
    pub(super) fn refusal_of_stranger(&self, job: JobId) -> Refusal {
        let leaves = self.phase == Stage::Ending && (self.deposed || self.config.plans_survive);
        match leaves {
            true => Refusal::NotReady(format!("job {job} may go on under another leader")),
            false => Refusal::Unknown(format!("job {job}")),
        }
    }
}

/// Takes in what the job master says, or else tells what we know ourselves.
fn hear(state: &mut Job, job: JobId, result: Result<Answer, AskError>) -> ExecutionGraphDetails {
    match result {
        Ok(Answer::JobMaster(JobMasterAnswer::Details(details)))
            if details.summary.job == job && state.outcome.is_none() =>
        {
            state.summary = details.summary.clone();
            *details
        }
        _ => state.details(),
    }
}

fn details_answer(details: ExecutionGraphDetails) -> Answer {
    Answer::Dispatcher(DispatcherAnswer::Details(Box::new(details)))
}
