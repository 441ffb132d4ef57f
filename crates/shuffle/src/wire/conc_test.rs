//! Parts of the producer's end, under every order of steps that shuttle tries: who writes, who binds,
//! who moves over, who closes.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-shuffle --lib conc_`

use super::buffer::BufferPool;
use super::frame::{FrameDecoder, HASHED, Header, Kind};
use super::outlet::{Closing, Outlet};
use super::sender::{Gather, Payload, Sender, Source};
use super::transport::Transport;
use crate::batch::{Batch, BoxBatch};
use crate::element::Control;
use crate::partition::{BatchPrototype, ResultPartition};
use crate::subpartition::Subpartition;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Condvar, Mutex, lock};
use crate::wake::Wake;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, PartitionId,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

const SCHEDULES: usize = 20_000;

/// Takes a few bytes at a time, and now and then none.
#[derive(Default)]
struct Sink {
    state: Mutex<SinkState>,
    ended: Condvar,
}

#[derive(Default)]
struct SinkState {
    bytes: Vec<u8>,
    calls: u32,
    ended: bool,
}

impl Sink {
    fn take(&self, bytes: &[IoSlice<'_>], may_refuse: bool) -> io::Result<usize> {
        let mut state = lock(&self.state);
        state.calls += 1;
        if may_refuse && state.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = state.bytes.len();
        let all = bytes.iter().flat_map(|slice| slice.iter().copied());
        state.bytes.extend(all.take(50));
        Ok(state.bytes.len() - before)
    }

    /// What was written, once it is known that nothing follows.
    fn frames(&self) -> Vec<super::frame::Frame> {
        let mut state = lock(&self.state);
        while !state.ended {
            state = self.ended.wait(state).expect("no panic");
        }
        let mut decoder = FrameDecoder::new(BufferPool::for_reading());
        let (mut left, mut frames) = (&state.bytes[..], Vec::new());
        while !left.is_empty() {
            let mut read = 0;
            for mut space in decoder.spaces() {
                let n = space.len().min(left.len() - read);
                space[..n].copy_from_slice(&left[read..read + n]);
                read += n;
            }
            decoder.advance(read);
            left = &left[read..];
            while let Some(frame) = decoder.next().expect("as written") {
                frames.push(frame);
            }
        }
        frames
    }
}

impl Transport for Sink {
    fn read(&self, _spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn set_read_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.take(bytes, false)
    }

    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.take(bytes, true)
    }

    fn close_write(&self) {
        lock(&self.state).ended = true;
        self.ended.notify_all();
    }

    fn close(&self) {
        self.close_write();
    }
}

/// A sender over a sink, with its writer thread.
struct Bench {
    sink: Arc<Sink>,
    sender: Arc<Sender>,
    writer: JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        let sink = Arc::new(Sink::default());
        let sender = Arc::new(Sender::new(sink.clone(), true));
        let running = sender.clone();
        let writer = thread::spawn(move || running.run());
        Self { sink, sender, writer }
    }

    /// Everything that was scheduled.
    fn finish(self) -> Vec<super::frame::Frame> {
        self.sender.finish();
        let frames = self.sink.frames();
        self.sender.close();
        self.writer.join().expect("no panic");
        frames
    }
}

/// Has as many frames as it was told.
#[derive(Default)]
struct Ticker {
    queued: AtomicBool,
    pending: AtomicU32,
    sent: AtomicU32,
    channel: u32,
}

impl Source for Ticker {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }

    fn fill(&self, gather: &mut Gather) -> bool {
        let pending = self.pending.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        if sent < pending {
            gather.push(Header::bare(Kind::Credit, self.channel, sent), Payload::None);
            self.sent.store(sent + 1, Ordering::SeqCst);
        }
        sent + 1 < pending
    }
}

#[test]
fn conc_what_is_scheduled_leaves_in_order_whoever_writes() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let threads: Vec<_> = (0..2)
                .map(|channel| {
                    let sender = bench.sender.clone();
                    thread::spawn(move || {
                        let ticker = Arc::new(Ticker { channel, ..Ticker::default() });
                        for _ in 0..3 {
                            ticker.pending.fetch_add(1, Ordering::SeqCst);
                            sender.schedule(ticker.clone());
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            let frames = bench.finish();
            for channel in 0..2 {
                let of_channel = frames.iter().filter(|frame| frame.header.channel == channel);
                let counts: Vec<u32> = of_channel.map(|frame| frame.header.count).collect();
                assert_eq!(counts, [0, 1, 2]);
            }
        },
        SCHEDULES,
    );
}

fn partition(wake: &Wake) -> Arc<ResultPartition> {
    let producer = ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: 0,
        attempt: 0,
    };
    Arc::new(ResultPartition {
        id: PartitionId { data_set: DataSetId(3), producer },
        subpartitions: vec![Arc::new(Subpartition::new(wake.clone()))],
        prototype: BatchPrototype::of::<u64>(),
    })
}

fn outlet(bench: &Bench, credit: u32) -> Arc<Outlet> {
    let pool = BufferPool::for_encoding();
    Arc::new(Outlet::new(0, 0, credit, bench.sender.clone(), pool))
}

/// Batches of one record; every second one is hashed, so that frames are not filled up.
fn produce(queue: &Subpartition, wake: &Wake, batches: u64) {
    wake.adopt_current_thread();
    for number in 0..batches {
        while !queue.has_room() {
            wake.sleep(None, || true);
        }
        push(queue, number);
    }
    queue.push_control(Control::EndOfPartition);
}

fn push(queue: &Subpartition, number: u64) {
    let hashes = if number.is_multiple_of(2) { vec![number] } else { Vec::new() };
    let mut batch: BoxBatch = Box::new(Batch { hashes, ..Batch::of(vec![number]) });
    queue.push(&mut batch);
}

#[track_caller]
fn check_frames(frames: &[super::frame::Frame], batches: u64) {
    let kinds: Vec<Kind> = frames.iter().map(|frame| frame.header.kind).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), (Kind::Subscribed, Kind::EndOfPartition));
    assert_eq!(kinds.len() as u64, batches + 2);
    for (number, frame) in (0..batches).zip(&frames[1..]) {
        assert_eq!(frame.header.kind, Kind::Data);
        assert_eq!(u64::from(frame.header.sequence), number);
        let hash_bytes = if frame.header.flags & HASHED != 0 { 8 } else { 0 };
        assert_eq!(frame.payload()[hash_bytes..], number.to_le_bytes());
    }
}

#[test]
fn conc_finish_vs_bind_everything_pushed_leaves_before_the_end() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let wake = Wake::new();
            let partition = partition(&wake);
            let queue = partition.subpartitions[0].clone();
            let producer = thread::spawn(move || produce(&queue, &wake, 3));
            outlet(&bench, 100).attach(&partition);
            producer.join().expect("no panic");
            check_frames(&bench.finish(), 3);
            assert!(partition.is_released());
        },
        SCHEDULES,
    );
}

#[test]
fn conc_finish_vs_bind_one_thread_moves_over_what_was_left() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let partition = partition(&Wake::new());
            let queue = partition.subpartitions[0].clone();
            (0..6).for_each(|number| push(&queue, number));
            queue.push_control(Control::CancelBarrier(CheckpointId(6)));
            let finishing = thread::spawn(move || queue.push_control(Control::EndOfPartition));
            outlet(&bench, 100).attach(&partition);
            finishing.join().expect("no panic");
            let mut frames = bench.finish();
            let barrier = frames.remove(7);
            assert_eq!((barrier.header.kind, barrier.header.sequence), (Kind::CancelBarrier, 6));
            check_frames(&frames, 6);
        },
        SCHEDULES,
    );
}

#[test]
fn conc_barriers_keep_their_place_when_a_consumer_binds_between_them() {
    const BARRIERS: u64 = 3;
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let partition = partition(&Wake::new());
            let queue = partition.subpartitions[0].clone();
            let producer = thread::spawn(move || {
                for number in 0..BARRIERS {
                    push(&queue, number);
                    queue.push_control(Control::CancelBarrier(CheckpointId(number)));
                }
                queue.push_control(Control::EndOfPartition);
            });
            outlet(&bench, 100).attach(&partition);
            producer.join().expect("no panic");
            let frames = bench.finish();
            let kinds: Vec<Kind> = frames.iter().map(|frame| frame.header.kind).collect();
            let pair = [Kind::Data, Kind::CancelBarrier];
            let all = [Kind::Subscribed].into_iter();
            let all = all.chain((0..BARRIERS).flat_map(|_| pair)).chain([Kind::EndOfPartition]);
            assert_eq!(kinds, all.collect::<Vec<_>>());
        },
        SCHEDULES,
    );
}

#[test]
fn conc_a_producer_at_rest_is_woken_by_its_consumer() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let wake = Wake::new();
            let partition = partition(&wake);
            let queue = partition.subpartitions[0].clone();
            let producer = thread::spawn(move || {
                wake.adopt_current_thread();
                push(&queue, 7);
                while queue.remote_bytes() == 0 {
                    wake.sleep(None, || true);
                    queue.pump().expect("the row is short");
                }
            });
            outlet(&bench, 100).attach(&partition);
            producer.join().expect("no panic");
            assert_eq!(bench.finish().len(), 2);
        },
        SCHEDULES,
    );
}

#[test]
fn conc_credit_that_comes_wakes_a_producer_without_room() {
    const BATCHES: u64 = 20;
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let wake = Wake::new();
            let partition = partition(&wake);
            let queue = partition.subpartitions[0].clone();
            let producer = thread::spawn(move || produce(&queue, &wake, BATCHES));
            let outlet = outlet(&bench, 1);
            outlet.attach(&partition);
            for _ in 1..BATCHES {
                outlet.add_credit(1);
            }
            producer.join().expect("no panic");
            check_frames(&bench.finish(), BATCHES);
        },
        SCHEDULES / 10,
    );
}

#[test]
fn conc_credit_vs_close_a_subscription_that_is_closed_leaves_nothing_bound() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let wake = Wake::new();
            let partition = partition(&wake);
            let queue = partition.subpartitions[0].clone();
            let outlet = outlet(&bench, 1);
            let closing = {
                let outlet = outlet.clone();
                thread::spawn(move || {
                    outlet.add_credit(1);
                    outlet.close(Closing::Cancelled);
                })
            };
            outlet.attach(&partition);
            closing.join().expect("no panic");
            assert!(!queue.is_bound(), "nobody would ever unbind it");
            bench.finish();
        },
        SCHEDULES,
    );
}
