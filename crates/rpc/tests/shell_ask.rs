//! Two processes' shells over loopback: asks, answers, and the loss of a peer.

#![cfg(feature = "shell")]

use millstream_core::ids::ResourceId;
use millstream_rpc::machine::{Cx, Effect, Input, Machine};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::resource_manager::ToResourceManager;
use millstream_rpc::protocol::{Answer, AskError, EndpointName, Message};
use millstream_rpc::shell::{EndpointHandle, Performer, RpcSystem, spawn_endpoint};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Acknowledges every ask but `ListJobs`, and remembers what it hears.
struct Echo(Arc<Mutex<Vec<String>>>);

impl Machine for Echo {
    type Timer = u8;
    type Op = ();
    type Done = ();

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<u8, ()>) {
        match input {
            Input::Message { message, reply: Some(to), .. }
                if message != Message::Dispatcher(ToDispatcher::ListJobs) =>
            {
                cx.out.push(Effect::Reply { to, answer: Answer::Ack });
            }
            Input::Message { message: Message::ResourceManager(told), .. } => {
                self.0.lock().unwrap().push(format!("{told:?}"));
            }
            Input::PeerLost { process, .. } => self.0.lock().unwrap().push(process),
            Input::Stop => cx.out.push(Effect::Stopped),
            _ => (),
        }
    }

    fn check(&self) {}
}

struct NoWork;

impl Performer<Echo> for NoWork {
    fn perform(&mut self, _op: millstream_rpc::machine::OpId, _: (), _: &EndpointHandle<Echo>) {}

    fn fatal(&mut self, reason: String) {
        panic!("{reason}");
    }
}

async fn system_with_echo() -> (RpcSystem, Arc<Mutex<Vec<String>>>, EndpointHandle<Echo>) {
    let system = RpcSystem::listen("127.0.0.1:0").await.expect("loopback is there");
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let echo = Echo(heard.clone());
    let handle = spawn_endpoint(&system, EndpointName::Dispatcher, echo, |_| Box::new(NoWork));
    (system, heard, handle)
}

const SHUTDOWN: Message = Message::Dispatcher(ToDispatcher::Shutdown);
const UNANSWERED: Message = Message::Dispatcher(ToDispatcher::ListJobs);
const SECOND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_ask_is_answered_inside_a_process_and_between_two() {
    let (a, ..) = system_with_echo().await;
    let (b, ..) = system_with_echo().await;
    for to in [a.address(EndpointName::Dispatcher), b.address(EndpointName::Dispatcher)] {
        assert_eq!(a.ask(&to, None, SHUTDOWN, SECOND).await, Ok(Answer::Ack));
    }
}

#[tokio::test]
async fn an_ask_without_an_answer_ends_in_a_timeout_that_names_whom_it_asked() {
    let (a, ..) = system_with_echo().await;
    let (b, ..) = system_with_echo().await;
    let to = b.address(EndpointName::Dispatcher);
    let result = a.ask(&to, None, UNANSWERED, Duration::from_millis(20)).await;
    assert_eq!(result, Err(AskError::Timeout { to: to.to_string(), timeout_ms: 20 }));
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unreachable_at_once() {
    let (a, ..) = system_with_echo().await;
    let (b, ..) = system_with_echo().await;
    let to = b.address(EndpointName::ResourceManager);
    let result = a.ask(&to, None, SHUTDOWN, SECOND).await;
    assert!(matches!(result, Err(AskError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn tells_of_one_sender_keep_their_order() {
    let (a, ..) = system_with_echo().await;
    let (b, heard, _) = system_with_echo().await;
    let to = b.address(EndpointName::Dispatcher);
    let tell = |n: u32| {
        let (resource, cause) = (ResourceId(n.to_string()), String::new());
        Message::ResourceManager(ToResourceManager::DisconnectTaskExecutor { resource, cause })
    };
    (0..500).for_each(|n| a.tell(&to, None, tell(n)));
    a.ask(&to, None, SHUTDOWN, SECOND).await.expect("answered after the tells");
    let heard = heard.lock().unwrap();
    let expected: Vec<String> = (0..500)
        .map(|n| match tell(n) {
            Message::ResourceManager(told) => format!("{told:?}"),
            _ => unreachable!("made above"),
        })
        .collect();
    assert_eq!(*heard, expected);
}

#[tokio::test]
async fn a_process_that_is_gone_is_told_to_every_endpoint() {
    let (a, heard, _) = system_with_echo().await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        listener.local_addr().expect("bound").to_string()
    };
    let to = millstream_rpc::protocol::Address {
        process: gone.clone(),
        endpoint: EndpointName::Dispatcher,
    };
    let result = a.ask(&to, None, SHUTDOWN, SECOND).await;
    assert!(matches!(result, Err(AskError::Unreachable { .. })), "{result:?}");
    let here = a.address(EndpointName::Dispatcher);
    a.ask(&here, None, SHUTDOWN, SECOND).await.expect("answered after the loss was told");
    assert_eq!(*heard.lock().unwrap(), [gone]);
}

#[tokio::test]
async fn a_stopped_endpoint_is_unreachable() {
    let (a, _, handle) = system_with_echo().await;
    handle.stop();
    let to = a.address(EndpointName::Dispatcher);
    while !handle.is_stopped() {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    let result = a.ask(&to, None, SHUTDOWN, SECOND).await;
    assert!(matches!(result, Err(AskError::Unreachable { .. })), "{result:?}");
}
