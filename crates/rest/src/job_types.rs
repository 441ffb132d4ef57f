//! Whether jobs are streaming or batch. It never changes and is not in the dispatcher's list, so it
//! is asked once per job.

use crate::gateway::Gateway;
use millstream_core::ids::JobId;
use millstream_core::job_graph::RuntimeMode;
use millstream_rpc::protocol::details::JobSummary;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

/// What is known of the listed jobs.
#[derive(Default)]
pub(crate) struct JobTypes(Mutex<BTreeMap<JobId, RuntimeMode>>);

/// Questions under way at a time.
const ASKS_MAX: usize = 64;

impl JobTypes {
    /// The types of these jobs, which are all that there are. A job that cannot be asked for is
    /// missing, and is asked for again the next time.
    pub(crate) async fn of(
        &self,
        gateway: &Gateway,
        jobs: &[JobSummary],
    ) -> BTreeMap<JobId, RuntimeMode> {
        let mut known = self.known_of(jobs);
        let unknown: Vec<_> =
            jobs.iter().map(|job| job.job).filter(|job| !known.contains_key(job)).collect();
        for some in unknown.chunks(ASKS_MAX) {
            let mut asked = JoinSet::new();
            for job in some.iter().copied() {
                let gateway = gateway.clone();
                asked.spawn(async move { (job, gateway.job(job).await) });
            }
            let answers = asked.join_all().await.into_iter();
            known.extend(answers.filter_map(|(job, found)| Some((job, found.ok()?.graph.mode))));
        }
        if !unknown.is_empty() {
            self.lock().extend(&known);
        }
        known
    }

    /// Forgets jobs that are not listed any more.
    fn known_of(&self, jobs: &[JobSummary]) -> BTreeMap<JobId, RuntimeMode> {
        let mut known = self.lock();
        let listed = jobs.iter().filter_map(|job| Some((job.job, *known.get(&job.job)?))).collect();
        *known = listed;
        known.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, RuntimeMode>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}
