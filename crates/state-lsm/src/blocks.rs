//! [`Rows`]: the rows of a database in the order of key groups, as state files have them.

use millstream_checkpoint::state_file::BLOCK_BYTES;
use millstream_core::key_group::{KeyGroup, KeyGroupRange};
use millstream_state::backend::{GROUP_BYTES, KeyForm};
use rocksdb::{DB, Error, ReadOptions};

/// So much is read at once.
const READ_AHEAD: usize = 2 << 20;

/// Rows of one key group, one behind the other.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) group: Option<KeyGroup>,
    pub(crate) count: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of the first key of a key group.
pub(crate) fn first_key(group: u32) -> Vec<u8> {
    // No group has a number of three bytes, but one may be asked what is behind the last.
    match u16::try_from(group) {
        Ok(group) => group.to_be_bytes().to_vec(),
        Err(_) => vec![u8::MAX; 3],
    }
}

/// Shows all rows of these key groups from the key `from` on, a block at a time, until `give` says
/// that it is enough. Where to go on, if there is more.
pub(crate) fn each<E: From<Error>>(
    db: &DB,
    form: KeyForm,
    from: &[u8],
    groups: &KeyGroupRange,
    give: &mut dyn FnMut(&Rows) -> Result<bool, E>,
) -> Result<Option<Vec<u8>>, E> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(READ_AHEAD);
    options.set_iterate_upper_bound(first_key(groups.0.end));
    let mut cursor = db.raw_iterator_opt(options);
    let first = first_key(groups.0.start);
    cursor.seek(from.max(first.as_slice()));
    let mut rows = Rows::default();
    while let Some((key, value)) = cursor.item() {
        let (group, key_row) = key.split_at(GROUP_BYTES);
        let group = KeyGroup::new(u32::from(u16::from_be_bytes([group[0], group[1]])));
        if rows.count > 0 && (rows.group != group || rows.payload.len() >= BLOCK_BYTES) {
            if !give(&rows)? {
                return Ok(Some(key.to_vec()));
            }
            rows.count = 0;
            rows.payload.clear();
        }
        rows.group = group;
        rows.count += 1;
        let begin = rows.payload.len();
        rows.payload.extend_from_slice(key_row);
        form.make_row(&mut rows.payload[begin..]);
        rows.payload.extend_from_slice(value);
        cursor.next();
    }
    cursor.status()?;
    if rows.count > 0 {
        give(&rows)?;
    }
    Ok(None)
}
