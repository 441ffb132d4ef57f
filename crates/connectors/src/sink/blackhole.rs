//! A sink that forgets.

use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};

/// Forgets records. Made by [`blackhole`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Blackhole;

/// Forgets what it gets: to measure everything before it.
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink::blackhole;
///
/// write_all(&blackhole(), ["never", "seen"]).unwrap();
/// ```
pub fn blackhole() -> Blackhole {
    Blackhole
}

impl<T> Sink<T> for Blackhole {
    fn writer(&self, _context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        Ok(Box::new(Self))
    }
}

impl<T> SinkWriter<T> for Blackhole {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        records.clear();
        Ok(())
    }
}
