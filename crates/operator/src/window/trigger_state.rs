//! [`TriggerState`]: what a trigger remembers of a window of a key, with its type.
//!
//! The type is written beside the value, as people read it: a trigger is chosen where the program is
//! written, and another version of the program may choose another one. What that one would make of the
//! bytes of the former is anybody's guess, so it is not asked to: the task fails, with both types.

use millstream_core::record::Input;
use millstream_core::{OperatorError, Record};
use std::any::TypeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a trigger remembers of a window of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerState {
    /// Nothing, or the row of the type's name and that of the value.
    row: Vec<u8>,
    /// Why the row could not be read, if somebody tried.
    problem: RefCell<Option<String>>,
}

thread_local! {
    /// The rows of the names of types that were asked for.
    static NAMES: RefCell<BTreeMap<TypeId, Rc<[u8]>>> = RefCell::default();
}

/// The row of a type's name.
fn name_of<S: Record>() -> Rc<[u8]> {
    let named = |names: &RefCell<BTreeMap<_, _>>| {
        let mut names = names.borrow_mut();
        let name = names.entry(TypeId::of::<S>()).or_insert_with(|| {
            let mut row = Vec::new();
            S::schema().to_string().encode(&mut row);
            row.into()
        });
        Rc::clone(name)
    };
    NAMES.with(named)
}

impl TriggerState {
    /// As it is kept beside a window.
    pub(super) fn of_row(row: Vec<u8>) -> Self {
        Self { row, problem: RefCell::default() }
    }

    /// To be kept beside the window; an error if what was there is of another type than the trigger's.
    pub(super) fn into_row(self) -> Result<Vec<u8>, OperatorError> {
        self.check().map(|()| self.row)
    }

    /// Whether all that was asked for could be read.
    pub(super) fn check(&self) -> Result<(), OperatorError> {
        let problem = self.problem.borrow();
        problem.as_ref().map_or(Ok(()), |problem| Err(OperatorError::new(problem.clone())))
    }

    /// What was set last, else the default. If it was set as another type, the task fails once the
    /// trigger has answered.
    pub fn get<S: Record + Default>(&self) -> S {
        if self.row.is_empty() {
            return S::default();
        }
        let value = self.row.strip_prefix(&*name_of::<S>());
        let decoded = value.and_then(|value| {
            let mut input = Input::new(value);
            let value = S::decode(&mut input).ok()?;
            input.finish().ok().map(|()| value)
        });
        decoded.unwrap_or_else(|| {
            self.problem.borrow_mut().get_or_insert_with(|| mismatch::<S>(&self.row));
            S::default()
        })
    }

    /// Remembers something else.
    pub fn set<S: Record>(&mut self, state: &S) {
        self.row.clear();
        self.row.extend_from_slice(&name_of::<S>());
        state.encode(&mut self.row);
    }

    /// Remembers nothing.
    pub fn clear(&mut self) {
        self.row.clear();
    }
}

fn mismatch<S: Record>(row: &[u8]) -> String {
    let written = String::decode(&mut Input::new(row));
    let written = written.unwrap_or_else(|_| "something else".to_owned());
    format!(
        "the state of the window's trigger was written as {written}, and the trigger reads {}: the type \
         cannot change; go back to the former trigger, or give the operator another uid: its windows \
         begin empty then",
        S::schema()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read_and_nothing_is_the_default() {
        let mut state = TriggerState::default();
        assert_eq!(state.get::<u64>(), 0);
        state.set(&Some(7_i64));
        assert_eq!(state.get::<Option<i64>>(), Some(7));
        let row = state.clone().into_row().expect("it was read as it was written");
        assert_eq!(TriggerState::of_row(row).get::<Option<i64>>(), Some(7));
        state.clear();
        assert_eq!((state.get::<u64>(), state.into_row()), (0, Ok(Vec::new())));
    }

    #[test]
    fn another_type_is_an_error_that_names_both() {
        let mut state = TriggerState::default();
        state.set(&7_u64);
        assert_eq!(state.get::<(u64, i64)>(), (0, 0));
        let error = state.into_row().expect_err("it was written as another type");
        assert!(error.message.contains("trigger was written as u64"), "{error}");
        assert!(error.message.contains("reads (u64, i64)"), "{error}");
        let damaged = TriggerState::of_row(vec![0xFF]);
        damaged.get::<u64>();
        assert!(damaged.check().is_err());
    }
}
