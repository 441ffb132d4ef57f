//! Functions of windows that have state per window and per key, in whole programs.

use millstream::prelude::*;
use millstream::testing::Harness;
use std::time::Duration;

#[derive(KeyedState)]
struct Before {
    sum: u64,
}

#[derive(KeyedState)]
struct Ended {
    windows: u64,
}

/// Gives what has come since the window fired before, and how many windows of the key have ended.
#[derive(Clone)]
struct Growth;

type Row = (u64, i64, u64, u64);

impl StatefulWindowFunction<u64, (u64, u64)> for Growth {
    type WindowState = Before;
    type GlobalState = Ended;
    type Out = Row;

    fn process(
        &mut self,
        (key, sum): (u64, u64),
        ctx: &mut StatefulWindowContext<'_, u64, Before, Ended, Row>,
    ) -> FunctionResult {
        let more = sum - std::mem::replace(&mut ctx.window_state.sum, sum);
        ctx.emit((key, ctx.window().start, more, ctx.global_state.windows));
        Ok(())
    }

    fn clear(&mut self, window: EndedWindow<'_, u64, Before, Ended>) -> FunctionResult {
        window.global_state.windows += 1;
        Ok(())
    }
}

fn growth() -> Harness<(u64, u64), Row> {
    Harness::new(|numbers: DataStream<(u64, u64)>| {
        numbers
            .key_by(|number| number.0)
            .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
            .allowed_lateness(Duration::from_millis(20))
            .reduce_process_with_state(|a, b| (a.0, a.1 + b.1), Growth)
            .name("growth")
    })
}

#[test]
fn what_a_window_remembers_survives_a_restore_and_ends_with_it() -> Result<()> {
    let mut harness = growth();
    harness.push_at([((1, 3), 1), ((2, 1), 1)])?;
    harness.advance_watermark(9)?;
    let mut first = harness.take_output();
    first.sort_unstable();
    assert_eq!(first, [(1, 0, 3, 0), (2, 0, 1, 0)]);
    harness.push_at([((1, 4), 2)])?;
    assert_eq!(harness.take_output(), [(1, 0, 4, 0)]);
    harness.checkpoint()?;
    harness.push_at([((1, 9), 2)])?;
    harness.take_output();
    // The record comes again after the crash, and time is where it was with the next watermark.
    harness.crash()?;
    harness.advance_watermark(9)?;
    assert_eq!(harness.take_output(), [(1, 0, 9, 0)]);

    let snapshot = harness.snapshot()?;
    let mut harness = growth().with_parallelism(3).restored_from(&snapshot);
    harness.push_at([((1, 5), 3)])?;
    harness.advance_watermark(9)?;
    assert_eq!(harness.take_output(), [(1, 0, 5, 0)]);
    harness.advance_watermark(29)?;
    harness.push_at([((1, 8), 31), ((2, 8), 31)])?;
    harness.advance_watermark(39)?;
    let mut last = harness.take_output();
    last.sort_unstable();
    assert_eq!(last, [(1, 30, 8, 1), (2, 30, 8, 1)]);
    Ok(())
}

/// Puts small windows aside, and says how far time is.
#[derive(Clone)]
struct Small(OutputTag<u64>);

impl ProcessWindowFunction<u64, (u64, u64)> for Small {
    type Out = (u64, Timestamp, Timestamp);

    fn process(
        &mut self,
        (key, sum): (u64, u64),
        ctx: &mut WindowContext<'_, u64, Self::Out>,
    ) -> FunctionResult {
        match sum {
            0..10 => ctx.output(&self.0, key),
            _ => ctx.emit((key, ctx.current_watermark(), ctx.processing_time())),
        }
        Ok(())
    }
}

#[test]
fn functions_of_windows_have_side_outputs_and_know_the_time() -> Result<()> {
    for lateness in [0, 5] {
        let small = OutputTag::new("small");
        let tag = small.clone();
        let mut harness = Harness::new(move |numbers: DataStream<(u64, u64)>| {
            numbers
                .key_by(|number| number.0)
                .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
                .allowed_lateness(Duration::from_millis(lateness))
                .reduce_process(|a, b| (a.0, a.1 + b.1), Small(tag.clone()))
                .name("small")
        })
        .with_side_output(&small)
        .starting_at(70);
        harness.push_at([((1, 6), 1), ((1, 7), 2), ((2, 3), 3)])?;
        harness.advance_watermark(12)?;
        assert_eq!(harness.take_output(), [(1, 12, 70)]);
        assert_eq!(harness.take_side_output(&small)?, [2]);
    }
    Ok(())
}

/// Counts the sessions of a key.
#[derive(Clone)]
struct Sessions;

impl StatefulWindowFunction<u64, Vec<(u64, u64)>> for Sessions {
    type WindowState = ();
    type GlobalState = Ended;
    type Out = (u64, u64, usize);

    fn process(
        &mut self,
        records: Vec<(u64, u64)>,
        ctx: &mut StatefulWindowContext<'_, u64, (), Ended, Self::Out>,
    ) -> FunctionResult {
        ctx.global_state.windows += 1;
        let row = (*ctx.key(), ctx.global_state.windows, records.len());
        ctx.emit(row);
        Ok(())
    }
}

#[test]
fn windows_that_merge_have_state_per_key() -> Result<()> {
    let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
        numbers
            .key_by(|number| number.0)
            .window(EventTimeSessionWindows::with_gap(Duration::from_millis(10)))
            .process_with_state(Sessions)
            .name("sessions")
    });
    harness.push_at([((1, 0), 0), ((1, 0), 15), ((1, 0), 8), ((1, 0), 50)])?;
    harness.end()?;
    assert_eq!(harness.take_output(), [(1, 1, 3), (1, 2, 1)]);
    Ok(())
}

#[test]
#[should_panic(expected = "windows that merge have no state of their own")]
fn windows_that_merge_with_state_of_their_own_are_refused_before_anything_starts() {
    let mut harness = Harness::new(|numbers: DataStream<(u64, u64)>| {
        numbers
            .key_by(|number| number.0)
            .window(EventTimeSessionWindows::with_gap(Duration::from_millis(10)))
            .reduce_process_with_state(|a, _| a, Growth)
    });
    let _ = harness.push([(1, 1)]);
}

#[test]
fn the_least_and_the_greatest_of_each_window_are_found() -> Result<()> {
    let minute = || TumblingEventTimeWindows::of(Duration::from_millis(10));
    let events = [(1, 5, 0), (1, 2, 1), (1, 9, 2), (1, 9, 3), (1, 7, 12)];
    let events = events.map(|(key, value, time)| ((key, value, time), time));
    type Event = (u64, u64, i64);
    type Values = DataStream<Windowed<u64, u64>>;
    let values = |build: fn(&WindowedStream<u64, Event>) -> Values| {
        let mut harness = Harness::new(move |stream: DataStream<Event>| {
            build(&stream.key_by(|event| event.0).window(minute()))
        });
        harness.push_at(events)?;
        harness.end()?;
        let rows = harness.take_output().into_iter();
        Ok::<_, Error>(rows.map(|row| (row.window.start, row.value)).collect::<Vec<_>>())
    };
    assert_eq!(values(|windows| windows.min(|event| event.1))?, [(0, 2), (10, 7)]);
    assert_eq!(values(|windows| windows.max(|event| event.1))?, [(0, 9), (10, 7)]);
    let records = |build: fn(&WindowedStream<u64, Event>) -> DataStream<Event>| {
        let mut harness = Harness::new(move |stream: DataStream<Event>| {
            build(&stream.key_by(|event| event.0).window(minute()))
        });
        harness.push_at(events)?;
        harness.end()?;
        Ok::<_, Error>(harness.take_output())
    };
    assert_eq!(records(|windows| windows.min_by(|event| event.1))?, [(1, 2, 1), (1, 7, 12)]);
    // Of two that are equal the first.
    assert_eq!(records(|windows| windows.max_by(|event| event.1))?, [(1, 9, 2), (1, 7, 12)]);
    Ok(())
}
