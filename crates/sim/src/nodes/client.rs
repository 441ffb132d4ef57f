//! Somebody who submits jobs, cancels some, and waits for their end.
//!
//! A client that hears nothing asks again; one that hears that the cluster does not know its job
//! (it was restarted and stores nothing) submits it again.

use super::{Later, NodeInput};
use crate::host::{Env, HostId, Out};
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::machine::AskId;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// A job that a client wants to have run.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// Its id.
    pub job: JobId,
    /// What is to be run.
    pub graph: JobGraph,
    /// When it is submitted.
    pub submit_at_ms: u64,
    /// When it is cancelled, if it is.
    pub cancel_at_ms: Option<u64>,
}

/// Something that a client has arranged for itself.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Submit the job.
    Submit(JobId),
    /// Cancel it.
    Cancel(JobId),
    /// Ask how it ended.
    Await(JobId),
}

/// Somebody who submits jobs.
#[derive(Debug)]
pub struct Client {
    /// The JobManager.
    process: String,
    /// The dispatcher's term.
    token: FencingToken,
    jobs: BTreeMap<JobId, JobPlan>,
    /// Jobs whose end was told.
    ended: BTreeMap<JobId, JobStatus>,
    /// Why the failed ones have failed.
    failures: BTreeMap<JobId, String>,
    asks: BTreeMap<AskId, Event>,
    last_ask: u64,
}

const HOST: HostId = 1;
const ASK_TIMEOUT_MS: u64 = 5_000;
const RETRY_US: u64 = 500_000;

impl Client {
    /// A client with its plans.
    pub fn new(process: &str, token: FencingToken, jobs: Vec<JobPlan>) -> Self {
        Self {
            process: process.to_owned(),
            token,
            jobs: jobs.into_iter().map(|plan| (plan.job, plan)).collect(),
            ended: BTreeMap::new(),
            failures: BTreeMap::new(),
            asks: BTreeMap::new(),
            last_ask: 0,
        }
    }

    /// Its plans.
    pub fn jobs(&self) -> impl Iterator<Item = &JobPlan> {
        self.jobs.values()
    }

    /// How its jobs ended.
    pub fn ended(&self) -> &BTreeMap<JobId, JobStatus> {
        &self.ended
    }

    /// Why a failed job has failed.
    pub fn failure(&self, job: JobId) -> Option<&String> {
        self.failures.get(&job)
    }

    /// Handles one thing.
    pub fn handle(&mut self, env: &mut Env<'_>, input: NodeInput) {
        match input {
            NodeInput::Start => self.start(env),
            NodeInput::Later(Later::Leader) => self.look_who_leads(env),
            NodeInput::Later(Later::Client(event)) => self.act(env, event),
            NodeInput::Answered { ask, result, .. } => self.on_answered(env, ask, result),
            _ => (),
        }
    }

    fn look_who_leads(&mut self, env: &Env<'_>) {
        if let Some((process, token)) = env.ledger.leader.clone() {
            (self.process, self.token) = (process, token);
        }
    }

    fn start(&mut self, env: &mut Env<'_>) {
        self.look_who_leads(env);
        for plan in self.jobs.values() {
            let submit = Later::Client(Event::Submit(plan.job));
            env.later(plan.submit_at_ms * 1000, submit);
            if let Some(at_ms) = plan.cancel_at_ms {
                env.later(at_ms * 1000, Later::Client(Event::Cancel(plan.job)));
            }
        }
    }

    fn act(&mut self, env: &mut Env<'_>, event: Event) {
        let (Event::Submit(job) | Event::Cancel(job) | Event::Await(job)) = event;
        if self.ended.contains_key(&job) {
            return;
        }
        let message = match event {
            Event::Submit(job) => {
                ToDispatcher::SubmitJob { job, graph: Box::new(self.jobs[&job].graph.clone()) }
            }
            Event::Cancel(job) => ToDispatcher::CancelJob { job },
            Event::Await(job) => ToDispatcher::AwaitJobEnd { job },
        };
        self.last_ask += 1;
        let ask = AskId(self.last_ask);
        self.asks.insert(ask, event);
        env.note(|| format!("asks {event:?}"));
        env.out.push(Out::Send {
            host: HOST,
            to: Address { process: self.process.clone(), endpoint: EndpointName::Dispatcher },
            token: Some(self.token),
            message: Message::Dispatcher(message),
            ask: Some((ask, ASK_TIMEOUT_MS)),
        });
    }

    fn on_answered(&mut self, env: &mut Env<'_>, ask: AskId, result: Result<Answer, AskError>) {
        let Some(event) = self.asks.remove(&ask) else {
            return; // A late answer.
        };
        env.note(|| format!("{event:?} is answered with {}", brief(&result)));
        match event {
            Event::Submit(job) => self.on_submitted(env, job, result),
            Event::Cancel(job) => self.on_cancelled(env, job, result),
            Event::Await(job) => self.on_awaited(env, job, result),
        }
    }

    fn on_submitted(&mut self, env: &mut Env<'_>, job: JobId, result: Result<Answer, AskError>) {
        match result {
            // Known already: an earlier submission has arrived.
            Ok(Answer::Ack | Answer::Refused(Refusal::Invalid(_))) => {
                self.act(env, Event::Await(job));
                // A cluster that was restarted has forgotten that we wanted the job's end.
                if self.jobs[&job].cancel_at_ms.is_some_and(|at| at * 1000 <= env.now_us) {
                    self.act(env, Event::Cancel(job));
                }
            }
            _ => env.later(RETRY_US, Later::Client(Event::Submit(job))),
        }
    }

    fn on_cancelled(&mut self, env: &mut Env<'_>, job: JobId, result: Result<Answer, AskError>) {
        match result {
            Ok(Answer::Ack | Answer::Refused(Refusal::Invalid(_))) => (),
            // Not there yet, or not there any more: as long as it has not ended, we want it ended.
            _ => env.later(RETRY_US, Later::Client(Event::Cancel(job))),
        }
    }

    fn on_awaited(&mut self, env: &mut Env<'_>, job: JobId, result: Result<Answer, AskError>) {
        match result {
            Ok(Answer::Dispatcher(DispatcherAnswer::Details(details))) => {
                let status = details.summary.status;
                if status.is_globally_terminal() {
                    if status == JobStatus::Finished {
                        assert_whole(env, &self.jobs[&job].graph, &details);
                    }
                    let failure = details.root_failure.map(|failure| failure.message);
                    self.failures.extend(failure.map(|message| (job, message)));
                    self.ended.insert(job, status);
                    env.ledger.job_ends.entry(job).or_default().push(status);
                    return;
                }
                env.later(RETRY_US, Later::Client(Event::Await(job)));
            }
            Ok(Answer::Refused(Refusal::Unknown(_))) => {
                env.later(RETRY_US, Later::Client(Event::Submit(job)));
            }
            _ => env.later(RETRY_US, Later::Client(Event::Await(job))),
        }
    }
}

/// I9: a finished job has one finished attempt per subtask, each did its work, together they have
/// read every split once, and whoever read another's output read that of the attempt that counts.
fn assert_whole(env: &Env<'_>, graph: &JobGraph, details: &ExecutionGraphDetails) {
    let subtasks = details.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    let counting: BTreeSet<_> = subtasks.map(|subtask| subtask.attempt).collect();
    for (vertex, found) in graph.vertices.iter().zip(&details.vertices) {
        let mut read = Vec::new();
        for subtask in &found.subtasks {
            let attempt = subtask.attempt;
            assert_eq!(subtask.state, ExecutionState::Finished, "{attempt} of a finished job");
            let work = env.ledger.finished.get(&attempt);
            let work = work.unwrap_or_else(|| panic!("{attempt} is said to have finished"));
            read.extend(work.splits.iter().cloned());
            for input in &work.inputs {
                assert!(counting.contains(input), "{attempt} read {input}, which does not count");
            }
        }
        assert_eq!(found.subtasks.len(), vertex.parallelism as usize);
        let mut splits = vertex.splits.clone();
        splits.sort_by(|a, b| a.0.cmp(&b.0));
        read.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(read, splits, "splits of {} that were read", vertex.name);
    }
}

fn brief(result: &Result<Answer, AskError>) -> String {
    match result {
        Ok(Answer::Dispatcher(DispatcherAnswer::Details(details))) => {
            format!("{:?}", details.summary.status)
        }
        other => format!("{other:?}"),
    }
}
