//! Who gets the records that barriers overtook: the subtask that they were for, or, with another
//! parallelism, the one that owns their keys now.
//!
//! Whatever was under way from a producer to a consumer, wherever it was, is processed by the consumer
//! before anything new: first what it had in its queues, then what its producers had not sent. So the
//! records of a key keep their order, and producers need not know of it.
//!
//! | the edge | with another parallelism |
//! |---|---|
//! | by key | everybody reads all that may hold its keys, and takes what is its own |
//! | in turn, at random, to the first | what was for subtask `c` of old is for `c` modulo the new parallelism |
//! | any other | barriers do not overtake there, so there is nothing |

use super::overlap;
use crate::handle::{InFlightPlace, InFlightShare, InFlightState};
use crate::metadata::{CheckpointMetadata, VertexState};
use crate::mutant;
use millstream_core::ids::{DataSetId, JobVertexId, OperatorId};
use millstream_core::job_graph::{JobGraph, ShipStrategy};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use std::collections::BTreeMap;

/// An input of a vertex, now and when the checkpoint was taken.
#[derive(Clone, Debug)]
pub(super) struct InputEdge {
    data_set: DataSetId,
    ship: ShipStrategy,
    /// The vertex that read it.
    former: Option<JobVertexId>,
}

/// Who reads now.
pub(super) struct Reader {
    pub(super) subtask: u32,
    pub(super) parallelism: u32,
    pub(super) max_parallelism: MaxParallelism,
}

/// The inputs of a vertex, in the order of its gates.
pub(super) fn inputs_of(
    graph: &JobGraph,
    vertex: usize,
    owners: &BTreeMap<OperatorId, JobVertexId>,
) -> Vec<InputEdge> {
    let head = graph.vertices[vertex].operators.first();
    let former = head.and_then(|head| owners.get(&head.id).copied());
    let edges = graph.inputs_of(vertex);
    edges.map(|(_, edge)| InputEdge { data_set: edge.data_set, ship: edge.ship, former }).collect()
}

/// Why the records in flight cannot be dealt out to this job, in words.
pub(super) fn problem(
    metadata: &CheckpointMetadata,
    graph: &JobGraph,
    vertices: &[Vec<InputEdge>],
    ignore_unclaimed: bool,
) -> Option<String> {
    let holders = metadata.vertices.values();
    let mut states = holders.flat_map(|holder| all(holder).map(move |state| (holder, state)));
    states.find_map(|(holder, state)| {
        let inputs = vertices.iter().zip(&graph.vertices);
        let mut inputs = inputs.flat_map(|(inputs, v)| inputs.iter().map(move |edge| (edge, v)));
        let found = inputs.find(|(edge, _)| edge.data_set == state.data_set);
        let holder = &holder.name;
        let Some((edge, reader)) = found else {
            let unclaimed = format!(
                "it holds records that were under way at `{holder}`, on an exchange that the job does \
                 not have; go on from a savepoint, which holds none, or leave them behind with \
                 execution.state-recovery.ignore-unclaimed-state: true (-n)"
            );
            return (!ignore_unclaimed).then_some(unclaimed);
        };
        let name = &reader.name;
        if edge.ship != state.ship {
            return Some(format!(
                "it holds records that were under way to `{name}`, which were exchanged by {:?} and \
                 would now be by {:?}; go on from a savepoint, which holds none",
                state.ship, edge.ship
            ));
        }
        let Some(former) = edge.former.map(|id| metadata.vertices[&id].parallelism()) else {
            return Some(format!("nobody knows who read the records under way to `{name}`"));
        };
        if let InFlightPlace::Output { consumer } = state.place
            && consumer >= former
        {
            return Some(format!("it holds records for subtask {consumer} of `{name}` of {former}"));
        }
        let rescaled = former != reader.parallelism;
        (rescaled && !edge.ship.may_be_overtaken()).then(|| {
            format!(
                "it holds records that were under way to `{name}` by {:?}, so its parallelism cannot \
                 become {} from {former}; go on from a savepoint, which holds none",
                edge.ship, reader.parallelism
            )
        })
    })
}

/// What a subtask processes first.
pub(super) fn shares(
    metadata: &CheckpointMetadata,
    inputs: &[InputEdge],
    reader: &Reader,
) -> Vec<InFlightShare> {
    let shares = (0_u32..).zip(inputs).flat_map(|(gate, edge)| {
        let former = edge.former.map(|id| &metadata.vertices[&id]);
        former.into_iter().flat_map(move |former| edge.shares(metadata, former, gate, reader))
    });
    shares.collect()
}

impl InputEdge {
    fn shares(
        &self,
        metadata: &CheckpointMetadata,
        former: &VertexState,
        gate: u32,
        reader: &Reader,
    ) -> Vec<InFlightShare> {
        let same = former.parallelism() == reader.parallelism
            && former.max_parallelism == reader.max_parallelism;
        let filter =
            self.ship == ShipStrategy::Hash && !same && !mutant::on("in_flight_not_filtered");
        let mut shares = Vec::new();
        for (consumer, subtask) in (0_u32..).zip(&former.subtasks) {
            if !self.was_for(consumer, former, reader) {
                continue;
            }
            let here = |state: &&InFlightState| {
                state.data_set == self.data_set && state.place == InFlightPlace::Input
            };
            let there = |state: &&InFlightState| {
                state.data_set == self.data_set && state.place == InFlightPlace::Output { consumer }
            };
            let all_producers = metadata.vertices.values().flat_map(all).filter(there);
            let states = subtask.in_flight.iter().filter(here).chain(all_producers);
            shares.extend(states.map(|state| InFlightShare {
                gate,
                filter,
                list: state.list.clone(),
            }));
        }
        shares
    }

    /// Whether records for that subtask of old may be for this reader.
    fn was_for(&self, consumer: u32, former: &VertexState, reader: &Reader) -> bool {
        let Reader { subtask, parallelism, max_parallelism } = *reader;
        if self.ship != ShipStrategy::Hash {
            return consumer % parallelism == subtask;
        }
        if former.max_parallelism != max_parallelism {
            return true;
        }
        let then = KeyGroupRange::of_subtask(consumer, max_parallelism, former.parallelism());
        let now = KeyGroupRange::of_subtask(subtask, max_parallelism, parallelism);
        overlap(&then, &now)
    }
}

fn all(vertex: &VertexState) -> impl Iterator<Item = &InFlightState> {
    vertex.subtasks.iter().flat_map(|subtask| &subtask.in_flight)
}

#[cfg(test)]
mod tests {
    use crate::handle::{InFlightPlace, InFlightState, ListMode};
    use crate::metadata::CheckpointMetadata;
    use crate::metadata::testing::{graph, list, sample};
    use crate::reassign::Reassignment;
    use millstream_core::ids::{DataSetId, JobVertexId};
    use millstream_core::job_graph::{ExchangeMode, JobEdge, JobGraph, ShipStrategy};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn in_flight(ship: ShipStrategy, place: InFlightPlace, items: u64) -> InFlightState {
        let list = list("in flight", ListMode::Split, items);
        InFlightState { data_set: DataSetId(5), ship, place, list }
    }

    /// The sample with records under way from each source to each reader: numbered 10 in the queues of
    /// reader 0, 11 in those of reader 1, and 100 + 10 * producer + consumer on their way out.
    fn under_way(ship: ShipStrategy) -> CheckpointMetadata {
        let mut metadata = sample();
        for producer in 0..2 {
            let source = metadata.vertices.get_mut(&JobVertexId(1)).expect("the source");
            let state = &mut source.subtasks[producer as usize].in_flight;
            for consumer in 0..2 {
                let number = 100 + 10 * producer + u64::from(consumer);
                state.push(in_flight(ship, InFlightPlace::Output { consumer }, number));
            }
            let reader = metadata.vertices.get_mut(&JobVertexId(2)).expect("the reader");
            let state = &mut reader.subtasks[producer as usize].in_flight;
            state.push(in_flight(ship, InFlightPlace::Input, 10 + producer));
        }
        metadata
    }

    fn joined(text: &str, ship: ShipStrategy) -> JobGraph {
        let mut graph = graph(text);
        let (data_set, exchange) = (DataSetId(5), ExchangeMode::Pipelined);
        graph.edges = vec![JobEdge { data_set, source: 0, target: 1, ship, exchange }];
        graph
    }

    fn numbers(plan: &Reassignment, subtask: u32) -> Vec<(u64, bool)> {
        let shares = plan.task(1, subtask).in_flight;
        shares.iter().map(|share| (share.list.items, share.filter)).collect()
    }

    fn plan(text: &str, ship: ShipStrategy) -> Result<Reassignment, String> {
        let plan = Reassignment::new(Arc::new(under_way(ship)), &joined(text, ship), false);
        plan.map_err(|error| error.to_string())
    }

    #[test]
    fn with_the_same_parallelism_everybody_gets_its_own_queues_and_then_what_was_not_sent() {
        let plan = plan("source:2:1 sum:2:2", ShipStrategy::Hash).expect("fits");
        assert_eq!(numbers(&plan, 0), [(10, false), (100, false), (110, false)]);
        assert_eq!(numbers(&plan, 1), [(11, false), (101, false), (111, false)]);
        assert_eq!(plan.task(0, 0).in_flight, []);
    }

    #[test]
    fn by_key_everybody_reads_what_may_hold_its_keys() {
        let plan = plan("source:1:1 sum:3:2", ShipStrategy::Hash).expect("fits");
        let all = |numbers: [u64; 3]| numbers.map(|number| (number, true));
        assert_eq!(numbers(&plan, 0), all([10, 100, 110]));
        assert_eq!(numbers(&plan, 1), [all([10, 100, 110]), all([11, 101, 111])].concat());
        assert_eq!(numbers(&plan, 2), all([11, 101, 111]));
    }

    #[test]
    fn in_turn_everything_goes_to_one_reader() {
        let plan = plan("source:2:1 sum:1:2", ShipStrategy::Rebalance).expect("fits");
        assert_eq!(numbers(&plan, 0).len(), 6);
        let plan = self::plan("source:2:1 sum:5:2", ShipStrategy::Rebalance).expect("fits");
        assert_eq!(numbers(&plan, 1), [(11, false), (101, false), (111, false)]);
        assert_eq!(numbers(&plan, 4), []);
    }

    #[test]
    fn records_that_nobody_can_get_are_refused_before_anything_starts() {
        let error = plan("source:2:1 sum:3:2", ShipStrategy::Custom).expect_err("nobody knows");
        assert!(error.contains("cannot become 3 from 2"), "{error}");
        let metadata = Arc::new(under_way(ShipStrategy::Hash));
        let other = joined("source:2:1 sum:2:2", ShipStrategy::Rebalance);
        let error = Reassignment::new(metadata.clone(), &other, true).expect_err("by key before");
        assert!(error.to_string().contains("exchanged by Hash and would now be by Rebalance"));
        let without = graph("source:2:1 sum:2:2");
        let error = Reassignment::new(metadata.clone(), &without, false).expect_err("no exchange");
        assert!(error.to_string().contains("on an exchange that the job does not have"), "{error}");
        let left = Reassignment::new(metadata, &without, true).expect("left behind");
        assert_eq!(left.task(1, 0).in_flight, []);
    }

    proptest! {
        #[test]
        fn every_key_group_under_way_is_for_exactly_one_subtask(after in 1_u32..12, by_key: bool) {
            let ship = if by_key { ShipStrategy::Hash } else { ShipStrategy::Shuffle };
            let plan = plan(&format!("source:2:1 sum:{after}:2"), ship).expect("fits");
            let mut lists: Vec<u64> = (0..after)
                .flat_map(|subtask| numbers(&plan, subtask).into_iter().map(|(number, _)| number))
                .collect();
            lists.sort_unstable();
            let before = lists.len();
            lists.dedup();
            prop_assert_eq!(&lists, &[10, 11, 100, 101, 110, 111]);
            // Whoever reads a list that others read too takes its own keys alone.
            prop_assert!(by_key || before == lists.len());
            prop_assert!(!by_key || after == 2 || (0..after).all(|s| numbers(&plan, s).iter().all(|n| n.1)));
        }
    }
}
