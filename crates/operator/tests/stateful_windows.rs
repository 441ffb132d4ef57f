//! The state of functions of windows, driven alone.

use millstream_operator::clock::ProcessingClock;
use millstream_operator::context::TaskContext;
use millstream_operator::process::FunctionResult;
use millstream_operator::side_output::SideOutputs;
use millstream_operator::window::results::Results;
use millstream_operator::window::stateful::{StatefulWindows, WindowStates};
use millstream_operator::window::{
    EndedWindow, StatefulWindowContext, StatefulWindowFunction, TimeWindow,
};
use millstream_state::{KeyedState, MapState};

#[derive(KeyedState)]
struct OfWindow {
    fired: u64,
    values: MapState<u64, u64>,
}

#[derive(KeyedState)]
struct OfKey {
    ended: u64,
}

/// Gives how often the window has fired, how many values it has seen, and how many windows of the key
/// have ended.
#[derive(Clone)]
struct Remembering;

impl StatefulWindowFunction<u64, u64> for Remembering {
    type WindowState = OfWindow;
    type GlobalState = OfKey;
    type Out = (u64, u64, u64);

    fn process(
        &mut self,
        value: u64,
        ctx: &mut StatefulWindowContext<'_, u64, OfWindow, OfKey, Self::Out>,
    ) -> FunctionResult {
        ctx.window_state.fired += 1;
        ctx.window_state.values.insert(value, *ctx.key());
        let (fired, values) = (ctx.window_state.fired, ctx.window_state.values.iter().count());
        ctx.emit((fired, values as u64, ctx.global_state.ended));
        Ok(())
    }

    fn clear(&mut self, window: EndedWindow<'_, u64, OfWindow, OfKey>) -> FunctionResult {
        if window.window_state.fired == 0 {
            return Err("a window ended that never fired".into());
        }
        window.global_state.ended += 1;
        Ok(())
    }
}

#[test]
fn a_window_has_state_of_its_own_until_it_ends_and_a_key_keeps_its() {
    let windows = StatefulWindows::new(&Remembering, &TaskContext::alone()).expect("it opens");
    let (mut emit, mut states) = (windows.emit(), windows.boxed());
    let mut fire = |key: u64, start: i64, value: u64| {
        let mut out = Vec::new();
        let window = TimeWindow::new(start, start + 10);
        let (mut sides, clock) = (SideOutputs::new(), ProcessingClock::system());
        let mut results = Results::of(window, &mut out, &mut sides, 0, &clock);
        emit(key, window, value, &mut results).expect("nothing fails");
        out[0]
    };
    assert_eq!(fire(1, 0, 7), (1, 1, 0));
    assert_eq!(fire(1, 0, 8), (2, 2, 0));
    assert_eq!(fire(1, 10, 7), (1, 1, 0));
    assert_eq!(fire(2, 0, 7), (1, 1, 0));
    assert_eq!(windows.rows(), (3, 0));
    let forget = |states: &mut Box<dyn WindowStates<u64>>, key: u64, start| {
        use millstream_core::Record;
        states.forget(key.hash64(), &key, TimeWindow::new(start, start + 10))
    };
    forget(&mut states, 1, 0).expect("it ends");
    assert_eq!(windows.rows(), (2, 1));
    assert_eq!(fire(1, 10, 7), (2, 1, 1));
    assert_eq!(fire(2, 0, 9), (2, 2, 0));
    // It begins anew, the values that it had among them.
    assert_eq!(fire(1, 0, 9), (1, 1, 1));
    assert!(forget(&mut states, 5, 0).is_err(), "what `clear` says is told");
}
