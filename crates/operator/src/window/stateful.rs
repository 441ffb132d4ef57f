//! [`StatefulWindowFunction`]: what a user writes to make results of a whole window and to remember
//! something from one firing to the next, per window or per key; and its state, as the operator drives it.

use super::pane_operator::Emit;
use super::results::Results;
use super::time_window::TimeWindow;
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::process::FunctionResult;
use crate::side_output::OutputTag;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use millstream_core::{Key, OperatorError, Record};
use millstream_state::KeyedState;
use millstream_state::entry_key::EntryKey;
use millstream_state::keyed_state::KeyedStateStore;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// What the names of its states begin with in snapshots: those of windows, and those of keys.
const OF_WINDOW: &str = "window-state/";
const OF_KEY: &str = "global-state/";

/// Makes results of what a window of a key holds, as a
/// [`ProcessWindowFunction`](super::ProcessWindowFunction) does, and has state: per window and key, for
/// windows that fire more than once, and per key, for all of its windows.
///
/// An example is in `docs/event-time.md`.
pub trait StatefulWindowFunction<K: Key, V>: Clone + Send + 'static {
    /// What each window of a key has: a struct with `#[derive(KeyedState)]`, or `()`. It is forgotten with
    /// the window. Windows that merge have none.
    type WindowState: KeyedState;

    /// What each key has, through all of its windows; it is never forgotten by itself.
    type GlobalState: KeyedState;

    /// What it gives.
    type Out: Record;

    /// Before the first window of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A window fires.
    fn process(
        &mut self,
        value: V,
        ctx: &mut StatefulWindowContext<'_, K, Self::WindowState, Self::GlobalState, Self::Out>,
    ) -> FunctionResult;

    /// A window is over: its time and that for late records have passed. What it has is forgotten after
    /// this. A trigger that purges drops what a window holds, but does not end it.
    fn clear(
        &mut self,
        _window: EndedWindow<'_, K, Self::WindowState, Self::GlobalState>,
    ) -> FunctionResult {
        Ok(())
    }
}

/// The key, the window and the state of a call.
pub struct StatefulWindowContext<'a, K, W, G, O> {
    /// The state of this window of the key.
    pub window_state: &'a mut W,
    /// The state of the key.
    pub global_state: &'a mut G,
    key: &'a K,
    window: TimeWindow,
    out: Results<'a, O>,
}

impl<K, W, G, O> StatefulWindowContext<'_, K, W, G, O> {
    /// Whose window it is.
    pub fn key(&self) -> &K {
        self.key
    }

    /// Which window it is.
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// Gives a result out. Its time is the last millisecond of the window.
    pub fn emit(&mut self, result: O) {
        self.out.push(result);
    }

    /// Gives a record out under a tag, with the same time: to whoever reads `stream.side_output(&tag)`.
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.out.output(tag, record);
    }

    /// No record at or before this time is to come; `Timestamp::MIN` if nothing is known yet.
    pub fn current_watermark(&self) -> Timestamp {
        self.out.watermark()
    }

    /// The time of the machine.
    pub fn processing_time(&self) -> Timestamp {
        self.out.processing_time()
    }
}

/// A window that is over.
pub struct EndedWindow<'a, K, W, G> {
    /// Whose window it was.
    pub key: &'a K,
    /// Which window it was.
    pub window: TimeWindow,
    /// The last that is seen of its state.
    pub window_state: &'a mut W,
    /// The state of the key, which stays.
    pub global_state: &'a mut G,
}

/// The state of windows, as their operator drives it.
pub trait WindowStates<K> {
    /// A window is over.
    fn forget(&mut self, hash: u64, key: &K, window: TimeWindow) -> FunctionResult;

    /// Looks at up to so many rows of each table, and removes what has expired.
    fn sweep(&mut self, limit: usize);

    /// No record of the keys so far is to come.
    fn begin_anew(&mut self);

    /// Hands over all state as it is now.
    fn snapshot(&mut self, max: MaxParallelism, base: bool, snapshot: &mut OperatorSnapshot);

    /// Takes over what snapshots hold.
    fn restore(
        &mut self,
        max: MaxParallelism,
        restored: &mut RestoredOperator,
    ) -> Result<(), OperatorError>;
}

/// A function with its state. It is called from where results are made, and driven by the operator.
pub struct StatefulWindows<K: Key, V, F: StatefulWindowFunction<K, V>>(
    Rc<RefCell<Running<K, V, F>>>,
);

struct Running<K: Key, V, F: StatefulWindowFunction<K, V>> {
    function: F,
    of_window: KeyedStateStore<EntryKey<K, TimeWindow>, F::WindowState>,
    of_key: KeyedStateStore<K, F::GlobalState>,
    clock: ProcessingClock,
    /// Whether the state is there.
    on_heap: bool,
    _value: PhantomData<fn(V)>,
}

impl<K: Key, V: 'static, F: StatefulWindowFunction<K, V>> StatefulWindows<K, V, F> {
    /// Opens the function.
    pub fn new(function: &F, context: &TaskContext) -> Result<Self, OperatorError> {
        let mut function = function.clone();
        let opened = function.open(context);
        opened.map_err(|error| OperatorError::from_error(error.as_ref()))?;
        Ok(Self(Rc::new(RefCell::new(Running {
            function,
            of_window: KeyedStateStore::open(context.backing()),
            of_key: KeyedStateStore::open(context.backing()),
            clock: context.clock.clone(),
            on_heap: context.state_backend.is_none(),
            _value: PhantomData,
        }))))
    }

    /// Whether windows have state, and not only keys.
    pub fn have_own_state() -> bool {
        F::WindowState::HAS_ROW || F::WindowState::HAS_TABLES
    }

    /// What state it has, as the job graph names it.
    pub fn states() -> Vec<DeclaredState> {
        let of_window = KeyedStateStore::<EntryKey<K, TimeWindow>, F::WindowState>::new().states();
        let of_key = KeyedStateStore::<K, F::GlobalState>::new().states();
        let under = |prefix, states: Vec<DeclaredState>| {
            states.into_iter().map(move |state| DeclaredState {
                name: format!("{prefix}{}", state.name),
                aliases: state.aliases.iter().map(|name| format!("{prefix}{name}")).collect(),
                ..state
            })
        };
        under(OF_WINDOW, of_window).chain(under(OF_KEY, of_key)).collect()
    }

    /// Makes results.
    pub fn emit(&self) -> Emit<K, V, F::Out> {
        let running = self.0.clone();
        Box::new(move |key, window, value, out| {
            let Running { function, of_window, of_key, clock, .. } = &mut *running.borrow_mut();
            let (hash, now) = (key.hash64(), clock.now());
            let window_hash = EntryKey::<K, TimeWindow>::hash_of(hash, &window);
            let name = EntryKey { key: key.clone(), entry: window };
            of_window.one(window_hash, &name, now, |window_state, _| {
                of_key.one(hash, &key, now, |global_state, _| {
                    let (key, out) = (&key, out.again());
                    let mut ctx =
                        StatefulWindowContext { window_state, global_state, key, window, out };
                    function.process(value, &mut ctx)
                })
            })
        })
    }

    /// For the operator.
    pub fn boxed(&self) -> Box<dyn WindowStates<K>> {
        Box::new(Self(self.0.clone()))
    }

    /// How many windows have values, and how many keys. A backend has to count them.
    pub fn rows(&self) -> (usize, usize) {
        let running = &mut *self.0.borrow_mut();
        (running.of_window.rows(), running.of_key.rows())
    }
}

impl<K: Key, V: 'static, F: StatefulWindowFunction<K, V>> WindowStates<K>
    for StatefulWindows<K, V, F>
{
    fn forget(&mut self, hash: u64, key: &K, window: TimeWindow) -> FunctionResult {
        let Running { function, of_window, of_key, clock, .. } = &mut *self.0.borrow_mut();
        let now = clock.now();
        let window_hash = EntryKey::<K, TimeWindow>::hash_of(hash, &window);
        let name = EntryKey { key: key.clone(), entry: window };
        of_window.one(window_hash, &name, now, |window_state, cleared| {
            let told = of_key.one(hash, key, now, |global_state, _| {
                let window_state = &mut *window_state;
                function.clear(EndedWindow { key, window, window_state, global_state })
            });
            cleared.clear(window_state);
            told
        })
    }

    fn sweep(&mut self, limit: usize) {
        let running = &mut *self.0.borrow_mut();
        let now = running.clock.now();
        running.of_window.sweep(now, limit);
        running.of_key.sweep(now, limit);
    }

    fn begin_anew(&mut self) {
        let running = &mut *self.0.borrow_mut();
        // What lies on disk is in nobody's way.
        if running.on_heap {
            running.of_window = KeyedStateStore::new();
            running.of_key = KeyedStateStore::new();
        }
    }

    fn snapshot(&mut self, max: MaxParallelism, base: bool, snapshot: &mut OperatorSnapshot) {
        let running = &mut *self.0.borrow_mut();
        let mut add = |prefix: &str, take: &mut dyn FnMut(&mut OperatorSnapshot)| {
            let first = snapshot.tables.len();
            take(snapshot);
            for table in &mut snapshot.tables[first..] {
                table.name.insert_str(0, prefix);
            }
        };
        add(OF_WINDOW, &mut |snapshot| running.of_window.snapshot(max, base, snapshot));
        add(OF_KEY, &mut |snapshot| running.of_key.snapshot(max, base, snapshot));
    }

    fn restore(
        &mut self,
        max: MaxParallelism,
        restored: &mut RestoredOperator,
    ) -> Result<(), OperatorError> {
        let running = &mut *self.0.borrow_mut();
        let failed = |error| OperatorError::from_error(&error);
        running.of_window.restore(max, &mut taken(OF_WINDOW, restored)).map_err(failed)?;
        running.of_key.restore(max, &mut taken(OF_KEY, restored)).map_err(failed)
    }
}

/// The tables whose names begin so, without that.
fn taken(prefix: &str, restored: &mut RestoredOperator) -> RestoredOperator {
    let mut tables: Vec<_> =
        restored.tables.extract_if(.., |table| table.name.starts_with(prefix)).collect();
    for table in &mut tables {
        table.name.drain(..prefix.len());
    }
    RestoredOperator { tables, lists: Vec::new() }
}
