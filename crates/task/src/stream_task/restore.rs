//! How a task goes on from a checkpoint, before it does anything else.

use super::{Phase, RestoredInFlight, StreamTask};
use crate::failure::TaskError;
use millstream_checkpoint::snapshot::RestoredOperator;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::OperatorId;
use std::collections::BTreeMap;

/// What a task begins with, opened.
pub struct RestoredTask {
    /// The checkpoint that it comes from.
    pub checkpoint: CheckpointId,
    /// The task had done all its work: nothing is left but to say so.
    pub finished: bool,
    /// The states of its operators, and of its source: of all that the checkpoint knew.
    pub operators: BTreeMap<OperatorId, RestoredOperator>,
    /// Records to be processed before any that comes.
    pub in_flight: Vec<RestoredInFlight>,
}

impl StreamTask {
    /// Takes the state over: operators tail to head, then the source. Then everybody hears that the
    /// checkpoint is complete, which may be news: whoever was to hear of it may have failed before.
    pub fn restore(&mut self, from: RestoredTask) -> Result<(), TaskError> {
        let RestoredTask { checkpoint, finished, mut operators, in_flight } = from;
        self.chain.restore(|id| operators.remove(&id).unwrap_or_default())?;
        let (is_source, source) = match self.head.id() {
            Some(id) => (true, operators.remove(&id)),
            None => (false, None),
        };
        if let Some((id, _)) = operators.first_key_value() {
            let message = format!(
                "checkpoint {checkpoint} has state of an operator {id}, which this task does not run"
            );
            let error = OperatorError::new(message);
            return Err(TaskError::Operator { label: None, error });
        }
        self.head.restore_in_flight(in_flight)?;
        if finished {
            self.checkpoints.wait_at_end = false;
            self.phase = if is_source { Phase::Ending } else { Phase::Passing };
        } else if let Some(source) = source {
            self.head.restore(&source)?;
        }
        // A source that the checkpoint did not know is new: it begins as in a job that begins afresh.
        self.chain.notify(|operator| operator.checkpoint_completed(checkpoint))
    }
}
