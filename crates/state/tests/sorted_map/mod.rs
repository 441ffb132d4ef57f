//! A backend whose tables are sorted maps.

use millstream_checkpoint::native::NativeTable;
use millstream_checkpoint::snapshot::{FrozenTable, RowSink, SnapshotError};
use millstream_core::key_group::{KeyGroup, KeyGroupRange};
use millstream_state::backend::{
    Change, GROUP_BYTES, RowStore, ShowRow, StateBackend, StoreError, StoreSpec, TakenOver,
};
use std::collections::BTreeMap;

/// The backend.
pub(crate) struct SortedMaps;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

struct SortedMap {
    spec: StoreSpec,
    rows: Rows,
}

impl StateBackend for SortedMaps {
    fn name(&self) -> &'static str {
        "sorted-map"
    }

    fn table(&self, spec: &StoreSpec) -> Box<dyn RowStore> {
        Box::new(SortedMap { spec: spec.clone(), rows: Rows::new() })
    }
}

impl RowStore for SortedMap {
    fn get_many(
        &mut self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), StoreError> {
        assert!(keys.is_sorted_by(|a, b| a < b), "keys ascend");
        for (i, key) in keys.iter().enumerate() {
            if let Some(row) = self.rows.get(*key) {
                found(i, row);
            }
        }
        Ok(())
    }

    fn write(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.insert(key.to_vec(), value.to_vec()),
                None => self.rows.remove(*key),
            };
        }
        Ok(())
    }

    fn scan(&mut self, from: &[u8], prefix: &[u8], row: ShowRow<'_>) -> Result<(), StoreError> {
        let from = from.max(prefix).to_vec();
        let rows = self.rows.range(from..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, value) in rows {
            if row(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last(&mut self, prefix: &[u8], key: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let from = prefix.to_vec();
        let keys = self.rows.range(from..).map(|(key, _)| key);
        if let Some(last) = keys.take_while(|key| key.starts_with(prefix)).last() {
            key(last);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.rows.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    fn freeze(&mut self) -> Result<Box<dyn FrozenTable>, StoreError> {
        Ok(Box::new(Frozen { spec: self.spec.clone(), rows: self.rows.clone() }))
    }

    fn take_over(
        &mut self,
        _native: &mut dyn NativeTable,
        _groups: &KeyGroupRange,
        _as_they_are: bool,
    ) -> Result<TakenOver, StoreError> {
        unreachable!("it hands over no files")
    }
}

struct Frozen {
    spec: StoreSpec,
    rows: Rows,
}

impl FrozenTable for Frozen {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        for (key, value) in &self.rows {
            let (group, key) = key.split_at(GROUP_BYTES);
            let group = KeyGroup::new(u32::from(u16::from_be_bytes([group[0], group[1]])));
            let mut row = key.to_vec();
            self.spec.form.make_row(&mut row);
            row.extend_from_slice(value);
            out.rows(group.expect("a key group"), 1, &row)?;
        }
        Ok(())
    }
}
