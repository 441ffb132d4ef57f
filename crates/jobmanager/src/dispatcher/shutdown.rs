//! The end of the cluster: no new jobs, the present ones are cancelled, or suspended if their plans
//! survive us, and the dispatcher stops when the last one has gone, or after a while.

use super::config::DispatcherTimer;
use super::job::Phase;
use super::machine::{Dispatcher, Stage};
use millstream_core::ids::JobId;
use millstream_rpc::machine::{Cx, Effect};
use millstream_rpc::protocol::{Answer, Refusal};

impl Dispatcher {
    pub(super) fn begin_shutdown(&mut self, cx: &mut Cx<'_, Self>) {
        if self.phase != Stage::Running {
            return;
        }
        self.phase = Stage::Ending;
        cx.out.push(Effect::SetTimer {
            timer: DispatcherTimer::Shutdown,
            at: cx.now + self.config.shutdown_timeout_ms,
        });
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            if self.config.plans_survive {
                self.suspend(cx, job);
            } else {
                self.want_cancel(cx, job);
            }
        }
        self.stop_if_done(cx);
    }

    /// Stops the master of a running job; one that is still being started is stopped after that.
    pub(super) fn suspend(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        if let Some(state) = self.jobs.get_mut(&job)
            && state.phase == Phase::Running
        {
            state.enter(Phase::Suspending);
            self.work_on(cx, job);
        }
    }

    pub(super) fn on_shutdown_timeout(&mut self, cx: &mut Cx<'_, Self>) {
        if self.phase == Stage::Ending {
            self.stop(cx);
        }
    }

    pub(super) fn stop_if_done(&mut self, cx: &mut Cx<'_, Self>) {
        if self.phase == Stage::Ending && self.jobs.is_empty() && self.leaving.is_empty() {
            self.stop(cx);
        }
    }

    /// Nobody is left waiting.
    fn stop(&mut self, cx: &mut Cx<'_, Self>) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            let why = format!("the cluster has shut down before job {job} ended");
            self.drop_job(cx, job, &Answer::Refused(Refusal::NotReady(why)));
        }
        self.phase = Stage::Stopped;
        cx.out.push(Effect::Stopped);
    }
}
