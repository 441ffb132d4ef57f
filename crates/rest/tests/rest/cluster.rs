//! The server, and scripted endpoints behind it.

use crate::fixtures::{self, RUNNING, task_manager, worker};
use crate::http::{Request, Response, send};
use crate::store::Store;
use millstream_core::config::Configuration;
use millstream_core::ids::FencingToken;
use millstream_rest::{Artefacts, Port, RestConfig, RestServer};
use millstream_rpc::machine::{Cx, Effect, Input, Machine, OpId};
use millstream_rpc::protocol::details::ClusterResources;
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::job_master::JobMasterAnswer;
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Answer, EndpointName, Message, Refusal};
use millstream_rpc::shell::{EndpointHandle, Performer, RpcSystem, spawn_endpoint};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A server with everything that it asks.
pub(crate) struct Cluster {
    runtime: Runtime,
    server: Option<RestServer>,
    pub(crate) address: SocketAddr,
    /// What dispatcher, resource manager and task executors have heard.
    pub(crate) heard: Arc<Mutex<Vec<Message>>>,
    /// What the server has logged.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) store: Arc<Store>,
}

/// How the cluster of a test differs from the usual one.
pub(crate) struct Setup {
    pub(crate) config: RestConfig,
    /// Endpoints that never answer.
    pub(crate) silent: Vec<EndpointName>,
    pub(crate) with_store: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let config = RestConfig {
            port: Port::Exactly(0),
            ask_timeout: Duration::from_secs(5),
            revision: "abc1234".to_owned(),
            ..RestConfig::default()
        };
        Self { config, silent: Vec::new(), with_store: true }
    }
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let heard = Arc::<Mutex<Vec<Message>>>::default();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let store = Arc::new(Store::default());
        let lines = log.clone();
        let hook = move |line: &str| lines.lock().expect("unbroken").push(line.to_owned());
        let config = RestConfig { log: Arc::new(hook), ..setup.config.clone() };
        let artefacts = setup.with_store.then(|| store.clone() as Arc<dyn Artefacts>);
        let server = runtime.block_on(async {
            let rpc = endpoints(&setup, &heard).await;
            let process = rpc.process().to_owned();
            let mut configuration = Configuration::default();
            configuration.set("rest.port", "0");
            RestServer::start(config, rpc, process, FencingToken(7), configuration, artefacts)
                .await
                .expect("loopback is there")
        });
        let address = server.address();
        Self { runtime, server: Some(server), address, heard, log, store }
    }

    pub(crate) fn send(&self, request: &Request<'_>) -> Response {
        send(self.address, request)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::new("GET", target))
    }

    /// Stops the server and waits until it has.
    pub(crate) fn stop(&mut self) {
        let server = self.server.take().expect("stopped once");
        self.runtime.block_on(server.stop());
    }

    pub(crate) fn has_heard(&self, message: &Message) -> bool {
        self.heard.lock().expect("unbroken").contains(message)
    }

    /// The audit lines, without the client's port and the time it took.
    pub(crate) fn audit(&self) -> Vec<String> {
        let log = self.log.lock().expect("unbroken");
        let lines = log.iter().filter_map(|line| line.strip_prefix("rest audit: 127.0.0.1:"));
        lines
            .map(|line| {
                let line = line.split_once(' ').expect("a port").1;
                line.rsplit_once(" (").expect("a duration").0.to_owned()
            })
            .collect()
    }
}

/// Dispatcher, resource manager and worker `a` in one process, worker `b` in another.
async fn endpoints(setup: &Setup, heard: &Arc<Mutex<Vec<Message>>>) -> RpcSystem {
    let rpc = RpcSystem::listen("127.0.0.1:0").await.expect("loopback is there");
    let other = RpcSystem::listen("127.0.0.1:0").await.expect("loopback is there");
    let processes = [rpc.process().to_owned(), other.process().to_owned()];
    let spawn = |system: &RpcSystem, name: EndpointName, answer: Script| {
        let silent = setup.silent.contains(&name);
        let machine = Scripted { answer, heard: heard.clone(), silent };
        spawn_endpoint(system, name, machine, |_| Box::new(NoWork));
    };
    spawn(&rpc, EndpointName::Dispatcher, Box::new(dispatcher));
    let manager = move |message: &Message| resource_manager(message, &processes);
    spawn(&rpc, EndpointName::ResourceManager, Box::new(manager));
    spawn(&rpc, EndpointName::TaskExecutor, Box::new(|message| task_executor("a", message)));
    spawn(&other, EndpointName::TaskExecutor, Box::new(|message| task_executor("b", message)));
    rpc
}

fn dispatcher(message: &Message) -> Option<Answer> {
    let Message::Dispatcher(message) = message else { return None };
    let find = |id| fixtures::jobs().into_iter().find(|job| job.summary.job == id);
    let unknown = |id| Answer::Refused(Refusal::Unknown(format!("job {id}")));
    let details = |id| match find(id) {
        Some(job) => Answer::Dispatcher(DispatcherAnswer::Details(Box::new(job))),
        None => unknown(id),
    };
    match message {
        ToDispatcher::ListJobs => {
            let all = fixtures::jobs().into_iter().map(|job| job.summary).collect();
            Some(Answer::Dispatcher(DispatcherAnswer::Jobs(all)))
        }
        ToDispatcher::RequestJobDetails { job } => Some(details(*job)),
        ToDispatcher::AwaitJobEnd { job } if *job == RUNNING => None,
        ToDispatcher::AwaitJobEnd { job } => Some(details(*job)),
        ToDispatcher::CancelJob { job } => Some(match find(*job).map(|job| job.summary.status) {
            None => unknown(*job),
            Some(status) if status.is_globally_terminal() => {
                Answer::Refused(Refusal::Invalid(format!("job {job} is {status}")))
            }
            Some(_) => Answer::Ack,
        }),
        ToDispatcher::TriggerSavepoint { job, .. }
        | ToDispatcher::TriggerCheckpoint { job, .. } => {
            Some(find(*job).map_or_else(|| unknown(*job), |_| Answer::Ack))
        }
        ToDispatcher::RequestSnapshotProgress { trigger, .. } => {
            Some(match fixtures::progress(*trigger) {
                Some(progress) => Answer::JobMaster(JobMasterAnswer::SnapshotProgress(progress)),
                None => Answer::Refused(Refusal::Unknown(format!("trigger {trigger}"))),
            })
        }
        ToDispatcher::Shutdown => Some(Answer::Ack),
        _ => None,
    }
}

fn resource_manager(message: &Message, processes: &[String; 2]) -> Option<Answer> {
    let Message::ResourceManager(message) = message else { return None };
    let all = [task_manager("a", &processes[0]), task_manager("b", &processes[1])];
    let answer = match message {
        ToResourceManager::RequestClusterResources => {
            let resources = ClusterResources { task_managers: 2, slots_total: 4, slots_free: 2 };
            ResourceManagerAnswer::ClusterResources(resources)
        }
        ToResourceManager::RequestTaskManagers => ResourceManagerAnswer::TaskManagers(all.into()),
        ToResourceManager::RequestTaskManager { resource } => {
            let found = all.into_iter().find(|one| one.registration.resource == *resource);
            let Some(found) = found else {
                let what = format!("task manager {resource}");
                return Some(Answer::Refused(Refusal::Unknown(what)));
            };
            ResourceManagerAnswer::TaskManagers(vec![found])
        }
        _ => return None,
    };
    Some(Answer::ResourceManager(answer))
}

fn task_executor(name: &str, message: &Message) -> Option<Answer> {
    let Message::TaskExecutor(ToTaskExecutor::RequestLog { job, bytes_max }) = message else {
        return None;
    };
    let text = match job {
        None => format!("log of {} (at most {bytes_max})\n", worker(name)),
        Some(_) if name == "b" => {
            return Some(Answer::Refused(Refusal::Unknown("no output".to_owned())));
        }
        Some(job) => format!("output of {job} on {name}\n"),
    };
    Some(Answer::TaskExecutor(TaskExecutorAnswer::Log(text)))
}

type Script = Box<dyn FnMut(&Message) -> Option<Answer> + Send>;

/// Answers as its script says.
struct Scripted {
    answer: Script,
    heard: Arc<Mutex<Vec<Message>>>,
    silent: bool,
}

impl Machine for Scripted {
    type Timer = u8;
    type Op = ();
    type Done = ();

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<u8, ()>) {
        if let Input::Message { token, message, reply: Some(to) } = input {
            let fenced = !matches!(message, Message::TaskExecutor(_));
            assert_eq!(token, fenced.then_some(FencingToken(7)), "{message:?}");
            self.heard.lock().expect("unbroken").push(message.clone());
            let answer = if self.silent { None } else { (self.answer)(&message) };
            cx.out.extend(answer.map(|answer| Effect::Reply { to, answer }));
        }
    }

    fn check(&self) {}
}

struct NoWork;

impl Performer<Scripted> for NoWork {
    fn perform(&mut self, _: OpId, _: (), _: &EndpointHandle<Scripted>) {}

    fn fatal(&mut self, reason: String) {
        panic!("{reason}");
    }
}
