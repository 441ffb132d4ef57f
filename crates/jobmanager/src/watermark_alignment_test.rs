//! Groups of sources that read at their own speeds, with messages that are late, lost or doubled.

use super::*;
use crate::execution_graph::testing::attempt;
use millstream_core::time::MIN_WATERMARK;
use proptest::prelude::*;

fn report(source: u32, watermark: Option<Timestamp>, drift_ms: i64) -> WatermarkReport {
    WatermarkReport { attempt: attempt(1, source, 0), group: "g".to_owned(), drift_ms, watermark }
}

/// Who is told what.
fn told(alignment: &mut WatermarkAlignment) -> Vec<(u32, Timestamp)> {
    let all = alignment.allow().into_iter();
    all.map(|allowed| (allowed.attempt.subtask, allowed.watermark)).collect()
}

#[test]
fn a_source_may_go_so_far_ahead_of_the_least_and_goes_on_when_that_has_risen() {
    let mut alignment = WatermarkAlignment::default();
    alignment.on_report(report(1, Some(1_000), 100));
    alignment.on_report(report(2, Some(500), 300));
    assert_eq!(told(&mut alignment), [(1, 600), (2, 800)]);
    assert_eq!(told(&mut alignment), []);
    alignment.on_report(report(2, Some(800), 300));
    assert_eq!(told(&mut alignment), [(2, 1_100)], "the first still waits");
    alignment.on_report(report(2, Some(900), 300));
    assert_eq!(told(&mut alignment), [(1, 1_000), (2, 1_200)]);
}

#[test]
fn who_is_idle_or_has_ended_holds_nobody_back() {
    let mut alignment = WatermarkAlignment::default();
    alignment.on_report(report(1, Some(1_000), 100));
    alignment.on_report(report(2, Some(MIN_WATERMARK), 100));
    assert_eq!(told(&mut alignment), [(1, MIN_WATERMARK + 100), (2, MIN_WATERMARK + 100)]);
    alignment.on_report(report(2, None, 100));
    assert_eq!(told(&mut alignment), [(1, 1_100), (2, 1_100)]);
    alignment.on_report(report(2, Some(0), 100));
    alignment.on_report(report(1, Some(1_050), 100));
    assert_eq!(told(&mut alignment), [(1, 100), (2, 100)], "it is back");
    alignment.retain(|of| of != attempt(1, 2, 0));
    assert_eq!(told(&mut alignment), [(1, 1_150)]);
    alignment.on_report(report(1, None, 100));
    assert_eq!(told(&mut alignment), [(1, i64::MAX)], "nobody has a time");
    alignment.retain(|of| of != attempt(1, 1, 0));
    assert!(alignment.is_empty());
}

#[test]
fn groups_do_not_know_of_each_other_and_the_end_of_time_does_not_wrap() {
    let mut alignment = WatermarkAlignment::default();
    alignment.on_report(report(1, Some(i64::MAX - 1), i64::MAX));
    let other = WatermarkReport { group: "h".to_owned(), ..report(2, Some(5), 10) };
    alignment.on_report(other);
    assert_eq!(told(&mut alignment), [(1, i64::MAX), (2, 15)]);
}

const DRIFT_MS: i64 = 100;
const END: Timestamp = 2_000;

/// A source as its task runs it.
#[derive(Clone, Debug)]
struct Source {
    at: Timestamp,
    stride: i64,
    allowed: Option<Timestamp>,
}

impl Source {
    fn waits(&self) -> bool {
        self.allowed.is_none_or(|allowed| self.at > allowed)
    }
}

proptest! {
    #[test]
    fn nobody_runs_ahead_further_than_the_drift_and_all_come_to_their_end(
        strides in prop::collection::vec(1..60_i64, 2..5),
        turns in prop::collection::vec((0..8_usize, 0..4_u8), 0..400),
    ) {
        let mut alignment = WatermarkAlignment::default();
        let mut sources: Vec<Source> =
            strides.iter().map(|stride| Source { at: 0, stride: *stride, allowed: None }).collect();
        let mut answers: Vec<(usize, Timestamp)> = Vec::new();
        for at in 0..sources.len() {
            alignment.on_report(report(at as u32, Some(0), DRIFT_MS));
        }
        // Whose turn it is, and what becomes of its report and of the answers; at last all goes well.
        let well = (0..200_000_usize).map(|turn| (turn, 3));
        for (turn, luck) in turns.into_iter().chain(well) {
            let who = turn % sources.len();
            let source = &mut sources[who];
            if !source.waits() && source.at < END {
                source.at += source.stride;
            }
            let at = source.at;
            if luck > 0 {
                let time = (at < END).then_some(at);
                alignment.on_report(report(who as u32, time, DRIFT_MS));
            }
            answers.extend(told(&mut alignment).into_iter().map(|(who, time)| (who as usize, time)));
            match luck {
                0 => answers.clear(),
                1 => (),
                2 => answers.reverse(),
                _ => for (who, time) in answers.drain(..) {
                    sources[who].allowed = Some(time);
                },
            }
            let running = sources.iter().filter(|source| source.at < END);
            let least = running.map(|source| source.at).min().unwrap_or(END);
            for source in &sources {
                prop_assert!(source.at <= least + DRIFT_MS + source.stride, "{sources:?}");
            }
            if sources.iter().all(|source| source.at >= END) {
                return Ok(());
            }
        }
        prop_assert!(false, "they wait for each other: {sources:?}");
    }
}
