//! Blocks of a snapshot, read ahead: while the rows of some blocks are put into a table, a thread reads
//! and checks the next ones.

use millstream_checkpoint::snapshot::BlockSource;
use millstream_checkpoint::state_file::{Block, ReadError};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// So many blocks come without a thread, which would cost more: most tables are small.
const WITHOUT_THREAD: usize = 16;

/// Blocks are handed over together, once they have so many bytes.
const BYTES: usize = 1 << 20;

/// So many of those are ready at most.
const READY: usize = 2;

/// Shows all blocks, or why the next one cannot be read, until `show` fails.
pub(super) fn each<E>(
    mut blocks: Box<dyn BlockSource>,
    show: &mut dyn FnMut(Result<Block, ReadError>) -> Result<(), E>,
) -> Result<(), E> {
    for _ in 0..WITHOUT_THREAD {
        match blocks.next().transpose() {
            Some(next) => show(next)?,
            None => return Ok(()),
        }
    }
    let (give, take) = sync_channel(READY);
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("state-reader".to_owned());
        let reading = reader.spawn_scoped(scope, move || read(blocks.as_mut(), &give));
        reading.expect("a thread can be started");
        for some in take {
            for next in some {
                show(next)?;
            }
        }
        Ok(())
    })
}

/// Gives blocks away until there are no more, one cannot be read, or nobody wants them.
fn read(blocks: &mut dyn BlockSource, give: &SyncSender<Vec<Result<Block, ReadError>>>) {
    loop {
        let (mut some, mut bytes, mut more) = (Vec::new(), 0, true);
        while more && bytes < BYTES {
            match blocks.next() {
                Ok(Some(block)) => {
                    bytes += block.payload.len();
                    some.push(Ok(block));
                }
                Ok(None) => more = false,
                Err(error) => {
                    some.push(Err(error));
                    more = false;
                }
            }
        }
        if give.send(some).is_err() || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_checkpoint::state_file::{BlockKind, Corrupt};
    use millstream_core::key_group::KeyGroupRange;

    /// Blocks with ascending counts; then the end, or an error.
    struct Counting {
        next: u32,
        end: u32,
        is_damaged: bool,
        groups: KeyGroupRange,
    }

    fn counting(end: u32, is_damaged: bool) -> Box<dyn BlockSource> {
        Box::new(Counting { next: 0, end, is_damaged, groups: KeyGroupRange(0..1) })
    }

    impl BlockSource for Counting {
        fn next(&mut self) -> Result<Option<Block>, ReadError> {
            if self.next < self.end {
                self.next += 1;
                let (kind, payload) = (BlockKind::Rows, vec![0; 100_000]);
                return Ok(Some(Block { kind, group: None, count: self.next, payload }));
            }
            let what = "as the test wants it".to_owned();
            let damage = Corrupt { file: "a file".to_owned(), offset: 7, what };
            if self.is_damaged { Err(damage.into()) } else { Ok(None) }
        }

        fn groups(&self) -> &KeyGroupRange {
            &self.groups
        }
    }

    #[test]
    fn all_blocks_come_in_their_order_and_so_does_an_error() {
        for end in [0, 1, 15, 16, 17, 100] {
            for is_damaged in [false, true] {
                let mut seen = 0;
                let result = each::<ReadError>(counting(end, is_damaged), &mut |next| {
                    let block = next?;
                    seen += 1;
                    assert_eq!(block.count, seen);
                    Ok(())
                });
                assert_eq!(seen, end);
                assert_eq!(result.is_err(), is_damaged);
            }
        }
    }

    #[test]
    fn who_has_enough_is_not_kept_waiting_by_the_reader() {
        for enough in [3, 20] {
            let result = each(counting(1_000_000, false), &mut |next| {
                if next.expect("undamaged").count == enough { Err("enough") } else { Ok(()) }
            });
            assert_eq!(result, Err("enough"));
        }
    }
}
