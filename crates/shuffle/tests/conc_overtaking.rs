//! A barrier that overtakes what waits in a queue while its producer goes on pushing, under every order
//! of steps that shuttle tries.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-shuffle --test conc_overtaking`
#![cfg(shuttle)]

use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::element::{Control, Element};
use millstream_shuffle::subpartition::{BATCHES_MAX, Subpartition};
use millstream_shuffle::sync::{Arc, thread};
use millstream_shuffle::wake::Wake;

const SCHEDULES: usize = 5_000;

/// Before the barrier, and after it: the producer waits for room in both.
const BEFORE: u64 = BATCHES_MAX as u64 + 2;
const ALL: u64 = BEFORE + BATCHES_MAX as u64 + 2;

fn produce(queue: &Subpartition, wake: &Wake) {
    wake.adopt_current_thread();
    for number in 0..ALL {
        while !queue.has_room() {
            wake.sleep(None, || !queue.has_room());
        }
        if number == BEFORE {
            let (checkpoint, kind) = (CheckpointId(1), SnapshotKind::Checkpoint);
            let alignment = Alignment::Unaligned;
            let barrier = Barrier { checkpoint, timestamp: 0, kind, alignment };
            queue.push_control(Control::Barrier(barrier));
            assert!(queue.settle(checkpoint, true, &mut Vec::new()) || !queue.is_attached());
        }
        let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![number]));
        queue.push(&mut batch);
    }
    queue.push_control(Control::EndOfPartition);
}

/// Takes the barrier out as soon as it is urged; gives what was processed before and recorded then.
fn consume(queue: &Subpartition, wake: &Wake) -> (u64, u64) {
    let (mut processed, mut cut) = (0, None);
    loop {
        if wake.take_urgency() && cut.is_none() {
            let mut rows = Vec::new();
            if queue.look_ahead().barrier.is_some() && queue.overtake(CheckpointId(1), &mut rows) {
                cut = Some((processed, rows.iter().map(|run| u64::from(run.count)).sum()));
            }
        }
        match queue.pop() {
            None => wake.sleep(None, || queue.is_empty()),
            Some(Element::Batch(mut batch)) => {
                assert_eq!(cast::<u64>(batch.as_mut()).items, [processed]);
                processed += 1;
            }
            Some(Element::Control(Control::EndOfPartition)) => break,
            Some(Element::Control(_)) => cut = cut.or(Some((processed, 0))),
        }
    }
    assert_eq!(processed, ALL);
    cut.expect("the barrier was there")
}

#[test]
fn conc_overtaking() {
    shuttle::check_random(
        || {
            let producer = Wake::new();
            let queue = Arc::new(Subpartition::new(producer.clone()));
            let shared = queue.clone();
            let consumer = Wake::new();
            consumer.adopt_current_thread();
            queue.attach(consumer.clone());
            let thread = thread::spawn(move || produce(&shared, &producer));
            let (processed, recorded) = consume(&queue, &consumer);
            assert_eq!(processed + recorded, BEFORE);
            thread.join().expect("no panic");
        },
        SCHEDULES,
    );
}
