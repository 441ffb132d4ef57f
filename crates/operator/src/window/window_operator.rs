//! [`WindowOperator`]: windows of any kind, one record and one key at a time.
//!
//! Per key and window there is a row: what the records were added up to, or where they are, and what the
//! trigger remembers. Where records are kept, each is a row of its own. Windows that merge keep the rows
//! of the first of them: a session that grows with each record changes its name, and moves nothing.
//! Windows on a grid that need none of this are the work of
//! [`PaneOperator`](super::pane_operator::PaneOperator).

use super::assigner::{AnyAssigner, DefaultTrigger};
use super::evictor::AnyEvictor;
use super::late::LateRecords;
use super::pane_operator::{Emit, out_of_range, without_time};
use super::panes::Panes;
use super::progress::Progress;
use super::results::Results;
use super::stateful::WindowStates;
use super::time_window::TimeWindow;
use super::trigger::{AnyTrigger, TriggerContext, TriggerResult, TriggerState, WindowTimers};
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::flat_map::check_surplus;
use crate::key::{KeySelector, find_keys};
use crate::operator::{Flow, Operator};
use crate::process::{FunctionResult, TimeDomain};
use crate::side_output::SideOutputs;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::{MAX_WATERMARK, NO_TIMESTAMP, Timestamp};
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_state::entry_key::EntryKey;
use millstream_state::{KeyedRows, TimerQueue};
use std::collections::VecDeque;

const WINDOWS: &str = "windows";
const ELEMENTS: &str = "window-elements";
const SESSIONS: &str = "window-sessions";
const EVENT: &str = "timers-event";
const PROCESSING: &str = "timers-processing";

/// A call fires at most so many timers before it gives the task a chance to do something else.
const FIRED_MAX: usize = 1_024;

/// With each batch so many rows of the function's state are looked at for what has expired.
const SWEPT: usize = 64;

/// What is kept of the records of a window, and what becomes of it.
pub enum Kept<K, T, V, O> {
    /// What they were added up to.
    Sum {
        /// Adds a record.
        add: Box<dyn Fn(Option<V>, T) -> V>,
        /// Joins windows that merge; absent where none do.
        merge: Option<Box<dyn Fn(V, V) -> V>>,
        /// Makes results.
        emit: Emit<K, V, O>,
    },
    /// All of them.
    All {
        /// Drops some.
        evictor: Option<Box<dyn AnyEvictor<T>>>,
        /// Makes results.
        emit: Emit<K, Vec<T>, O>,
    },
}

/// What windows are and when they fire.
pub struct WindowSpec<T> {
    /// Into which windows a record falls.
    pub assigner: Box<dyn AnyAssigner<T>>,
    /// When they fire.
    pub trigger: Box<dyn AnyTrigger<T>>,
    /// Milliseconds for which a window is kept for late records.
    pub allowed_lateness: i64,
}

/// A row: the sum, the first and the next number of the records, what the trigger remembers.
type Row<V> = (Option<V>, (u64, u64), Vec<u8>);

type WindowName<K> = EntryKey<K, TimeWindow>;
type ElementName<K> = EntryKey<K, (TimeWindow, u64)>;

/// Windows of a key that have begun, and the names under which their rows are kept.
type Sessions = Vec<(TimeWindow, TimeWindow)>;

/// What state the operator has, as the job graph names it; whether it keeps all records, and whether
/// windows merge.
pub fn window_states<K: Key, T: Record, V: Record>(
    keeps_all: bool,
    merges: bool,
) -> Vec<DeclaredState> {
    let keyed = |name, key, value| DeclaredState::keyed(name, key, <()>::schema(), value);
    let mut states = vec![keyed(WINDOWS, WindowName::<K>::schema(), Row::<V>::schema())];
    if keeps_all {
        states.push(keyed(ELEMENTS, ElementName::<K>::schema(), <(Timestamp, T)>::schema()));
    }
    if merges {
        states.push(keyed(SESSIONS, K::schema(), Sessions::schema()));
    }
    states.extend([EVENT, PROCESSING].map(TimerQueue::<K, TimeWindow>::declared));
    states.push(Progress::declared());
    states
}

/// Runs windows of any kind.
pub struct WindowOperator<K, T, V, O> {
    spec: WindowSpec<T>,
    kept: Kept<K, T, V, O>,
    /// Of the function, if it has any.
    states: Option<Box<dyn WindowStates<K>>>,
    late: LateRecords<T>,
    selector: Box<dyn KeySelector<K, T>>,
    windows: KeyedRows<WindowName<K>, Row<V>>,
    elements: KeyedRows<ElementName<K>, (Timestamp, T)>,
    sessions: KeyedRows<K, Sessions>,
    timers: Timers<K>,
    progress: Progress,
    now: Timestamp,
    clock: ProcessingClock,
    max_parallelism: MaxParallelism,
    waiting: VecDeque<Arrived<K, T>>,
    /// The trigger has read what another one wrote.
    misread: Option<OperatorError>,
}

struct Timers<K> {
    event: TimerQueue<K, TimeWindow>,
    processing: TimerQueue<K, TimeWindow>,
}

impl<K: Key> Timers<K> {
    fn of(&mut self, domain: TimeDomain) -> &mut TimerQueue<K, TimeWindow> {
        match domain {
            TimeDomain::EventTime => &mut self.event,
            TimeDomain::ProcessingTime => &mut self.processing,
        }
    }
}

/// A record that waits for its turn.
struct Arrived<K, T> {
    record: T,
    time: Timestamp,
    owner: Owner<K>,
}

/// A key and its hash.
struct Owner<K> {
    hash: u64,
    key: K,
}

impl<K: Key> Owner<K> {
    fn name<N: Key>(&self, entry: N) -> (u64, EntryKey<K, N>) {
        let hash = EntryKey::<K, N>::hash_of(self.hash, &entry);
        (hash, EntryKey { key: self.key.clone(), entry })
    }
}

/// The timers of one window of one key.
struct OwnTimers<'a, K> {
    owner: &'a Owner<K>,
    window: TimeWindow,
    timers: &'a mut Timers<K>,
}

impl<K: Key> WindowTimers for OwnTimers<'_, K> {
    fn register(&mut self, domain: TimeDomain, time: Timestamp) {
        let Owner { hash, key } = self.owner;
        self.timers.of(domain).register(*hash, key, self.window, time);
    }

    fn delete(&mut self, domain: TimeDomain, time: Timestamp) {
        let Owner { hash, key } = self.owner;
        self.timers.of(domain).delete(*hash, key, self.window, time);
    }
}

impl<K: Key, T: Record, V: Record, O: Record> WindowOperator<K, T, V, O> {
    /// Windows of a keyed stream; `late` gets the records that come too late.
    pub fn new(
        spec: WindowSpec<T>,
        kept: Kept<K, T, V, O>,
        selector: Box<dyn KeySelector<K, T>>,
        late: LateRecords<T>,
        context: &TaskContext,
    ) -> Self {
        let backing = context.backing();
        Self {
            spec,
            kept,
            states: None,
            late,
            selector,
            windows: KeyedRows::open(WINDOWS, backing.as_ref()),
            elements: KeyedRows::open(ELEMENTS, backing.as_ref()),
            sessions: KeyedRows::open(SESSIONS, backing.as_ref()),
            timers: Timers {
                event: TimerQueue::open(EVENT, backing.as_ref()),
                processing: TimerQueue::open(PROCESSING, backing.as_ref()),
            },
            progress: Progress::new(context),
            now: 0,
            clock: context.clock.clone(),
            max_parallelism: context.max_parallelism,
            waiting: VecDeque::new(),
            misread: None,
        }
    }

    /// The function has state.
    pub fn with_states(self, states: Option<Box<dyn WindowStates<K>>>) -> Self {
        Self { states, ..self }
    }

    /// The late records.
    pub fn late(&mut self) -> &mut LateRecords<T> {
        &mut self.late
    }

    /// How many windows have begun, how many records are kept, and how many timers are pending.
    pub fn sizes(&mut self) -> (usize, usize, usize) {
        let timers = self.timers.event.len() + self.timers.processing.len();
        (self.windows.count(), self.elements.count(), timers)
    }

    fn is_event_time(&self) -> bool {
        self.spec.assigner.default_trigger() == DefaultTrigger::Time(TimeDomain::EventTime)
    }

    /// Takes a batch over, if none is at hand.
    fn take(&mut self, input: &mut Batch<T>) -> Result<(), OperatorError> {
        if !self.waiting.is_empty() || input.items.is_empty() {
            return Ok(());
        }
        self.find_times(input)?;
        let mut keys = Vec::with_capacity(input.items.len());
        find_keys(self.selector.as_ref(), input, &mut keys)?;
        let owners = keys.into_iter().zip(input.hashes.drain(..));
        let records = input.items.drain(..).zip(input.timestamps.drain(..));
        self.waiting.extend(records.zip(owners).map(|((record, time), (key, hash))| Arrived {
            record,
            time,
            owner: Owner { hash, key },
        }));
        Ok(())
    }

    fn find_times(&self, input: &mut Batch<T>) -> Result<(), OperatorError> {
        match self.spec.assigner.default_trigger() {
            DefaultTrigger::Time(TimeDomain::EventTime) => {
                if input.timestamps.len() != input.items.len() {
                    return Err(without_time());
                }
                match input.timestamps.iter().find(|time| !Panes::holds(**time)) {
                    None => Ok(()),
                    Some(&NO_TIMESTAMP) => Err(without_time()),
                    Some(time) => Err(out_of_range(*time)),
                }
            }
            DefaultTrigger::Time(TimeDomain::ProcessingTime) => {
                input.timestamps.clear();
                input.timestamps.resize(input.items.len(), self.now);
                Ok(())
            }
            DefaultTrigger::Never => {
                input.timestamps.resize(input.items.len(), self.now);
                Ok(())
            }
        }
    }

    /// When a window is forgotten.
    fn cleanup(&self, window: TimeWindow) -> Option<(TimeDomain, Timestamp)> {
        let last = window.max_timestamp();
        match self.spec.assigner.default_trigger() {
            _ if window.is_global() => None,
            DefaultTrigger::Time(TimeDomain::ProcessingTime) => {
                Some((TimeDomain::ProcessingTime, last))
            }
            _ => Some((TimeDomain::EventTime, last.saturating_add(self.spec.allowed_lateness))),
        }
    }

    fn is_late(&self, window: TimeWindow, hash: u64) -> bool {
        match self.cleanup(window) {
            Some((TimeDomain::EventTime, time)) => time <= self.progress.of(hash).watermark,
            _ => false,
        }
    }

    /// A record has its turn.
    fn add(&mut self, arrived: Arrived<K, T>, out: &mut Batch<O>) -> Result<(), OperatorError> {
        let Arrived { record, time, owner } = arrived;
        let mut windows = Vec::new();
        self.spec.assigner.assign(&record, time, &mut windows);
        let (mut taken, mut record) = (false, Some(record));
        for (left, window) in (0..windows.len()).rev().zip(windows) {
            let found = if self.spec.assigner.is_merging() {
                self.merge_in(&owner, window)
            } else {
                (!self.is_late(window, owner.hash)).then_some((window, window))
            };
            if let Some((window, name)) = found {
                taken = true;
                let copy = if left == 0 { record.take() } else { record.clone() };
                let Some(copy) = copy else { break };
                self.add_to(window, name, &owner, copy, time, out)?;
            }
        }
        let due = time.saturating_add(self.spec.allowed_lateness);
        let is_late = self.is_event_time() && due <= self.progress.of(owner.hash).watermark;
        if let Some(record) = record.filter(|_| !taken && is_late) {
            self.late.take(record, time)?;
        }
        Ok(())
    }

    fn add_to(
        &mut self,
        window: TimeWindow,
        name: TimeWindow,
        owner: &Owner<K>,
        record: T,
        time: Timestamp,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let mut row = self.row(owner, name);
        let result = self.ask(owner, window, &mut row, |trigger, ctx| {
            trigger.on_element(&record, time, window, ctx)
        });
        match &self.kept {
            Kept::Sum { add, .. } => row.0 = Some(add(row.0.take(), record)),
            Kept::All { .. } => {
                let (hash, element) = owner.name((name, row.1.1));
                self.elements.put(hash, &element, &(time, record));
                row.1.1 += 1;
            }
        }
        self.settle(owner, window, name, row, result, out)?;
        if let Some((domain, time)) = self.cleanup(window) {
            self.timers.of(domain).register(owner.hash, &owner.key, window, time);
        }
        Ok(())
    }

    fn row(&mut self, owner: &Owner<K>, name: TimeWindow) -> Row<V> {
        let (hash, name) = owner.name(name);
        self.windows.get(hash, &name).unwrap_or((None, (0, 0), Vec::new()))
    }

    /// Keeps a row, or forgets one that says nothing.
    fn put_row(&mut self, owner: &Owner<K>, name: TimeWindow, row: &Row<V>) {
        let (hash, name) = owner.name(name);
        let (sum, (first, next), trigger) = row;
        if sum.is_none() && first == next && trigger.is_empty() {
            self.windows.remove(hash, &name);
        } else {
            self.windows.put(hash, &name, row);
        }
    }

    /// Asks the trigger something about a window.
    fn ask<R>(
        &mut self,
        owner: &Owner<K>,
        window: TimeWindow,
        row: &mut Row<V>,
        question: impl FnOnce(&mut dyn AnyTrigger<T>, &mut TriggerContext<'_>) -> R,
    ) -> R {
        let mut state = TriggerState::of_row(std::mem::take(&mut row.2));
        let mut timers = OwnTimers { owner, window, timers: &mut self.timers };
        let mut ctx = TriggerContext {
            state: &mut state,
            watermark: self.progress.now.watermark,
            now: self.now,
            timers: &mut timers,
        };
        let answer = question(self.spec.trigger.as_mut(), &mut ctx);
        match state.into_row() {
            Ok(state) => row.2 = state,
            Err(error) => self.misread = Some(error),
        }
        answer
    }

    /// The task cannot go on with a trigger that has read what another one wrote.
    fn check_trigger(&mut self) -> Result<(), OperatorError> {
        self.misread.take().map_or(Ok(()), Err)
    }

    /// Does what the trigger has decided.
    fn settle(
        &mut self,
        owner: &Owner<K>,
        window: TimeWindow,
        name: TimeWindow,
        mut row: Row<V>,
        result: TriggerResult,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        self.check_trigger()?;
        if result.fires() {
            let first = out.items.len();
            let fired = self.fire(owner, window, name, &mut row, &mut out.items);
            fired.map_err(|error| OperatorError::from_error(error.as_ref()))?;
            let time = if window.is_global() { None } else { Some(window.max_timestamp()) };
            out.stamp(first, time);
            check_surplus::<O>(out.items.len() - first)?;
            self.late.sides().check()?;
        }
        if result.purges() {
            self.purge(owner, name, &mut row);
        }
        self.put_row(owner, name, &row);
        Ok(())
    }

    fn fire(
        &mut self,
        owner: &Owner<K>,
        window: TimeWindow,
        name: TimeWindow,
        row: &mut Row<V>,
        out: &mut Vec<O>,
    ) -> FunctionResult {
        let key = owner.key.clone();
        let mut elements = match self.kept {
            Kept::Sum { .. } => Vec::new(),
            Kept::All { .. } => self.elements_of(owner, name, row.1),
        };
        let Self { kept, late, progress, clock, .. } = self;
        let watermark = progress.now.watermark;
        let out = &mut Results::of(window, out, late.sides(), watermark, clock);
        let (evictor, emit) = match kept {
            Kept::Sum { emit, .. } => {
                return match &row.0 {
                    Some(sum) => emit(key, window, sum.clone(), out),
                    None => Ok(()),
                };
            }
            Kept::All { evictor, emit } => (evictor, emit),
        };
        if elements.is_empty() {
            return Ok(());
        }
        let Some(evictor) = evictor else {
            return emit(
                key,
                window,
                elements.into_iter().map(|(_, record)| record).collect(),
                out,
            );
        };
        let before = elements.len();
        evictor.evict_before(&mut elements, window);
        let records = elements.iter().map(|(_, record)| record.clone()).collect();
        emit(key, window, records, out)?;
        evictor.evict_after(&mut elements, window);
        if elements.len() != before {
            self.replace_elements(owner, name, row, &elements);
        }
        Ok(())
    }

    fn elements_of(
        &mut self,
        owner: &Owner<K>,
        name: TimeWindow,
        (first, next): (u64, u64),
    ) -> Vec<(Timestamp, T)> {
        let element = |number| {
            let (hash, name) = owner.name((name, number));
            self.elements.get(hash, &name)
        };
        (first..next).filter_map(element).collect()
    }

    fn replace_elements(
        &mut self,
        owner: &Owner<K>,
        name: TimeWindow,
        row: &mut Row<V>,
        elements: &[(Timestamp, T)],
    ) {
        self.drop_elements(owner, name, row.1);
        row.1 = (row.1.1, row.1.1 + elements.len() as u64);
        for (number, element) in (row.1.0..).zip(elements) {
            let (hash, name) = owner.name((name, number));
            self.elements.put(hash, &name, element);
        }
    }

    fn drop_elements(&mut self, owner: &Owner<K>, name: TimeWindow, (first, next): (u64, u64)) {
        for number in first..next {
            let (hash, name) = owner.name((name, number));
            self.elements.remove(hash, &name);
        }
    }

    /// Drops the contents of a window.
    fn purge(&mut self, owner: &Owner<K>, name: TimeWindow, row: &mut Row<V>) {
        self.drop_elements(owner, name, row.1);
        (row.0, row.1) = (None, (0, 0));
    }

    /// Lets a new window become one with those that it overlaps or touches. What it is now and the
    /// name of its rows; nothing, if it is too late.
    fn merge_in(&mut self, owner: &Owner<K>, new: TimeWindow) -> Option<(TimeWindow, TimeWindow)> {
        let sessions = self.sessions.get(owner.hash, &owner.key).unwrap_or_default();
        let (mut merged, mut rest): (Sessions, Sessions) =
            sessions.into_iter().partition(|(window, _)| window.intersects(new));
        let whole = merged.iter().fold(new, |whole, (window, _)| whole.cover(*window));
        if self.is_late(whole, owner.hash) {
            return None;
        }
        merged.sort_unstable();
        let name = match &merged[..] {
            [] => new,
            [(window, name)] if *window == whole => return Some((whole, *name)),
            [(_, name), ..] => *name,
        };
        if !merged.is_empty() {
            self.merge_rows(owner, &merged, whole);
        }
        rest.push((whole, name));
        self.sessions.put(owner.hash, &owner.key, &rest);
        Some((whole, name))
    }

    /// Brings what windows hold together, under the name of the first.
    fn merge_rows(&mut self, owner: &Owner<K>, merged: &Sessions, whole: TimeWindow) {
        let mut states = Vec::with_capacity(merged.len());
        let mut joined: Option<Row<V>> = None;
        for (window, name) in merged {
            let mut row = self.row(owner, *name);
            states.push(TriggerState::of_row(row.2.clone()));
            self.ask(owner, *window, &mut row, |trigger, ctx| trigger.clear(*window, ctx));
            row.2.clear();
            if let Some((domain, time)) = self.cleanup(*window) {
                self.timers.of(domain).delete(owner.hash, &owner.key, *window, time);
            }
            match &mut joined {
                None => joined = Some(row),
                Some(first) => self.join_row(owner, (merged[0].1, first), (*name, row)),
            }
        }
        let Some(mut row) = joined else { return };
        self.ask(owner, whole, &mut row, |trigger, ctx| trigger.on_merge(&states, whole, ctx));
        let misread = states.iter().find_map(|state| state.check().err());
        self.misread = self.misread.take().or(misread);
        self.put_row(owner, merged[0].1, &row);
    }

    /// Moves what a row holds behind what the first holds.
    fn join_row(
        &mut self,
        owner: &Owner<K>,
        (first_name, first): (TimeWindow, &mut Row<V>),
        (name, row): (TimeWindow, Row<V>),
    ) {
        for element in self.elements_of(owner, name, row.1) {
            let (hash, name) = owner.name((first_name, first.1.1));
            self.elements.put(hash, &name, &element);
            first.1.1 += 1;
        }
        self.drop_elements(owner, name, row.1);
        if let Kept::Sum { merge: Some(merge), .. } = &self.kept {
            first.0 = match (first.0.take(), row.0) {
                (Some(sum), Some(other)) => Some(merge(sum, other)),
                (sum, other) => sum.or(other),
            };
        }
        let (hash, name) = owner.name(name);
        self.windows.remove(hash, &name);
    }

    /// A timer has come up.
    fn on_timer(
        &mut self,
        domain: TimeDomain,
        time: Timestamp,
        window: TimeWindow,
        owner: &Owner<K>,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let Some(name) = self.name_of(owner, window) else { return Ok(()) };
        let mut row = self.row(owner, name);
        let result = self.ask(owner, window, &mut row, |trigger, ctx| {
            trigger.on_timer(time, domain, window, ctx)
        });
        self.settle(owner, window, name, row, result, out)?;
        if self.cleanup(window) == Some((domain, time)) {
            self.forget(owner, window, name);
            if let Some(states) = &mut self.states {
                let told = states.forget(owner.hash, &owner.key, window);
                told.map_err(|error| OperatorError::from_error(error.as_ref()))?;
            }
        }
        self.check_trigger()
    }

    fn name_of(&mut self, owner: &Owner<K>, window: TimeWindow) -> Option<TimeWindow> {
        if !self.spec.assigner.is_merging() {
            return Some(window);
        }
        let sessions = self.sessions.get(owner.hash, &owner.key)?;
        sessions.into_iter().find(|(begun, _)| *begun == window).map(|(_, name)| name)
    }

    /// A window is over.
    fn forget(&mut self, owner: &Owner<K>, window: TimeWindow, name: TimeWindow) {
        let mut row = self.row(owner, name);
        self.ask(owner, window, &mut row, |trigger, ctx| trigger.clear(window, ctx));
        self.purge(owner, name, &mut row);
        row.2.clear();
        self.put_row(owner, name, &row);
        if self.spec.assigner.is_merging() {
            let mut sessions = self.sessions.get(owner.hash, &owner.key).unwrap_or_default();
            sessions.retain(|(begun, _)| *begun != window);
            if sessions.is_empty() {
                self.sessions.remove(owner.hash, &owner.key);
            } else {
                self.sessions.put(owner.hash, &owner.key, &sessions);
            }
        }
    }

    /// Fires the timers that are due, as far as there is room.
    fn fire_timers(
        &mut self,
        domain: TimeDomain,
        until: Timestamp,
        out: &mut Batch<O>,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        for _ in 0..FIRED_MAX {
            if out.items.len() >= room || self.late.sides().is_full() {
                break;
            }
            let Some(due) = self.timers.of(domain).pop(until) else { return Ok(Flow::Drained) };
            let owner = Owner { hash: due.hash, key: due.key };
            self.on_timer(domain, due.time, due.namespace, &owner, out)?;
        }
        let more = self.timers.of(domain).next().is_some_and(|time| time <= until);
        Ok(if more { Flow::More } else { Flow::Drained })
    }
}

impl<K: Key, T: Record, V: Record, O: Record> Operator for WindowOperator<K, T, V, O> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<O>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.now = self.clock.now();
        let out = cast::<O>(out);
        if let Some(states) = &mut self.states {
            states.sweep(SWEPT);
        }
        self.take(cast::<T>(input))?;
        while out.items.len() < room && !self.late.sides().is_full() {
            let Some(arrived) = self.waiting.pop_front() else { return Ok(Flow::Drained) };
            self.add(arrived, out)?;
        }
        Ok(if self.waiting.is_empty() { Flow::Drained } else { Flow::More })
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.advance_watermark(MAX_WATERMARK, out, room)
    }

    fn end_keys(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let flow = self.finish(out, room)?;
        if flow == Flow::Drained {
            self.windows.free_memory();
            self.elements.free_memory();
            self.sessions.free_memory();
            self.timers.event.clear();
            self.timers.processing.clear();
            self.progress.begin_anew();
            if let Some(states) = &mut self.states {
                states.begin_anew();
            }
        }
        Ok(flow)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.timers.processing.next().map(|time| time.saturating_add(1))
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.now = now;
        // A millisecond is over when the next begins.
        let until = now.saturating_sub(1);
        self.fire_timers(TimeDomain::ProcessingTime, until, cast::<O>(out), room)
    }

    fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.now = self.clock.now();
        self.progress.now.watermark = self.progress.now.watermark.max(watermark);
        let until = self.progress.now.watermark;
        let flow = self.fire_timers(TimeDomain::EventTime, until, cast::<O>(out), room)?;
        if flow == Flow::Drained {
            self.progress.settle();
        }
        Ok(flow)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        Some(self.late.sides())
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        snapshot: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let (max, base) = (self.max_parallelism, !barrier.kind.is_savepoint());
        snapshot.tables.push(self.windows.freeze(WINDOWS, max, base));
        if matches!(self.kept, Kept::All { .. }) {
            snapshot.tables.push(self.elements.freeze(ELEMENTS, max, base));
        }
        if self.spec.assigner.is_merging() {
            snapshot.tables.push(self.sessions.freeze(SESSIONS, max, base));
        }
        snapshot.tables.push(self.timers.event.freeze(EVENT, max, base));
        snapshot.tables.push(self.timers.processing.freeze(PROCESSING, max, base));
        self.progress.snapshot(snapshot);
        if let Some(states) = &mut self.states {
            states.snapshot(max, base, snapshot);
        }
        Ok(())
    }

    fn restore(&mut self, mut restored: RestoredOperator) -> Result<(), OperatorError> {
        let max = self.max_parallelism;
        let failed = |error| OperatorError::from_error(&error);
        for rows in restored.take_tables(WINDOWS) {
            self.windows.restore(rows, max).map_err(failed)?;
        }
        for rows in restored.take_tables(ELEMENTS) {
            self.elements.restore(rows, max).map_err(failed)?;
        }
        for rows in restored.take_tables(SESSIONS) {
            self.sessions.restore(rows, max).map_err(failed)?;
        }
        self.timers.event.restore(restored.take_tables(EVENT), max).map_err(failed)?;
        self.timers.processing.restore(restored.take_tables(PROCESSING), max).map_err(failed)?;
        if let Some(states) = &mut self.states {
            states.restore(max, &mut restored)?;
        }
        self.progress.restore(&restored)
    }
}
