//! Tasks: submitted, told to end, ended; and the job master told of each change.
//!
//! Changes are told one at a time and in order; a change whose telling had no answer is told again.
//! So the master may hear of one twice, but never of an older one after a newer.

use super::{Context, Pending, TaskExecutor, Timer};
use crate::child::{cluster_failure, process_failure};
use crate::job_table::{Ending, SplitRequest, Task};
use millstream_core::ids::{ExecutionAttemptId, FencingToken, JobId};
use millstream_core::status::ExecutionState;
use millstream_rpc::machine::{AskId, Effect};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, TaskDeploymentDescriptor};
use millstream_rpc::protocol::job_link::{JobInformation, ToJobProcess};
use millstream_rpc::protocol::job_master::{
    TaskExecutionState, TaskFailure, TaskFailureKind, ToJobMaster,
};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};

impl TaskExecutor {
    pub(super) fn on_submit_task(
        &mut self,
        cx: &mut Context<'_>,
        descriptor: Box<TaskDeploymentDescriptor>,
        information: &JobInformation,
        token: FencingToken,
    ) -> Result<Answer, Refusal> {
        let (id, attempt) = (descriptor.job, descriptor.attempt);
        self.require_job_master(id, token)?;
        if information.job != id {
            let text = format!("{attempt} is of job {id}, its program of job {}", information.job);
            return Err(Refusal::Invalid(text));
        }
        let allocation = descriptor.allocation;
        if let Some(answer) = self.answer_if_submitted_before(id, &descriptor) {
            return answer;
        }
        let held = self.slots.get(&allocation).is_some_and(|slot| slot.job == id);
        // A submission may overtake the answer to the offer: it means the same, the slot is used.
        if !held || !self.activate_slot(cx, allocation) {
            return Err(Refusal::Unknown(format!("slot of allocation {allocation}")));
        }
        self.end_former_attempts(cx, id, &attempt);
        let timeout_ms = self.config.cancellation_timeout_of(&information.graph);
        let Some(job) = self.jobs.get_mut(&id) else {
            return Err(Refusal::Unknown(format!("job {id}")));
        };
        job.cancellation_timeout_ms = timeout_ms;
        let mut actions = Vec::new();
        let deploy = ToJobProcess::Deploy(descriptor.clone());
        let incarnation = job.child.deliver(deploy, information, cx.now, &mut actions);
        job.add(&descriptor, incarnation);
        self.slots.add_task(allocation, attempt);
        self.perform(cx, id, actions);
        Ok(Answer::Ack)
    }

    /// A submission may arrive twice, even when its attempt has ended: it must not run again.
    fn answer_if_submitted_before(
        &self,
        id: JobId,
        descriptor: &TaskDeploymentDescriptor,
    ) -> Option<Result<Answer, Refusal>> {
        let attempt = descriptor.attempt;
        let job = self.jobs.get(&id)?;
        if !job.is_outdated(&attempt) {
            return None;
        }
        let known = job.tasks.get(&attempt);
        let same = known.is_some_and(|task| task.allocation == descriptor.allocation);
        Some(match same {
            true => Ok(Answer::Ack),
            false => Err(Refusal::Invalid(format!("{attempt} was submitted before"))),
        })
    }

    /// Its master has given up what it submitted for this subtask before: it may have been told that
    /// the submission failed, and its cancellation may have been lost.
    fn end_former_attempts(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        newest: &ExecutionAttemptId,
    ) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let subtask = |of: &ExecutionAttemptId| (of.graph, of.vertex, of.subtask);
        let former = job.live_tasks().map(|(attempt, _)| *attempt);
        let former: Vec<_> = former.filter(|of| subtask(of) == subtask(newest)).collect();
        for attempt in former {
            let message = "a newer attempt of its subtask has been submitted".to_owned();
            self.fail_task(cx, attempt, message);
        }
    }

    pub(super) fn on_cancel_task(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        token: FencingToken,
    ) -> Result<Answer, Refusal> {
        let Some(id) = self.job_of(&attempt) else {
            return Err(Refusal::Unknown(format!("attempt {attempt}")));
        };
        self.require_job_master(id, token)?;
        self.end_task(cx, id, attempt, Ending::Canceling);
        Ok(Answer::Ack)
    }

    pub(super) fn on_update_partitions(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        channels: Vec<(u32, u32, InputChannelDescriptor)>,
    ) -> Result<Answer, Refusal> {
        if let Some(id) = self.job_of(&attempt) {
            self.say_to_task(cx, id, attempt, ToJobProcess::UpdatePartitions { attempt, channels });
        }
        Ok(Answer::Ack)
    }

    /// Says something to the child for one of its live attempts.
    pub(super) fn say_to_task(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        message: ToJobProcess,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let mut actions = Vec::new();
        let task = job.tasks.get(&attempt).filter(|task| task.is_live());
        if task.is_some_and(|task| task.incarnation == job.child.target()) {
            job.child.say(message, &mut actions);
        }
        self.perform(cx, id, actions);
    }

    /// The attempt cannot stay here, through no fault of its own.
    pub(super) fn fail_task(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        message: String,
    ) {
        if let Some(id) = self.job_of(&attempt) {
            self.end_task(cx, id, attempt, Ending::Failing(cluster_failure(message)));
        }
    }

    /// Has the attempt end: taken back if it never left, else told to stop, and watched. Who was
    /// told before is not told again.
    fn end_task(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        ending: Ending,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(task) = job.tasks.get_mut(&attempt) else {
            return;
        };
        if !task.is_live() || task.is_ending() {
            return;
        }
        task.ending = ending;
        if job.child.withdraw(&attempt) {
            return self.on_task_gone(cx, id, attempt, None);
        }
        let timeout_ms = job.cancellation_timeout_ms;
        if timeout_ms > 0 {
            let at = cx.now + timeout_ms;
            task.kill_at = Some(at);
            let timer = Timer::Cancellation { job: id, attempt };
            cx.out.push(Effect::SetTimer { timer, at });
        }
        self.say_to_task(cx, id, attempt, ToJobProcess::Cancel { attempt });
    }

    /// An attempt was told to end long ago and has not: its process has to go, with all that runs
    /// in it.
    pub(super) fn on_cancellation_timeout(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
    ) {
        let job = self.jobs.get_mut(&id);
        let Some(job) = job.filter(|job| {
            let task = job.tasks.get(&attempt).filter(|task| task.is_live());
            task.is_some_and(|task| {
                task.kill_at.is_some_and(|at| at <= cx.now)
                    && task.incarnation == job.child.target()
            })
        }) else {
            self.counters.stale_timers += 1;
            return;
        };
        let task = &job.tasks[&attempt];
        let message = format!(
            "task {} did not stop within {} ms (task.cancellation.timeout), so its job process \
             was killed",
            task.name, job.cancellation_timeout_ms
        );
        let failure = process_failure(TaskFailureKind::Recoverable, "cancellation", message);
        let mut actions = Vec::new();
        job.child.kill(failure, cx.now, &mut actions);
        self.perform(cx, id, actions);
    }

    /// The child tells of an attempt.
    pub(super) fn on_task_state(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        mut update: TaskExecutionState,
    ) {
        let attempt = update.attempt;
        let job = self.jobs.get_mut(&id);
        let task = job.and_then(|job| job.tasks.get_mut(&attempt));
        let Some(task) = task.filter(|task| task.incarnation == incarnation) else {
            self.counters.stale_events += 1;
            return;
        };
        if let (ExecutionState::Canceled, Ending::Failing(failure)) = (update.state, &task.ending) {
            // To the child every end that it is told is a cancellation; the master hears why.
            update.state = ExecutionState::Failed;
            update.failure = Some(failure.clone());
        }
        self.enter(cx, id, attempt, update);
    }

    /// An attempt is no more, without a word of its own: its process is gone, or it never had one.
    pub(super) fn on_task_gone(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        lost: Option<TaskFailure>,
    ) {
        let job = self.jobs.get(&id);
        let Some(task) = job.and_then(|job| job.tasks.get(&attempt)) else {
            return;
        };
        let failure = match (&task.ending, lost) {
            (Ending::Failing(failure), None) => Some(failure.clone()),
            (Ending::Canceling, None) => None,
            (_, lost) => lost,
        };
        let state = match failure {
            Some(_) => ExecutionState::Failed,
            None => ExecutionState::Canceled,
        };
        let metrics = task.metrics.clone();
        let update = TaskExecutionState { attempt, state, failure, metrics };
        self.enter(cx, id, attempt, update);
    }

    /// The one place where an attempt's state changes.
    fn enter(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        update: TaskExecutionState,
    ) {
        let job = self.jobs.get_mut(&id);
        let Some(task) = job.and_then(|job| job.tasks.get_mut(&attempt)) else {
            return;
        };
        if !task.enter(attempt, update) {
            self.counters.stale_events += 1;
            return;
        }
        let (ended, allocation) = (!task.is_live(), task.allocation);
        if ended {
            task.split = SplitRequest::default();
            let timer = Timer::Cancellation { job: id, attempt };
            cx.out.push(Effect::ClearTimer { timer });
        }
        self.tell_next(cx, id, attempt);
        if ended {
            let freed = self.slots.remove_task(allocation, &attempt);
            if let Some(freed) = freed {
                self.on_slot_freed(cx, freed);
            }
            self.settle(cx, id, attempt);
        }
    }

    /// Tells the master the oldest change that it has not confirmed, unless that is on its way.
    pub(super) fn tell_next(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
    ) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let (Some(link), Some(task)) = (job.connected(), job.tasks.get(&attempt)) else {
            return;
        };
        let Some(update) = task.outbox.front().filter(|_| task.telling.is_none()) else {
            return;
        };
        let to = (link.leader.address.clone(), link.leader.token);
        let update = ToJobMaster::UpdateTaskExecutionState(Box::new(update.clone()));
        let pending = Pending::Tell { job: id, attempt };
        let timeout_ms = self.config.ask_timeout_ms;
        let ask = self.ask(cx, to, Message::JobMaster(update), timeout_ms, pending);
        if let Some(task) = self.task_mut(id, &attempt) {
            task.telling = Some(ask);
        }
    }

    /// What the master said to a change of an attempt's state.
    pub(super) fn on_told(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        ask: AskId,
        result: &Result<Answer, AskError>,
    ) {
        let task = self.task_mut(id, &attempt);
        let Some(task) = task.filter(|task| task.telling == Some(ask)) else {
            self.counters.stale_answers += 1;
            return;
        };
        task.telling = None;
        match result {
            Ok(Answer::Refused(Refusal::Unknown(_))) => {
                task.disowned = true;
                task.outbox.clear();
                let message = "the job master does not know this attempt".to_owned();
                self.fail_task(cx, attempt, message);
            }
            Ok(Answer::Refused(Refusal::Fenced { .. })) => {
                self.lose_job_master(cx, id, "another job master leads");
            }
            Err(AskError::Timeout { .. }) => self.tell_next(cx, id, attempt),
            Err(_) | Ok(Answer::Refused(Refusal::NotReady(_))) => {
                let timer = Timer::Tell { job: id, attempt };
                let at = cx.now + self.config.retry_delay_ms;
                cx.out.push(Effect::SetTimer { timer, at });
            }
            // Confirmed; or refused in a way that repeating does not mend.
            Ok(_) => {
                task.outbox.pop_front();
                self.tell_next(cx, id, attempt);
            }
        }
        self.settle(cx, id, attempt);
    }

    /// Forgets the attempt if it has ended and its master knows.
    fn settle(&mut self, cx: &mut Context<'_>, id: JobId, attempt: ExecutionAttemptId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.tasks.get(&attempt).is_some_and(Task::is_settled) {
            job.tasks.remove(&attempt);
        }
        self.tidy_job(cx, id);
    }

    pub(super) fn task_mut(
        &mut self,
        id: JobId,
        attempt: &ExecutionAttemptId,
    ) -> Option<&mut Task> {
        self.jobs.get_mut(&id)?.tasks.get_mut(attempt)
    }

    /// The job of an attempt that is here.
    pub(super) fn job_of(&self, attempt: &ExecutionAttemptId) -> Option<JobId> {
        let mut jobs = self.jobs.iter();
        jobs.find_map(|(id, job)| job.tasks.contains_key(attempt).then_some(*id))
    }
}
