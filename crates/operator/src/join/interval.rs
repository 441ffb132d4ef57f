//! [`IntervalJoin`]: pairs of records of one key whose times are at most so far apart.
//!
//! A record waits in its buffer until no partner can come any more. It looks for partners in the buffer
//! of the other stream, and joins them at once: each pair is given once, when the later of the two
//! arrives, with the greater of their times.

use crate::either::Either;
use crate::process::{FunctionResult, KeyedProcessFunction, ProcessContext, Timer};
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_state::keyed_state::{
    CallScope, DefaultField, FieldSpec, KeyedState, MapState, StateField, StateTable,
};
use std::marker::PhantomData;
use std::rc::Rc;

/// How far the time of a right record may be from that of a left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Milliseconds that are added to the time of the left record: the first time of a partner.
    pub lower: i64,
    /// And the last, which is included.
    pub upper: i64,
}

/// What a record is called in its buffer: its time, and a number among those of the key.
type Name = (Timestamp, u64);

/// The records of a key that may find partners.
pub struct Buffers<L, R> {
    left: MapState<Name, L>,
    right: MapState<Name, R>,
    next: MapState<(), u64>,
}

impl<L: Record, R: Record> Buffers<L, R> {
    /// Whether the key has no records here, and nothing else.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.right.is_empty() && self.next.is_empty()
    }
}

const fn spec(name: &'static str) -> FieldSpec {
    FieldSpec { name, aliases: &[], ttl: None }
}

/// As the derive would do, were it not for the parameters.
impl<L: Record, R: Record> KeyedState for Buffers<L, R> {
    type Row = ();

    const HAS_ROW: bool = false;
    const HAS_TABLES: bool = true;
    const ROW_EXPIRES: bool = false;

    fn open<K: Key>(scope: &Rc<CallScope<K>>) -> Self {
        Self {
            left: DefaultField::open(spec("left-buffer"), scope),
            right: DefaultField::open(spec("right-buffer"), scope),
            next: DefaultField::open(spec("next-number"), scope),
        }
    }

    fn new_row() {}

    fn begin(&mut self, _row: &mut (), _now: Timestamp) {}

    fn end(&mut self, _row: &mut (), _now: Timestamp) {}

    fn is_absent(_row: &()) -> bool {
        true
    }

    fn expire(_row: &mut (), _now: Timestamp) {}

    fn reset(&mut self) {
        self.left.clear();
        self.right.clear();
        self.next.clear();
    }

    fn tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        let tables = [
            StateField::table(&mut self.left),
            StateField::table(&mut self.right),
            StateField::table(&mut self.next),
        ];
        tables.into_iter().flatten().for_each(visit);
    }
}

/// Joins two streams by interval.
pub struct IntervalJoin<L, R, F, O> {
    interval: Interval,
    join: F,
    _types: PhantomData<fn(L, R) -> O>,
}

impl<L, R, F, O> IntervalJoin<L, R, F, O> {
    /// Pairs within the interval, through this function.
    pub fn new(interval: Interval, join: F) -> Self {
        Self { interval, join, _types: PhantomData }
    }
}

impl<L, R, F: Clone, O> Clone for IntervalJoin<L, R, F, O> {
    fn clone(&self) -> Self {
        Self::new(self.interval, self.join.clone())
    }
}

type Context<'a, 'b, K, L, R, O> = &'a mut ProcessContext<'b, K, Buffers<L, R>, O>;

impl<K, L, R, F, O> KeyedProcessFunction<K, Either<L, R>> for IntervalJoin<L, R, F, O>
where
    K: Key,
    L: Record,
    R: Record,
    O: Record,
    F: Fn(&L, &R) -> O + Clone + Send + 'static,
{
    type State = Buffers<L, R>;
    type Out = O;

    fn process(
        &mut self,
        record: Either<L, R>,
        ctx: Context<'_, '_, K, L, R, O>,
    ) -> FunctionResult {
        let Some(time) = ctx.timestamp() else {
            return Err("records have no time: call `assign_timestamps_and_watermarks` on both \
                        streams before the join"
                .into());
        };
        let Interval { lower, upper } = self.interval;
        // Behind the watermark there may be no partners left: a late record finds none.
        if time <= ctx.current_watermark() {
            return Ok(());
        }
        let number = ctx.state.next.get(&()).unwrap_or(0);
        ctx.state.next.insert((), number + 1);
        let name = (time, number);
        let last_partner = match record {
            Either::First(left) => {
                let partners = ctx.state.right.iter().filter(|((at, _), _)| {
                    (time.saturating_add(lower)..=time.saturating_add(upper)).contains(at)
                });
                let pairs: Vec<(Timestamp, O)> =
                    partners.map(|((at, _), right)| (at, (self.join)(&left, &right))).collect();
                emit(pairs, time, ctx);
                ctx.state.left.insert(name, left);
                time.saturating_add(upper)
            }
            Either::Second(right) => {
                let partners = ctx.state.left.iter().filter(|((at, _), _)| {
                    (at.saturating_add(lower)..=at.saturating_add(upper)).contains(&time)
                });
                let pairs: Vec<(Timestamp, O)> =
                    partners.map(|((at, _), left)| (at, (self.join)(&left, &right))).collect();
                emit(pairs, time, ctx);
                ctx.state.right.insert(name, right);
                time.saturating_sub(lower)
            }
        };
        ctx.register_event_timer(last_partner.max(time));
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: Context<'_, '_, K, L, R, O>) -> FunctionResult {
        let Interval { lower, upper } = self.interval;
        let now = timer.time;
        ctx.state.left.retain(|(time, _), _| time.saturating_add(upper).max(*time) > now);
        ctx.state.right.retain(|(time, _), _| time.saturating_sub(lower).max(*time) > now);
        if ctx.state.left.is_empty() && ctx.state.right.is_empty() {
            ctx.state.next.clear();
        }
        Ok(())
    }
}

/// Gives pairs out, each with the greater of its times.
fn emit<K: Key, L: Record, R: Record, O>(
    pairs: Vec<(Timestamp, O)>,
    time: Timestamp,
    ctx: Context<'_, '_, K, L, R, O>,
) {
    for (other, pair) in pairs {
        ctx.emit_at(pair, time.max(other));
    }
}
