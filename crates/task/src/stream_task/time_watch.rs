//! [`TimeWatch`]: notices that event time stands still, and says which inputs hold it back. Pure: what time
//! it is comes in.
//!
//! A window that never closes is the commonest surprise of event time: some input is silent, or far behind,
//! and everything waits for it. That is as it should be, but somebody has to say it.

use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_operator::watermark::WatermarkValve;
use std::time::{Duration, Instant};

/// When time has stood for so long while some input is ahead, it is told; once, until it moves.
const STANDS_AFTER: Duration = Duration::from_secs(60);

/// So many inputs are named.
const NAMED_MAX: usize = 5;

/// Watches the event time of one task.
#[derive(Default)]
pub(super) struct TimeWatch {
    /// What each channel brings, for people.
    names: Vec<String>,
    /// Where time stands, and since when.
    stands: Option<(Timestamp, Instant)>,
    told: bool,
}

impl TimeWatch {
    /// For channels with these names.
    pub(super) fn of(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Looks how time stands; what is to be told, if it is time for that.
    pub(super) fn look(&mut self, valve: &WatermarkValve, now: Instant) -> Option<String> {
        let time = valve.current().time;
        let Some(held) = valve.held_back() else {
            self.stands = None;
            return None;
        };
        let since = match self.stands {
            Some((at, since)) if at == time => since,
            _ => {
                (self.stands, self.told) = (Some((time, now)), false);
                now
            }
        };
        let stood = now.saturating_duration_since(since);
        if self.told || stood < STANDS_AFTER {
            return None;
        }
        self.told = true;
        let name = |channel: &usize| {
            let name = self.names.get(*channel).cloned();
            name.unwrap_or_else(|| format!("input {channel}"))
        };
        let mut by: Vec<String> = held.by.iter().take(NAMED_MAX).map(name).collect();
        if held.by.len() > NAMED_MAX {
            by.push(format!("and {} more", held.by.len() - NAMED_MAX));
        }
        let stands = match time {
            MIN_WATERMARK => "has not begun".to_owned(),
            time => format!("stands at {time}"),
        };
        Some(format!(
            "event time {stands} for {} s, because {} told nothing later; others are at {}. Windows and \
             timers behind that do not fire meanwhile. If it is silent, give it \
             `WatermarkStrategy::with_idleness`",
            stood.as_secs(),
            by.join(", "),
            held.ahead
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_shuffle::element::Watermark;

    const MINUTE: Duration = Duration::from_secs(60);

    fn watch() -> TimeWatch {
        TimeWatch::of(vec!["`orders` (1/2)".to_owned(), "`orders` (2/2)".to_owned()])
    }

    #[test]
    fn an_input_that_is_silent_for_a_minute_while_the_other_goes_on_is_named_once() {
        let (mut watch, mut valve, now) = (watch(), WatermarkValve::new(2), Instant::now());
        valve.on_watermark(0, Watermark::active(5_000));
        assert_eq!(watch.look(&valve, now), None);
        assert_eq!(watch.look(&valve, now + MINUTE / 2), None);
        let told = watch.look(&valve, now + MINUTE).expect("a minute has passed");
        assert!(told.contains("has not begun") && told.contains("`orders` (2/2) told"), "{told}");
        assert!(!told.contains("(1/2)") && told.contains("others are at 5000"), "{told}");
        assert_eq!(watch.look(&valve, now + 2 * MINUTE), None);
        valve.on_watermark(1, Watermark::active(1_000));
        assert_eq!(watch.look(&valve, now + 3 * MINUTE), None, "it has moved");
        let told = watch.look(&valve, now + 4 * MINUTE).expect("and stands again");
        assert!(told.contains("stands at 1000 for 60 s"), "{told}");
    }

    #[test]
    fn nothing_is_told_where_nobody_is_ahead_or_the_silent_one_is_idle_or_has_ended() {
        let (mut watch, mut valve, now) = (watch(), WatermarkValve::new(2), Instant::now());
        assert_eq!(watch.look(&valve, now), None);
        assert_eq!(watch.look(&valve, now + 2 * MINUTE), None);
        valve.on_watermark(1, Watermark::idle(MIN_WATERMARK));
        valve.on_watermark(0, Watermark::active(7_000));
        assert_eq!(watch.look(&valve, now + 3 * MINUTE), None);
        assert_eq!(watch.look(&valve, now + 5 * MINUTE), None);
        valve.on_watermark(1, Watermark::active(7_000));
        valve.on_watermark(0, Watermark::active(8_000));
        valve.on_end(1);
        assert_eq!(watch.look(&valve, now + 6 * MINUTE), None);
        assert_eq!(watch.look(&valve, now + 8 * MINUTE), None);
    }
}
