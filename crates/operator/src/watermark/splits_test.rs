//! The time of several splits against its rules, and any sequence of events against a model.

use super::*;
use crate::watermark::generator::BoundedOutOfOrderness;
use millstream_core::time::MIN_WATERMARK;
use proptest::prelude::*;

const INTERVAL_MS: i64 = 200;
const IDLE_AFTER_MS: i64 = 1_000;

/// Splits whose records are in order, under a clock.
struct Bench {
    times: SplitTimes<i64>,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let idleness = Idleness::new(IDLE_AFTER_MS, INTERVAL_MS, 0);
        let generator = Box::new(BoundedOutOfOrderness::new(0));
        Self { times: SplitTimes::new(generator, Some(idleness)), now: 0 }
    }

    fn open(&mut self, split: u64) {
        self.times.on_change(SplitChange::Opened(SplitNumber(split)));
    }

    fn end(&mut self, split: u64) -> Watermark {
        self.times.on_change(SplitChange::Ended(SplitNumber(split)));
        self.times.current()
    }

    /// A record of a split.
    fn read(&mut self, split: u64, time: Timestamp) -> &mut Self {
        self.times.on_change(SplitChange::Reading(SplitNumber(split)));
        self.times.on_batch(&[time], &[time]);
        self
    }

    fn look(&mut self) -> Watermark {
        self.now += INTERVAL_MS;
        self.times.on_periodic_emit(self.now, true);
        self.times.current()
    }
}

#[test]
fn time_is_that_of_the_split_that_is_least_far() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    assert_eq!(bench.read(1, 500).look(), Watermark::active(MIN_WATERMARK));
    assert_eq!(bench.read(2, 100).look(), Watermark::active(99));
    assert_eq!(bench.read(1, 900).look(), Watermark::active(99));
    assert_eq!(bench.read(2, 700).look(), Watermark::active(699));
}

#[test]
fn a_split_that_has_ended_holds_time_back_no_longer() {
    let mut bench = Bench::new();
    bench.read(1, 500).read(2, 100).look();
    assert_eq!(bench.end(2), Watermark::active(499));
    assert_eq!(bench.end(2), Watermark::active(499), "told twice is told once");
}

#[test]
fn time_stands_while_a_split_that_was_opened_later_is_behind() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(1, 500).look(), Watermark::active(499));
    assert_eq!(bench.read(1, 800).end(1), Watermark::active(499));
    assert_eq!(bench.look(), Watermark::active(499), "nothing is known of what is to come");
    assert_eq!(bench.read(2, 100).look(), Watermark::active(499));
    assert_eq!(bench.read(2, 600).look(), Watermark::active(599));
}

#[test]
fn a_split_that_falls_silent_is_left_out_until_it_brings_something() {
    let mut bench = Bench::new();
    bench.open(2);
    let looks: Vec<Watermark> = (1..=6).map(|n| bench.read(1, n * 100).look()).collect();
    assert!(looks[..4].iter().all(|told| *told == Watermark::active(MIN_WATERMARK)), "{looks:?}");
    assert_eq!(looks[4..], [Watermark::active(499), Watermark::active(599)]);
    // It comes back behind the other: time does not go back, and waits for it.
    assert_eq!(bench.read(2, 50).read(1, 900).look(), Watermark::active(599));
    assert_eq!(bench.read(2, 800).look(), Watermark::active(799));
}

#[test]
fn when_all_splits_are_silent_the_stream_is_idle_at_the_most_that_any_has_told() {
    let mut bench = Bench::new();
    bench.read(1, 500).read(2, 100);
    let looks: Vec<Watermark> = (0..5).map(|_| bench.look()).collect();
    assert_eq!(looks[3..], [Watermark::active(99), Watermark::idle(499)]);
    bench.open(3);
    assert_eq!(bench.times.current(), Watermark::active(499), "a new split is waited for");
}

#[test]
fn a_reader_that_waits_long_for_its_next_split_is_idle() {
    let mut bench = Bench::new();
    bench.read(1, 500).look();
    bench.end(1);
    let looks: Vec<Watermark> = (0..5).map(|_| bench.look()).collect();
    assert_eq!(looks[3..], [Watermark::active(499), Watermark::idle(499)]);
    assert_eq!(bench.read(2, 700).look(), Watermark::active(699));
}

#[derive(Clone, Debug)]
enum Event {
    Open(u64),
    Read(u64, Timestamp),
    End(u64),
    Look,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..4_u64).prop_map(Event::Open),
        (0..4_u64, any::<i64>()).prop_map(|(split, time)| Event::Read(split, time)),
        (0..4_u64, 0..1_000_i64).prop_map(|(split, time)| Event::Read(split, time)),
        (0..4_u64).prop_map(Event::End),
        Just(Event::Look),
    ];
    prop::collection::vec(event, 0..80)
}

proptest! {
    #[test]
    fn time_never_goes_back_and_never_passes_a_split_that_is_waited_for(events in events()) {
        let mut bench = Bench::new();
        let mut newest: BTreeMap<u64, Timestamp> = BTreeMap::new();
        for event in events {
            let before = bench.times.current().time;
            match event {
                Event::Open(split) => {
                    bench.open(split);
                    newest.entry(split).or_insert(MIN_WATERMARK);
                }
                Event::Read(split, time) => {
                    bench.read(split, time);
                    let newest = newest.entry(split).or_insert(MIN_WATERMARK);
                    *newest = time.max(*newest);
                }
                Event::End(split) => {
                    bench.end(split);
                    newest.remove(&split);
                }
                Event::Look => {
                    bench.look();
                }
            }
            let told = bench.times.current();
            prop_assert!(told.time >= before);
            if told.time > before && !told.is_idle() {
                let silent = |split: &u64| {
                    let split = bench.times.splits.get(&SplitNumber(*split));
                    split.is_some_and(|split| split.output.current().is_idle())
                };
                let waited_for = newest.iter().filter(|(split, _)| !silent(split));
                let least = waited_for.map(|(_, time)| *time).min().expect("time has advanced");
                prop_assert!(told.time < least, "{told:?} passes {least}");
            }
        }
    }
}
