//! Asks that wait for their answer, and what their answers mean.

use super::{Context, JobMaster};
use millstream_core::ids::{ExecutionAttemptId, FencingToken, ResourceId};
use millstream_rpc::machine::{AskId, Effect};
use millstream_rpc::protocol::{Address, Answer, AskError, Message};
use std::collections::BTreeMap;

/// What an ask was for. What it names may be gone when the answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To be registered at the resource manager, in this endeavour.
    Register(u64),
    /// That the resource manager takes note of our needs.
    Declare,
    /// That the worker starts the attempt.
    Submit(ExecutionAttemptId, ResourceId),
    /// That the worker stops the attempt; how often it has been asked.
    Cancel(ExecutionAttemptId, ResourceId, u32),
    /// That the worker stops an attempt that does not count. Nobody waits for it.
    CancelStranger(ResourceId),
    /// That the worker tells the attempt of its producers.
    UpdatePartitions(ExecutionAttemptId, ResourceId),
    /// That the worker takes its slot back. Nobody waits for it: the next heartbeat says it again.
    FreeSlot(ResourceId),
}

impl Ask {
    /// The worker that was asked, if it was one.
    fn worker(&self) -> Option<&ResourceId> {
        match self {
            Ask::Register(_) | Ask::Declare => None,
            Ask::Submit(_, worker)
            | Ask::Cancel(_, worker, _)
            | Ask::CancelStranger(worker)
            | Ask::UpdatePartitions(_, worker)
            | Ask::FreeSlot(worker) => Some(worker),
        }
    }
}

/// Asks that have not been answered.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// Ids given out so far: each ask gets one of its own.
    last: u64,
    open: BTreeMap<AskId, Ask>,
}

impl Asks {
    fn add(&mut self, what: Ask) -> AskId {
        self.last += 1;
        let ask = AskId(self.last);
        self.open.insert(ask, what);
        ask
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

impl JobMaster {
    pub(super) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        (to, token): (Address, Option<FencingToken>),
        message: Message,
        timeout_ms: u64,
        what: Ask,
    ) -> AskId {
        let ask = self.asks.add(what);
        cx.out.push(Effect::Ask { ask, to, token, message, timeout_ms });
        ask
    }

    pub(super) fn on_answered(
        &mut self,
        cx: &mut Context<'_>,
        ask: AskId,
        result: Result<Answer, AskError>,
    ) {
        let Some(what) = self.asks.open.remove(&ask) else {
            self.counters.stale_answers += 1;
            return;
        };
        let unreachable = matches!(result, Err(AskError::Unreachable { .. }));
        let worker = what.worker().cloned();
        match what {
            Ask::Register(attempt) => self.on_registration_answer(cx, attempt, result),
            Ask::Declare => self.on_declaration_answer(cx, ask, result),
            Ask::Submit(attempt, worker) => self.on_submit_answer(cx, attempt, &worker, result),
            Ask::Cancel(attempt, worker, tries) => {
                self.on_cancel_answer(cx, attempt, worker, tries, result);
            }
            Ask::UpdatePartitions(attempt, worker) => {
                self.on_update_answer(cx, attempt, &worker, result);
            }
            Ask::CancelStranger(_) | Ask::FreeSlot(_) => {}
        }
        if let Some(worker) = worker.filter(|_| unreachable) {
            self.on_worker_unreachable(cx, &worker);
        }
    }
}

/// What went wrong with an ask, in words; nothing: it was done.
pub(super) fn problem(result: &Result<Answer, AskError>) -> Option<String> {
    match result {
        Ok(Answer::Ack) => None,
        Ok(Answer::Refused(refusal)) => Some(format!("it refused: {refusal}")),
        Ok(_) => Some("it answered something else".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
