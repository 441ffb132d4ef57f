//! Cancellation: a wish that is never forgotten. Whoever asks is answered at once; the job master
//! is told as soon as there is one, and again until it acknowledges.

use super::config::DispatcherTimer;
use super::job::{Cancel, Phase};
use super::machine::{Asked, Dispatcher};
use millstream_core::ids::JobId;
use millstream_rpc::machine::{AskId, Cx, Effect};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::{Answer, AskError, Refusal};

impl Dispatcher {
    pub(super) fn cancel_job(&mut self, cx: &mut Cx<'_, Self>, job: JobId) -> Answer {
        if let Some(refusal) = self.refusal_of_cancel(job) {
            return Answer::Refused(refusal);
        }
        self.want_cancel(cx, job);
        Answer::Ack
    }

    fn refusal_of_cancel(&self, job: JobId) -> Option<Refusal> {
        let over = |status| {
            let why = format!("job {job} has already ended: it is {status}");
            Some(Refusal::Invalid(why))
        };
        if let Some(status) = self.ended.status(job) {
            return over(status);
        }
        match self.jobs.get(&job) {
            Some(state) => match state.phase {
                Phase::Recording => over(state.summary.status),
                Phase::Suspending => {
                    let why = format!("job {job} is being suspended");
                    Some(Refusal::NotReady(why))
                }
                Phase::Persisting | Phase::Starting | Phase::Running => None,
            },
            None => Some(self.refusal_of_stranger(job)),
        }
    }

    /// Remembers the wish, and passes it on if there is somebody to pass it to.
    pub(super) fn want_cancel(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let Some(state) = self.jobs.get_mut(&job) else {
            return;
        };
        if state.cancel == Cancel::No {
            state.cancel = Cancel::Wanted;
        }
        self.forward_cancel(cx, job);
    }

    pub(super) fn forward_cancel(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let Some(state) = self.jobs.get(&job) else {
            return;
        };
        let open = matches!(state.cancel, Cancel::Wanted | Cancel::RepeatAt(_));
        if state.phase != Phase::Running || !open {
            return;
        }
        let timeout_ms = self.config.ask_timeout_ms;
        let ask = self.ask_job_master(cx, job, ToJobMaster::Cancel, Asked::Cancel(job), timeout_ms);
        self.set_cancel(job, Cancel::Asked(ask));
    }

    pub(super) fn on_cancel_answered(
        &mut self,
        cx: &mut Cx<'_, Self>,
        ask: AskId,
        job: JobId,
        result: Result<Answer, AskError>,
    ) {
        let asked = self.jobs.get(&job).map(|state| state.cancel);
        if asked != Some(Cancel::Asked(ask)) {
            self.counters.stale += 1;
            return;
        }
        match result {
            // One that calls the wish invalid is about to tell us how the job has ended.
            Ok(Answer::Ack | Answer::Refused(Refusal::Invalid(_))) => {
                self.set_cancel(job, Cancel::Acknowledged);
            }
            Ok(_) | Err(_) => {
                let at = cx.now + self.config.cancel_retry_ms;
                self.set_cancel(job, Cancel::RepeatAt(at));
                let timer = DispatcherTimer::RetryCancel(job);
                cx.out.push(Effect::SetTimer { timer, at });
            }
        }
    }

    pub(super) fn repeat_cancel(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let cancel = self.jobs.get(&job).map(|state| state.cancel);
        if matches!(cancel, Some(Cancel::RepeatAt(at)) if at <= cx.now) {
            self.forward_cancel(cx, job);
        }
    }

    fn set_cancel(&mut self, job: JobId, cancel: Cancel) {
        if let Some(state) = self.jobs.get_mut(&job) {
            state.cancel = cancel;
        }
    }
}
