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
        let mut events = share.map(|index| made.event(index));
        let mut blocks = Vec::new();
        loop {
            let block: Vec<Event> = events.by_ref().take(BLOCK).collect();
            if block.is_empty() {
                break;
            }
            blocks.push(block);
        }
        let (blocks, clock) = (ManuallyDrop::new(blocks), self.clock.clone());
        Ok(Box::new(Reader { blocks, next: 0, task: task.clone(), clock }))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// So many events lie together and are given away by one copy.
const BLOCK: usize = 32;

/// Reads the share of one subtask. The memory that held it is left to the end of the process: giving a
/// gigabyte back to the kernel is no part of a query.
struct Reader {
    blocks: ManuallyDrop<Vec<Vec<Event>>>,
    next: usize,
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
        if self.next == self.blocks.len() {
            self.clock.stop(&self.task);
            return Ok(Poll::End);
        }
        let enough = out.len() + room.max(1);
        while out.len() < enough {
            let Some(block) = self.blocks.get_mut(self.next) else { break };
            out.append(block);
            self.next += 1;
        }
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![item::encode(&(self.next as u64))])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        for item in &items {
            let given: u64 = item::decode("how many blocks were given", item)?;
            for _ in self.next..self.blocks.len().min(given as usize) {
                self.blocks[self.next].clear();
                self.next += 1;
            }
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
