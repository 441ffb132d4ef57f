//! Events from memory: what queries cost without the cost of reading or making events.
//!
//! Each subtask of the source makes its share of the events before the clock starts, which runs from the
//! first event that is asked for to the last; then a line of JSON is printed, as
//! `loops nexmark` and `timely_rivals nexmark` in `benches/rivals` print it.

use crate::figures::cpu_seconds;
use millstream::OperatorError;
use millstream::connectors::nexmark::{Config, Event, generator};
use millstream::operator::context::TaskContext;
use millstream::operator::item;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Events in memory, for one run of a job.
pub(crate) struct InMemory {
    events: u64,
    clock: Arc<Clock>,
}

impl InMemory {
    /// The events of `memory:EVENTS`; nothing if that is not what the input is.
    pub(crate) fn asked_for(input: &str) -> Result<Option<Self>> {
        let Some(number) = input.strip_prefix("memory:") else { return Ok(None) };
        let events = number.parse().ok().filter(|events| *events > 0).ok_or_else(|| {
            Error::argument(format!("`--input {input}` is not `memory:EVENTS`"))
                .next("give a whole number above 0, such as `memory:1000000`")
        })?;
        let clock =
            Clock { events, ready: OnceLock::new(), began: OnceLock::new(), ended: Mutex::new(0) };
        Ok(Some(Self { events, clock: Arc::new(clock) }))
    }
}

impl Source<Event> for InMemory {
    /// Makes every so manieth event, on the thread that drops them: what one thread has allocated is freed
    /// by another at a price of its own.
    fn reader(&self, task: &TaskContext) -> Result<Box<dyn SourceReader<Event>>, OperatorError> {
        let made = generator(Config::default());
        let share = (u64::from(task.subtask)..self.events).step_by(task.parallelism as usize);
        let share: Vec<Event> = share.map(|index| made.event(index)).collect();
        let (events, clock) = (ManuallyDrop::new(share.into_iter()), self.clock.clone());
        Ok(Box::new(Reader { events, task: task.clone(), clock }))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Reads the share of one subtask. The memory that held it is left to the end of the process: giving a
/// gigabyte back to the kernel is no part of a query.
struct Reader {
    events: ManuallyDrop<std::vec::IntoIter<Event>>,
    task: TaskContext,
    clock: Arc<Clock>,
}

impl SourceReader<Event> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<Event>,
        room: usize,
        _: SourceClock,
    ) -> Result<Poll, OperatorError> {
        self.clock.start(self.task.parallelism);
        if self.events.len() == 0 {
            self.clock.stop(&self.task);
            return Ok(Poll::End);
        }
        out.extend(self.events.by_ref().take(room));
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![item::encode(&(self.events.len() as u64))])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        for item in &items {
            let left: u64 = item::decode("the number of events that are left", item)?;
            let given = self.events.len().saturating_sub(left as usize);
            self.events.by_ref().take(given).for_each(drop);
        }
        Ok(())
    }
}

/// Wall time and the process's processor time, from the first reader's begin to the last one's end.
struct Clock {
    events: u64,
    /// All readers have their events.
    ready: OnceLock<Barrier>,
    began: OnceLock<(Instant, f64)>,
    /// So many readers have come to their end.
    ended: Mutex<u32>,
}

impl Clock {
    fn start(&self, parallelism: u32) {
        if self.began.get().is_none() {
            self.ready.get_or_init(|| Barrier::new(parallelism as usize)).wait();
            self.began.get_or_init(|| (Instant::now(), cpu_seconds()));
        }
    }

    /// One reader has come to its end; the last one prints.
    fn stop(&self, task: &TaskContext) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended += 1;
        let Some((at, cpu)) = self.began.get().filter(|_| *ended == task.parallelism) else {
            return;
        };
        let (seconds, cpu_seconds) = (at.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "{{\"bench\":\"{}\",\"impl\":\"millstream\",\"variant\":\"plain\",\"p\":{},\
             \"records\":{},\"seconds\":{seconds},\"cpu_seconds\":{cpu_seconds}}}",
            task.job_name, task.parallelism, self.events,
        );
    }
}
