//! Threads that take turns: each works until its next call of the simulated disk, and who goes on then
//! is drawn. So calls of several processes are interleaved operation by operation, and each interleaving
//! can be played again.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    static ME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Whose turn it is. Clones are the same.
#[derive(Clone, Default)]
pub struct Turns(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// Threads that have not ended.
    live: BTreeSet<usize>,
    /// Those that wait for their turn.
    waiting: BTreeSet<usize>,
    current: Option<usize>,
    /// Draws a number below its argument.
    draw: Option<Box<dyn FnMut(u64) -> u64 + Send>>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turns")
    }
}

impl Turns {
    /// So many threads take turns, numbered from 0; `draw` gives a number below its argument.
    pub fn new(threads: usize, draw: impl FnMut(u64) -> u64 + Send + 'static) -> Self {
        let turns = Self::default();
        let mut state = turns.state();
        state.live = (0..threads).collect();
        state.draw = Some(Box::new(draw));
        drop(state);
        turns
    }

    /// This thread is that one, and waits for its first turn. When this is dropped it has ended.
    pub fn join(&self, number: usize) -> Turn {
        ME.set(Some(number));
        self.wait();
        Turn(self.clone(), number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turn away, and waits until it comes back. A stranger does not wait.
    pub fn wait(&self) {
        let Some(me) = ME.get() else { return };
        let mut state = self.state();
        state.waiting.insert(me);
        state.pass();
        self.0.1.notify_all();
        while state.current != Some(me) {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.current = None;
        state.waiting.remove(&me);
    }
}

impl State {
    /// When all wait, one of them goes on.
    fn pass(&mut self) {
        if self.current.is_none() && self.waiting.len() == self.live.len() && !self.live.is_empty()
        {
            let count = self.waiting.len() as u64;
            let chosen = self.draw.as_mut().map_or(0, |draw| draw(count)) as usize;
            self.current = self.waiting.iter().nth(chosen).copied();
        }
    }
}

/// A thread's part in the turns.
#[derive(Debug)]
pub struct Turn(Turns, usize);

impl Drop for Turn {
    fn drop(&mut self) {
        ME.set(None);
        let mut state = self.0.state();
        state.live.remove(&self.1);
        state.pass();
        drop(state);
        self.0.0.1.notify_all();
    }
}
