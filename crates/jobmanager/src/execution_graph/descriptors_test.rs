//! What workers are told, on small graphs.

use super::testing::{begun, id, place};
use super::{ExecutionGraph, ExecutionVertexId};
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::deployment::InputChannelDescriptor;

fn deploy(graph: &mut ExecutionGraph, vertex: ExecutionVertexId, worker: &str) {
    graph.change(vertex, ExecutionState::Scheduled, 0);
    graph.deploy(vertex, place(worker, 1), 1, 0);
}

/// A channel as text: `vertex.subtask#attempt/subpartition@worker`.
fn channel(channel: &InputChannelDescriptor) -> String {
    let producer = channel.partition.producer;
    let at = channel.location.as_ref();
    format!(
        "{}.{}#{}/{}@{}",
        producer.vertex.0,
        producer.subtask,
        producer.attempt,
        channel.subpartition,
        at.map_or("?", |location| &location.resource.0)
    )
}

/// Deploys everything, then shows one subtask: its partitions, then its gates.
#[track_caller]
fn check(plan: &str, (vertex, subtask): (usize, u32), partitions: &[&str], gates: &[&str]) {
    let mut graph = begun(plan);
    for vertex in graph.ids().collect::<Vec<_>>() {
        deploy(&mut graph, vertex, &format!("w{}", vertex.subtask));
    }
    let descriptor = graph.descriptor(id(vertex, subtask)).expect("it has a place");
    let found: Vec<String> = descriptor
        .partitions
        .iter()
        .map(|p| {
            let consumers = p.first_consumer..p.first_consumer + p.subpartitions;
            format!("to {} {consumers:?} of {}", p.consumer.0, p.consumer_parallelism)
        })
        .collect();
    assert_eq!(found, partitions, "partitions in {plan}");
    let found: Vec<String> = descriptor
        .gates
        .iter()
        .map(|gate| gate.channels.iter().map(channel).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(found, gates, "gates in {plan}");
}

#[test]
fn partitions_and_gates_follow_the_exchange() {
    check("a:2 b:3 a~hash~b", (0, 1), &["to 2 0..3 of 3"], &[]);
    check("a:2 b:3 a~hash~b", (1, 2), &[], &["1.0#0/2@w0 1.1#0/2@w1"]);
    check("a:2 b:2 a~forward~b", (0, 1), &["to 2 1..2 of 2"], &[]);
    check("a:2 b:2 a~forward~b", (1, 1), &[], &["1.1#0/0@w1"]);
    check("a:2 b:4 a~rescale~b", (0, 1), &["to 2 2..4 of 4"], &[]);
    check("a:2 b:4 a~rescale~b", (1, 3), &[], &["1.1#0/1@w1"]);
    check("a:4 b:2 a~rescale~b", (1, 1), &[], &["1.2#0/0@w2 1.3#0/0@w3"]);
    check(
        "a:1 b:1 c:1 a~hash~c b~forward~c a~rebalance~b",
        (2, 0),
        &[],
        &["1.0#0/0@w0", "2.0#0/0@w0"],
    );
}

#[test]
fn a_subtask_without_a_place_has_no_descriptor() {
    assert_eq!(begun("a:1").descriptor(id(0, 0)), None);
}

#[test]
fn a_running_consumer_is_told_of_a_producer_that_got_its_place_later() {
    let mut graph = begun("a:2 b:1 a~hash~b");
    deploy(&mut graph, id(0, 0), "w0");
    deploy(&mut graph, id(1, 0), "w9");
    let descriptor = graph.descriptor(id(1, 0)).expect("it has a place");
    let known: Vec<String> = descriptor.gates[0].channels.iter().map(channel).collect();
    assert_eq!(known, ["1.0#0/0@w0", "1.1#0/0@?"]);

    deploy(&mut graph, id(0, 1), "w1");
    let updates = graph.partition_updates(&[id(0, 0), id(0, 1)]);
    let [update] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(update.attempt, graph.attempt_id(id(1, 0)));
    let [(gate, at, described)] = &update.channels[..] else { panic!("{update:?}") };
    assert_eq!((*gate, *at, channel(described).as_str()), (0, 1, "1.1#0/0@w1"));

    assert_eq!(graph.partition_updates(&[id(0, 0), id(0, 1)]), []);
}

#[test]
fn a_consumer_that_is_being_stopped_is_told_nothing() {
    let mut graph = begun("a:1 b:1 a~hash~b");
    deploy(&mut graph, id(1, 0), "w9");
    graph.descriptor(id(1, 0));
    graph.change(id(1, 0), ExecutionState::Canceling, 0);
    deploy(&mut graph, id(0, 0), "w0");
    assert_eq!(graph.partition_updates(&[id(0, 0)]), []);
}

#[test]
#[should_panic(expected = "reads attempt Some(0) of a (1/1), which is at attempt 1")]
fn a_consumer_of_a_former_attempt_does_not_count() {
    let mut graph = begun("a:1 b:1 a~hash~b");
    for vertex in [id(0, 0), id(1, 0)] {
        deploy(&mut graph, vertex, "w0");
        graph.descriptor(vertex);
    }
    graph.change(id(0, 0), ExecutionState::Failed, 0);
    graph.reset(id(0, 0), 0);
    graph.check(|_| false);
}
