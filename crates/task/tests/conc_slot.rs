//! The mailbox of a slot and the slot itself, under every order of steps that shuttle tries. A mail
//! that is not read, or a slot that sleeps on, shows as a deadlock, which is a failure.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-task --release conc_`
#![cfg(shuttle)]

use millstream_core::OperatorError;
use millstream_core::error::Location;
use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobVertexId, OperatorId};
use millstream_core::job_graph::SourceSplit;
use millstream_core::status::ExecutionState;
use millstream_operator::context::{OperatorLabel, TaskContext};
use millstream_operator::sink::SinkWriter;
use millstream_operator::sink_operator::SinkOperator;
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::sync::{Arc, Mutex, lock, thread};
use millstream_task::mailbox::Mailbox;
use millstream_task::slot::{Deployment, Slot, SlotMail};
use millstream_task::snapshots::Snapshots;
use millstream_task::storages::Storages;
use millstream_task::stream_task::{Chain, Head, Outputs, StreamTask};

const SCHEDULES: usize = 20_000;

/// A slot takes many more steps than a mailbox.
const SLOT_SCHEDULES: usize = 3_000;

#[test]
fn conc_every_mail_wakes_a_reader_that_parks_and_keeps_its_order() {
    shuttle::check_random(
        || {
            let mailbox = Arc::new(Mailbox::default());
            let posters: Vec<_> = (0..2_u32)
                .map(|poster| {
                    let mailbox = mailbox.clone();
                    thread::spawn(move || (0..2_u32).for_each(|n| mailbox.post((poster, n))))
                })
                .collect();
            mailbox.wake().adopt_current_thread();
            let mut read = Vec::new();
            while read.len() < 4 {
                read.extend(mailbox.take());
                if read.len() < 4 {
                    mailbox.wake().sleep(None, || mailbox.is_empty());
                }
            }
            for poster in 0..2 {
                let of_one = read.iter().filter(|(from, _)| *from == poster).map(|(_, n)| *n);
                assert_eq!(of_one.collect::<Vec<_>>(), [0, 1]);
            }
            posters.into_iter().for_each(|poster| poster.join().expect("no panic"));
        },
        SCHEDULES,
    );
}

/// Gives the bytes of each split as records; then it wants the next.
#[derive(Default)]
struct Splits {
    left: Vec<u8>,
    over: bool,
}

impl SourceReader<u64> for Splits {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        out.extend(self.left.pop().map(u64::from));
        Ok(match (self.left.is_empty(), self.over) {
            (false, _) => Poll::More,
            (true, false) => Poll::NeedSplit,
            (true, true) => Poll::End,
        })
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        match split {
            Some(split) => self.left = split.0,
            None => self.over = true,
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(self.left.iter().map(|byte| vec![*byte]).collect())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.left = items.concat();
        Ok(())
    }
}

/// What the outside sees of one attempt.
#[derive(Default)]
struct Seen {
    states: Vec<ExecutionState>,
    /// With which words the sink was closed.
    closed: Vec<bool>,
    records: u64,
}

struct Watched(Arc<Mutex<Seen>>);

impl SinkWriter<u64> for Watched {
    fn write(&mut self, records: &mut Vec<u64>) -> Result<(), OperatorError> {
        lock(&self.0).records += records.len() as u64;
        Ok(())
    }

    fn close(&mut self, completed: bool) -> Result<(), OperatorError> {
        lock(&self.0).closed.push(completed);
        Ok(())
    }
}

fn attempt() -> ExecutionAttemptId {
    let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(2));
    ExecutionAttemptId { graph, vertex, subtask: 0, attempt: 0 }
}

fn label(name: &str) -> OperatorLabel {
    OperatorLabel { name: name.into(), declared_at: Location::default() }
}

fn deployment(seen: &Arc<Mutex<Seen>>) -> Deployment {
    let seen = seen.clone();
    Deployment {
        attempt: attempt(),
        name: "splits -> sink (1/1)".to_owned(),
        order: 0,
        build: Box::new(move |_| {
            let source = ReaderSource(Box::<Splits>::default());
            let batch = source.output();
            let sink = SinkOperator::new(Box::new(Watched(seen)), &TaskContext::alone())
                .expect("the defaults are valid");
            let outputs = Outputs::new(Vec::new(), PartitionRegistry::new());
            let head = Head::source(OperatorId(1), label("splits"), Box::new(source));
            let mut chain = Chain::new(batch);
            chain.push(OperatorId(2), label("sink"), Box::new(sink));
            Ok(StreamTask::new(head, chain, outputs))
        }),
        metrics: Arc::default(),
    }
}

/// A slot that tells `seen`, and asks `asked` for splits.
fn slot(seen: &Arc<Mutex<Seen>>, asked: &Arc<Mailbox<ExecutionAttemptId>>) -> Slot {
    let (seen, asked) = (seen.clone(), asked.clone());
    let storages = Storages::new(Arc::new(|_: &str| unreachable!("nothing is written here")));
    let snapshots = Snapshots::new(Arc::new(storages), None, Arc::new(|_| ()));
    let started = Slot::start(
        "slot",
        Arc::new(move |event| match event {
            FromJobProcess::TaskState(update) => lock(&seen).states.push(update.state),
            FromJobProcess::RequestNextSplit { attempt, .. } => asked.post(attempt),
            other => panic!("{other:?}"),
        }),
        Arc::new(snapshots),
    );
    started.expect("a thread can be started")
}

/// Reads one wish for a split; false when there will be none.
fn next_wish(asked: &Mailbox<ExecutionAttemptId>, over: impl Fn() -> bool) -> bool {
    loop {
        if !asked.take().is_empty() {
            return true;
        }
        if over() {
            return false;
        }
        thread::yield_now();
    }
}

#[test]
fn conc_a_cancellation_and_an_end_agree_on_one_last_state() {
    // Before which answer the canceller begins: from the first to the last.
    for begins_before in 0..3 {
        shuttle::check_random(move || cancel_and_finish(begins_before), SLOT_SCHEDULES);
    }
}

fn cancel_and_finish(begins_before: usize) {
    let (seen, asked) = (Arc::<Mutex<Seen>>::default(), Arc::default());
    let slot = Arc::new(slot(&seen, &asked));
    slot.send(SlotMail::Deploy(deployment(&seen)));
    let mut canceller = None;
    let over = || lock(&seen).states.last().is_some_and(|state| state.is_terminal());
    let splits = [Some(SourceSplit(vec![1])), Some(SourceSplit(vec![2])), None];
    for (number, split) in splits.into_iter().enumerate() {
        if !next_wish(&asked, over) {
            break;
        }
        if number == begins_before {
            let slot = slot.clone();
            canceller = Some(thread::spawn(move || slot.send(SlotMail::Cancel(attempt()))));
        }
        slot.send(SlotMail::Split(attempt(), split));
    }
    slot.send(SlotMail::Dismiss);
    canceller.expect("its turn has come").join().expect("no panic");
    let Some(slot) = Arc::into_inner(slot) else { panic!("the canceller has ended") };
    slot.join();
    let seen = lock(&seen);
    use ExecutionState::{Canceled, Finished, Initializing, Running};
    let completed = match seen.states[..] {
        [Initializing, Running, Finished] => true,
        [Initializing, Running, Canceled] => false,
        _ => panic!("{:?}", seen.states),
    };
    assert_eq!(seen.closed, [completed]);
    assert!(!completed || seen.records == 2, "it finished after {} records", seen.records);
}

#[test]
fn conc_what_was_deployed_before_the_dismissal_ends_before_the_slot() {
    shuttle::check_random(
        || {
            let (seen, asked) = (Arc::<Mutex<Seen>>::default(), Arc::default());
            let slot = slot(&seen, &asked);
            slot.send(SlotMail::Deploy(deployment(&seen)));
            slot.send(SlotMail::Dismiss);
            assert!(next_wish(&asked, || false));
            assert!(!slot.is_finished(), "a task is left");
            slot.send(SlotMail::Split(attempt(), None));
            slot.join();
            assert_eq!(lock(&seen).states.last(), Some(&ExecutionState::Finished));
        },
        SLOT_SCHEDULES,
    );
}
