//! The process of one job: how it is started, watched and killed, and what it calls itself.
//!
//! # The parent's side
//!
//! - [`spec`]: what to start;
//! - [`supervisor`]: starts it, on a thread that never ends: the kernel kills a child with SIGKILL
//!   when the *thread* that started it ends, so this thread ends with the supervisor and not before;
//! - [`process`]: one started child; kills it as a group, and never anybody else;
//! - [`exit`]: how it ended.
//!
//! # The child's side
//!
//! - [`inherited`]: the two sockets it was started with, and the thread that ends it when its parent
//!   is gone.
//!
//! # The story of one child
//!
//! 1. The caller's order reaches the thread `spawner`. It makes the working directory, opens the log
//!    files, makes two socket pairs (control, data) and pipes for the output, and starts a thread
//!    `child-monitor`, which waits. Whatever fails here leaves nothing behind.
//! 2. It forks. Between fork and exec the child becomes the leader of a session and group of its
//!    own, asks for SIGKILL when the spawner thread ends, marks every descriptor close-on-exec but
//!    its two sockets, and raises its score with the out-of-memory killer. The caller gets a `Child`
//!    once exec has succeeded.
//! 3. The monitor moves the child's output into its log files and waits for its death (pidfd).
//! 4. The dead leader is not reaped at once: as long as it is a zombie its number is nobody else's,
//!    so its group can be killed safely. Then the rest of the output is read, until its end or for a
//!    short time if somebody who left the group still holds the pipe.
//! 5. The monitor reaps it and makes `kill_group` a no-op in the same critical section, removes the
//!    working directory, calls back with an [`exit::ExitReport`], and ends.
//!
//! If this whole process is killed, the kernel kills each child (the spawner thread ends), and the
//! closed control socket ends it too. Grandchildren in its group die in the second way only:
//! [`inherited::exit_when_closed`] kills its whole group.

mod before_exec;
mod death;
mod error;
pub mod exit;
pub mod inherited;
mod launch;
mod memory_group;
mod monitor;
mod output;
pub mod process;
pub mod spec;
pub mod supervisor;
mod tail;

pub use error::SpawnError;
pub use exit::{ExitReport, ExitStatus};
pub use inherited::{
    control_socket_from_env, data_socket_from_env, exit_when_closed, set_parent_death_signal,
};
pub use process::{Child, ChildProcess};
pub use spec::{ChildSpec, MemoryLimit, OutputSpec, OutputStreams};
pub use supervisor::{OnExit, Supervisor};

/// Names the descriptor of the child's end of the control socket.
pub const CONTROL_FD_VARIABLE: &str = "MILLSTREAM_CONTROL_FD";

/// Names the descriptor of the child's end of the socket on which data connections are handed over.
pub const DATA_FD_VARIABLE: &str = "MILLSTREAM_DATA_FD";

/// Names the process that made the two sockets, so that a grandchild, which inherits the variables
/// but not the sockets, does not take something else for them.
pub const SUPERVISOR_PID_VARIABLE: &str = "MILLSTREAM_SUPERVISOR_PID";
