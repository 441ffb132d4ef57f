//! Carries out what [`WatermarkAlignment`] decides: how far the sources of alignment groups may read.

use super::{Context, JobMaster};
use crate::watermark_alignment::Allowance;
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::job_master::WatermarkReport;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;

impl JobMaster {
    /// A source says how far it is. It is answered when the step ends.
    pub(super) fn on_watermark_report(&mut self, report: WatermarkReport) {
        let graph = self.scheduler.graph();
        let id = graph.find(report.attempt);
        if id.is_some_and(|id| graph.execution(id).is_on_worker()) {
            self.alignment.on_report(report);
        } else {
            self.counters.strangers += 1;
        }
    }

    /// Tells sources how far they may go. Tasks that begin may be those that all have to wait for, so
    /// nobody is told anything before they have begun.
    pub(super) fn align(&mut self, cx: &mut Context<'_>) {
        use ExecutionState::{Deploying, Initializing};
        if self.alignment.is_empty() {
            return;
        }
        let graph = self.scheduler.graph();
        // Who has ended holds nobody back.
        self.alignment.retain(|attempt| {
            graph.find(attempt).is_some_and(|id| graph.execution(id).is_on_worker())
        });
        if graph
            .executions()
            .any(|(_, execution)| matches!(execution.state(), Deploying | Initializing))
        {
            return;
        }
        let job_master = self.fence.token();
        for Allowance { attempt, group, watermark } in self.alignment.allow() {
            let message = ToTaskExecutor::AlignWatermark { attempt, group, watermark, job_master };
            self.tell_task(cx, attempt, message);
        }
    }
}
