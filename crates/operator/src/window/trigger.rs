//! [`Trigger`]: when a window fires; the triggers that come with the engine.

use super::time_window::TimeWindow;
pub use super::trigger_state::TriggerState;
use crate::process::TimeDomain;
use millstream_core::time::Timestamp;
use std::time::Duration;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing yet.
    Continue,
    /// Its result is given out; its contents stay.
    Fire,
    /// Its contents are dropped.
    Purge,
    /// Both, in this order.
    FireAndPurge,
}

impl TriggerResult {
    /// The result is given out.
    pub fn fires(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// The contents are dropped.
    pub fn purges(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }
}

/// Decides when a window of a key fires.
///
/// What it has to remember of a window is kept in the context, as state; its own fields are neither
/// shared nor saved.
///
/// ```
/// use millstream_operator::window::{TimeWindow, Trigger, TriggerContext, TriggerResult};
///
/// /// Fires on the first record, and with each that is larger than all before it.
/// #[derive(Clone)]
/// struct OnRecord;
///
/// impl Trigger<u64> for OnRecord {
///     fn on_element(
///         &mut self,
///         element: &u64,
///         _time: i64,
///         _window: TimeWindow,
///         ctx: &mut TriggerContext<'_>,
///     ) -> TriggerResult {
///         let highest: Option<u64> = ctx.state.get();
///         if highest.is_some_and(|highest| highest >= *element) {
///             return TriggerResult::Continue;
///         }
///         ctx.state.set(&Some(*element));
///         TriggerResult::Fire
///     }
/// }
/// ```
pub trait Trigger<T>: Clone + Send + 'static {
    /// A record has come into the window.
    fn on_element(
        &mut self,
        element: &T,
        time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult;

    /// A timer that it registered has come up.
    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        _window: TimeWindow,
        _ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        TriggerResult::Continue
    }

    /// Windows have become one: `states` is what it remembered of each; what it is to remember of
    /// `window` goes into the context, and timers are registered again there.
    fn on_merge(
        &mut self,
        _states: &[TriggerState],
        _window: TimeWindow,
        _ctx: &mut TriggerContext<'_>,
    ) {
    }

    /// The window is over, or has become part of another: withdraws its timers.
    fn clear(&mut self, _window: TimeWindow, _ctx: &mut TriggerContext<'_>) {}
}

/// What a trigger sees of its window and can do there.
pub struct TriggerContext<'a> {
    /// What it remembers of the window.
    pub state: &'a mut TriggerState,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
    pub(super) timers: &'a mut dyn WindowTimers,
}

/// The timers of a window of a key.
pub(super) trait WindowTimers {
    fn register(&mut self, domain: TimeDomain, time: Timestamp);
    fn delete(&mut self, domain: TimeDomain, time: Timestamp);
}

impl TriggerContext<'_> {
    /// No record at or before this time is to come.
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of the machine.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }

    /// Asks for a call of `on_timer` once this kind of time has come so far. The same time counts once.
    pub fn register_timer(&mut self, domain: TimeDomain, time: Timestamp) {
        self.timers.register(domain, time);
    }

    /// Withdraws a timer.
    pub fn delete_timer(&mut self, domain: TimeDomain, time: Timestamp) {
        self.timers.delete(domain, time);
    }
}

/// Fires when this kind of time has come to the end of the window, and again with each late record.
#[derive(Clone, Copy, Debug)]
pub struct TimeTrigger(TimeDomain);

impl TimeTrigger {
    /// When the watermark has come to the end of the window.
    pub fn event_time() -> Self {
        Self(TimeDomain::EventTime)
    }

    /// When the machine's clock has come to the end of the window.
    pub fn processing_time() -> Self {
        Self(TimeDomain::ProcessingTime)
    }
}

impl<T> Trigger<T> for TimeTrigger {
    fn on_element(
        &mut self,
        _element: &T,
        _time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        if self.0 == TimeDomain::EventTime && window.max_timestamp() <= ctx.watermark {
            return TriggerResult::Fire;
        }
        ctx.register_timer(self.0, window.max_timestamp());
        TriggerResult::Continue
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        window: TimeWindow,
        _ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        if domain == self.0 && time == window.max_timestamp() {
            TriggerResult::Fire
        } else {
            TriggerResult::Continue
        }
    }

    fn on_merge(
        &mut self,
        _states: &[TriggerState],
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) {
        if self.0 == TimeDomain::ProcessingTime || window.max_timestamp() > ctx.watermark {
            ctx.register_timer(self.0, window.max_timestamp());
        }
    }

    fn clear(&mut self, window: TimeWindow, ctx: &mut TriggerContext<'_>) {
        ctx.delete_timer(self.0, window.max_timestamp());
    }
}

/// Fires with each so-many-th record.
#[derive(Clone, Copy, Debug)]
pub struct CountTrigger(u64);

impl CountTrigger {
    /// With each `count`-th record.
    #[track_caller]
    pub fn of(count: u64) -> Self {
        assert!(count > 0, "a window that fires with every 0th record never fires");
        Self(count)
    }
}

impl<T> Trigger<T> for CountTrigger {
    fn on_element(
        &mut self,
        _element: &T,
        _time: Timestamp,
        _window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        let count: u64 = ctx.state.get::<u64>() + 1;
        if count < self.0 {
            ctx.state.set(&count);
            return TriggerResult::Continue;
        }
        ctx.state.clear();
        TriggerResult::Fire
    }

    fn on_merge(
        &mut self,
        states: &[TriggerState],
        _window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) {
        ctx.state.set(&states.iter().map(|state| state.get::<u64>()).sum::<u64>());
    }
}

/// Fires as another trigger does, and drops the contents each time.
#[derive(Clone, Copy, Debug)]
pub struct PurgingTrigger<G>(G);

impl<G> PurgingTrigger<G> {
    /// As `trigger`, and purging.
    pub fn of(trigger: G) -> Self {
        Self(trigger)
    }
}

fn purging(result: TriggerResult) -> TriggerResult {
    if result.fires() { TriggerResult::FireAndPurge } else { result }
}

impl<T, G: Trigger<T>> Trigger<T> for PurgingTrigger<G> {
    fn on_element(
        &mut self,
        element: &T,
        time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        purging(self.0.on_element(element, time, window, ctx))
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        purging(self.0.on_timer(time, domain, window, ctx))
    }

    fn on_merge(
        &mut self,
        states: &[TriggerState],
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) {
        self.0.on_merge(states, window, ctx);
    }

    fn clear(&mut self, window: TimeWindow, ctx: &mut TriggerContext<'_>) {
        self.0.clear(window, ctx);
    }
}

/// Fires at regular intervals while records come, and at the end of the window.
#[derive(Clone, Copy, Debug)]
pub struct ContinuousTrigger {
    interval: i64,
    domain: TimeDomain,
}

impl ContinuousTrigger {
    /// Each `interval` of event time.
    #[track_caller]
    pub fn event_time(interval: Duration) -> Self {
        Self::new(interval, TimeDomain::EventTime)
    }

    /// Each `interval` of the machine's time.
    #[track_caller]
    pub fn processing_time(interval: Duration) -> Self {
        Self::new(interval, TimeDomain::ProcessingTime)
    }

    #[track_caller]
    fn new(interval: Duration, domain: TimeDomain) -> Self {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX / 8);
        assert!(interval > 0, "a trigger fires each millisecond at most");
        Self { interval, domain }
    }

    /// Registers the next time of the grid, unless one is pending.
    fn schedule(&self, from: Timestamp, window: TimeWindow, ctx: &mut TriggerContext<'_>) {
        if ctx.state.get::<Option<i64>>().is_none() {
            let start = from - from.rem_euclid(self.interval);
            let next = start.saturating_add(self.interval).min(window.max_timestamp());
            ctx.state.set(&Some(next));
            ctx.register_timer(self.domain, next);
        }
    }
}

impl<T> Trigger<T> for ContinuousTrigger {
    fn on_element(
        &mut self,
        _element: &T,
        time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        if self.domain == TimeDomain::EventTime && window.max_timestamp() <= ctx.watermark {
            return TriggerResult::Fire;
        }
        let from = if self.domain == TimeDomain::EventTime { time } else { ctx.now };
        if self.domain == TimeDomain::EventTime {
            ctx.register_timer(self.domain, window.max_timestamp());
        }
        self.schedule(from, window, ctx);
        TriggerResult::Continue
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        if domain != self.domain {
            return TriggerResult::Continue;
        }
        if time == window.max_timestamp() {
            return TriggerResult::Fire;
        }
        if ctx.state.get::<Option<i64>>() != Some(time) {
            return TriggerResult::Continue;
        }
        ctx.state.clear();
        self.schedule(time, window, ctx);
        TriggerResult::Fire
    }

    fn on_merge(
        &mut self,
        states: &[TriggerState],
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) {
        let pending = states.iter().filter_map(|state| state.get::<Option<i64>>());
        if let Some(next) = pending.min() {
            ctx.state.set(&Some(next));
            ctx.register_timer(self.domain, next);
        }
        if self.domain == TimeDomain::EventTime {
            ctx.register_timer(self.domain, window.max_timestamp());
        }
    }

    fn clear(&mut self, window: TimeWindow, ctx: &mut TriggerContext<'_>) {
        if let Some(next) = ctx.state.get::<Option<i64>>() {
            ctx.delete_timer(self.domain, next);
        }
        ctx.delete_timer(self.domain, window.max_timestamp());
        ctx.state.clear();
    }
}

/// Never fires: contents are dropped when the window is over.
#[derive(Clone, Copy, Debug)]
pub struct NeverTrigger;

impl<T> Trigger<T> for NeverTrigger {
    fn on_element(
        &mut self,
        _element: &T,
        _time: Timestamp,
        _window: TimeWindow,
        _ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        TriggerResult::Continue
    }
}

/// A trigger, erased.
pub trait AnyTrigger<T>: Send {
    /// See [`Trigger::on_element`].
    fn on_element(
        &mut self,
        element: &T,
        time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult;
    /// See [`Trigger::on_timer`].
    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult;
    /// See [`Trigger::on_merge`].
    fn on_merge(
        &mut self,
        states: &[TriggerState],
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    );
    /// See [`Trigger::clear`].
    fn clear(&mut self, window: TimeWindow, ctx: &mut TriggerContext<'_>);
    /// A copy for another subtask.
    fn boxed(&self) -> Box<dyn AnyTrigger<T>>;
}

impl<T, G: Trigger<T>> AnyTrigger<T> for G {
    fn on_element(
        &mut self,
        element: &T,
        time: Timestamp,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        Trigger::on_element(self, element, time, window, ctx)
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) -> TriggerResult {
        Trigger::on_timer(self, time, domain, window, ctx)
    }

    fn on_merge(
        &mut self,
        states: &[TriggerState],
        window: TimeWindow,
        ctx: &mut TriggerContext<'_>,
    ) {
        Trigger::on_merge(self, states, window, ctx);
    }

    fn clear(&mut self, window: TimeWindow, ctx: &mut TriggerContext<'_>) {
        Trigger::clear(self, window, ctx);
    }

    fn boxed(&self) -> Box<dyn AnyTrigger<T>> {
        Box::new(self.clone())
    }
}
