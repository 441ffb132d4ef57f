//! Checkpoints pass through here: triggers and notices go from the job master to the job process,
//! acknowledgements back. Nothing is kept: what is lost on the way costs one checkpoint, which the
//! master gives up after its timeout. So do the times of alignment groups, which are told again and again.

use super::{Context, TaskExecutor};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{ExecutionAttemptId, FencingToken, JobId};
use millstream_rpc::protocol::job_link::{FromJobProcess, ToJobProcess};
use millstream_rpc::protocol::job_master::{NOT_RUNNING, ToJobMaster};
use millstream_rpc::protocol::{Answer, Refusal};

impl TaskExecutor {
    /// A task that cannot begin the checkpoint says so at once, so that nobody waits for it.
    pub(super) fn on_trigger_checkpoint(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        barrier: Barrier,
        job_master: FencingToken,
    ) -> Result<Answer, Refusal> {
        let Some(id) = self.job_of(&attempt) else {
            return Err(Refusal::Unknown(format!("attempt {attempt}")));
        };
        self.require_job_master(id, job_master)?;
        let runs = self.task_mut(id, &attempt).is_some_and(|task| task.is_live());
        if runs {
            self.say_to_task(cx, id, attempt, ToJobProcess::TriggerCheckpoint { attempt, barrier });
        } else {
            let (checkpoint, cause) = (barrier.checkpoint, NOT_RUNNING.to_owned());
            let decline = ToJobMaster::DeclineCheckpoint { attempt, checkpoint, cause };
            self.tell_job_master(cx, id, decline);
        }
        Ok(Answer::Ack)
    }

    /// A checkpoint is complete, or never will be.
    pub(super) fn on_checkpoint_notice(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        job_master: FencingToken,
        notice: ToJobProcess,
    ) -> Result<Answer, Refusal> {
        if let Some(id) = self.job_of(&attempt) {
            self.require_job_master(id, job_master)?;
            self.say_to_task(cx, id, attempt, notice);
        }
        Ok(Answer::Ack)
    }

    /// The job process says something about a checkpoint of one of its tasks.
    pub(super) fn on_checkpoint_report(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        attempt: ExecutionAttemptId,
        report: ToJobMaster,
    ) {
        let task = self.task_mut(id, &attempt);
        if task.is_some_and(|task| task.is_live() && task.incarnation == incarnation) {
            self.tell_job_master(cx, id, report);
        } else {
            self.counters.stale_events += 1;
        }
    }
}

/// What the master is told of what the job process said, and about which attempt.
pub(super) fn report_of(message: FromJobProcess) -> Option<(ExecutionAttemptId, ToJobMaster)> {
    match message {
        FromJobProcess::AcknowledgeCheckpoint { attempt, checkpoint, state, metrics } => {
            let report = ToJobMaster::AcknowledgeCheckpoint { attempt, checkpoint, state, metrics };
            Some((attempt, report))
        }
        FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause } => {
            Some((attempt, ToJobMaster::DeclineCheckpoint { attempt, checkpoint, cause }))
        }
        FromJobProcess::EndOfData { attempt } => {
            Some((attempt, ToJobMaster::EndOfData { attempt }))
        }
        FromJobProcess::ReportWatermark(report) => {
            Some((report.attempt, ToJobMaster::ReportWatermark(report)))
        }
        _ => None,
    }
}

/// What the job process is told when a checkpoint is complete, or never will be.
pub(super) fn notice(
    attempt: ExecutionAttemptId,
    checkpoint: CheckpointId,
    completed: bool,
) -> ToJobProcess {
    if completed {
        ToJobProcess::CheckpointCompleted { attempt, checkpoint }
    } else {
        ToJobProcess::CheckpointAborted { attempt, checkpoint }
    }
}
