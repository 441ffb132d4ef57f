//! Timers come in the order of their times, each once, whatever is registered and withdrawn meanwhile.

use super::backing;
use millstream_checkpoint::handle::OperatorRestore;
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_core::{Record, Str};
use millstream_state::{Backing, TimerQueue};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a timer is for.
type Queue = TimerQueue<u64, (u32, Str)>;

/// A timer of the model, in the order in which times come.
type Timer = (i64, u64, (u32, Str));

fn namespace(number: u32) -> (u32, Str) {
    (number, Str::new(&"n".repeat(number as usize * 9)))
}

fn open() -> Queue {
    Queue::open("timers", backing().as_ref())
}

#[derive(Clone, Debug)]
enum Step {
    Register(u64, u32, i64),
    Delete(u64, u32, i64),
    Pop(i64),
    /// By way of the heap.
    Savepoint,
    /// To the same backend.
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    let timer = || (0..40_u64, 0..3_u32, prop_oneof![-20..20_i64, Just(i64::MAX), Just(i64::MIN)]);
    prop_oneof![
        6 => timer().prop_map(|(key, name, time)| Step::Register(key, name, time)),
        2 => timer().prop_map(|(key, name, time)| Step::Delete(key, name, time)),
        3 => (-20..20_i64).prop_map(Step::Pop),
        1 => prop_oneof![Just(Step::Savepoint), Just(Step::Checkpoint)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_gives_what_a_sorted_set_would(steps in prop::collection::vec(step(), 1..120)) {
        let (mut queue, mut model) = (open(), BTreeSet::<Timer>::new());
        for step in steps {
            match step {
                Step::Register(key, name, time) => {
                    queue.register(key.hash64(), &key, namespace(name), time);
                    model.insert((time, key, namespace(name)));
                }
                Step::Delete(key, name, time) => {
                    let was_there = queue.delete(key.hash64(), &key, namespace(name), time);
                    prop_assert_eq!(was_there, model.remove(&(time, key, namespace(name))));
                }
                Step::Pop(until) => pop_all(&mut queue, &mut model, until)?,
                Step::Savepoint => queue = moved(moved(queue, None, false), backing(), false),
                Step::Checkpoint => queue = moved(queue, backing(), true),
            }
            prop_assert_eq!(queue.next(), model.first().map(|timer| timer.0));
            prop_assert_eq!(queue.len(), model.len());
        }
        pop_all(&mut queue, &mut model, i64::MAX)?;
        prop_assert!(queue.is_empty());
    }
}

/// Takes all timers out that are due. Those of one time come in any order.
fn pop_all(
    queue: &mut Queue,
    model: &mut BTreeSet<Timer>,
    until: i64,
) -> Result<(), TestCaseError> {
    while let Some(due) = queue.pop(until) {
        prop_assert_eq!(due.hash, due.key.hash64());
        prop_assert_eq!(Some(due.time), model.first().map(|timer| timer.0));
        prop_assert!(model.remove(&(due.time, due.key, due.namespace)));
    }
    prop_assert!(model.first().is_none_or(|timer| timer.0 > until));
    Ok(())
}

/// The same timers in a queue of its own, which goes on from a savepoint, or from the backend's own files.
fn moved(mut queue: Queue, to: Option<Backing>, native: bool) -> Queue {
    let (max, groups) = (MaxParallelism::new(128).expect("within bounds"), KeyGroupRange(0..128));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (own, shared) = ("chk-1/timers".to_owned(), "shared/timers".to_owned());
    let mut writer = TaskStateWriter::new(storage.clone(), own, shared, groups.clone(), 1_000)
        .with_native(native);
    let table = writer.table(queue.freeze("timers", max, native), None, native).expect("written");
    writer.finish().expect("durable");
    let restore = OperatorRestore { tables: vec![table], lists: Vec::new() };
    let mut restored = open_tables(&storage, &restore, &groups).expect("opened");
    let mut queue = Queue::open("timers", to.as_ref());
    queue.restore(restored.take_tables("timers"), max).expect("restorable");
    queue
}

/// More timers than are kept near, of all key groups, many of one time.
#[test]
fn many_timers_come_in_order_while_others_are_registered() {
    const TIMERS: u64 = 20_000;
    let (mut queue, mut model) = (open(), BTreeSet::new());
    let mut word = 1_u64;
    let mut random = |below: u64| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 33) % below
    };
    let mut last = i64::MIN;
    for round in 0..TIMERS {
        let key = random(5_000);
        // Times crowd at some places, and go on.
        let time = ((round / 8 + random(4_000)) / 100 * 100) as i64;
        queue.register(key.hash64(), &key, namespace(0), time);
        model.insert((time, key, namespace(0)));
        if round % 3 == 0 {
            let due = queue.pop(i64::MAX).expect("there are some");
            assert_eq!(Some(due.time), model.first().map(|timer| timer.0));
            assert!(model.remove(&(due.time, due.key, due.namespace)));
        }
    }
    while let Some(due) = queue.pop(i64::MAX) {
        assert!(due.time >= last);
        last = due.time;
        assert!(model.remove(&(due.time, due.key, due.namespace)));
    }
    assert!(model.is_empty());
}
