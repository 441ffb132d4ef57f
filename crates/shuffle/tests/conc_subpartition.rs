//! The queue between two tasks of one process, under every order of steps that shuttle tries.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-shuffle --test conc_subpartition`
#![cfg(shuttle)]

use millstream_core::checkpoint::CheckpointId;
use millstream_shuffle::batch::{Batch, BoxBatch};
use millstream_shuffle::element::{Control, Element};
use millstream_shuffle::subpartition::{BATCHES_MAX, Subpartition};
use millstream_shuffle::sync::{Arc, thread};
use millstream_shuffle::wake::Wake;

const SCHEDULES: usize = 5_000;

/// More than fits, so that the producer waits.
const BATCHES: usize = BATCHES_MAX + 4;

fn produce(queue: &Subpartition, wake: &Wake) {
    wake.adopt_current_thread();
    for number in 0..BATCHES {
        while !queue.has_room() {
            wake.sleep(None, || !queue.has_room());
        }
        let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![number as u64]));
        queue.push(&mut batch);
        assert!(batch.is_empty());
        if number % 5 == 0 {
            queue.push_control(Control::CancelBarrier(CheckpointId(number as u64)));
        }
    }
    queue.push_control(Control::EndOfPartition);
}

/// Takes so many batches; how many there were, and whether the end was found. Barriers are where they
/// were pushed.
fn consume(queue: &Subpartition, wake: &Wake, batches_max: usize) -> (usize, bool) {
    wake.adopt_current_thread();
    queue.attach(wake.clone());
    let mut batches = 0;
    while batches < batches_max {
        let element = loop {
            if let Some(element) = queue.pop() {
                break element;
            }
            wake.sleep(None, || queue.is_empty());
        };
        match element {
            Element::Batch(mut batch) => {
                assert_eq!(batch.len(), 1);
                batch.clear();
                queue.recycle(batch);
                batches += 1;
            }
            Element::Control(Control::EndOfPartition) => return (batches, true),
            Element::Control(Control::CancelBarrier(CheckpointId(number))) => {
                assert_eq!(number as usize + 1, batches);
            }
            Element::Control(Control::Barrier(_) | Control::Watermark(_)) => {
                panic!("nobody pushed one")
            }
        }
    }
    (batches, false)
}

fn check(batches_max: usize, expected: (usize, bool)) {
    shuttle::check_random(
        move || {
            let (producer, consumer) = (Wake::new(), Wake::new());
            let queue = Arc::new(Subpartition::new(producer.clone()));
            let shared = queue.clone();
            let thread = thread::spawn(move || produce(&shared, &producer));
            assert_eq!(consume(&queue, &consumer, batches_max), expected);
            queue.release();
            thread.join().expect("no panic");
            assert!(queue.is_released());
        },
        SCHEDULES,
    );
}

#[test]
fn conc_pool_lost_wakeup_neither_side_sleeps_while_the_other_waits() {
    check(BATCHES + 1, (BATCHES, true));
}

#[test]
fn conc_cancel_vs_finish_a_consumer_that_leaves_frees_its_producer() {
    check(2, (2, false));
    check(0, (0, false));
}

#[test]
fn conc_recycle_vs_release_emptied_batches_go_nowhere_or_back() {
    check(BATCHES, (BATCHES, false));
}
