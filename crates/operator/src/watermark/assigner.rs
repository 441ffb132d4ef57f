//! [`AssignTimestampsAndWatermarks`]: the operator that runs a [`WatermarkStrategy`].
//!
//! It puts times beside the records of each batch, and makes watermarks: when a generator decides so on
//! a record, and each `pipeline.auto-watermark-interval` otherwise. Watermarks that come in go no
//! further: from here on time is what the strategy says. Nothing of this is state: after a failure time
//! begins anew, and the records that come again bring it back to where it was.

use super::alignment::{AlignmentGroups, AlignmentMember};
use super::idleness::Idleness;
use super::splits::SplitTimes;
use super::strategy::{TimestampAssigner, WatermarkStrategy, millis};
use crate::clock::ProcessingClock;
use crate::context::TaskContext;
use crate::operator::{Flow, Operator};
use crate::source::SplitChange;
use millstream_core::config::{Configuration, catalog};
use millstream_core::time::Timestamp;
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::element::Watermark;

/// Gives records their times and makes watermarks.
pub struct AssignTimestampsAndWatermarks<T> {
    assigner: Option<Box<dyn TimestampAssigner<T>>>,
    times: SplitTimes<T>,
    /// The last watermark that was given out.
    given: Watermark,
    /// Milliseconds between watermarks; 0: generators are not asked.
    interval_ms: i64,
    /// When generators are asked next; nothing while the stream is idle.
    next_emission: Option<Timestamp>,
    /// Its place in an alignment group, and when it says next how far it is.
    alignment: Option<(AlignmentMember, Timestamp)>,
    clock: ProcessingClock,
}

impl<T: Record> AssignTimestampsAndWatermarks<T> {
    /// Runs a strategy in a task.
    pub fn new(
        strategy: WatermarkStrategy<T>,
        context: &TaskContext,
    ) -> Result<Self, OperatorError> {
        if strategy.alignment.is_some() && !strategy.has_watermarks() {
            return Err(OperatorError::new(
                "`no_watermarks` has no time that could be aligned: leave `with_watermark_alignment` \
                 out, or choose a strategy with watermarks",
            ));
        }
        let configuration = Configuration(context.configuration.as_ref().clone());
        let interval = configuration.get(&catalog::AUTO_WATERMARK_INTERVAL);
        let interval = interval.map_err(|error| OperatorError::from_error(&error))?;
        let interval_ms = i64::try_from(interval).unwrap_or(i64::MAX);
        let clock = context.clock.clone();
        let now = clock.now();
        let idleness =
            strategy.idle_after.map(|after| Idleness::new(millis(after), interval_ms, now));
        let times = SplitTimes::new(strategy.generator, idleness);
        let alignment = match strategy.alignment {
            Some(options) => AlignmentGroups::join(options, context)?,
            None => None,
        };
        let alignment = alignment.map(|member| {
            let first = now.saturating_add(member.interval_ms);
            (member, first)
        });
        Ok(Self {
            assigner: strategy.assigner,
            given: times.current(),
            times,
            interval_ms,
            next_emission: next(interval_ms, now),
            alignment,
            clock,
        })
    }

    /// Asks for watermarks, if it is time for that.
    fn emit(&mut self, now: Timestamp) {
        if self.next_emission.is_none_or(|due| now < due) {
            return;
        }
        self.next_emission = next(self.interval_ms, now);
        let waits = self.alignment.as_ref().is_some_and(|(member, _)| member.waits());
        self.times.on_periodic_emit(now, !waits);
        if self.times.current().is_idle() {
            self.next_emission = None;
        }
    }

    /// Where there is an alignment group, it is to know how far this is.
    fn align(&self) {
        if let Some((member, _)) = &self.alignment {
            member.reached(self.times.reached());
        }
    }

    /// Looks again at intervals, if the stream is idle no more.
    fn look_again(&mut self) {
        if self.next_emission.is_none() && !self.times.current().is_idle() {
            self.next_emission = next(self.interval_ms, self.clock.now());
        }
    }
}

fn next(interval_ms: i64, now: Timestamp) -> Option<Timestamp> {
    (interval_ms > 0).then(|| now.saturating_add(interval_ms))
}

impl<T: Record> Operator for AssignTimestampsAndWatermarks<T> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<T>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<T>(input);
        input.hashes.clear();
        if input.items.is_empty() {
            return Ok(Flow::Drained);
        }
        match &self.assigner {
            Some(assigner) => assigner.assign(&input.items, &mut input.timestamps),
            None if input.timestamps.len() == input.items.len() => (),
            None => {
                return Err(OperatorError::new(
                    "records have no time: call `with_timestamp_assigner` on the strategy",
                ));
            }
        }
        self.times.on_batch(&input.items, &input.timestamps);
        self.look_again();
        self.align();
        input.append_to(out);
        Ok(Flow::Drained)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let report = self.alignment.as_ref().map(|(_, next)| *next);
        self.next_emission.into_iter().chain(report).min()
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        self.emit(now);
        self.align();
        if let Some((member, next)) = self.alignment.as_mut().filter(|(_, next)| now >= *next) {
            *next = now.saturating_add(member.interval_ms);
            member.tell();
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        if let Some((member, _)) = &self.alignment {
            // Nobody has to wait for it any more.
            member.reached(Watermark::idle(self.times.current().time));
        }
        Ok(Flow::Drained)
    }

    fn split_changed(&mut self, change: SplitChange) {
        self.times.on_change(change);
        self.look_again();
        self.align();
    }

    fn pass_watermark(&mut self, _watermark: Watermark) -> Option<Watermark> {
        None
    }

    fn take_watermark(&mut self) -> Option<Watermark> {
        let current = self.times.current();
        let changed = current != self.given;
        self.given = current;
        changed.then_some(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::harness::OperatorHarness;
    use crate::watermark::{WatermarkGenerator, WatermarkOutput};
    use std::time::Duration;

    type Harness = OperatorHarness<i64, i64, AssignTimestampsAndWatermarks<i64>>;

    struct Bench {
        harness: Harness,
        clock: ManualClock,
    }

    impl Bench {
        fn new(strategy: WatermarkStrategy<i64>) -> Self {
            let clock = ManualClock::default();
            let context = TaskContext { clock: clock.clock(), ..TaskContext::alone() };
            let operator = AssignTimestampsAndWatermarks::new(strategy, &context);
            Self { harness: Harness::new(operator.expect("nothing to fail")), clock }
        }

        fn push<const N: usize>(&mut self, times: [i64; N]) -> Option<Watermark> {
            self.harness.push(times).expect("nothing fails");
            let expected: Vec<(i64, i64)> = times.map(|time| (time, time)).to_vec();
            assert_eq!(self.harness.take_timed_output(), expected);
            self.harness.operator().take_watermark()
        }

        fn at(&mut self, now: Timestamp) -> Option<Watermark> {
            self.clock.set(now);
            self.harness.advance_time(now).expect("nothing fails");
            self.harness.operator().take_watermark()
        }
    }

    fn bounded(millis: u64) -> WatermarkStrategy<i64> {
        WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(millis))
            .with_timestamp_assigner(|time: &i64| *time)
    }

    #[test]
    fn watermarks_stay_behind_the_newest_record_and_come_at_intervals() {
        let mut bench = Bench::new(bounded(100));
        assert_eq!(bench.at(200), None);
        assert_eq!(bench.push([1_000, 5_000, 2_000]), None);
        assert_eq!(bench.at(399), None);
        assert_eq!(bench.at(400), Some(Watermark::active(4_899)));
        assert_eq!(bench.push([4_950]), None);
        assert_eq!(bench.at(600), None, "time does not go back");
    }

    #[test]
    fn a_silent_stream_becomes_idle_and_active_again_with_its_first_record() {
        let mut bench = Bench::new(bounded(0).with_idleness(Duration::from_millis(600)));
        bench.push([10]);
        assert_eq!(bench.at(200), Some(Watermark::active(9)));
        assert_eq!((bench.at(400), bench.at(600)), (None, Some(Watermark::idle(9))));
        assert_eq!(bench.harness.operator().next_timer(), None, "nobody is woken for nothing");
        assert_eq!(bench.push([20]), Some(Watermark::active(9)));
        assert_eq!(bench.at(800), Some(Watermark::active(19)));
    }

    #[test]
    fn a_stream_on_which_nothing_ever_came_becomes_idle() {
        let mut bench = Bench::new(bounded(0));
        let looks = (1..=300).map(|look| bench.at(look * 200));
        assert_eq!(looks.last(), Some(Some(Watermark::idle(i64::MIN))));
        let mut bench = Bench::new(bounded(0).without_idleness());
        assert!((1..=600).all(|look| bench.at(look * 200).is_none()));
    }

    #[test]
    fn a_generator_of_the_users_decides_by_records() {
        #[derive(Clone)]
        struct Even;
        impl WatermarkGenerator<i64> for Even {
            fn on_event(&mut self, event: &i64, time: i64, output: &mut WatermarkOutput) {
                if event % 2 == 0 {
                    output.emit_watermark(time);
                }
            }
        }
        let strategy = WatermarkStrategy::for_generator(Even);
        let mut bench = Bench::new(strategy.with_timestamp_assigner(|time: &i64| *time));
        assert_eq!(bench.push([1, 3]), None);
        assert_eq!(bench.push([4, 7]), Some(Watermark::active(4)));
        assert_eq!(bench.push([2]), None);
    }

    #[test]
    fn absurd_times_neither_wrap_nor_panic() {
        let mut bench = Bench::new(bounded(u64::MAX));
        bench.push([-62_135_596_800_000, 253_402_300_799_999, i64::MAX, i64::MIN + 1]);
        assert_eq!(bench.at(200), Some(Watermark::active(-1)));
    }

    #[test]
    fn an_aligned_source_says_how_far_it_is_and_does_not_fall_silent_while_it_waits() {
        let clock = ManualClock::default();
        let context = TaskContext { clock: clock.clock(), ..TaskContext::alone() };
        let groups = context.alignment.clone();
        let (drift, second) = (Duration::from_millis(100), Duration::from_secs(1));
        let strategy = bounded(0)
            .with_idleness(Duration::from_millis(600))
            .with_watermark_alignment("g", drift, second);
        let operator = AssignTimestampsAndWatermarks::new(strategy, &context);
        let mut bench = Bench { harness: Harness::new(operator.expect("nothing to fail")), clock };
        groups.take_reports();
        bench.push([500]);
        let told = |groups: &AlignmentGroups| -> Vec<Option<Timestamp>> {
            groups.take_reports().into_iter().map(|report| report.watermark).collect()
        };
        assert_eq!(told(&groups), [Some(499)], "at once, before the next watermark");
        assert!(groups.waits());
        let looks: Vec<_> = (1..=10).map(|look| bench.at(look * 200)).collect();
        assert!(looks.iter().flatten().all(|told| !told.is_idle()), "{looks:?}");
        assert_eq!(told(&groups), [Some(499)], "again, each second");
        groups.allow("g", 600);
        let looks: Vec<_> = (11..=14).map(|look| bench.at(look * 200)).collect();
        assert_eq!(looks.last(), Some(&None));
        assert_eq!(bench.at(3_000), None);
        assert_eq!(told(&groups).last(), Some(&None), "now nothing has come for long enough");
        bench.harness.finish().expect("nothing fails");
        assert_eq!(told(&groups), []);
    }

    #[test]
    fn a_strategy_without_watermarks_cannot_be_aligned() {
        let strategy = WatermarkStrategy::<i64>::no_watermarks();
        let strategy = strategy.with_watermark_alignment("g", Duration::ZERO, Duration::ZERO);
        let refused = AssignTimestampsAndWatermarks::new(strategy, &TaskContext::alone());
        let error = refused.err().expect("there is no time");
        assert!(error.message.contains("no time that could be aligned"), "{error}");
    }

    #[test]
    fn records_without_a_time_are_an_error_that_says_what_to_do() {
        let mut bench = Bench::new(WatermarkStrategy::for_monotonous_timestamps());
        let error = bench.harness.push([1]).expect_err("no time");
        assert!(error.message.contains("with_timestamp_assigner"), "{}", error.message);
        bench.harness = {
            let context = TaskContext::alone();
            let strategy = WatermarkStrategy::for_monotonous_timestamps();
            Harness::new(AssignTimestampsAndWatermarks::new(strategy, &context).expect("valid"))
        };
        bench.harness.push_at([(1, 7)]).expect("they have one");
        assert_eq!(bench.harness.take_timed_output(), [(1, 7)]);
    }
}
