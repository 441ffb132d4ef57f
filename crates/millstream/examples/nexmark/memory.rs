//! Events from memory: what queries cost without the cost of reading or making events.
//!
//! The events are made before the job starts, and each subtask of the source has its share of them. The
//! clock runs from the first event that is asked for to the last; then a line of JSON is printed, as
//! `loops nexmark` and `timely_rivals nexmark` in `benches/rivals` print it.

use crate::figures::cpu_seconds;
use millstream::OperatorError;
use millstream::connectors::nexmark::{Config, Event, generator};
use millstream::operator::context::TaskContext;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Events in memory, for one run of a job.
pub(crate) struct InMemory {
    /// Those that no subtask has taken: all, until the first one divides them.
    shares: Mutex<Vec<Vec<Event>>>,
    clock: Arc<Clock>,
}

impl InMemory {
    /// Makes the events of `memory:EVENTS`; nothing if that is not what the input is.
    pub(crate) fn asked_for(input: &str) -> Result<Option<Self>> {
        let Some(number) = input.strip_prefix("memory:") else { return Ok(None) };
        let events = number.parse().ok().filter(|events| *events > 0).ok_or_else(|| {
            Error::argument(format!("`--input {input}` is not `memory:EVENTS`"))
                .next("give a whole number above 0, such as `memory:1000000`")
        })?;
        let made: Vec<Event> = generator(Config::default()).iter().take(events).collect();
        let clock = Clock { events, began: OnceLock::new(), ended: Mutex::new(0) };
        Ok(Some(Self { shares: Mutex::new(vec![made]), clock: Arc::new(clock) }))
    }
}

impl Source<Event> for InMemory {
    fn reader(&self, task: &TaskContext) -> Result<Box<dyn SourceReader<Event>>, OperatorError> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() < task.parallelism as usize {
            *shares = by_turns(shares.swap_remove(0), task.parallelism as usize);
        }
        let share = std::mem::take(&mut shares[task.subtask as usize]);
        let (events, clock) = (ManuallyDrop::new(share.into_iter()), self.clock.clone());
        Ok(Box::new(Reader { events, task: task.clone(), clock }))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn can_replay(&self) -> bool {
        false
    }
}

/// So that times rise alike in all shares.
fn by_turns(events: Vec<Event>, parallelism: usize) -> Vec<Vec<Event>> {
    let mut shares: Vec<Vec<Event>> = Vec::new();
    shares.resize_with(parallelism, || Vec::with_capacity(events.len() / parallelism + 1));
    for (index, event) in events.into_iter().enumerate() {
        shares[index % parallelism].push(event);
    }
    shares
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
        self.clock.start();
        if self.events.len() == 0 {
            self.clock.stop(&self.task);
            return Ok(Poll::End);
        }
        out.extend(self.events.by_ref().take(room));
        Ok(Poll::More)
    }

    /// What was taken is gone, so there is no position to go on from.
    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Wall time and the process's processor time, from the first reader's begin to the last one's end.
struct Clock {
    events: usize,
    began: OnceLock<(Instant, f64)>,
    /// So many readers have come to their end.
    ended: Mutex<u32>,
}

impl Clock {
    fn start(&self) {
        self.began.get_or_init(|| (Instant::now(), cpu_seconds()));
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
