//! A task whose first operator waits for answers from outside: it rests meanwhile, and neither barriers nor
//! its end are in the way of each other.

use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::OperatorId;
use millstream_operator::asynchronous::{
    AsyncFn, AsyncOptions, AsyncRuntime, AsyncWait, LocalRuntime,
};
use millstream_operator::clock::ManualClock;
use millstream_operator::context::{OperatorLabel, TaskContext};
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_task::stream_task::{Chain, Head, Outputs, Step, StreamTask, TaskReport};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Poll as Polled, Waker};
use std::time::{Duration, Instant};

/// What the test and the task share.
#[derive(Default)]
struct Shared {
    /// Records that the source gives, one per poll; then it ends, or is idle.
    input: VecDeque<u64>,
    ended: bool,
    polls: u32,
    /// Calls that wait, and answers.
    waiting: BTreeMap<u64, Waker>,
    answered: Vec<u64>,
    /// What came out.
    seen: Vec<u64>,
}

type Handle = Arc<Mutex<Shared>>;

struct Input(Handle);

impl SourceReader<u64> for Input {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let mut shared = self.0.lock().unwrap();
        shared.polls += 1;
        let ended = shared.ended;
        match shared.input.pop_front() {
            Some(record) => out.push(record),
            None if ended => return Ok(Poll::End),
            None => return Ok(Poll::Idle),
        }
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Remembers what comes.
struct Memory(Handle);

impl Operator for Memory {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<()>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        self.0.lock().unwrap().seen.append(&mut cast::<u64>(input).items);
        Ok(Flow::Drained)
    }
}

async fn ask(shared: Handle, n: u64) -> Result<u64, String> {
    std::future::poll_fn(move |context| {
        let mut shared = shared.lock().unwrap();
        if shared.answered.contains(&n) {
            return Polled::Ready(Ok(n));
        }
        shared.waiting.insert(n, context.waker().clone());
        Polled::Pending
    })
    .await
}

struct Bench {
    task: StreamTask,
    shared: Handle,
    runtime: LocalRuntime,
    clock: ManualClock,
    now: Instant,
}

impl Bench {
    fn new(input: impl IntoIterator<Item = u64>, options: AsyncOptions) -> Self {
        let shared = Handle::default();
        shared.lock().unwrap().input.extend(input);
        let label = || OperatorLabel { name: "operator".into(), declared_at: Location::default() };
        let (runtime, clock) = (LocalRuntime::new(), ManualClock::default());
        let context = TaskContext {
            async_runtime: AsyncRuntime::new(runtime.clone()),
            clock: clock.clock(),
            ..TaskContext::alone()
        };
        let desk = shared.clone();
        let function = AsyncFn(move |n: u64| ask(desk.clone(), n));
        let wait = AsyncWait::new(function, options, &context).expect("it opens");
        let source = ReaderSource(Box::new(Input(shared.clone())));
        let mut chain = Chain::new(source.output());
        chain.push(OperatorId(2), label(), Box::new(wait));
        chain.push(OperatorId(3), label(), Box::new(Memory(shared.clone())));
        let outputs = Outputs::new(Vec::new(), PartitionRegistry::new());
        let head = Head::source(OperatorId(1), label(), Box::new(source));
        let task = StreamTask::new(head, chain, outputs).with_clock(clock.clock());
        Self { task, shared, runtime, clock, now: Instant::now() }
    }

    fn answer(&self, n: u64) {
        let mut shared = self.shared.lock().unwrap();
        shared.answered.push(n);
        shared.waiting.remove(&n).expect("it has asked").wake();
    }

    /// Steps until the task says that it needs input, or that it has finished.
    fn rest(&mut self) -> Step {
        for _ in 0..1_000 {
            self.runtime.run();
            let step = self.task.step(self.now).expect("nothing fails");
            if step != Step::Progress {
                return step;
            }
        }
        panic!("the task never rests");
    }

    fn seen(&self) -> Vec<u64> {
        std::mem::take(&mut self.shared.lock().unwrap().seen)
    }

    fn polls(&self) -> u32 {
        self.shared.lock().unwrap().polls
    }

    /// How many records a checkpoint has of those under way.
    fn checkpoint(&mut self, id: u64) -> usize {
        let barrier = Barrier {
            checkpoint: CheckpointId(id),
            timestamp: 0,
            kind: SnapshotKind::Checkpoint,
            alignment: Alignment::Aligned,
        };
        self.task.trigger(barrier, self.now);
        self.rest();
        let reports = self.task.take_reports().into_iter();
        let mut snapshots = reports.filter_map(|report| match report {
            TaskReport::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        });
        let snapshot = snapshots.next().expect("the barrier waits for no answer");
        let lists = snapshot.operators.iter().flat_map(|(_, state)| &state.lists);
        lists.filter(|list| list.name == "in-flight").map(|list| list.items.len()).sum()
    }
}

#[test]
fn a_full_operator_reads_no_further_and_its_task_rests_until_an_answer_comes() {
    let mut bench = Bench::new(0..4, AsyncOptions::ordered().capacity(1).without_timeout());
    assert_eq!(bench.rest(), Step::NeedInput(None));
    assert!(bench.task.is_idle());
    // One is asked about and one waits before it.
    assert_eq!(bench.polls(), 2);
    assert_eq!(bench.rest(), Step::NeedInput(None));
    assert_eq!(bench.polls(), 2);
    for n in 0..4 {
        bench.answer(n);
        bench.rest();
    }
    assert_eq!(bench.seen(), [0, 1, 2, 3]);
}

#[test]
fn the_task_is_stepped_again_when_a_timeout_is_due() {
    let timeout = Duration::from_millis(250);
    let mut bench = Bench::new([1], AsyncOptions::ordered().timeout(timeout));
    assert_eq!(bench.rest(), Step::NeedInput(Some(bench.now + timeout)));
    bench.clock.set(250);
    let failed = (0..10).find_map(|_| bench.task.step(bench.now).err());
    assert!(format!("{failed:?}").contains("was not answered within 250ms"), "{failed:?}");
}

#[test]
fn a_barrier_waits_for_no_answer() {
    let mut bench = Bench::new(0..4, AsyncOptions::unordered().capacity(2).without_timeout());
    bench.rest();
    assert_eq!(bench.checkpoint(1), 3, "two are asked about, one waits");
    bench.answer(1);
    bench.rest();
    assert_eq!(bench.seen(), [1]);
    assert_eq!(bench.checkpoint(2), 3);
}

#[test]
fn the_end_of_the_input_waits_for_answers_and_barriers_pass_meanwhile() {
    let mut bench = Bench::new(0..2, AsyncOptions::ordered().without_timeout());
    bench.shared.lock().unwrap().ended = true;
    assert_eq!(bench.rest(), Step::NeedInput(None));
    assert!(bench.task.is_idle());
    assert_eq!(bench.checkpoint(1), 2);
    bench.answer(0);
    assert_eq!(bench.rest(), Step::NeedInput(None));
    assert_eq!(bench.checkpoint(2), 1);
    bench.answer(1);
    assert_eq!(bench.rest(), Step::Finished);
    assert_eq!(bench.seen(), [0, 1]);
}
