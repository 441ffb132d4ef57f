//! The operators of a task and the buffers between them: operator `i` reads buffer `i` and fills
//! buffer `i + 1`; the last buffer is the task's output. Watermarks lie behind the records of a buffer.

use crate::failure::{TaskError, guard};
use millstream_checkpoint::snapshot::{
    BesideTask, OperatorSnapshot, RestoredOperator, SnapshotError,
};
use millstream_core::OperatorError;
use millstream_core::checkpoint::Barrier;
use millstream_core::ids::OperatorId;
use millstream_core::time::Timestamp;
use millstream_operator::context::OperatorLabel;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::SplitChange;
use millstream_shuffle::batch::{AnyBatch, BoxBatch};
use millstream_shuffle::element::Watermark;

/// The operators of a task and the buffers between them.
pub struct Chain {
    stages: Vec<Stage>,
    buffers: Vec<BoxBatch>,
    /// No stage beyond this one has anything to do.
    busy_until: usize,
    /// There are records in side outputs.
    sides_pending: bool,
    /// Watermarks behind the records of the buffer with the same index.
    watermarks: Vec<Option<Watermark>>,
    /// There is one.
    has_watermark: bool,
}

struct Stage {
    id: OperatorId,
    label: OperatorLabel,
    operator: Box<dyn Operator>,
    /// It was stopped for want of room and has more to give.
    has_more: bool,
    /// Somebody reads side outputs of it.
    has_sides: bool,
}

impl Chain {
    /// No operators yet; `head` is an empty batch of what the head gives.
    pub fn new(head: BoxBatch) -> Self {
        Self {
            stages: Vec::new(),
            buffers: vec![head],
            busy_until: 0,
            sides_pending: false,
            watermarks: vec![None],
            has_watermark: false,
        }
    }

    /// Appends an operator, to which the side outputs that are read are attached.
    pub fn push(&mut self, id: OperatorId, label: OperatorLabel, mut operator: Box<dyn Operator>) {
        self.buffers.push(operator.output());
        self.watermarks.push(None);
        let has_sides = operator.side_outputs().is_some_and(|sides| sides.is_attached());
        self.stages.push(Stage { id, label, operator, has_more: false, has_sides });
    }

    /// The operator with this identity.
    pub(super) fn operator(&mut self, id: OperatorId) -> Option<&mut dyn Operator> {
        let stage = self.stages.iter_mut().find(|stage| stage.id == id)?;
        Some(stage.operator.as_mut())
    }

    /// How many operators there are.
    pub(super) fn len(&self) -> usize {
        self.stages.len()
    }

    /// So many records of the head make a full batch.
    pub(super) fn head_target(&self) -> usize {
        self.buffers[0].target()
    }

    /// The buffer that the head fills.
    pub(super) fn input(&mut self) -> &mut BoxBatch {
        self.busy_until = self.stages.len();
        &mut self.buffers[0]
    }

    /// How many records the head has given.
    pub(super) fn input_len(&self) -> usize {
        self.buffers[0].len()
    }

    /// Whether the task's output waits to be written, its own or a side output.
    pub(super) fn has_output(&self) -> bool {
        self.sides_pending || self.buffers.last().is_some_and(|last| !last.is_empty())
    }

    /// Gives all that is in side outputs away, with the numbers of the operator and of its output.
    pub(super) fn take_side_outputs(
        &mut self,
        mut give: impl FnMut(usize, usize, &mut BoxBatch) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        if !std::mem::take(&mut self.sides_pending) {
            return Ok(());
        }
        for (at, stage) in self.stages.iter_mut().enumerate().filter(|(_, stage)| stage.has_sides) {
            if let Some(sides) = stage.operator.side_outputs() {
                sides.take(|side, batch| give(at, side, batch))?;
            }
        }
        Ok(())
    }

    /// What leaves the task.
    pub(super) fn output(&mut self) -> &mut BoxBatch {
        self.buffers.last_mut().expect("there is at least the head's buffer")
    }

    /// Runs the most downstream operator that has something to do; whether there was one.
    pub(super) fn advance(&mut self) -> Result<bool, TaskError> {
        for at in (0..self.busy_until).rev() {
            let stage = &self.stages[at];
            if stage.has_more || !self.buffers[at].is_empty() {
                self.call(at, Call::Process)?;
                self.busy_until = (at + 2).min(self.stages.len());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks an operator for what it holds back; whether that was all.
    pub(super) fn flush(&mut self, at: usize) -> Result<bool, TaskError> {
        self.busy_until = self.stages.len();
        Ok(self.call(at, Call::Flush)? == Flow::Drained)
    }

    /// Tells an operator that its input has ended; whether it has given all.
    pub(super) fn finish(&mut self, at: usize) -> Result<Flow, TaskError> {
        self.busy_until = self.stages.len();
        self.call(at, Call::Finish)
    }

    /// Whether it takes what the head gives. The first operator alone is asked: those that say no begin
    /// a chain.
    pub(super) fn accepts(&self) -> bool {
        self.stages.first().is_none_or(|stage| stage.operator.accepts())
    }

    /// When the first of all operators wants to be called for a timer.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.stages.iter().filter_map(|stage| stage.operator.next_timer()).min()
    }

    /// Tells an operator what time it is; whether it has given all that was due.
    pub(super) fn advance_time(&mut self, at: usize, now: Timestamp) -> Result<bool, TaskError> {
        self.busy_until = self.stages.len();
        Ok(self.call(at, Call::AdvanceTime(now))? == Flow::Drained)
    }

    /// The source says something of its splits; all buffers behind the head's are empty.
    pub(super) fn split_changed(&mut self, change: SplitChange) {
        for at in 0..self.stages.len() {
            let operator = &mut self.stages[at].operator;
            operator.split_changed(change);
            if let Some(made) = operator.take_watermark() {
                self.set_watermark(at + 1, made);
            }
        }
    }

    /// How far time is behind what the head has given.
    pub(super) fn put_watermark(&mut self, watermark: Watermark) {
        self.set_watermark(0, watermark);
    }

    fn set_watermark(&mut self, at: usize, watermark: Watermark) {
        self.watermarks[at] = Some(watermark);
        self.has_watermark = true;
    }

    /// Whether a watermark is on its way.
    pub(super) fn has_watermark(&self) -> bool {
        self.has_watermark
    }

    /// Takes the most downstream watermark one stage further, or as far as there is room; all buffers
    /// are empty. The one that has come to the end of the chain stays until it is taken.
    pub(super) fn advance_watermark(&mut self) -> Result<Option<Watermark>, TaskError> {
        let last = self.watermarks.iter().rposition(Option::is_some);
        let Some((at, watermark)) = last.and_then(|at| Some((at, self.watermarks[at]?))) else {
            self.has_watermark = false;
            return Ok(None);
        };
        if at == self.stages.len() {
            return Ok(Some(watermark));
        }
        self.busy_until = self.stages.len();
        if self.call(at, Call::AdvanceWatermark(watermark.time))? == Flow::Drained {
            self.watermarks[at] = None;
            if let Some(passed) = self.stages[at].operator.pass_watermark(watermark) {
                self.set_watermark(at + 1, passed);
            }
        }
        Ok(None)
    }

    /// The watermark at the end of the chain has left.
    pub(super) fn watermark_has_left(&mut self) {
        self.watermarks[self.stages.len()] = None;
    }

    fn call(&mut self, at: usize, call: Call) -> Result<Flow, TaskError> {
        let (before, after) = self.buffers.split_at_mut(at + 1);
        let (input, out) = (before[at].as_mut(), after[0].as_mut());
        let stage = &mut self.stages[at];
        let flow = stage.call(call, input, out)?;
        if call == Call::Process {
            stage.has_more = flow == Flow::More;
        }
        if stage.has_sides {
            let sides = stage.operator.side_outputs();
            self.sides_pending |= sides.is_some_and(|sides| sides.has_pending());
        }
        if let Some(made) = stage.operator.take_watermark() {
            self.set_watermark(at + 1, made);
        }
        Ok(flow)
    }

    /// Takes the state of all operators, tail to head; those without state are left out.
    pub(super) fn snapshot(
        &mut self,
        barrier: &Barrier,
    ) -> Result<Vec<(OperatorId, OperatorSnapshot)>, TaskError> {
        let mut states = Vec::new();
        for stage in self.stages.iter_mut().rev() {
            let mut state = OperatorSnapshot::default();
            guard(&stage.label, || stage.operator.snapshot(barrier, &mut state))?;
            if !state.is_empty() {
                let work = std::mem::take(&mut state.work).into_iter();
                state.work = work.map(|work| labelled(work, &stage.label)).collect();
                states.push((stage.id, state));
            }
        }
        Ok(states)
    }

    /// Gives every operator its state, tail to head.
    pub(super) fn restore(
        &mut self,
        mut state_of: impl FnMut(OperatorId) -> RestoredOperator,
    ) -> Result<(), TaskError> {
        for stage in self.stages.iter_mut().rev() {
            let state = state_of(stage.id);
            guard(&stage.label, || stage.operator.restore(state))?;
        }
        Ok(())
    }

    /// Tells every operator something, tail to head.
    pub(super) fn notify(
        &mut self,
        mut tell: impl FnMut(&mut dyn Operator) -> Result<(), OperatorError>,
    ) -> Result<(), TaskError> {
        for stage in self.stages.iter_mut().rev() {
            guard(&stage.label, || tell(stage.operator.as_mut()))?;
        }
        Ok(())
    }

    pub(super) fn close(&mut self, completed: bool) -> Result<(), TaskError> {
        let mut result = Ok(());
        for stage in self.stages.iter_mut().rev() {
            let closed = guard(&stage.label, || stage.operator.close(completed));
            result = result.and(closed);
        }
        result
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Process,
    Flush,
    Finish,
    AdvanceTime(Timestamp),
    AdvanceWatermark(Timestamp),
}

impl Stage {
    fn call(
        &mut self,
        call: Call,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
    ) -> Result<Flow, TaskError> {
        let room = out.target();
        let operator = &mut self.operator;
        guard(&self.label, || match call {
            Call::Process => operator.process(input, out, room),
            Call::Flush => operator.flush(out, room),
            Call::Finish => operator.finish(out, room),
            Call::AdvanceTime(now) => operator.advance_time(now, out, room),
            Call::AdvanceWatermark(time) => operator.advance_watermark(time, out, room),
        })
    }
}
/// Whoever hears of a failure hears whose it is.
fn labelled(work: BesideTask, label: &OperatorLabel) -> BesideTask {
    let name = label.name.clone();
    Box::new(move || {
        work().map_err(|error| SnapshotError::Operator(format!("operator `{name}`: {error}")))
    })
}
