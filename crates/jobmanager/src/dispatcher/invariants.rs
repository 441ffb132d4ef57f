//! What holds after every step. A violation panics: going on wrong is worse than stopping.

use super::job::{Cancel, Job, Phase};
use super::machine::{Asked, Dispatcher, Stage};
use super::work::{Work, WorkState};
use millstream_core::ids::JobId;

impl Dispatcher {
    pub(super) fn check_invariants(&self) {
        self.fence.check();
        self.ended.check();
        for (id, job) in &self.jobs {
            self.check_place(*id);
            self.check_job(*id, job);
            self.check_questions(*id, job);
        }
        for (id, leaving) in &self.leaving {
            self.check_work(*id, &leaving.work);
            let idle = leaving.work.state == WorkState::Idle;
            assert!(self.phase == Stage::Stopped || !idle, "{id} never leaves");
        }
        self.check_debts();
    }

    /// A job is in one place, and ends once.
    fn check_place(&self, id: JobId) {
        assert!(!self.leaving.contains_key(&id), "{id} runs and leaves");
        let ended = self.ended.status(id);
        assert_eq!(ended, None, "{id} runs, and it has ended");
    }

    fn check_job(&self, id: JobId, job: &Job) {
        let begun = job.phase != Phase::Persisting;
        assert!(!begun || job.persisted, "{id} was started before its plan was safe");
        let answered = !matches!(job.phase, Phase::Persisting | Phase::Starting);
        assert!(!answered || job.submitter.is_none(), "the submitter of {id} was never answered");
        let idle = job.work.state == WorkState::Idle;
        assert_eq!(idle, job.phase == Phase::Running, "{id} is stuck: {job:?}");
        self.check_work(id, &job.work);
        match job.phase {
            Phase::Recording => assert!(job.outcome.is_some(), "{id} ended somehow"),
            Phase::Suspending => {}
            _ => assert!(job.outcome.is_none(), "{id} has ended and goes on"),
        }
    }

    /// An operation that is under way will come to an end.
    fn check_work(&self, id: JobId, work: &Work) {
        if let WorkState::Doing(op) = work.state {
            assert_eq!(self.ops.get(&op), Some(&id), "{op:?} will never end");
        }
    }

    /// Whatever a job master is to be asked has been asked.
    fn check_questions(&self, id: JobId, job: &Job) {
        let waiting = job.phase == Phase::Running && job.cancel == Cancel::Wanted;
        assert!(!waiting, "the cancellation of {id} was forgotten");
        if let Cancel::Asked(ask) = job.cancel {
            assert_eq!(self.asks.get(&ask), Some(&Asked::Cancel(id)));
        }
        if let Some(ask) = job.details_ask {
            assert_eq!(self.asks.get(&ask), Some(&Asked::Details(id)));
        }
        assert!(
            job.readers.is_empty() || job.details_ask.is_some(),
            "nobody will answer the readers of {id}"
        );
    }

    /// Everybody who was kept waiting is still waiting somewhere.
    fn check_debts(&self) {
        let of_job = |job: &Job| {
            let submitter = usize::from(job.submitter.is_some());
            submitter + job.waiters.len() + job.readers.len()
        };
        let waiting: usize = self.jobs.values().map(of_job).sum();
        let passed = self.asks.values().filter(|asked| matches!(asked, Asked::Passed(..))).count();
        let waiting = (waiting + self.listings.len() + passed) as u64;
        assert_eq!(self.owed, waiting, "askers were forgotten");
        for listing in &self.listings {
            let first = listing.missing.first();
            let asked = first.and_then(|job| self.jobs.get(job)?.details_ask);
            assert!(asked.is_some(), "a list waits for nobody: {listing:?}");
        }
        if self.phase == Stage::Stopped {
            assert_eq!(self.owed, 0, "askers were left behind");
        }
    }
}
