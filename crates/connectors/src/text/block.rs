//! What lines share: a block of text, used again when no line refers to it any more.
//!
//! A block travels as an [`Arc`] inside each line, on whatever threads the lines go to. The pool
//! keeps a handle of its own on every block that it gave out. A block whose only handle is the
//! pool's is free: [`Arc::get_mut`] says so, and gives it back for writing. So nothing has to be
//! sent back, and in steady state nothing is allocated.

use std::collections::VecDeque;
use std::sync::Arc;

/// The bytes of a block of ordinary lines. A longer line gets a longer block.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// The most blocks that a pool watches; beyond that the oldest is left to its lines.
const POOL_BLOCKS_MAX: usize = 64;

/// Text that lines share.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) text: String,
}

impl Block {
    /// A block that holds this text alone.
    ///
    /// # Panics
    /// If it is 4 GiB or longer: places in a block have 32 bits.
    pub(crate) fn of(text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        assert!(u32::try_from(text.len()).is_ok(), "a text of {} bytes is no line", text.len());
        Arc::new(Self { text })
    }

    /// Lets `fill` replace the bytes; they become text again as [`text_of`] says.
    pub(crate) fn refill<R>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        let result = fill(&mut bytes);
        self.text = text_of(bytes);
        result
    }
}

/// The bytes as text: each sequence that is not UTF-8 becomes U+FFFD. A newline is never part of
/// such a sequence, so that each line is as if it had been converted alone.
pub(crate) fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Blocks that were given out and may have become free.
#[derive(Default)]
pub(crate) struct BlockPool {
    /// Oldest first: those become free first.
    blocks: VecDeque<Arc<Block>>,
}

impl BlockPool {
    /// A block that nobody refers to.
    pub(crate) fn take(&mut self) -> Arc<Block> {
        let free = (0..self.blocks.len()).find(|at| Arc::get_mut(&mut self.blocks[*at]).is_some());
        let block = free.and_then(|at| self.blocks.remove(at));
        block.filter(|block| block.text.capacity() <= 2 * BLOCK_BYTES).unwrap_or_default()
    }

    /// Watches a block whose lines have all been given out.
    pub(crate) fn watch(&mut self, block: Arc<Block>) {
        if self.blocks.len() == POOL_BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_when_its_last_line_is_gone() {
        let mut pool = BlockPool::default();
        let first = pool.take();
        let line = Arc::clone(&first);
        pool.watch(first);
        let second = pool.take();
        assert!(!Arc::ptr_eq(&second, &line));
        let address = Arc::as_ptr(&line);
        drop(line);
        assert_eq!(Arc::as_ptr(&pool.take()), address);
    }

    #[test]
    fn a_block_that_grew_for_a_long_line_is_not_kept() {
        let mut pool = BlockPool::default();
        pool.watch(Block::of(String::with_capacity(3 * BLOCK_BYTES)));
        assert_eq!(pool.take().text.capacity(), 0);
    }

    #[test]
    fn invalid_bytes_are_replaced_line_by_line() {
        let bytes = b"good\nb\xFFd\n\xE2\x82\n\xC3\xA9\n".to_vec();
        assert_eq!(text_of(bytes), "good\nb\u{FFFD}d\n\u{FFFD}\n\u{e9}\n");
    }
}
