//! What must hold whatever keeps the state. Whoever includes this says which backend: `backing`.

mod keyed_state;
mod model;
mod savepoints;
mod timers;

use super::backing;
