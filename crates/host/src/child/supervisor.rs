//! Starts children and outlives none of them.
//!
//! One thread named `spawner` forks them all. It lives as long as the [`Supervisor`]: a child's
//! parent, for the kernel's death signal, is the thread that forked it.

use super::error::SpawnError;
use super::exit::ExitReport;
use super::launch::launch;
use super::process::{Child, ChildProcess};
use super::spec::ChildSpec;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Called once when a child has ended and nothing of it is left, on a thread that ends afterwards.
pub type OnExit = Box<dyn FnOnce(ExitReport) + Send>;

/// How long dropping the supervisor waits for killed children. One that hangs in the kernel (a dead
/// NFS server) may take longer.
const DROP_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often orphans are looked for.
const ORPHAN_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The owner of all children of this process. Dropping it kills them, with their groups.
#[derive(Debug)]
pub struct Supervisor {
    registry: Arc<Registry>,
    /// `None` only while it is dropped.
    orders: Option<mpsc::Sender<Order>>,
    spawner: Option<JoinHandle<()>>,
}

enum Order {
    Spawn {
        spec: Box<ChildSpec>,
        on_exit: OnExit,
        reply: mpsc::SyncSender<Result<Child, SpawnError>>,
    },
    SweepOrphans,
}

impl Supervisor {
    /// Starts the spawner thread.
    pub fn start() -> io::Result<Self> {
        let registry = Arc::new(Registry::default());
        let (orders, received) = mpsc::channel();
        let listed = registry.clone();
        let spawner = thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || run_spawner(&received, &listed))?;
        Ok(Supervisor { registry, orders: Some(orders), spawner: Some(spawner) })
    }

    /// Starts a child, and waits until its program runs: usually a few milliseconds, up to a second
    /// if its file is still busy.
    ///
    /// `on_exit` is called exactly once if this succeeds, possibly before it returns, and never if it
    /// fails.
    pub fn spawn(&self, spec: ChildSpec, on_exit: OnExit) -> Result<Child, SpawnError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let order = Order::Spawn { spec: Box::new(spec), on_exit, reply };
        self.order(order).map_err(|_| SpawnError::Stopping)?;
        answer.recv().unwrap_or(Err(SpawnError::Stopping))
    }

    /// How many children have not been reaped yet.
    pub fn children(&self) -> usize {
        self.registry.list().children.len()
    }

    /// If this process is the first of its machine or container, it inherits every process whose
    /// parent ends, and has to reap it: from now on it does, about once a second. Whether that is so.
    ///
    /// A child that other code of this process starts without a supervisor may then lose its status.
    pub fn reap_orphans_if_init(&self) -> bool {
        let is_init = std::process::id() == 1;
        if is_init {
            let _ = self.order(Order::SweepOrphans);
        }
        is_init
    }

    /// Makes this process inherit, and reap, the orphans among its descendants, as if it were the
    /// first process. Linux only.
    pub fn adopt_orphans(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
            let _ = self.order(Order::SweepOrphans);
            Ok(())
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn order(&self, order: Order) -> Result<(), mpsc::SendError<Order>> {
        self.orders.as_ref().expect("it is only taken on drop").send(order)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.registry.kill_all();
        // The list never holds the child whose callback drops us: it left before it called.
        self.registry.wait_until_empty(DROP_WAIT_MAX);
        drop(self.orders.take());
        if let Some(spawner) = self.spawner.take() {
            let _ = spawner.join();
        }
    }
}

/// Runs until the supervisor is dropped.
fn run_spawner(orders: &mpsc::Receiver<Order>, registry: &Arc<Registry>) {
    let mut is_sweeping = false;
    loop {
        let next = if is_sweeping {
            orders.recv_timeout(ORPHAN_SWEEP_INTERVAL)
        } else {
            orders.recv().map_err(RecvTimeoutError::from)
        };
        match next {
            Ok(Order::Spawn { spec, on_exit, reply }) => {
                // A panic in here would end this thread and with it every child.
                let started = catch_unwind(AssertUnwindSafe(|| launch(&spec, registry, on_exit)));
                if let Ok(started) = started {
                    let _ = reply.send(started);
                }
            }
            Ok(Order::SweepOrphans) => is_sweeping = true,
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if is_sweeping {
            registry.reap_orphans();
        }
    }
}

/// Distinguishes children whose process numbers are alike.
pub(super) type Serial = u64;

/// All children that have not been reaped.
#[derive(Debug, Default)]
pub(super) struct Registry {
    list: Mutex<List>,
    became_empty: Condvar,
}

#[derive(Debug, Default)]
struct List {
    children: BTreeMap<Serial, ChildProcess>,
    serial: Serial,
    /// Whoever is added now is killed at once.
    is_stopping: bool,
}

impl Registry {
    pub(super) fn add(&self, process: &ChildProcess) -> Serial {
        let mut list = self.list();
        list.serial += 1;
        let serial = list.serial;
        list.children.insert(serial, process.clone());
        if list.is_stopping {
            process.kill_group();
        }
        serial
    }

    pub(super) fn remove(&self, serial: Serial) {
        let mut list = self.list();
        list.children.remove(&serial);
        if list.children.is_empty() {
            self.became_empty.notify_all();
        }
    }

    fn kill_all(&self) {
        let mut list = self.list();
        list.is_stopping = true;
        list.children.values().for_each(ChildProcess::kill_group);
    }

    fn wait_until_empty(&self, time: Duration) {
        let list = self.list();
        let not_empty = |list: &mut List| !list.children.is_empty();
        let _ = self.became_empty.wait_timeout_while(list, time, not_empty);
    }

    /// Reaps zombies that are our children but were not started by us. Called on the spawner thread,
    /// so no child is between its start and its listing.
    #[cfg(target_os = "linux")]
    fn reap_orphans(&self) {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

        for orphan in crate::process::children_of(std::process::id()) {
            let is_listed = || self.list().children.values().any(|c| c.pid() == orphan.pid);
            if !orphan.is_zombie() || is_listed() {
                continue;
            }
            if let Some(pid) = i32::try_from(orphan.pid).ok().and_then(Pid::from_raw) {
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reap_orphans(&self) {}

    fn list(&self) -> MutexGuard<'_, List> {
        // Each change of the list is a single step.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
