//! A deterministic simulator of whole clusters. For tests only.
//!
//! The machines are the shipped ones; what is simulated is everything around them: network, clocks,
//! processes, job processes, clients. A run is decided by its seed alone. A failing seed prints its
//! fault plan, the last events, and the command that runs it again.
//!
//! In reading order:
//! - [`plan`]: what goes wrong, drawn from the seed;
//! - [`net`]: the virtual network;
//! - [`world`]: the event queue, processes, the carrying out of faults;
//! - [`host`]: one machine inside a process; [`nodes`]: the processes;
//! - [`cluster`]: ready-made clusters, and what must hold in them;
//! - [`family`]: runs a scenario family over many seeds; [`families`]: what they are;
//! - [`ha`]: leader election over a store, a world of its own;
//! - [`trace`]: what happened; [`mutants`]: planted bugs, and who must find them.

pub mod cluster;
pub mod families;
pub mod family;
pub mod ha;
pub mod host;
pub mod mutants;
pub mod net;
pub mod nodes;
pub mod plan;
pub mod trace;
pub mod world;
