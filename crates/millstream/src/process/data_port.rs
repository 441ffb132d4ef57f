//! The data port of a TaskManager: it listens, reads the preface of a connection, and hands the
//! socket to the job process that is meant. No byte of data passes through here.

use millstream_core::ids::JobId;
use millstream_host::descriptor;
use millstream_shuffle::wire::Preface;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a connection waits for its job process to come.
const CHILD_WAIT: Duration = Duration::from_secs(10);

/// How long a connection may take to say what it is for.
const PREFACE_WAIT: Duration = Duration::from_secs(10);

/// Connections that may wait at once.
const WAITING_MAX: usize = 256;

/// The job processes that take connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct DataTargets(Arc<Targets>);

#[derive(Default)]
struct Targets {
    children: Mutex<BTreeMap<JobId, (u64, Arc<UnixStream>)>>,
    changed: Condvar,
    waiting: Mutex<usize>,
}

impl DataTargets {
    /// A job's process takes connections from now on.
    pub fn insert(&self, job: JobId, incarnation: u64, data: UnixStream) {
        self.lock().insert(job, (incarnation, Arc::new(data)));
        self.0.changed.notify_all();
    }

    /// The job has no process here any more.
    pub fn remove(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// This process of the job has ended; a newer one stays.
    pub fn remove_incarnation(&self, job: JobId, incarnation: u64) {
        let mut children = self.lock();
        if children.get(&job).is_some_and(|(current, _)| *current == incarnation) {
            children.remove(&job);
        }
    }

    /// The job's process, if it comes in time.
    fn wait_for(&self, job: JobId) -> Option<Arc<UnixStream>> {
        let deadline = Instant::now() + CHILD_WAIT;
        let mut children = self.lock();
        loop {
            if let Some((_, data)) = children.get(&job) {
                return Some(data.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let (guard, _) = self.0.changed.wait_timeout(children, left).expect(UNPOISONED);
            children = guard;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, (u64, Arc<UnixStream>)>> {
        self.0.children.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "no code of others runs under this lock";

/// Listens on `bind`; the address that was bound. The thread lives as long as the process.
pub fn start_data_port(bind: &str, targets: DataTargets) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(bind)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("data-port".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => begin_hand_over(stream, &targets),
                // Out of descriptors, or the peer was faster: others may still come.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    })?;
    Ok(address)
}

/// On a thread of its own, because the preface and the job process may be long in coming.
fn begin_hand_over(stream: TcpStream, targets: &DataTargets) {
    {
        let mut waiting = targets.0.waiting.lock().expect(UNPOISONED);
        if *waiting >= WAITING_MAX {
            return;
        }
        *waiting += 1;
    }
    let handing = targets.clone();
    let builder = std::thread::Builder::new().name("data-hand-over".to_owned());
    let spawned = builder.spawn(move || {
        // Whoever dialled sees the connection close, and dials again.
        let _ = hand_over(stream, &handing);
        *handing.0.waiting.lock().expect(UNPOISONED) -= 1;
    });
    if spawned.is_err() {
        *targets.0.waiting.lock().expect(UNPOISONED) -= 1;
    }
}

fn hand_over(mut stream: TcpStream, targets: &DataTargets) -> std::io::Result<()> {
    let preface = Preface::read(&mut stream, PREFACE_WAIT)?;
    let Some(child) = targets.wait_for(preface.job) else { return Ok(()) };
    descriptor::send_stream(&child, &stream, &preface.encode()).map_err(std::io::Error::other)
}
