//! Real processes: a cluster is started, used, hurt and stopped.
//!
//! - `harness`: a cluster of its own for each test, in a directory of its own;
//! - `ha`: JobManagers that die, and the jobs that do not;
//! - `ledger`: what must be counted once, whatever happens;
//! - `local_state`: what workers keep of their tasks' state for themselves;
//! - `s3`: the same with all that is kept in an object store;
//! - `backend`: what the cluster says of where state is;
//! - `unaligned`: the same with barriers that overtake records;
//! - `storm`: all of that together, on a `disk` that fails;
//! - `upgrade`: versions of a program, and what one wrote for another to read;
//! - `stages`: what batch jobs keep on disks, and what of it is made again;
//! - `runs`: what works; `faults`: what must end well although something went wrong.

mod backend;
mod disk;
mod faults;
mod ha;
mod harness;
mod ledger;
mod local_state;
mod runs;
#[cfg(feature = "object-store")]
mod s3;
mod stages;
mod storm;
mod unaligned;
mod upgrade;
