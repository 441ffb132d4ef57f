//! Joins by interval, driven alone.

use millstream_operator::either::Either;
use millstream_operator::join::{Interval, IntervalJoin};
use millstream_operator::process::KeyedProcessHarness;
use proptest::prelude::*;

/// A record: key, a number of its own, and its time.
type Event = (u64, u64, i64);

type Pair = (u64, u64);

type Join = IntervalJoin<Event, Event, fn(&Event, &Event) -> Pair, Pair>;

type Harness = KeyedProcessHarness<u64, Either<Event, Event>, Join>;

fn harness(lower: i64, upper: i64) -> Harness {
    let pair: fn(&Event, &Event) -> Pair = |left, right| (left.1, right.1);
    let join = IntervalJoin::new(Interval { lower, upper }, pair);
    let key = |event: &Either<Event, Event>| match event {
        Either::First(event) | Either::Second(event) => event.0,
    };
    KeyedProcessHarness::new(join, key).expect("nothing fails")
}

fn push(harness: &mut Harness, event: Either<Event, Event>) {
    let time = match event {
        Either::First(event) | Either::Second(event) => event.2,
    };
    harness.push_at([(event, time)]).expect("nothing fails");
}

#[test]
fn pairs_have_the_greater_time_and_bounds_are_included() {
    let mut harness = harness(-2, 5);
    push(&mut harness, Either::First((1, 10, 100)));
    for (number, time) in [(1, 97), (2, 98), (3, 105), (4, 106)] {
        push(&mut harness, Either::Second((1, number, time)));
    }
    push(&mut harness, Either::Second((2, 5, 100)));
    push(&mut harness, Either::First((1, 11, 103)));
    let expected = [((10, 2), 100), ((10, 3), 105), ((11, 3), 105), ((11, 4), 106)];
    assert_eq!(harness.take_timed_output(), expected);
}

#[test]
fn late_records_find_no_partner_and_records_without_a_time_are_an_error() {
    let mut late = harness(-10, 10);
    push(&mut late, Either::First((1, 1, 100)));
    late.advance_watermark(100).expect("nothing fails");
    push(&mut late, Either::Second((1, 2, 100)));
    push(&mut late, Either::Second((1, 3, 101)));
    assert_eq!(late.take_output(), [(1, 3)]);
    let error = harness(0, 0).push([Either::First((1, 1, 100))]).expect_err("no time");
    assert!(error.message.contains("assign_timestamps_and_watermarks"), "{}", error.message);
}

fn any_event() -> impl Strategy<Value = (bool, u64, i64, i64)> {
    // Which stream, key, how long before the present, and how far the present goes on.
    (any::<bool>(), 0_u64..3, 0_i64..15, 0_i64..8)
}

proptest! {
    #[test]
    fn each_pair_is_given_once_and_nothing_stays(
        seeds in prop::collection::vec(any_event(), 1..60),
        lower in -12_i64..8,
        length in 0_i64..12,
        crash_at in 0_usize..60,
    ) {
        let upper = lower + length;
        let mut running = harness(lower, upper);
        let (mut present, mut left, mut right, mut pairs) = (0, Vec::new(), Vec::new(), Vec::new());
        for (at, (is_left, key, age, step)) in seeds.into_iter().enumerate() {
            let event = (key, at as u64, present - age);
            if is_left {
                left.push(event);
                push(&mut running, Either::First(event));
            } else {
                right.push(event);
                push(&mut running, Either::Second(event));
            }
            present += step;
            running.advance_watermark(present - 16).expect("nothing fails");
            pairs.extend(running.take_output());
            if at == crash_at {
                let snapshot = running.snapshot().expect("nothing fails");
                running = harness(lower, upper);
                running.restore(&[snapshot], 0, 1).expect("nothing fails");
            }
        }
        running.finish().expect("nothing fails");
        let (event_timers, _) = running.operator().timers();
        prop_assert_eq!(event_timers, 0);
        for key in 0..3 {
            prop_assert!(running.with_state(&key, |buffers| buffers.is_empty()));
        }
        let near = |left: &&Event, right: &&Event| {
            left.0 == right.0 && (left.2 + lower..=left.2 + upper).contains(&right.2)
        };
        let mut expected: Vec<Pair> = Vec::new();
        for left in &left {
            let partners = right.iter().filter(|right| near(&left, right));
            expected.extend(partners.map(|right| (left.1, right.1)));
        }
        expected.sort_unstable();
        pairs.sort_unstable();
        prop_assert_eq!(pairs, expected);
    }
}
