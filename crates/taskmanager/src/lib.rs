//! The deciding half of the TaskManager. Pure: inputs and the time go in, effects come out.
//!
//! A TaskManager offers slots. It makes itself known to the resource manager, holds slots for the
//! jobs that the resource manager names, offers them to those jobs' masters, and has the tasks of
//! each job run by a child process of its own. It holds no user code.
//!
//! In reading order:
//! - [`config`]: what can be configured, with Flink's keys and defaults;
//! - [`op`]: the work that the shell does for it: starting, killing and talking to children;
//! - [`slot_table`]: who has which slot;
//! - [`child`]: the life of one job process, incarnation by incarnation;
//! - [`job_table`]: the jobs that have something here: their master, their child, their tasks;
//! - [`task_executor`]: the endpoint, a [`Machine`](millstream_rpc::machine::Machine) that joins
//!   the above;
//! - [`mutant`]: planted bugs for the simulator.

pub mod child;
pub mod config;
pub mod job_table;
pub mod mutant;
pub mod op;
pub mod slot_table;
pub mod task_executor;

pub use config::{Leader, TaskExecutorConfig};
pub use op::{ChildEvent, ChildExit, Done, ExitStatus, Op, StartFailure};
pub use task_executor::{TaskExecutor, Timer};
