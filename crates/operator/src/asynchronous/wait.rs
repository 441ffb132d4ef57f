//! [`AsyncWait`]: the operator that runs an [`AsyncFunction`].
//!
//! A record's way: it is taken in with its batch and gets a number (`backlog`); when fewer than
//! `capacity` records are under way, its call is begun (`entries`); the answer comes back through a box,
//! which wakes the task's thread; the result leaves when its turn has come. While the backlog holds
//! anything, the operator takes no further batch ([`Operator::accepts`]): so at most the capacity and one
//! batch are held here.
//!
//! A watermark is a *fence* between numbers: it leaves when no record before it is left. In order, a
//! result leaves when it is the first; out of order, when no fence is before it.
//!
//! A barrier waits for nothing: records that are still here are the operator's state, and are asked about
//! again after a restore. So an answer that was there in time is not lost, but asked for a second time.
//!
//! Answers, timeouts and retries are due like timers in processing time: an answer makes the operator due
//! at once.

use super::completions::{Answer, Answering, Completions};
use super::function::AsyncFunction;
use super::options::AsyncOptions;
use super::runtime::{AsyncCall, AsyncRuntime};
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::operator::{Flow, Operator};
use crate::process::function::FunctionResult;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::element::Watermark;
use millstream_shuffle::sync::Arc;
use millstream_shuffle::wake::Wake;
use millstream_state::operator_state::{
    OperatorField, OperatorFieldSpec, OperatorState, OperatorStateStore, SplitListState,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Asks somebody outside about each record, many at a time.
pub struct AsyncWait<T: Record, F: AsyncFunction<T>> {
    function: F,
    options: AsyncOptions,
    runtime: AsyncRuntime,
    clock: ProcessingClock,
    completions: Arc<Completions<F::Out>>,
    /// The number of the next record.
    next: u64,
    /// Records whose calls have not been begun, by their numbers.
    backlog: VecDeque<(u64, T, Option<Timestamp>)>,
    /// Records that are under way.
    entries: BTreeMap<u64, Entry<T, F::Out>>,
    /// Entries that have their result.
    ready: BTreeSet<u64>,
    /// Watermarks, each behind the records with lesser numbers.
    fences: VecDeque<(u64, Watermark)>,
    /// A watermark that has come out.
    passed: Option<Watermark>,
    /// When entries have waited long enough.
    timeouts: BTreeSet<(Timestamp, u64)>,
    /// When entries are asked about again.
    retries: BTreeSet<(Timestamp, u64)>,
}

/// A record that is under way.
struct Entry<T, O> {
    record: T,
    time: Option<Timestamp>,
    /// Calls that were begun.
    calls: u32,
    /// When it has waited long enough.
    deadline: Option<Timestamp>,
    stage: Stage<O>,
}

enum Stage<O> {
    /// It waits for an answer.
    Asked(#[expect(dead_code, reason = "held, because dropping it cancels the call")] AsyncCall),
    /// It waits for the next call, which is due then.
    Failed(Timestamp),
    /// It waits for its turn.
    Ready(O),
}

/// What is under way, as it is in a checkpoint.
struct InFlight<T> {
    records: SplitListState<(T, Option<Timestamp>)>,
}

impl<T: Record> OperatorState for InFlight<T> {
    fn open() -> Self {
        Self { records: SplitListState::default() }
    }

    fn fields(&mut self, visit: &mut dyn FnMut(OperatorFieldSpec, &mut dyn OperatorField)) {
        visit(OperatorFieldSpec { name: "in-flight", aliases: &[] }, &mut self.records);
    }
}

impl<T: Record, F: AsyncFunction<T>> AsyncWait<T, F> {
    /// Opens the function.
    pub fn new(
        mut function: F,
        options: AsyncOptions,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        if options.capacity == 0 {
            let why = "an asynchronous operator with capacity 0 makes no calls: use 1 or more";
            return Err(OperatorError::new(why));
        }
        told(function.open(context))?;
        Ok(Self {
            function,
            options,
            runtime: context.async_runtime.clone(),
            clock: context.clock.clone(),
            completions: Arc::new(Completions::new(Wake::clone(&context.wake))),
            next: 0,
            backlog: VecDeque::new(),
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            fences: VecDeque::new(),
            passed: None,
            timeouts: BTreeSet::new(),
            retries: BTreeSet::new(),
        })
    }

    /// What state it has, as the job graph names it.
    pub fn states() -> Vec<DeclaredState> {
        OperatorStateStore::<InFlight<T>>::new().states()
    }

    /// How many records are under way, and how many wait before them.
    pub fn under_way(&self) -> (usize, usize) {
        (self.entries.len(), self.backlog.len())
    }

    fn take_in(&mut self, record: T, time: Option<Timestamp>) {
        self.backlog.push_back((self.next, record, time));
        self.next += 1;
    }

    /// Deals with all answers, lets out what may leave, and begins calls in its place.
    fn pump(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        for answer in self.completions.take() {
            self.on_answer(answer)?;
        }
        self.emit(cast::<F::Out>(out), room);
        self.begin_calls()?;
        Ok(if self.first_to_leave().is_some() { Flow::More } else { Flow::Drained })
    }

    /// Begins calls as far as there is capacity.
    fn begin_calls(&mut self) -> Result<(), OperatorError> {
        let now = self.clock.now();
        while self.entries.len() < self.options.capacity {
            let Some((id, record, time)) = self.backlog.pop_front() else { return Ok(()) };
            let deadline = self.options.timeout.map(|timeout| after(now, timeout));
            self.timeouts.extend(deadline.map(|at| (at, id)));
            let call = self.call(id, record.clone(), 1)?;
            let entry = Entry { record, time, calls: 1, deadline, stage: Stage::Asked(call) };
            self.entries.insert(id, entry);
        }
        Ok(())
    }

    fn call(&mut self, id: u64, record: T, number: u32) -> Result<AsyncCall, OperatorError> {
        let answer = self.function.call(record);
        let answer = async move {
            answer.await.map_err(|error| {
                let error: Box<dyn std::error::Error> = error;
                OperatorError::from_error(error.as_ref())
            })
        };
        let answering = Answering::new(self.completions.clone(), id, number);
        self.runtime.spawn(Box::pin(answering.after(answer)))
    }

    fn on_answer(&mut self, answer: Answer<F::Out>) -> Result<(), OperatorError> {
        let Answer { id, call, result } = answer;
        // One that came after the timeout, or of a call that was cancelled, is too late.
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        if entry.calls != call || !matches!(entry.stage, Stage::Asked(_)) {
            return Ok(());
        }
        match result {
            Ok(result) => self.settle(id, result),
            Err(error) => match self.options.retry.pause(call, &error) {
                Some(pause) => {
                    let at = after(self.clock.now(), pause);
                    entry.stage = Stage::Failed(at);
                    self.retries.insert((at, id));
                }
                None if call == 1 => return Err(error.context("an asynchronous call failed")),
                None => {
                    let what = format!("an asynchronous call failed, the last of {call}");
                    return Err(error.context(what));
                }
            },
        }
        Ok(())
    }

    fn settle(&mut self, id: u64, result: F::Out) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.stage = Stage::Ready(result);
        if let Some(at) = entry.deadline {
            self.timeouts.remove(&(at, id));
        }
        self.ready.insert(id);
    }

    /// Entries that have waited long enough get what the user's function gives instead.
    fn time_out(&mut self, now: Timestamp) -> Result<(), OperatorError> {
        while let Some((_, id)) = self.timeouts.first().copied().filter(|(at, _)| *at <= now) {
            self.timeouts.pop_first();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            // A call that is dropped is cancelled.
            if let Stage::Failed(at) = std::mem::replace(&mut entry.stage, Stage::Failed(now)) {
                self.retries.remove(&(at, id));
            }
            let (record, calls) = (entry.record.clone(), entry.calls);
            let result = self.function.on_timeout(record).map_err(|error| {
                let waited = self.options.timeout.unwrap_or_default();
                let error: Box<dyn std::error::Error> = error;
                OperatorError::from_error(error.as_ref()).context(format!(
                    "an asynchronous call was not answered within {waited:?} ({calls} tried)"
                ))
            })?;
            self.settle(id, result);
        }
        Ok(())
    }

    /// Asks again where it is time for that.
    fn retry(&mut self, now: Timestamp) -> Result<(), OperatorError> {
        while let Some((_, id)) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.pop_first();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.calls += 1;
            let (record, calls) = (entry.record.clone(), entry.calls);
            let call = self.call(id, record, calls)?;
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stage = Stage::Asked(call);
            }
        }
        Ok(())
    }

    /// Lets results out whose turn has come, and watermarks before which nothing is left.
    fn emit(&mut self, out: &mut Batch<F::Out>, room: usize) {
        self.pass_fences();
        while out.items.len() < room {
            let Some(id) = self.first_to_leave() else { break };
            self.ready.remove(&id);
            let Some(entry) = self.entries.remove(&id) else { continue };
            if let Stage::Ready(result) = entry.stage {
                out.items.push(result);
                out.stamp(out.items.len() - 1, entry.time);
            }
            self.pass_fences();
        }
    }

    /// The result that may leave next.
    fn first_to_leave(&self) -> Option<u64> {
        let first = *self.ready.first()?;
        let may_leave = match self.options.ordered {
            true => self.entries.first_key_value().is_some_and(|(id, _)| *id == first),
            false => self.fences.front().is_none_or(|(fence, _)| first < *fence),
        };
        may_leave.then_some(first)
    }

    /// The least number of a record that is still here.
    fn oldest(&self) -> Option<u64> {
        let entry = self.entries.first_key_value().map(|(id, _)| *id);
        entry.or_else(|| self.backlog.front().map(|(id, ..)| *id))
    }

    fn pass_fences(&mut self) {
        let oldest = self.oldest().unwrap_or(u64::MAX);
        while let Some((_, watermark)) = self.fences.pop_front_if(|(fence, _)| *fence <= oldest) {
            // Behind what has been given so far, so one that was before may wait for it.
            self.passed = Some(watermark);
        }
    }
}

fn told(result: FunctionResult) -> Result<(), OperatorError> {
    result.map_err(|error| OperatorError::from_error(error.as_ref()))
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}

impl<T: Record, F: AsyncFunction<T>> Operator for AsyncWait<T, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<F::Out>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<T>(input);
        input.hashes.clear();
        let mut times = std::mem::take(&mut input.timestamps);
        for (at, record) in input.items.drain(..).enumerate() {
            let time = times.get(at).copied().filter(|time| *time != NO_TIMESTAMP);
            self.take_in(record, time);
        }
        times.clear();
        input.timestamps = times;
        self.begin_calls()?;
        // What is left to be given is due at once.
        self.pump(out, room).map(|_| Flow::Drained)
    }

    fn accepts(&self) -> bool {
        self.backlog.is_empty()
    }

    fn flush(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.pump(out, room)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let flow = self.pump(out, room)?;
        let is_empty = self.entries.is_empty() && self.backlog.is_empty();
        Ok(if flow == Flow::Drained && !is_empty { Flow::Waiting } else { flow })
    }

    fn next_timer(&self) -> Option<Timestamp> {
        if !self.completions.is_empty() || self.first_to_leave().is_some() {
            return Some(Timestamp::MIN);
        }
        let first = |times: &BTreeSet<(Timestamp, u64)>| times.first().map(|(at, _)| *at);
        first(&self.timeouts).into_iter().chain(first(&self.retries)).min()
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        // An answer that has come counts, however late it is looked at.
        for answer in self.completions.take() {
            self.on_answer(answer)?;
        }
        self.time_out(now)?;
        self.retry(now)?;
        self.pump(out, room)
    }

    fn pass_watermark(&mut self, watermark: Watermark) -> Option<Watermark> {
        if self.oldest().is_none() {
            return Some(watermark);
        }
        self.fences.pop_back_if(|(fence, _)| *fence == self.next);
        self.fences.push_back((self.next, watermark));
        None
    }

    fn take_watermark(&mut self) -> Option<Watermark> {
        self.passed.take()
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        snapshot: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let entries = self.entries.values().map(|entry| (entry.record.clone(), entry.time));
        let backlog = self.backlog.iter().map(|(_, record, time)| (record.clone(), *time));
        let mut store = OperatorStateStore::<InFlight<T>>::new();
        store.state.records.extend(entries.chain(backlog));
        store.snapshot(snapshot);
        Ok(())
    }

    fn restore(&mut self, restored: RestoredOperator) -> Result<(), OperatorError> {
        let mut store = OperatorStateStore::<InFlight<T>>::new();
        store.restore(&restored).map_err(|error| OperatorError::from_error(&error))?;
        for (record, time) in store.state.records.drain(..) {
            self.take_in(record, time);
        }
        self.begin_calls()
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        // Calls that are under way are cancelled.
        self.entries.clear();
        if completed { told(self.function.close()) } else { Ok(()) }
    }
}
