//! How long records are under way from a source through a keyed exchange to a sink:
//! `latency [--rate R] [--seconds S]`.
//!
//! A record is stamped with the time when it was due, so a source that falls behind hides nothing.
//! Each subtask of the sink prints its percentiles in microseconds; the first second is left out.

use millstream::clock::{due_at_us, now_us};
use millstream::operator::context::TaskContext;
use millstream::operator::sink::{Sink, SinkWriter};
use millstream::prelude::*;
use millstream::{OperatorError, source};

millstream::allocator!();

/// Collects latencies.
struct Percentiles {
    warm_up: u64,
}

struct Writer {
    subtask: u32,
    warm_up: u64,
    micros: Vec<u64>,
}

impl Sink<(u64, u64)> for Percentiles {
    fn writer(
        &self,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter<(u64, u64)>>, OperatorError> {
        let (subtask, warm_up) = (context.subtask, self.warm_up);
        Ok(Box::new(Writer { subtask, warm_up, micros: Vec::new() }))
    }
}

impl SinkWriter<(u64, u64)> for Writer {
    fn write(&mut self, records: &mut Vec<(u64, u64)>) -> Result<(), OperatorError> {
        let now = now_us();
        for (index, due) in records.drain(..) {
            if index >= self.warm_up {
                self.micros.push(now.saturating_sub(due));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        self.micros.sort_unstable();
        let at = |share: f64| {
            let last = self.micros.len().saturating_sub(1);
            self.micros.get((last as f64 * share) as usize).copied().unwrap_or(0)
        };
        let (subtask, records) = (self.subtask, self.micros.len());
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        println!(
            "{{\"bench\":\"latency\",\"impl\":\"millstream\",\"subtask\":{subtask},\
             \"records\":{records},\"p50_us\":{p50},\"p99_us\":{p99},\"p999_us\":{p999}}}"
        );
        Ok(())
    }
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let rate = env.arg_parsed::<u64>("rate")?.unwrap_or(10_000).max(1);
    let seconds = env.arg_parsed::<u64>("seconds")?.unwrap_or(5);
    let numbers = source::generator_with_due(Some(rate * seconds), rate, |index, due_us| {
        (index, due_at_us(due_us))
    });

    env.source("numbers", numbers)
        .key_by(|(index, _)| *index % 1000)
        .reduce(|_, newest| newest)
        .name("newest")
        .sink("percentiles", Percentiles { warm_up: rate });
    env.execute("latency")?;
    Ok(())
}
