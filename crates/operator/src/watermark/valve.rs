//! [`WatermarkValve`]: one watermark out of those of all channels of a task. Pure.
//!
//! The rules are Flink's (`StatusWatermarkValve`):
//! - time is the least of all channels that count, and never goes back;
//! - a channel counts while it is active and not behind what was already told: one that comes back from
//!   idleness has to catch up first;
//! - when the last active channel becomes idle, time goes to the most that any channel has told, and
//!   consumers hear that the task is idle;
//! - a channel that has ended is not waited for. When all have ended, that is told by the end itself.
//!
//! Invariant: no channel that counts is behind what was told. So "counts" needs no memory.

use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_shuffle::element::{Watermark, WatermarkStatus};

/// Brings the watermarks of channels together.
#[derive(Clone, Debug)]
pub struct WatermarkValve {
    /// Nothing: the channel has ended.
    channels: Vec<Option<Watermark>>,
    told: Watermark,
}

/// Who holds time back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// These channels.
    pub by: Vec<usize>,
    /// How far the others are.
    pub ahead: Timestamp,
}

impl WatermarkValve {
    /// Nothing is known of any channel; all are active.
    pub fn new(channels: usize) -> Self {
        let unknown = Watermark::active(MIN_WATERMARK);
        Self { channels: vec![Some(unknown); channels], told: unknown }
    }

    /// What was told last.
    pub fn current(&self) -> Watermark {
        self.told
    }

    /// Who holds time back, while others are ahead; nothing: nobody.
    pub fn held_back(&self) -> Option<HeldBack> {
        let counting = || {
            let live = self.channels.iter().enumerate();
            let live = live.filter_map(|(at, channel)| Some((at, (*channel)?)));
            live.filter(|(_, channel)| !channel.is_idle())
        };
        let ahead = counting().map(|(_, channel)| channel.time).max()?;
        if ahead <= self.told.time {
            return None;
        }
        let behind = counting().filter(|(_, channel)| channel.time <= self.told.time);
        let by: Vec<usize> = behind.map(|(at, _)| at).collect();
        (!by.is_empty()).then_some(HeldBack { by, ahead })
    }

    /// A channel has told something. What consumers are to hear, if there is news for them.
    pub fn on_watermark(&mut self, channel: usize, watermark: Watermark) -> Option<Watermark> {
        let known = self.channels.get_mut(channel)?.as_mut()?;
        let before = *known;
        *known = Watermark { time: before.time.max(watermark.time), ..watermark };
        let held_nothing_back = before.time > self.told.time && before.status == watermark.status;
        if held_nothing_back && !watermark.is_idle() && !self.told.is_idle() {
            return None;
        }
        self.tell()
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize) -> Option<Watermark> {
        self.channels.get_mut(channel)?.take()?;
        self.tell()
    }

    fn tell(&mut self) -> Option<Watermark> {
        let next = self.joined()?;
        if next == self.told {
            return None;
        }
        self.told = next;
        Some(next)
    }

    /// All channels in one; nothing if none is left.
    fn joined(&self) -> Option<Watermark> {
        let told = self.told.time;
        let live = || self.channels.iter().flatten();
        let newest = live().map(|channel| channel.time).max()?;
        if live().all(|channel| channel.is_idle()) {
            return Some(Watermark { time: told.max(newest), status: WatermarkStatus::Idle });
        }
        let counting = live().filter(|channel| !channel.is_idle() && channel.time >= told);
        let least = counting.map(|channel| channel.time).min();
        Some(Watermark::active(least.unwrap_or(told)))
    }
}

#[cfg(test)]
#[path = "valve_test.rs"]
mod tests;
