//! The loop that drives one machine: an input goes in, its effects are performed in order.

use super::system::{Envelope, Mailbox, RpcSystem, random_u128};
use crate::machine::{AskId, Cx, Effect, Input, Machine, OpId, Rng};
use crate::protocol::EndpointName;
use millstream_core::time::{Mono, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Inputs that may wait for one machine.
const INBOX_MAX: usize = 4096;

/// The origin of [`Mono`] in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Monotonic time of this process.
pub fn mono_now() -> Mono {
    Mono(ORIGIN.elapsed().as_millis() as u64)
}

/// Wall-clock time, for display.
pub fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as Timestamp)
}

/// Performs the work that a machine wants done. Must not block; what takes long is done elsewhere
/// and its result is given to the handle.
pub trait Performer<M: Machine>: Send + 'static {
    /// Begins the work `what`; [`EndpointHandle::done`] is called with `op` when it is done.
    fn perform(&mut self, op: OpId, what: M::Op, endpoint: &EndpointHandle<M>);

    /// The machine has stopped.
    fn stopped(&mut self) {}

    /// The machine says that the process must end.
    fn fatal(&mut self, reason: String);
}

type InputOf<M> = Input<<M as Machine>::Timer, <M as Machine>::Done>;

/// A handle on a running machine. Cheap to clone.
pub struct EndpointHandle<M: Machine> {
    inbox: mpsc::Sender<InputOf<M>>,
}

impl<M: Machine> Clone for EndpointHandle<M> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone() }
    }
}

impl<M: Machine> EndpointHandle<M>
where
    M::Timer: Send + 'static,
    M::Done: Send + 'static,
{
    /// Work is done. Must not be called on a thread of the async runtime if the inbox may be full.
    pub fn done(&self, op: OpId, result: M::Done) {
        self.put(Input::Done { op, result });
    }

    /// Asks the machine to end.
    pub fn stop(&self) {
        self.put(Input::Stop);
    }

    /// Puts an input in: at once if there is room, else as soon as there is.
    fn put(&self, input: InputOf<M>) {
        if let Err(mpsc::error::TrySendError::Full(input)) = self.inbox.try_send(input) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let inbox = self.inbox.clone();
                    runtime.spawn(async move { inbox.send(input).await });
                }
                // A thread of our own may wait.
                Err(_) => drop(self.inbox.blocking_send(input)),
            }
        }
    }

    /// Waits until the machine has stopped.
    pub async fn stopped(&self) {
        self.inbox.closed().await;
    }

    /// Whether the machine has stopped.
    pub fn is_stopped(&self) -> bool {
        self.inbox.is_closed()
    }
}

impl<M: Machine> Mailbox for EndpointHandle<M>
where
    M::Timer: Send + 'static,
    M::Done: Send + 'static,
{
    fn deliver(&self, envelope: Envelope) -> bool {
        let Envelope { token, message, reply } = envelope;
        self.inbox.try_send(Input::Message { token, message, reply }).is_ok()
    }

    fn peer_lost(&self, process: &str, reason: &str) {
        self.put(Input::PeerLost { process: process.to_owned(), reason: reason.to_owned() });
    }
}

/// Starts a machine as an endpoint of the system. It gets [`Input::Start`] first.
pub fn spawn_endpoint<M>(
    system: &RpcSystem,
    name: EndpointName,
    machine: M,
    make_performer: impl FnOnce(&EndpointHandle<M>) -> Box<dyn Performer<M>>,
) -> EndpointHandle<M>
where
    M: Machine + Send + 'static,
    M::Timer: Send + 'static,
    M::Op: Send + 'static,
    M::Done: Send + 'static,
{
    let (send, inbox) = mpsc::channel(INBOX_MAX);
    let handle = EndpointHandle { inbox: send };
    let performer = make_performer(&handle);
    system.register(name, Arc::new(handle.clone()));
    let endpoint = Endpoint {
        system: system.clone(),
        name,
        machine,
        performer,
        handle: handle.clone(),
        timers: BTreeMap::new(),
        rng: Rng::new(random_u128() as u64),
        effects: Vec::new(),
    };
    tokio::spawn(endpoint.run(inbox));
    handle
}

struct Endpoint<M: Machine> {
    system: RpcSystem,
    name: EndpointName,
    machine: M,
    performer: Box<dyn Performer<M>>,
    handle: EndpointHandle<M>,
    timers: BTreeMap<M::Timer, Mono>,
    rng: Rng,
    effects: Vec<Effect<M::Timer, M::Op>>,
}

impl<M> Endpoint<M>
where
    M: Machine + Send + 'static,
    M::Timer: Send + 'static,
    M::Op: Send + 'static,
    M::Done: Send + 'static,
{
    async fn run(mut self, mut inbox: mpsc::Receiver<InputOf<M>>) {
        let mut input = Some(Input::Start);
        while let Some(next) = input {
            if !self.step(next) {
                break;
            }
            input = self.next(&mut inbox).await;
        }
        self.system.unregister(self.name);
        self.performer.stopped();
    }

    async fn next(&mut self, inbox: &mut mpsc::Receiver<InputOf<M>>) -> Option<InputOf<M>> {
        let due = self.timers.iter().min_by_key(|(_, at)| **at).map(|(t, at)| (t.clone(), *at));
        let Some((timer, at)) = due else { return inbox.recv().await };
        let wait = Duration::from_millis(at.since(mono_now()));
        tokio::select! {
            biased;
            input = inbox.recv() => input,
            () = tokio::time::sleep(wait) => {
                self.timers.remove(&timer);
                Some(Input::Timer(timer))
            }
        }
    }

    /// Takes one input; whether the machine goes on.
    fn step(&mut self, input: InputOf<M>) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        let mut cx =
            Cx { now: mono_now(), wall: wall_now(), rng: &mut self.rng, out: &mut effects };
        self.machine.step(&mut cx, input);
        self.machine.check();
        let mut alive = true;
        for effect in effects.drain(..) {
            alive &= self.perform(effect);
        }
        self.effects = effects;
        alive
    }

    fn perform(&mut self, effect: Effect<M::Timer, M::Op>) -> bool {
        match effect {
            Effect::Tell { to, token, message } => self.system.tell(&to, token, message),
            Effect::Ask { ask, to, token, message, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                let answer = self.system.begin_ask(&to, token, message, timeout);
                self.await_answer(ask, answer);
            }
            Effect::Reply { to, answer } => self.system.reply(&to, answer),
            Effect::SetTimer { timer, at } => drop(self.timers.insert(timer, at)),
            Effect::ClearTimer { timer } => drop(self.timers.remove(&timer)),
            Effect::Op { op, what } => self.performer.perform(op, what, &self.handle),
            Effect::Stopped => return false,
            Effect::Fatal(reason) => {
                self.performer.fatal(reason);
                return false;
            }
        }
        true
    }

    fn await_answer(
        &self,
        ask: AskId,
        answer: impl Future<Output = Result<crate::protocol::Answer, crate::protocol::AskError>>
        + Send
        + 'static,
    ) {
        let inbox = self.handle.inbox.clone();
        tokio::spawn(async move {
            let result = answer.await;
            // A machine that has stopped needs no answer.
            let _ = inbox.send(Input::Answered { ask, result }).await;
        });
    }
}
