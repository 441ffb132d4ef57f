//! [`Panes`]: the grid on which tumbling and sliding windows lie.
//!
//! Windows that overlap have panes in common: stretches whose length is the greatest common divisor of
//! size and slide. A record is added to its pane once, however many windows it falls into; a window
//! that fires joins its panes.

use super::time_window::TimeWindow;
use millstream_core::time::Timestamp;

/// Times further from 1970 than this are in no window: about 146 million years.
const TIME_MAX: i64 = i64::MAX / 2;

/// Windows of one size that begin at regular distances, cut into panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panes {
    /// Milliseconds of a window.
    pub(super) size: i64,
    /// Milliseconds from the begin of a window to that of the next.
    pub(super) slide: i64,
    offset: i64,
    /// Milliseconds of a pane.
    pub(super) length: i64,
}

impl Panes {
    /// Windows of `size` milliseconds, of which one begins each `slide`.
    pub fn new(size: i64, slide: i64) -> Self {
        // With gaps between windows, each is a pane of its own.
        let length = if slide > size { size } else { greatest_common_divisor(size, slide) };
        Self { size, slide, offset: 0, length }
    }

    /// The same grid, shifted.
    pub fn with_offset(self, offset: i64) -> Self {
        Self { offset: offset.rem_euclid(self.slide), ..self }
    }

    /// The same windows, each a pane of its own: for values that cannot be joined.
    pub(super) fn apart(self) -> Self {
        Self { length: self.size, ..self }
    }

    /// Each window is one pane.
    pub(super) fn are_windows(self) -> bool {
        self.length == self.size
    }

    /// A record can fall into several windows, which are panes.
    pub(super) fn overlap(self) -> bool {
        self.are_windows() && self.slide < self.size
    }

    /// Times from the begin of a pane that fall into it and into no later one.
    pub(super) fn stretch(self) -> i64 {
        self.length.min(self.slide)
    }

    /// Whether a time can be in a window at all.
    pub(super) fn holds(time: Timestamp) -> bool {
        (-TIME_MAX..=TIME_MAX).contains(&time)
    }

    /// The greatest begin of a window that is not after this time.
    fn start_before(self, time: Timestamp) -> Timestamp {
        (time - self.offset).div_euclid(self.slide) * self.slide + self.offset
    }

    /// The pane of a time; nothing, if it is between two windows. Of windows that overlap and are panes:
    /// the last.
    #[inline]
    pub(super) fn pane_of(self, time: Timestamp) -> Option<Timestamp> {
        if self.are_windows() {
            let start = self.start_before(time);
            return (time - start < self.size).then_some(start);
        }
        Some((time - self.offset).div_euclid(self.length) * self.length + self.offset)
    }

    /// Adds the windows of a time.
    pub(super) fn windows_of(self, time: Timestamp, windows: &mut Vec<TimeWindow>) {
        if !Self::holds(time) {
            return;
        }
        let mut start = self.start_before(time);
        while time - start < self.size {
            windows.push(TimeWindow::new(start, start + self.size));
            start -= self.slide;
        }
    }

    /// The end of the first window that a pane is in.
    pub(super) fn first_end(self, pane: Timestamp) -> Timestamp {
        if self.are_windows() {
            return pane + self.size;
        }
        // The least begin after `pane - size`.
        self.start_before(pane - self.size) + self.slide + self.size
    }

    /// The end of the last window that a pane is in.
    pub(super) fn last_end(self, pane: Timestamp) -> Timestamp {
        if self.are_windows() { pane + self.size } else { self.start_before(pane) + self.size }
    }

    /// The end of the first window that ends after this time and that a pane is in.
    pub(super) fn end_after(self, pane: Timestamp, time: Timestamp) -> Option<Timestamp> {
        let (first, last) = (self.first_end(pane), self.last_end(pane));
        if time < first {
            return Some(first);
        }
        if time >= last {
            return None;
        }
        Some(first + ((time - first) / self.slide + 1) * self.slide)
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows that a pane is in, found by looking at all of them.
    fn ends_of(panes: Panes, pane: Timestamp) -> Vec<Timestamp> {
        let starts = (-200..200).map(|n| n * panes.slide + panes.offset);
        let holding = starts.filter(|start| *start <= pane && pane < start + panes.size);
        let windows = holding.filter(|start| !panes.are_windows() || *start == pane);
        windows.map(|start| start + panes.size).collect()
    }

    #[test]
    fn the_grid_agrees_with_a_look_at_all_windows() {
        for (size, slide) in [(10, 10), (10, 2), (10, 3), (10, 4), (7, 7), (3, 10), (12, 8), (1, 1)]
        {
            for offset in [0, 1, -1, 25] {
                let grid = Panes::new(size, slide).with_offset(offset);
                for time in -60..60 {
                    let mut windows = Vec::new();
                    grid.windows_of(time, &mut windows);
                    assert!(windows.iter().all(|window| window.contains(time)));
                    let Some(pane) = grid.pane_of(time) else {
                        assert!(windows.is_empty());
                        continue;
                    };
                    assert!(pane <= time && time < pane + grid.length);
                    let mut ends: Vec<_> = windows.iter().map(|window| window.end).collect();
                    ends.reverse();
                    assert_eq!(ends, ends_of(grid, pane), "{grid:?} at {time}");
                    let (first, last) = (grid.first_end(pane), grid.last_end(pane));
                    assert_eq!((ends.first(), ends.last()), (Some(&first), Some(&last)));
                    for after in -80..80 {
                        let next = ends.iter().copied().find(|end| *end > after);
                        assert_eq!(grid.end_after(pane, after), next, "{grid:?} {pane} {after}");
                    }
                }
            }
        }
    }

    #[test]
    fn windows_share_panes_of_their_common_length() {
        assert_eq!(Panes::new(10_000, 2_000).length, 2_000);
        assert_eq!(Panes::new(10_000, 4_000).length, 2_000);
        assert_eq!(Panes::new(10_000, 10_000).length, 10_000);
    }
}
