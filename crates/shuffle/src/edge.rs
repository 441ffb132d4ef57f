//! [`Edge`]: between which two vertices records are on their way.

use millstream_core::ids::DataSetId;
use millstream_core::job_graph::ShipStrategy;

/// An edge between two vertices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name.
    pub data_set: DataSetId,
    /// How records find their consumer.
    pub ship: ShipStrategy,
}

impl Default for Edge {
    /// Nobody's: no barrier overtakes its records.
    fn default() -> Self {
        Self { data_set: DataSetId(0), ship: ShipStrategy::Forward }
    }
}
