//! Splits: a source asks its child for more input, the child asks us, we ask the job master.
//!
//! Asking is not repeatable: the master marks a split as given before it answers. When the answer
//! is lost, nobody knows whether a split was given with it, and to ask again would lose that one
//! silently. So the attempt fails, and the master takes back all that it was given.

use super::{Context, Pending, TaskExecutor, Timer};
use crate::mutant;
use millstream_core::ids::{ExecutionAttemptId, JobId, JobVertexId};
use millstream_core::job_graph::SourceSplit;
use millstream_rpc::machine::{AskId, Effect};
use millstream_rpc::protocol::job_link::ToJobProcess;
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};

impl TaskExecutor {
    /// The child wants a split for one of its sources.
    pub(super) fn on_request_split(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        vertex: JobVertexId,
        attempt: ExecutionAttemptId,
    ) {
        let task = self.task_mut(id, &attempt);
        let Some(task) = task.filter(|task| task.is_live() && task.incarnation == incarnation)
        else {
            self.counters.stale_events += 1;
            return;
        };
        task.split.vertex = vertex;
        task.split.waiting = task.split.waiting.saturating_add(1);
        self.ask_for_split(cx, id, attempt);
    }

    /// Asks for what the attempt waits for, one split at a time.
    pub(super) fn ask_for_split(
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
        let split = &task.split;
        if task.is_ending() || split.waiting == 0 || split.asked.is_some() {
            return;
        }
        let to = (link.leader.address.clone(), link.leader.token);
        let vertex = split.vertex;
        let request = Message::JobMaster(ToJobMaster::RequestNextSplit { vertex, attempt });
        let pending = Pending::Split { job: id, attempt };
        let timeout_ms = self.config.ask_timeout_ms;
        let ask = self.ask(cx, to, request, timeout_ms, pending);
        if let Some(task) = self.task_mut(id, &attempt) {
            task.split.asked = Some(ask);
        }
    }

    pub(super) fn on_split(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        ask: AskId,
        result: Result<Answer, AskError>,
    ) {
        let task = self.task_mut(id, &attempt);
        let Some(task) = task.filter(|task| task.split.asked == Some(ask)) else {
            self.counters.stale_answers += 1;
            return;
        };
        task.split.asked = None;
        match result {
            Ok(Answer::JobMaster(JobMasterAnswer::NextSplit(split))) => {
                self.give_split(cx, id, attempt, split);
            }
            Ok(Answer::Refused(Refusal::NotReady(_))) => {
                let timer = Timer::Split { job: id, attempt };
                let at = cx.now + self.config.retry_delay_ms;
                cx.out.push(Effect::SetTimer { timer, at });
            }
            Ok(Answer::Refused(Refusal::Fenced { .. })) => {
                self.lose_job_master(cx, id, "another job master leads");
            }
            Err(_) if mutant::on("blind_split_retry") => self.ask_for_split(cx, id, attempt),
            result => {
                let message = describe(&result);
                self.fail_task(cx, attempt, message);
            }
        }
    }

    fn give_split(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        attempt: ExecutionAttemptId,
        split: Option<SourceSplit>,
    ) {
        if let Some(task) = self.task_mut(id, &attempt) {
            task.split.waiting = task.split.waiting.saturating_sub(1);
        }
        self.say_to_task(cx, id, attempt, ToJobProcess::NextSplit { attempt, split });
        self.ask_for_split(cx, id, attempt);
    }
}

fn describe(result: &Result<Answer, AskError>) -> String {
    let reason = match result {
        Err(error) => error.to_string(),
        Ok(Answer::Refused(refusal)) => refusal.to_string(),
        Ok(_) => "an answer to something else came back".to_owned(),
    };
    format!("no split could be had from the job master, and one may be lost: {reason}")
}
