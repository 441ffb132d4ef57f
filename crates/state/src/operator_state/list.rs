//! [`SplitListState`] and [`UnionListState`]: lists of a subtask.

use super::OperatorField;
use millstream_core::job_state::ListMode;
use millstream_core::record::{Input, Schema};
use millstream_core::{DecodeError, Record};
use std::ops::{Deref, DerefMut};

/// A list whose items are dealt out evenly to the subtasks when the parallelism changes, each to one.
/// It is used as a `Vec`.
///
/// ```
/// use millstream_state::operator_state::SplitListState;
///
/// let mut waiting = SplitListState::default();
/// waiting.push(7_u64);
/// assert_eq!(waiting.drain(..).collect::<Vec<_>>(), [7]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitListState<T>(Vec<T>);

/// A list of which every subtask gets the items of all subtasks after a restore. Whoever keeps only
/// what is its own of them must be able to tell. It is used as a `Vec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionListState<T>(Vec<T>);

macro_rules! list {
    ($name:ident, $mode:ident) => {
        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(Vec::new())
            }
        }

        impl<T> Deref for $name<T> {
            type Target = Vec<T>;

            fn deref(&self) -> &Vec<T> {
                &self.0
            }
        }

        impl<T> DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut Vec<T> {
                &mut self.0
            }
        }

        impl<T: Record> OperatorField for $name<T> {
            fn mode(&self) -> ListMode {
                ListMode::$mode
            }

            fn schema(&self) -> Schema {
                T::schema()
            }

            fn rows(&self) -> Vec<Vec<u8>> {
                let row = |item: &T| {
                    let mut row = Vec::new();
                    item.encode(&mut row);
                    row
                };
                self.0.iter().map(row).collect()
            }

            fn add_row(&mut self, row: &mut Input<'_>) -> Result<(), DecodeError> {
                self.0.push(T::decode(row)?);
                Ok(())
            }
        }
    };
}

list!(SplitListState, Split);
list!(UnionListState, Union);
