//! The job graph: what a client submits and a JobMaster runs.
//!
//! Vertices are operator chains, edges are exchanges between them. Functions are not in here: each
//! job process runs the program again and finds them by operator id ([`PlanSignature`] makes sure
//! that it is the same program).

use crate::error::Location;
use crate::hash::Hasher128;
use crate::ids::{ContentHash, DataSetId, JobVertexId, OperatorId};
use crate::job_state::DeclaredState;
use crate::key_group::MaxParallelism;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// A job: vertices in topological order, exchanges between them, and how to run them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobGraph {
    /// What the user called it at `execute`.
    pub name: String,
    /// Producers before their consumers.
    pub vertices: Vec<JobVertex>,
    /// Exchanges, in the order in which they were declared.
    pub edges: Vec<JobEdge>,
    /// How bounded input is treated.
    pub mode: RuntimeMode,
    /// The job's own configuration: Flink's keys, as text.
    pub configuration: BTreeMap<String, String>,
    /// What every process that runs the program must find again.
    pub signature: PlanSignature,
    /// The program. Nothing in embedded mode, where it is this process.
    pub program: Option<Program>,
}

/// How bounded input is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RuntimeMode {
    /// Records flow as they come; aggregates emit as they change.
    Streaming,
    /// All input is bounded; aggregates emit once, at its end.
    Batch,
}

/// A chain of operators that one task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobVertex {
    /// Made from the head operator's id.
    pub id: JobVertexId,
    /// The operators' names, joined by ` -> `.
    pub name: String,
    /// The number of subtasks.
    pub parallelism: u32,
    /// The number of key groups, and the bound of the parallelism.
    pub max_parallelism: MaxParallelism,
    /// Subtasks of different vertices of one group may share a slot.
    pub slot_sharing_group: String,
    /// Head to tail.
    pub operators: Vec<OperatorInfo>,
    /// Parts of a bounded source that subtasks ask for one by one.
    pub splits: Vec<SourceSplit>,
}

/// A part of a source's input, opaque to everyone but the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSplit(pub Vec<u8>);

/// What the JobManager knows of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorInfo {
    /// Stable between versions of the program if the user named the operator.
    pub id: OperatorId,
    /// What the user or the verb called it.
    pub name: String,
    /// Where the user's program declared it.
    pub declared_at: Location,
    /// What state it has; nothing where that is known only when it runs: of sources and sinks.
    pub states: Option<Vec<DeclaredState>>,
}

/// An exchange between two vertices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEdge {
    /// Names the data that the producers make for this edge.
    pub data_set: DataSetId,
    /// Index of the producing vertex in [`JobGraph::vertices`].
    pub source: usize,
    /// Index of the consuming vertex.
    pub target: usize,
    /// How a record finds its subtask.
    pub ship: ShipStrategy,
    /// When consumers may start.
    pub exchange: ExchangeMode,
}

/// How a record finds the subtask that gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ShipStrategy {
    /// To the subtask of the same index.
    Forward,
    /// By the key's hash.
    Hash,
    /// In turn over all subtasks.
    Rebalance,
    /// In turn over a share of the subtasks.
    Rescale,
    /// At random.
    Shuffle,
    /// To all.
    Broadcast,
    /// By the user's partitioner.
    Custom,
    /// To the first subtask.
    Global,
}

/// When consumers of an exchange may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExchangeMode {
    /// While the producer runs: both are in one pipelined region.
    Pipelined,
    /// After the producer has finished.
    Blocking,
}

/// The user's program as the cluster starts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The content of the executable, which is also its name in the blob store.
    pub artefact: ContentHash,
    /// The executable's file name, for people.
    pub file_name: String,
    /// Arguments, without the program itself.
    pub arguments: Vec<String>,
    /// Environment variables that the user named at submission.
    pub environment: BTreeMap<String, String>,
    /// Which `execute` of the program this job is, from 0.
    pub execute_ordinal: u32,
    /// What the earlier `execute`s gave, replayed in every job process.
    pub earlier_results: Vec<Vec<u8>>,
    /// Values that were computed once, by name.
    pub plan_values: BTreeMap<String, Vec<u8>>,
    /// Files that every job process gets a copy of.
    #[serde(default)]
    pub cached_files: Vec<CachedFile>,
}

/// A file or a directory that every job process gets a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedFile {
    /// What the program calls it.
    pub name: String,
    /// What it was called where the job was submitted, without the directory that it was in.
    pub file_name: String,
    /// Its content. That of a directory is all files in it.
    pub contents: Vec<CachedContent>,
}

/// The content of a file, which is also its name in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedContent {
    /// Where it is in the directory, with `/`; empty for a file that is in none.
    pub path: String,
    /// Its name in the blob store.
    pub content: ContentHash,
}

impl Program {
    /// Everything of it that is in the blob store: itself and its files.
    pub fn blobs(&self) -> BTreeSet<ContentHash> {
        let contents = self.cached_files.iter().flat_map(|file| &file.contents);
        std::iter::once(self.artefact).chain(contents.map(|content| content.content)).collect()
    }
}

/// What makes two runs of a program the same plan: operators, types, edges, partitioners and
/// chaining; not parallelism, chains or configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSignature {
    /// One entry per operator, in the order of declaration.
    pub entries: Vec<PlanEntry>,
}

/// What a plan says of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// The operator.
    pub operator: OperatorId,
    /// Its name.
    pub name: String,
    /// Where it was declared. Told in errors, not compared: a moved line is the same plan.
    pub declared_at: Location,
    /// Everything that counts, as text: kind, types, inputs, partitioner, chaining.
    pub text: String,
}

/// The first place where two plans differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDifference {
    /// What was submitted there.
    pub submitted: Option<PlanEntry>,
    /// What this process found there.
    pub found: Option<PlanEntry>,
}

impl PlanSignature {
    /// The hash of all that counts.
    pub fn hash(&self) -> u128 {
        let mut hasher = Hasher128::new();
        for entry in &self.entries {
            hasher.update(&entry.operator.0.to_le_bytes());
            hasher.update(&(entry.text.len() as u64).to_le_bytes());
            hasher.update(entry.text.as_bytes());
        }
        hasher.finish()
    }

    /// The first operator for which the plan found here is not the submitted one.
    pub fn first_difference(&self, found: &PlanSignature) -> Option<PlanDifference> {
        let len = self.entries.len().max(found.entries.len());
        (0..len).find_map(|i| {
            let (submitted, found) = (self.entries.get(i), found.entries.get(i));
            let key = |entry: &PlanEntry| (entry.operator, entry.text.clone());
            (submitted.map(key) != found.map(key))
                .then(|| PlanDifference { submitted: submitted.cloned(), found: found.cloned() })
        })
    }
}

impl fmt::Display for PlanDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |f: &mut fmt::Formatter<'_>, entry: &Option<PlanEntry>| match entry {
            None => f.write_str("nothing"),
            Some(e) => write!(f, "`{}` declared at {} ({})", e.name, e.declared_at, e.text),
        };
        f.write_str("submitted was ")?;
        side(f, &self.submitted)?;
        f.write_str(", this process found ")?;
        side(f, &self.found)
    }
}

impl ShipStrategy {
    /// Each producer feeds a range of consumers of its own, instead of all of them.
    pub fn is_pointwise(self) -> bool {
        matches!(self, Self::Forward | Self::Rescale)
    }

    /// A barrier may overtake the records of such an exchange. Where each consumer reads producers of
    /// its own, or all records, or what the user's partitioner gives it, nobody could say who is to get
    /// the overtaken ones after a restore with another parallelism: there it never does.
    pub fn may_be_overtaken(self) -> bool {
        match self {
            Self::Hash | Self::Rebalance | Self::Shuffle | Self::Global => true,
            Self::Forward | Self::Rescale | Self::Broadcast | Self::Custom => false,
        }
    }

    /// The consumers that producer `subtask` feeds: its subpartition `i` is for the `i`-th of them.
    pub fn consumers_of(self, subtask: u32, producers: u32, consumers: u32) -> Range<u32> {
        if !self.is_pointwise() {
            return 0..consumers;
        }
        if producers >= consumers {
            let target = (0..consumers)
                .find(|t| self.producers_of(*t, producers, consumers).contains(&subtask))
                .expect("shares of consumers cover all producers");
            target..target + 1
        } else {
            share(subtask, producers, consumers)
        }
    }

    /// The producers that consumer `subtask` reads: its channel `i` comes from the `i`-th of them.
    pub fn producers_of(self, subtask: u32, producers: u32, consumers: u32) -> Range<u32> {
        if !self.is_pointwise() {
            return 0..producers;
        }
        if producers >= consumers {
            share(subtask, consumers, producers)
        } else {
            let source = (0..producers)
                .find(|s| share(*s, producers, consumers).contains(&subtask))
                .expect("shares of producers cover all consumers");
            source..source + 1
        }
    }
}

/// The part of `0..all` that the `i`-th of `n` gets, with `n` at most `all`.
fn share(i: u32, n: u32, all: u32) -> Range<u32> {
    let bound = |i: u32| (u64::from(i) * u64::from(all) / u64::from(n)) as u32;
    bound(i)..bound(i + 1)
}

impl JobGraph {
    /// The edges that leave the vertex, with their indices.
    pub fn outputs_of(&self, vertex: usize) -> impl Iterator<Item = (usize, &JobEdge)> {
        self.edges.iter().enumerate().filter(move |(_, edge)| edge.source == vertex)
    }

    /// The edges that enter the vertex, with their indices.
    pub fn inputs_of(&self, vertex: usize) -> impl Iterator<Item = (usize, &JobEdge)> {
        self.edges.iter().enumerate().filter(move |(_, edge)| edge.target == vertex)
    }

    /// The slots that the job needs: per slot sharing group, the greatest parallelism in it.
    pub fn slots_needed(&self) -> u32 {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        for vertex in &self.vertices {
            let most = groups.entry(&vertex.slot_sharing_group).or_default();
            *most = (*most).max(vertex.parallelism);
        }
        groups.values().sum()
    }

    /// Pipelined regions: sets of vertices (as sorted indices) tied by pipelined exchanges, in
    /// topological order of their first vertex.
    pub fn pipelined_regions(&self) -> Vec<Vec<usize>> {
        let mut region: Vec<usize> = (0..self.vertices.len()).collect();
        for edge in self.edges.iter().filter(|e| e.exchange == ExchangeMode::Pipelined) {
            let (keep, drop) = (region[edge.source], region[edge.target]);
            region.iter_mut().filter(|r| **r == drop).for_each(|r| *r = keep);
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (vertex, region) in region.into_iter().enumerate() {
            groups.entry(region).or_default().push(vertex);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort();
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_and_consumers_of_every_exchange_agree() {
        use ShipStrategy::*;
        for ship in [Forward, Rescale, Hash, Broadcast] {
            for producers in 1..9 {
                for consumers in 1..9 {
                    if ship == Forward && producers != consumers {
                        continue;
                    }
                    for p in 0..producers {
                        for c in 0..consumers {
                            let feeds = ship.consumers_of(p, producers, consumers).contains(&c);
                            let reads = ship.producers_of(c, producers, consumers).contains(&p);
                            assert_eq!(feeds, reads, "{ship:?} {p}/{producers} {c}/{consumers}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_differing_operator_is_named() {
        let entry = |name: &str, text: &str| PlanEntry {
            operator: OperatorId(1),
            name: name.to_owned(),
            declared_at: Location { file: "src/main.rs".to_owned(), line: 7 },
            text: text.to_owned(),
        };
        let plan = |texts: [&str; 2]| PlanSignature {
            entries: vec![entry("source", texts[0]), entry("double", texts[1])],
        };
        let (a, b) = (plan(["source u64", "map u64"]), plan(["source u64", "map i64"]));
        assert_eq!(a.first_difference(&a), None);
        assert_ne!(a.hash(), b.hash());
        let difference = a.first_difference(&b).expect("they differ");
        assert_eq!(
            difference.to_string(),
            "submitted was `double` declared at src/main.rs:7 (map u64), \
             this process found `double` declared at src/main.rs:7 (map i64)"
        );
    }
}
