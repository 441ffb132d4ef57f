//! The valve against its rules: cases from Flink's own tests, and any sequence of events against a
//! model that remembers everything.

use super::*;
use millstream_core::time::Timestamp;
use proptest::prelude::*;

fn active(time: Timestamp) -> Watermark {
    Watermark::active(time)
}

fn idle(time: Timestamp) -> Watermark {
    Watermark::idle(time)
}

#[test]
fn time_is_the_least_of_all_channels() {
    let mut valve = WatermarkValve::new(3);
    assert_eq!(valve.on_watermark(0, active(10)), None);
    assert_eq!(valve.on_watermark(1, active(5)), None);
    assert_eq!(valve.on_watermark(2, active(7)), Some(active(5)));
    assert_eq!(valve.on_watermark(1, active(20)), Some(active(7)));
    assert_eq!(valve.on_watermark(0, active(3)), None, "a channel's time does not go back");
}

#[test]
fn an_idle_channel_is_not_waited_for_and_catches_up_before_it_counts() {
    let mut valve = WatermarkValve::new(2);
    valve.on_watermark(0, active(10));
    assert_eq!(valve.on_watermark(1, idle(MIN_WATERMARK)), Some(active(10)));
    assert_eq!(valve.on_watermark(0, active(30)), Some(active(30)));
    // It comes back behind what was told: others go on without it.
    assert_eq!(valve.on_watermark(1, active(20)), None);
    assert_eq!(valve.on_watermark(0, active(40)), Some(active(40)));
    // It has caught up: from here on it is waited for.
    assert_eq!(valve.on_watermark(1, active(40)), None);
    assert_eq!(valve.on_watermark(0, active(50)), None);
    assert_eq!(valve.on_watermark(1, active(45)), Some(active(45)));
}

#[test]
fn when_all_are_idle_time_goes_to_the_most_that_was_told() {
    let mut valve = WatermarkValve::new(2);
    valve.on_watermark(0, active(100));
    assert_eq!(valve.on_watermark(1, active(50)), Some(active(50)));
    assert_eq!(valve.on_watermark(0, idle(100)), None);
    assert_eq!(valve.on_watermark(1, idle(50)), Some(idle(100)));
    // The first that comes back makes the task active, whether it has caught up or not.
    assert_eq!(valve.on_watermark(1, active(60)), Some(active(100)));
    assert_eq!(valve.on_watermark(1, active(110)), Some(active(110)));
}

#[test]
fn an_ended_channel_holds_nothing_back_and_the_last_end_is_not_told_here() {
    let mut valve = WatermarkValve::new(2);
    valve.on_watermark(0, active(10));
    assert_eq!(valve.on_end(1), Some(active(10)));
    assert_eq!(valve.on_end(1), None);
    assert_eq!(valve.on_end(0), None);
    assert_eq!(valve.on_watermark(0, active(20)), None);
}

#[test]
fn an_idle_channel_makes_the_task_idle_when_the_others_have_ended() {
    let mut valve = WatermarkValve::new(2);
    assert_eq!(valve.on_watermark(0, idle(7)), None);
    assert_eq!(valve.on_end(1), Some(idle(7)));
}

#[derive(Clone, Debug)]
enum Event {
    Watermark(usize, Watermark),
    End(usize),
}

fn any_event(channels: usize) -> impl Strategy<Value = Event> {
    let watermark = (any::<bool>(), -20_i64..20)
        .prop_map(|(is_idle, time)| if is_idle { idle(time) } else { active(time) });
    prop_oneof![
        9 => (0..channels, watermark).prop_map(|(channel, mark)| Event::Watermark(channel, mark)),
        1 => (0..channels).prop_map(Event::End),
    ]
}

/// Flink's description, word for word: each channel remembers whether it is aligned.
struct Model {
    channels: Vec<(Watermark, bool, bool)>,
    told: Watermark,
}

impl Model {
    fn after(&mut self, event: &Event) {
        let told = self.told.time;
        let (channel, end) = match event {
            Event::Watermark(channel, _) => (*channel, false),
            Event::End(channel) => (*channel, true),
        };
        let (known, aligned, ended) = &mut self.channels[channel];
        if *ended {
            return;
        }
        *ended = end;
        if let Event::Watermark(_, mark) = event {
            known.time = known.time.max(mark.time);
            known.status = mark.status;
            *aligned = !mark.is_idle() && (*aligned || known.time >= told);
        }
        let live: Vec<_> = self.channels.iter().filter(|(_, _, ended)| !ended).copied().collect();
        if live.is_empty() {
            return;
        }
        if live.iter().all(|(mark, _, _)| mark.is_idle()) {
            let most = live.iter().map(|(mark, _, _)| mark.time).max().expect("not empty");
            self.told = idle(told.max(most));
        } else {
            let aligned = live.iter().filter(|(mark, aligned, _)| *aligned && !mark.is_idle());
            let least = aligned.map(|(mark, _, _)| mark.time).min().unwrap_or(told);
            self.told = active(least.max(told));
        }
    }
}

proptest! {
    #[test]
    fn any_events_give_what_the_rules_say(
        channels in 1_usize..5,
        seeds in prop::collection::vec(any_event(4), 0..60),
    ) {
        let mut valve = WatermarkValve::new(channels);
        let unknown = (active(MIN_WATERMARK), true, false);
        let mut model = Model { channels: vec![unknown; channels], told: valve.current() };
        for event in seeds {
            let event = match event {
                Event::Watermark(channel, mark) => Event::Watermark(channel % channels, mark),
                Event::End(channel) => Event::End(channel % channels),
            };
            let before = valve.current();
            model.after(&event);
            let told = match event {
                Event::Watermark(channel, mark) => valve.on_watermark(channel, mark),
                Event::End(channel) => valve.on_end(channel),
            };
            prop_assert_eq!(valve.current(), model.told);
            prop_assert_eq!(told.is_some(), valve.current() != before);
            prop_assert!(valve.current().time >= before.time);
        }
    }
}
