//! Event time in whole programs, embedded.

use millstream::OperatorError;
use millstream::api::args::Args;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::sink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KEYS: u64 = 100;

/// Gives each key a reading at 1,000 and one at 5,000, and ends when all alarms of the first are over.
struct Readings {
    alarms: Arc<AtomicU64>,
}

struct Reader {
    next: u64,
    alarms: Arc<AtomicU64>,
}

impl Source<(u64, i64)> for Readings {
    fn reader(
        &self,
        _context: &TaskContext,
    ) -> Result<Box<dyn SourceReader<(u64, i64)>>, OperatorError> {
        Ok(Box::new(Reader { next: 0, alarms: self.alarms.clone() }))
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<(u64, i64)> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<(u64, i64)>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.next < 2 * KEYS {
            out.push((self.next % KEYS, if self.next < KEYS { 1_000 } else { 5_000 }));
            self.next += 1;
            return Ok(Poll::More);
        }
        if self.alarms.load(Ordering::SeqCst) == KEYS {
            return Ok(Poll::End);
        }
        Ok(Poll::WakeAt(clock.now_us + 1_000))
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![self.next.to_le_bytes().to_vec()])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let item = items.first().and_then(|item| item.first_chunk().copied());
        self.next = item.map_or(2 * KEYS, u64::from_le_bytes);
        Ok(())
    }
}

/// Rings a second after each reading.
#[derive(Clone)]
struct Alarm;

impl KeyedProcessFunction<u64, (u64, i64)> for Alarm {
    type State = ();
    type Out = (u64, i64, i64);

    fn process(
        &mut self,
        (_, time): (u64, i64),
        ctx: &mut ProcessContext<'_, u64, (), (u64, i64, i64)>,
    ) -> FunctionResult {
        if ctx.timestamp() != Some(time) {
            return Err(format!("{:?} is not the time {time}", ctx.timestamp()).into());
        }
        ctx.register_event_timer(time + 1_000);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        ctx: &mut ProcessContext<'_, u64, (), (u64, i64, i64)>,
    ) -> FunctionResult {
        if ctx.current_watermark() < timer.time || ctx.timestamp() != Some(timer.time) {
            return Err(format!("{timer:?} fired at {}", ctx.current_watermark()).into());
        }
        let alarm = (*ctx.key(), timer.time, ctx.current_watermark());
        ctx.emit(alarm);
        Ok(())
    }
}

#[test]
fn event_timers_fire_while_the_job_runs_and_at_its_end() {
    let count = Arc::new(AtomicU64::new(0));
    let args = Args::parse(["--parallelism", "2"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    env.configure("pipeline.auto-watermark-interval", "1 ms");
    let (alarms, rung) = (sink::collect(), count.clone());
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1))
        .with_timestamp_assigner(|reading: &(u64, i64)| reading.1);
    env.source("readings", Readings { alarms: count })
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|reading| reading.0)
        .process(Alarm)
        .name("alarm")
        .map(move |alarm| {
            rung.fetch_add(1, Ordering::SeqCst);
            alarm
        })
        .sink("alarms", alarms.clone());
    env.execute("alarms").expect("nothing fails");
    let mut alarms = alarms.take();
    alarms.sort_unstable();
    let expected = (0..KEYS).flat_map(|key| [(key, 2_000, 3_999), (key, 6_000, i64::MAX)]);
    assert_eq!(alarms, expected.collect::<Vec<_>>());
}
