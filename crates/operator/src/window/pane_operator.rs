//! [`PaneOperator`]: windows on a grid whose records are added up as they come.
//!
//! A record is added to the value of its key in its pane, by the batch. There are no timers: all keys of
//! a window fire together, from the list of its panes' rows. A window that is one pane and is not
//! needed any more is taken out of the table as it fires. Any other is joined: the rows of its panes in
//! the order of the hashes of their keys, so that how far it has fired is one number, which goes into
//! the state (see [`progress`](super::progress)), and a barrier may come in between.

use super::late::LateRecords;
use super::panes::Panes;
use super::progress::Progress;
use super::results::Results;
use super::time_window::TimeWindow;
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
use millstream_state::window_table::WindowTable;

/// The name of the state.
const CONTENTS: &str = "window-contents";

/// A call gives out at most so many results before it gives the task a chance to do something else.
const FIRED_MAX: usize = 4_096;

/// Joins to a value what came later.
pub type Merge<V> = Box<dyn Fn(&mut V, V)>;

/// Makes results of the value of a key in a window.
pub type Emit<K, V, O> = Box<dyn FnMut(K, TimeWindow, V, &mut Results<'_, O>) -> FunctionResult>;

/// What the windows are.
#[derive(Clone, Copy, Debug)]
pub struct PaneWindows {
    /// Their grid.
    pub panes: Panes,
    /// What time they speak of.
    pub domain: TimeDomain,
    /// Milliseconds for which a window that has fired is kept for late records.
    pub allowed_lateness: i64,
}

/// What state the operator has, as the job graph names it.
pub fn pane_states<K: Key, V: Record>() -> Vec<DeclaredState> {
    vec![WindowTable::<K, V>::declared(CONTENTS), Progress::declared()]
}

/// Adds up records by key and window.
pub struct PaneOperator<K, T, V, I, F, O> {
    windows: PaneWindows,
    selector: Box<dyn KeySelector<K, T>>,
    init: I,
    add: F,
    /// Absent where each window is a pane.
    merge: Option<Merge<V>>,
    emit: Emit<K, V, O>,
    late: LateRecords<T>,
    table: WindowTable<K, V>,
    progress: Progress,
    firing: Option<Firing>,
    /// How far event time is, whatever time the windows speak of.
    watermark: Timestamp,
    clock: ProcessingClock,
    max_parallelism: MaxParallelism,
    keys: Vec<K>,
    /// The panes of the batch at hand.
    panes: Vec<Timestamp>,
}

/// A window whose panes are being joined.
struct Firing {
    window: TimeWindow,
    /// Hashes and rows, in the order of hashes and of panes.
    rows: Vec<(u64, u32)>,
    next: usize,
}

/// What is known of the pane of the record before.
struct Recent {
    pane: Timestamp,
    end: Timestamp,
    is_late: bool,
    fires_again: bool,
}

/// What a batch asks for.
#[derive(Default)]
struct Found {
    late: bool,
    fires_again: bool,
}

/// In place of a pane: the record is in no window, or too late for all of them.
const NOWHERE: Timestamp = Timestamp::MIN;

impl<K, T, V, I, F, O> PaneOperator<K, T, V, I, F, O>
where
    K: Key,
    T: Record,
    V: Record,
    I: Fn() -> V,
    F: Fn(&mut V, T),
    O: Record,
{
    /// `init` makes the value of a key, `add` adds a record; without `merge` a record is added to each
    /// of its windows.
    pub fn new(
        windows: PaneWindows,
        selector: Box<dyn KeySelector<K, T>>,
        (init, add, merge): (I, F, Option<Merge<V>>),
        emit: Emit<K, V, O>,
        late: LateRecords<T>,
        context: &TaskContext,
    ) -> Self {
        let panes = if merge.is_some() { windows.panes } else { windows.panes.apart() };
        Self {
            windows: PaneWindows { panes, ..windows },
            selector,
            init,
            add,
            merge,
            emit,
            late,
            table: WindowTable::new(),
            progress: Progress::new(context),
            firing: None,
            watermark: Timestamp::MIN,
            clock: context.clock.clone(),
            max_parallelism: context.max_parallelism,
            keys: Vec::new(),
            panes: Vec::new(),
        }
    }

    /// The late records.
    pub fn late(&mut self) -> &mut LateRecords<T> {
        &mut self.late
    }

    /// How many values are kept: one per key and pane.
    pub fn values(&self) -> usize {
        self.table.len()
    }

    fn is_event_time(&self) -> bool {
        self.windows.domain == TimeDomain::EventTime
    }

    /// Finds the pane of each record.
    fn find_panes(&mut self, input: &mut Batch<T>) -> Result<Found, OperatorError> {
        if !self.is_event_time() {
            // A clock that is set back does not open what has fired.
            let now = self.clock.now().max(self.progress.now.watermark.saturating_add(1));
            input.timestamps.clear();
            input.timestamps.resize(input.items.len(), now);
        } else if input.timestamps.len() != input.items.len() {
            return Err(without_time());
        }
        let grid = self.windows.panes;
        let mut found = Found::default();
        let mut recent = Recent { pane: 0, end: 0, is_late: false, fires_again: false };
        self.panes.clear();
        self.panes.reserve(input.items.len());
        for (time, hash) in input.timestamps.iter().zip(&input.hashes) {
            if *time < recent.pane || *time >= recent.end {
                recent = self.look(grid, *time, *hash)?;
            }
            found.late |= recent.is_late;
            found.fires_again |= recent.fires_again;
            self.panes.push(if recent.is_late { NOWHERE } else { recent.pane });
        }
        Ok(found)
    }

    /// Looks where a time falls.
    fn look(&self, grid: Panes, time: Timestamp, hash: u64) -> Result<Recent, OperatorError> {
        if !Panes::holds(time) {
            return Err(if time == NO_TIMESTAMP { without_time() } else { out_of_range(time) });
        }
        let Some(pane) = grid.pane_of(time) else {
            return Ok(Recent { pane: time, end: time, is_late: true, fires_again: false });
        };
        let (is_late, has_fired) = if self.is_event_time() {
            let watermark = self.progress.of(hash).watermark;
            let kept_until = grid.last_end(pane).saturating_add(self.windows.allowed_lateness);
            (kept_until - 1 <= watermark, grid.first_end(pane) - 1 <= watermark)
        } else {
            (false, false)
        };
        // What differs from key to key is not remembered.
        let end = if self.progress.differs() { pane } else { pane + grid.stretch() };
        let fires_again = has_fired && !is_late && self.windows.allowed_lateness > 0;
        Ok(Recent { pane, end, is_late, fires_again })
    }

    /// Takes the late records out of the batch.
    fn divert(&mut self, input: &mut Batch<T>) -> Result<(), OperatorError> {
        let records = std::mem::take(&mut input.items);
        let rest = input.hashes.drain(..).zip(input.timestamps.drain(..)).zip(self.panes.drain(..));
        let rest: Vec<_> = rest.collect();
        for (record, ((hash, time), pane)) in records.into_iter().zip(rest) {
            if pane == NOWHERE {
                let due = time.saturating_add(self.windows.allowed_lateness);
                if due <= self.progress.of(hash).watermark {
                    self.late.take(record, time)?;
                }
                continue;
            }
            input.items.push(record);
            input.hashes.push(hash);
            input.timestamps.push(time);
            self.panes.push(pane);
        }
        Ok(())
    }

    /// Adds records to their panes.
    fn add_all(&mut self, input: &mut Batch<T>) {
        let Self { table, keys, panes, init, add, .. } = self;
        let mut records = input.items.drain(..);
        let mut keys = keys.drain(..);
        table.update_batch(
            &input.hashes,
            panes,
            |_| keys.next().expect("a key per record"),
            &*init,
            |_, value| add(value, records.next().expect("a record per hash")),
        );
    }

    /// Adds records one by one, and fires anew what has fired for their keys.
    fn add_each(&mut self, input: &mut Batch<T>, out: &mut Batch<O>) -> Result<(), OperatorError> {
        let keys = std::mem::take(&mut self.keys);
        let panes = std::mem::take(&mut self.panes);
        let each = keys.into_iter().zip(panes).zip(&input.hashes).zip(input.items.drain(..));
        for (((key, pane), hash), record) in each {
            self.add_one(pane, *hash, &key, record, out)?;
        }
        Ok(())
    }

    fn add_one(
        &mut self,
        pane: Timestamp,
        hash: u64,
        key: &K,
        record: T,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let Self { table, init, add, .. } = self;
        let mut record = Some(record);
        table.update_batch(
            &[hash],
            &[pane],
            |_| key.clone(),
            &*init,
            |_, value| add(value, record.take().expect("one record")),
        );
        let watermark = self.progress.of(hash).watermark;
        let mut end = self.windows.panes.first_end(pane);
        while end <= self.windows.panes.last_end(pane) && end - 1 <= watermark {
            if end.saturating_add(self.windows.allowed_lateness) - 1 > watermark {
                self.fire_one(TimeWindow::new(end - self.windows.panes.size, end), hash, key, out)?;
            }
            end += self.windows.panes.slide;
        }
        Ok(())
    }

    /// Gives what a key has in a window.
    fn fire_one(
        &mut self,
        window: TimeWindow,
        hash: u64,
        key: &K,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let panes = self.panes_of(window);
        let values = panes.into_iter().filter_map(|pane| self.table.get(hash, key, pane));
        let value = values.reduce(|mut value, later| {
            join(&self.merge, &mut value, later);
            value
        });
        let Some(value) = value else { return Ok(()) };
        self.give(key.clone(), window, value, out)
    }

    fn panes_of(&self, window: TimeWindow) -> Vec<Timestamp> {
        if self.windows.panes.are_windows() {
            return vec![window.start];
        }
        self.table.panes(window.start..window.end).collect()
    }

    fn give(
        &mut self,
        key: K,
        window: TimeWindow,
        value: V,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let first = out.items.len();
        let Self { emit, late, watermark, clock, .. } = self;
        let mut results = Results::of(window, &mut out.items, late.sides(), *watermark, clock);
        let result = emit(key, window, value, &mut results);
        result.map_err(|error| OperatorError::from_error(error.as_ref()))?;
        self.late.sides().check()?;
        out.stamp(first, Some(window.max_timestamp()));
        check_surplus::<O>(out.items.len() - first)
    }

    /// The end of the first window that has not fired.
    fn next_end(&self) -> Option<Timestamp> {
        let (panes, fired) = (self.windows.panes, self.progress.now.fired);
        let unfired = self.table.panes(fired.saturating_sub(panes.size)..);
        unfired.filter_map(|pane| panes.end_after(pane, fired)).next()
    }

    /// Fires what is due, as far as there is room.
    fn fire(&mut self, out: &mut Batch<O>, room: usize) -> Result<Flow, OperatorError> {
        let room = room.min(out.items.len() + FIRED_MAX);
        loop {
            if let Some(firing) = self.firing.take() {
                let end = firing.window.end;
                self.go_on(firing, out, room)?;
                if self.firing.is_some() {
                    return Ok(Flow::More);
                }
                self.progress.now.fired = end;
                self.progress.now.partly = None;
            }
            let Some(end) = self.next_end().filter(|end| *end - 1 <= self.progress.now.watermark)
            else {
                break;
            };
            if out.items.len() >= room || self.late.sides().is_full() {
                return Ok(Flow::More);
            }
            let window = TimeWindow::new(end - self.windows.panes.size, end);
            if self.is_taken_out() {
                if self.take_out(window, out, room)? == Flow::More {
                    return Ok(Flow::More);
                }
                self.progress.now.fired = end;
            } else {
                self.firing = Some(self.begin(window));
            }
        }
        self.progress.settle();
        self.expire();
        Ok(Flow::Drained)
    }

    /// Whether a window that fires is not needed any more.
    fn is_taken_out(&self) -> bool {
        self.windows.panes.are_windows() && self.windows.allowed_lateness == 0
    }

    /// Takes the values of a window out of the table.
    fn take_out(
        &mut self,
        window: TimeWindow,
        out: &mut Batch<O>,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let first = out.items.len();
        let Self { table, emit, late, watermark, clock, .. } = self;
        for (key, value) in table.take(window.start, room.saturating_sub(first).max(1)) {
            let mut results = Results::of(window, &mut out.items, late.sides(), *watermark, clock);
            let result = emit(key, window, value, &mut results);
            result.map_err(|error| OperatorError::from_error(error.as_ref()))?;
            check_surplus::<O>(out.items.len() - first)?;
        }
        late.sides().check()?;
        out.stamp(first, Some(window.max_timestamp()));
        let more = table.panes(window.start..=window.start).next().is_some();
        Ok(if more { Flow::More } else { Flow::Drained })
    }

    /// Finds the rows of a window.
    fn begin(&self, window: TimeWindow) -> Firing {
        let panes = self.panes_of(window).into_iter();
        let rows = panes.flat_map(|pane| self.table.rows(pane));
        let mut rows: Vec<(u64, u32)> =
            rows.filter(|(hash, _)| !self.progress.has_fired(window.end, *hash)).collect();
        // Stable: the rows of a key stay in the order of their panes.
        rows.sort_by_key(|(hash, _)| *hash);
        Firing { window, rows, next: 0 }
    }

    /// Gives results of a window; it is put back if there are more.
    fn go_on(
        &mut self,
        mut firing: Firing,
        out: &mut Batch<O>,
        room: usize,
    ) -> Result<(), OperatorError> {
        while let Some((hash, _)) = firing.rows.get(firing.next) {
            if out.items.len() >= room || self.late.sides().is_full() {
                self.progress.now.partly = Some((firing.window.end, *hash));
                self.firing = Some(firing);
                return Ok(());
            }
            let of_hash = firing.rows[firing.next..].iter().take_while(|(other, _)| other == hash);
            let count = of_hash.count();
            let rows = firing.next..firing.next + count;
            firing.next += count;
            self.give_keys(firing.window, &firing.rows[rows], out)?;
        }
        Ok(())
    }

    /// Gives the results of all keys with one hash: hardly ever more than one.
    fn give_keys(
        &mut self,
        window: TimeWindow,
        rows: &[(u64, u32)],
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let mut others: Vec<(u64, u32)> = Vec::new();
        let mut joined: Option<(K, V)> = None;
        for (hash, row) in rows {
            let (key, value) = self.table.row(*row);
            match &mut joined {
                None => joined = Some((key, value)),
                Some((known, sum)) if *known == key => join(&self.merge, sum, value),
                Some(_) => others.push((*hash, *row)),
            }
        }
        if let Some((key, value)) = joined {
            self.give(key, window, value, out)?;
        }
        if others.is_empty() { Ok(()) } else { self.give_keys(window, &others, out) }
    }

    /// Forgets panes that no record can reach and no window needs any more.
    fn expire(&mut self) {
        let (grid, lateness) = (self.windows.panes, self.windows.allowed_lateness);
        let watermark = self.progress.now.watermark;
        let is_over = |pane: Timestamp| {
            grid.last_end(pane).saturating_add(lateness).saturating_sub(1) <= watermark
        };
        loop {
            let first = self.table.panes(..).next();
            let Some(pane) = first.filter(|pane| is_over(*pane)) else { return };
            self.table.remove_pane(pane);
        }
    }
}

fn join<V>(merge: &Option<Merge<V>>, value: &mut V, later: V) {
    let merge = merge.as_ref().expect("windows of several panes have a way to join values");
    merge(value, later);
}

pub(super) fn without_time() -> OperatorError {
    OperatorError::new(
        "records have no time: call `assign_timestamps_and_watermarks` before the window, or use \
         windows in processing time",
    )
}

pub(super) fn out_of_range(time: Timestamp) -> OperatorError {
    OperatorError::new(format!(
        "a record has the time {time}, which is in no window: times are milliseconds since 1970"
    ))
}

impl<K, T, V, I, F, O> Operator for PaneOperator<K, T, V, I, F, O>
where
    K: Key,
    T: Record,
    V: Record,
    I: Fn() -> V,
    F: Fn(&mut V, T),
    O: Record,
{
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<O>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, out) = (cast::<T>(input), cast::<O>(out));
        assert_eq!(input.hashes.len(), input.items.len(), "a keyed stream carries its hashes");
        let found = self.find_panes(input)?;
        if found.late {
            self.divert(input)?;
        }
        find_keys(self.selector.as_ref(), input, &mut self.keys)?;
        if self.windows.panes.overlap() {
            self.add_to_each_window(input, out)?;
        } else if found.fires_again {
            self.add_each(input, out)?;
        } else {
            self.add_all(input);
        }
        input.clear();
        Ok(Flow::Drained)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        self.advance_watermark(MAX_WATERMARK, out, room)
    }

    fn end_keys(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let flow = self.finish(out, room)?;
        if flow == Flow::Drained {
            self.table = WindowTable::new();
            self.progress.begin_anew();
        }
        Ok(flow)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        if self.is_event_time() {
            return None;
        }
        self.firing.as_ref().map(|firing| firing.window.end).or_else(|| self.next_end())
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        if self.is_event_time() {
            return Ok(Flow::Drained);
        }
        self.progress.now.watermark = self.progress.now.watermark.max(now.saturating_sub(1));
        self.fire(cast::<O>(out), room)
    }

    fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.watermark = self.watermark.max(watermark);
        if !self.is_event_time() {
            return Ok(Flow::Drained);
        }
        self.progress.now.watermark = self.progress.now.watermark.max(watermark);
        self.fire(cast::<O>(out), room)
    }

    fn side_outputs(&mut self) -> Option<&mut SideOutputs> {
        Some(self.late.sides())
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        snapshot: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let base = !barrier.kind.is_savepoint();
        snapshot.tables.push(self.table.freeze(CONTENTS, self.max_parallelism, base));
        self.progress.snapshot(snapshot);
        Ok(())
    }

    fn restore(&mut self, mut restored: RestoredOperator) -> Result<(), OperatorError> {
        let tables = restored.take_tables(CONTENTS);
        let result = self.table.restore(tables, self.max_parallelism);
        result.map_err(|error| OperatorError::from_error(&error))?;
        self.progress.restore(&restored)
    }
}

impl<K, T, V, I, F, O> PaneOperator<K, T, V, I, F, O>
where
    K: Key,
    T: Record,
    V: Record,
    I: Fn() -> V,
    F: Fn(&mut V, T),
    O: Record,
{
    /// Values that cannot be joined: a record is added to each of its windows.
    fn add_to_each_window(
        &mut self,
        input: &mut Batch<T>,
        out: &mut Batch<O>,
    ) -> Result<(), OperatorError> {
        let keys = std::mem::take(&mut self.keys);
        let mut windows = Vec::new();
        let records = input.items.drain(..).zip(&input.timestamps);
        for ((key, hash), (record, time)) in keys.into_iter().zip(&input.hashes).zip(records) {
            windows.clear();
            self.windows.panes.windows_of(*time, &mut windows);
            let watermark = self.progress.of(*hash).watermark;
            for window in &windows {
                let kept_until = window.end.saturating_add(self.windows.allowed_lateness);
                if !self.is_event_time() || kept_until - 1 > watermark {
                    self.add_one(window.start, *hash, &key, record.clone(), out)?;
                }
            }
        }
        Ok(())
    }
}
