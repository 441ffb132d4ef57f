//! Identifiers. Each is a type of its own, so that the compiler keeps them apart.
//!
//! The 128-bit ones print as 32 lower-case hexadecimal digits, as Flink's do.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: expected 32 hexadecimal digits")]
pub struct ParseIdError(pub String);

macro_rules! id128 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                match u128::from_str_radix(text, 16) {
                    Ok(bits) if hex => Ok(Self(bits)),
                    _ => Err(ParseIdError(text.to_owned())),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
                } else {
                    u128::deserialize(d).map(Self)
                }
            }
        }
    )*};
}

id128! {
    /// One submitted job, through all its restarts.
    JobId;
    /// One operator of a plan: derived from its `uid`, its name or its place in the plan.
    OperatorId;
    /// One vertex of a job graph: the id of the head of its operator chain.
    JobVertexId;
    /// One grant of a slot to a job.
    AllocationId;
    /// One registration of a TaskManager; a new registration gets a new id.
    InstanceId;
    /// One term of leadership of a fenced endpoint. All zeros without high availability.
    FencingToken;
    /// One build of an execution graph: distinguishes runs of one job after a JobManager restart.
    ExecutionGraphId;
    /// The content of an artefact: XXH3-128 of its bytes.
    ContentHash;
    /// The data that one vertex produces for one edge.
    DataSetId;
    /// One request for a savepoint or a checkpoint: chosen by who asks, who then asks for its result.
    TriggerId;
}

/// A process that offers slots or contends for leadership: host, port and a random suffix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId(pub String);

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One attempt to run one subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutionAttemptId {
    /// The execution graph that made the attempt.
    pub graph: ExecutionGraphId,
    /// The vertex.
    pub vertex: JobVertexId,
    /// Which of the vertex's parallel instances, from 0.
    pub subtask: u32,
    /// Counts the attempts of this subtask, from 0.
    pub attempt: u32,
}

impl fmt::Display for ExecutionAttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}_{}", self.graph, self.vertex, self.subtask, self.attempt)
    }
}

/// What one attempt of a producer makes for one edge: the producer's subtask index is inside `producer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The edge's data set.
    pub data_set: DataSetId,
    /// The attempt that produces it.
    pub producer: ExecutionAttemptId,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.data_set, self.producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_32_digits_and_parses_back() {
        let id = JobId(0xAB);
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_text_of_another_shape_is_refused() {
        for text in ["", "ab", "+00000000000000000000000000000ab", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(text.parse::<JobId>(), Err(ParseIdError(text.to_owned())));
        }
    }
}
