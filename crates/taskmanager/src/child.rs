//! The life of one job process, incarnation by incarnation. Pure.
//!
//! ```text
//! Absent -> Starting -> Linked -> Ready -> Dismissed -> Absent
//!              \___________\________\__________\-> Killed -> Absent
//! ```
//!
//! - Starting: asked for, nothing heard yet. Linked: it said hello in a version that we speak and was
//!   told what to be. Ready: it takes tasks.
//! - What is for a child that is not ready yet waits in a queue and goes out when it is. What comes
//!   while the present incarnation is being killed or dismissed waits for the next one, which is
//!   started when the present one has ended: a killed child is never used again.
//! - The end of an incarnation, however it comes, is one [`Action::Lost`]: its owner fails all
//!   attempts that belong to it, at once and with the same words.
//! - Without slots of its job the child lingers, then it is dismissed; at once when the job has ended
//!   for good, for nothing can come back to it.
//!
//! The attempts themselves are not in here; they are the [`job_table`](crate::job_table)'s.

use crate::config::ChildConfig;
use crate::mutant;
use crate::op::{ChildExit, ExitStatus, StartFailure};
use millstream_core::hash::xxh3_64;
use millstream_core::ids::{ExecutionAttemptId, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::protocol::job_link::{
    JOB_LINK_VERSION, JOB_LINK_VERSION_MIN, JobInformation, ToJobProcess,
};
use millstream_rpc::protocol::job_master::{TaskFailure, TaskFailureKind};

/// What a child's owner must do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Have this incarnation started.
    Start {
        /// Which.
        incarnation: u64,
        /// What it is to be.
        information: Box<JobInformation>,
    },
    /// Tell this incarnation.
    Send {
        /// Which.
        incarnation: u64,
        /// What.
        message: ToJobProcess,
    },
    /// Have this incarnation killed.
    Kill {
        /// Which.
        incarnation: u64,
        /// Why.
        reason: String,
    },
    /// Wake this incarnation then.
    SetTimer(ChildTimer, Mono),
    /// Do not wake it for this.
    ClearTimer(ChildTimer),
    /// The incarnation is no more, and with it all its attempts.
    Lost(ChildLoss),
}

/// The end of an incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildLoss {
    /// Which.
    pub incarnation: u64,
    /// Why its attempts have failed.
    pub failure: TaskFailure,
    /// Its threads may still run, because it could not be killed: even attempts that were being
    /// cancelled have to say so.
    pub leaked: bool,
}

/// A timer of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildTimer {
    /// Which.
    pub incarnation: u64,
    /// What runs out.
    pub kind: ChildTimerKind,
}

/// What can run out for a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildTimerKind {
    /// It should be ready by now.
    Start,
    /// No slot of its job has come back.
    Linger,
    /// It was dismissed and should have ended.
    Dismiss,
    /// It was killed and should have ended.
    Kill,
}

/// The signal with which we kill.
const KILL: &str = "SIGKILL";

/// One job's process on this worker.
#[derive(Debug)]
pub struct Child {
    /// How patient we are. Never changes.
    config: ChildConfig,
    /// Told to each incarnation. Never changes.
    resource: ResourceId,
    /// Counts the starts; the number of the present one, or of the last.
    incarnation: u64,
    /// How the present one stands.
    state: State,
    /// What it is to be, from the last deployment: the next incarnation is started with it.
    information: Option<Box<JobInformation>>,
    /// Waits until a child is ready: the present one, or the next if this one is ending.
    queue: Vec<ToJobProcess>,
    /// No slot of the job is here: the linger timer runs, or will once the child is up.
    idle: bool,
    /// The job has ended for good: there is nothing to linger for.
    retired: bool,
    /// How much memory the present incarnation has, as was told last.
    memory: u64,
    /// The process's number on its machine, for messages.
    pid: Option<u32>,
    /// The present incarnation is being killed because its link broke, maybe because it was dying.
    link_is_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Starting,
    Linked,
    Ready,
    Dismissed,
    Killed(TaskFailure),
}

impl Child {
    /// No process yet.
    pub fn new(config: ChildConfig, resource: ResourceId) -> Self {
        Self {
            config,
            resource,
            incarnation: 0,
            state: State::Absent,
            information: None,
            queue: Vec::new(),
            idle: false,
            retired: false,
            memory: 0,
            pid: None,
            link_is_lost: false,
        }
    }

    /// No process is there and none is wanted.
    pub fn is_absent(&self) -> bool {
        self.state == State::Absent
    }

    /// The present incarnation, if it is not at its end: what it says counts.
    pub fn is_current(&self, incarnation: u64) -> bool {
        if mutant::on("old_incarnation_event_accepted") {
            return true;
        }
        incarnation == self.incarnation && self.state != State::Absent
    }

    /// The incarnation that gets what is delivered now.
    pub fn target(&self) -> u64 {
        match self.state {
            State::Absent | State::Dismissed => self.incarnation + 1,
            State::Killed(_) if !mutant::on("reuse_child_after_kill") => self.incarnation + 1,
            _ => self.incarnation,
        }
    }

    /// Whether attempts of this incarnation may be alive: it is the present or the next one.
    pub fn may_hold_tasks(&self, incarnation: u64) -> bool {
        let present = self.state != State::Absent && self.state != State::Dismissed;
        (present && incarnation == self.incarnation)
            || (incarnation == self.incarnation + 1 && self.target() == incarnation)
    }

    /// Says something to the child, which is started for it if need be; the incarnation that gets it.
    pub fn deliver(
        &mut self,
        message: ToJobProcess,
        information: &JobInformation,
        now: Mono,
        out: &mut Vec<Action>,
    ) -> u64 {
        if self.target() > self.incarnation {
            self.information = Some(Box::new(information.clone()));
        }
        if self.is_absent() {
            self.start(now, out);
        }
        self.say(message, out)
    }

    /// Says something to a child that was started before; the incarnation that gets it.
    pub fn say(&mut self, message: ToJobProcess, out: &mut Vec<Action>) -> u64 {
        let incarnation = self.incarnation;
        let reuse = mutant::on("reuse_child_after_kill") && matches!(self.state, State::Killed(_));
        if self.state == State::Ready || reuse {
            out.push(Action::Send { incarnation, message });
        } else {
            self.queue.push(message);
        }
        self.target()
    }

    /// Takes back what waits for the attempt; false if its deployment has already gone out.
    pub fn withdraw(&mut self, attempt: &ExecutionAttemptId) -> bool {
        let before = self.queue.len();
        self.queue.retain(|message| match message {
            ToJobProcess::Deploy(descriptor) => descriptor.attempt != *attempt,
            _ => true,
        });
        let withdrawn = self.queue.len() < before;
        self.queue.retain(|message| match message {
            ToJobProcess::UpdatePartitions { attempt: of, .. } => of != attempt,
            _ => true,
        });
        withdrawn
    }

    /// No slot of the job is left: the child lingers.
    pub fn become_idle(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.idle = true;
        if self.retired && !mutant::on("linger_after_the_end") {
            self.leave(now, out);
        } else if self.is_up() {
            let linger = self.timer(ChildTimerKind::Linger);
            out.push(Action::SetTimer(linger, now + self.config.linger_ms));
        }
    }

    /// A slot of the job is here again.
    pub fn become_busy(&mut self, out: &mut Vec<Action>) {
        self.retired = false;
        if self.idle {
            self.idle = false;
            out.push(Action::ClearTimer(self.timer(ChildTimerKind::Linger)));
        }
    }

    /// The job has ended for good: the child goes as soon as no slot of the job is left.
    pub fn retire(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.retired = true;
        if self.idle && !mutant::on("linger_after_the_end") {
            self.leave(now, out);
        }
    }

    /// The start of an incarnation has ended.
    pub fn on_started(
        &mut self,
        incarnation: u64,
        result: Result<(), StartFailure>,
        now: Mono,
        out: &mut Vec<Action>,
    ) {
        if !self.is_current(incarnation) {
            return;
        }
        if let Err(failure) = result {
            let message = format!("{} could not be started: {}", self.name(), failure.message);
            let failure = match failure.permanent {
                true => process_failure(TaskFailureKind::NonRecoverable, "start", message),
                false => cluster_failure(message),
            };
            self.end(failure, false, now, out);
        }
    }

    /// The child says hello: it is told what to be, if it speaks our language.
    pub fn on_hello(&mut self, version: u32, pid: u32, now: Mono, out: &mut Vec<Action>) {
        self.pid = Some(pid);
        if self.state != State::Starting {
            return;
        }
        if !(JOB_LINK_VERSION_MIN..=JOB_LINK_VERSION).contains(&version) {
            let message = format!(
                "the program speaks version {version} of the job link, this worker versions \
                 {JOB_LINK_VERSION_MIN} to {JOB_LINK_VERSION}: rebuild it with a Millstream of this \
                 cluster's age"
            );
            let failure = process_failure(TaskFailureKind::NonRecoverable, "version", message);
            self.kill(failure, now, out);
            return;
        }
        let information = self.information.clone();
        let information = information.expect("a child is only started with its information");
        self.state = State::Linked;
        out.push(Action::Send {
            incarnation: self.incarnation,
            message: ToJobProcess::Start { information, resource: self.resource.clone() },
        });
    }

    /// The child is ready: what waited goes out.
    pub fn on_ready(&mut self, out: &mut Vec<Action>) {
        if self.state != State::Linked {
            return;
        }
        self.state = State::Ready;
        out.push(Action::ClearTimer(self.timer(ChildTimerKind::Start)));
        let incarnation = self.incarnation;
        let waiting = self.queue.drain(..).map(|message| Action::Send { incarnation, message });
        out.extend(waiting);
    }

    /// The child cannot serve this job.
    pub fn on_unfit(&mut self, reason: &str, now: Mono, out: &mut Vec<Action>) {
        let message = format!("the program cannot run this job: {reason}");
        let failure = process_failure(TaskFailureKind::NonRecoverable, "unfit", message);
        self.kill(failure, now, out);
    }

    /// The link to the child is broken: it cannot be led any more.
    pub fn on_link_lost(&mut self, reason: &str, now: Mono, out: &mut Vec<Action>) {
        if matches!(self.state, State::Dismissed | State::Killed(_) | State::Absent) {
            return; // Its link ends before its process does; a timeout watches that.
        }
        let message = format!("the link to {} was lost: {reason}", self.name());
        self.kill(cluster_failure(message), now, out);
        self.link_is_lost = true;
    }

    /// The child's process has ended.
    pub fn on_exit(&mut self, exit: &ChildExit, now: Mono, out: &mut Vec<Action>) {
        // A link breaks as its process dies, and may be heard first: what the process died of tells
        // more. If it died of our kill only, the link was the reason.
        let died_by_itself =
            self.link_is_lost && exit.status != ExitStatus::Signal(KILL.to_owned());
        let failure = match &self.state {
            State::Killed(failure) if !died_by_itself => failure.clone(),
            _ => self.exit_failure(exit),
        };
        self.end(failure, false, now, out);
    }

    /// The signal was sent, or cannot be sent: then the child is left to itself.
    pub fn on_killed(&mut self, result: Result<(), String>, now: Mono, out: &mut Vec<Action>) {
        let (Err(reason), State::Killed(failure)) = (result, &self.state) else {
            return;
        };
        let failure = leaked(failure, &reason);
        self.end(failure, true, now, out);
    }

    /// A timer of the present incarnation has run out.
    pub fn on_timer(&mut self, kind: ChildTimerKind, now: Mono, out: &mut Vec<Action>) {
        match (kind, &self.state) {
            (ChildTimerKind::Start, State::Starting | State::Linked) => {
                let waited = self.config.start_timeout_ms;
                let message = format!("{} was not ready within {waited} ms", self.name());
                let failure = process_failure(TaskFailureKind::Recoverable, "slow start", message);
                self.kill(failure, now, out);
            }
            (ChildTimerKind::Linger, _) if self.idle => self.leave(now, out),
            (ChildTimerKind::Dismiss, State::Dismissed) => {
                self.kill(nobody_waits("it did not end when dismissed"), now, out);
            }
            (ChildTimerKind::Kill, State::Killed(failure)) => {
                let waited = self.config.kill_timeout_ms;
                let failure = leaked(failure, &format!("it outlived its kill by {waited} ms"));
                self.end(failure, true, now, out);
            }
            _ => (), // A stale timer: that wait is over.
        }
    }

    /// So much memory the present incarnation has now.
    pub fn on_memory(&mut self, bytes: u64) {
        self.memory = bytes;
    }

    /// How much memory it has; that of one which is at its end will be free soon.
    pub fn memory(&self) -> u64 {
        if self.is_up() { self.memory } else { 0 }
    }

    /// Ends the present incarnation by force; `failure` is what its attempts will have failed of.
    pub fn kill(&mut self, failure: TaskFailure, now: Mono, out: &mut Vec<Action>) {
        if matches!(self.state, State::Absent | State::Killed(_)) {
            return;
        }
        if self.state != State::Dismissed {
            // These were for the incarnation that ends here; a dismissed one's are for the next.
            self.queue.clear();
        }
        self.clear_timers(out);
        let reason = failure.message.clone();
        self.state = State::Killed(failure);
        let incarnation = self.incarnation;
        out.push(Action::Kill { incarnation, reason });
        let timer = self.timer(ChildTimerKind::Kill);
        out.push(Action::SetTimer(timer, now + self.config.kill_timeout_ms));
    }

    /// Panics where the child contradicts itself.
    pub fn check(&self) {
        assert!(
            !matches!(self.state, State::Ready) || self.queue.is_empty(),
            "a ready child has a queue"
        );
        assert!(
            !self.is_absent() || self.queue.is_empty(),
            "somebody waits for a child that nobody starts"
        );
        assert!(
            !(self.retired && self.idle && self.is_up()),
            "a child lingers although its job has ended for good"
        );
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Starting | State::Linked | State::Ready)
    }

    /// It is no longer needed: dismissed, or killed if it is not there yet to hear it.
    fn leave(&mut self, now: Mono, out: &mut Vec<Action>) {
        match self.state {
            State::Ready => self.dismiss(now, out),
            State::Starting | State::Linked => {
                self.kill(nobody_waits("it was no longer needed"), now, out);
            }
            _ => (), // It is gone or going.
        }
    }

    fn start(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.incarnation += 1;
        self.state = State::Starting;
        self.pid = None;
        self.memory = 0;
        self.link_is_lost = false;
        let information = self.information.clone();
        out.push(Action::Start {
            incarnation: self.incarnation,
            information: information.expect("a child is only wanted with its information"),
        });
        let timer = self.timer(ChildTimerKind::Start);
        out.push(Action::SetTimer(timer, now + self.config.start_timeout_ms));
        if self.idle {
            self.become_idle(now, out);
        }
    }

    fn dismiss(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.clear_timers(out);
        self.state = State::Dismissed;
        out.push(Action::Send { incarnation: self.incarnation, message: ToJobProcess::Dismiss });
        let timer = self.timer(ChildTimerKind::Dismiss);
        out.push(Action::SetTimer(timer, now + self.config.dismiss_timeout_ms));
    }

    /// The present incarnation is no more; the next begins if somebody waits for it.
    fn end(&mut self, failure: TaskFailure, leaked: bool, now: Mono, out: &mut Vec<Action>) {
        let next_is_awaited = matches!(self.state, State::Killed(_) | State::Dismissed);
        if !next_is_awaited {
            self.queue.clear();
        }
        self.clear_timers(out);
        self.state = State::Absent;
        out.push(Action::Lost(ChildLoss { incarnation: self.incarnation, failure, leaked }));
        if !self.queue.is_empty() {
            self.start(now, out);
        }
    }

    fn clear_timers(&self, out: &mut Vec<Action>) {
        use ChildTimerKind::*;
        for kind in [Start, Linger, Dismiss, Kill] {
            out.push(Action::ClearTimer(self.timer(kind)));
        }
    }

    fn timer(&self, kind: ChildTimerKind) -> ChildTimer {
        ChildTimer { incarnation: self.incarnation, kind }
    }

    /// How people tell it from others.
    pub fn name(&self) -> String {
        match self.pid {
            Some(pid) => format!("job process {} (pid {pid})", self.incarnation),
            None => format!("job process {}", self.incarnation),
        }
    }

    fn exit_failure(&self, exit: &ChildExit) -> TaskFailure {
        let mut message = format!("{} {}", self.name(), exit.status);
        if exit.status == ExitStatus::Signal(KILL.to_owned()) {
            message.push_str(" (not by us: was the machine out of memory?)");
        }
        if !exit.last_lines.is_empty() {
            message.push_str("; its last lines:\n");
            message.push_str(&exit.last_lines);
        }
        process_failure(TaskFailureKind::Recoverable, &exit.status.to_string(), message)
    }
}

/// A fault of the cluster, not of the program: it may come again without being the same bug.
pub fn cluster_failure(message: String) -> TaskFailure {
    let kind = TaskFailureKind::Recoverable;
    TaskFailure { kind, message, fingerprint: 0 }
}

/// A failure of a whole process; two with the same `mark` are the same bug.
pub fn process_failure(kind: TaskFailureKind, mark: &str, message: String) -> TaskFailure {
    TaskFailure { kind, message, fingerprint: xxh3_64(format!("job process: {mark}").as_bytes()) }
}

fn nobody_waits(reason: &str) -> TaskFailure {
    cluster_failure(reason.to_owned())
}

fn leaked(failure: &TaskFailure, reason: &str) -> TaskFailure {
    TaskFailure {
        message: format!(
            "{}; it could not be killed ({reason}), so its threads are leaked and go on",
            failure.message
        ),
        ..failure.clone()
    }
}

#[cfg(test)]
mod tests;
