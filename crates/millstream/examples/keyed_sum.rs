//! Running sum per key of generated integers, into a blackhole.
use millstream::api as _;
use millstream::prelude::*;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};

struct Gen(u64, u64);
struct Reader {
    next: u64,
    end: u64,
    step: u64,
    keys: u64,
}
impl Source<(u64, i64)> for Gen {
    fn reader(
        &self,
        c: &TaskContext,
    ) -> std::result::Result<Box<dyn SourceReader<(u64, i64)>>, OperatorError> {
        Ok(Box::new(Reader {
            next: c.subtask as u64,
            end: self.0,
            step: c.parallelism as u64,
            keys: self.1,
        }))
    }
    fn is_bounded(&self) -> bool {
        true
    }
}
fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
impl SourceReader<(u64, i64)> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<(u64, i64)>,
        room: usize,
        _: SourceClock,
    ) -> std::result::Result<Poll, OperatorError> {
        let left = (self.end.saturating_sub(self.next)).div_ceil(self.step);
        let n = (room as u64).min(left);
        let (next, step, keys) = (self.next, self.step, self.keys);
        out.extend((0..n).map(|j| {
            let i = next + j * step;
            (splitmix64(i) % keys, i as i64)
        }));
        self.next += n * step;
        Ok(if self.next >= self.end { Poll::End } else { Poll::More })
    }
}
struct Black;
struct BlackW;
impl<T: Record> Sink<T> for Black {
    fn writer(
        &self,
        _: &TaskContext,
    ) -> std::result::Result<Box<dyn SinkWriter<T>>, OperatorError> {
        Ok(Box::new(BlackW))
    }
}
impl<T> SinkWriter<T> for BlackW {
    fn write(&mut self, r: &mut Vec<T>) -> std::result::Result<(), OperatorError> {
        std::hint::black_box(&r);
        r.clear();
        Ok(())
    }
}

fn main() -> Result<()> {
    let env = millstream::env_from_args()?;
    let records: u64 = env.arg_parsed("records")?.unwrap_or(100_000_000);
    let keys: u64 = env.arg_parsed("keys")?.unwrap_or(1_000_000);
    env.source("numbers", Gen(records, keys))
        .key_by(|r| r.0)
        .sum(|r| r.1)
        .name("sum")
        .sink("blackhole", Black);
    let r = env.execute("keyed_sum")?;
    println!("{:.1} M/s", records as f64 / r.runtime.as_secs_f64() / 1e6);
    Ok(())
}
