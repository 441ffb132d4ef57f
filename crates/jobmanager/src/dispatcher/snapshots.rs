//! Savepoints and checkpoints on request: passed on to the job's master, whose answer is passed back.
//! What became of them is known here once the job has ended.

use super::job::Phase;
use super::machine::{Asked, Dispatcher, reply};
use millstream_core::ids::{JobId, TriggerId};
use millstream_rpc::machine::{AskId, Cx, ReplyTo};
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::{Answer, AskError, Refusal};

impl Dispatcher {
    /// Asks the job's master on behalf of somebody.
    pub(super) fn pass_on(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        message: ToJobMaster,
        to: Option<ReplyTo>,
    ) {
        let Some(to) = to else {
            return;
        };
        if let Some(refusal) = self.refusal_to_pass_on(job) {
            return reply(cx, Some(to), Answer::Refused(refusal));
        }
        self.owed += 1;
        let timeout_ms = self.config.ask_timeout_ms;
        self.ask_job_master(cx, job, message, Asked::Passed(job, to), timeout_ms);
    }

    fn refusal_to_pass_on(&self, job: JobId) -> Option<Refusal> {
        match self.jobs.get(&job).map(|state| state.phase) {
            Some(Phase::Running) => None,
            Some(Phase::Persisting | Phase::Starting) => {
                Some(Refusal::NotReady(format!("job {job} is being started")))
            }
            Some(Phase::Recording | Phase::Suspending) => {
                Some(Refusal::NotReady(format!("job {job} is ending")))
            }
            None => Some(match self.ended.status(job) {
                Some(status) => {
                    Refusal::Invalid(format!("job {job} has already ended: it is {status}"))
                }
                None => Refusal::Unknown(format!("job {job}")),
            }),
        }
    }

    pub(super) fn request_snapshot_progress(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        trigger: TriggerId,
        to: Option<ReplyTo>,
    ) {
        let Some(details) = self.ended.details(job) else {
            let message = ToJobMaster::RequestSnapshotProgress { trigger };
            return self.pass_on(cx, job, message, to);
        };
        let requests = details.checkpoints.iter().flat_map(|checkpoints| &checkpoints.requests);
        let known = requests.into_iter().find(|(known, _)| *known == trigger);
        let answer = match known {
            Some((_, progress)) => {
                Answer::JobMaster(JobMasterAnswer::SnapshotProgress(progress.clone()))
            }
            None => Answer::Refused(Refusal::Unknown(format!("trigger {trigger} of job {job}"))),
        };
        reply(cx, to, answer);
    }

    pub(super) fn on_passed_answered(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        to: ReplyTo,
        result: Result<Answer, AskError>,
    ) {
        let answer = result.unwrap_or_else(|error| {
            let why = format!("the master of job {job} has not answered: {error}");
            Answer::Refused(Refusal::NotReady(why))
        });
        self.settle(cx, to, answer);
    }

    /// The job is gone from here: whoever waits for its master's word is told to ask again.
    pub(super) fn answer_passed(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let waits =
            |_: &AskId, asked: &mut Asked| matches!(asked, Asked::Passed(of, _) if *of == job);
        let passed: Vec<Asked> = self.asks.extract_if(.., waits).map(|(_, asked)| asked).collect();
        for asked in passed {
            if let Asked::Passed(_, to) = asked {
                let why = format!("job {job} has just ended: ask again");
                self.settle(cx, to, Answer::Refused(Refusal::NotReady(why)));
            }
        }
    }
}
