//! [`Shared`]: what the tables of a process share: memory and a directory.

use crate::allocator;
use crate::config::LsmConfig;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options, WriteBufferManager};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The word of `state.backend.type`.
pub(crate) const NAME: &str = "rocksdb";

/// A table collects writes in buffers of at most so many bytes.
const WRITE_BUFFER_MAX: usize = 64 << 20;

/// Bounds of the bytes that a file has.
const FILE_BYTES: RangeInclusive<usize> = 4 << 20..=64 << 20;

/// A file has this part of the memory: who writes one remembers something of each of its keys, which nobody
/// counts.
const FILE_PART: usize = 8;

/// What is on its way to a file.
const FILE_BUFFER: u64 = 256 << 10;

/// A compaction reads each of its files so many bytes at a time.
const COMPACTION_READ_AHEAD: usize = 256 << 10;

/// So many files of a table are open at a time.
const OPEN_FILES_MAX: i32 = 1_024;

/// Tells those of one process apart.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What all tables use.
pub(crate) struct Shared {
    /// Made with the first table, removed with the last one and all that is frozen.
    directory: PathBuf,
    cache: Cache,
    buffers: WriteBufferManager,
    write_buffer_bytes: usize,
    file_bytes: u64,
    /// Directories that were given out.
    given: AtomicU64,
}

impl Shared {
    /// Takes no disk before it is used.
    pub(crate) fn new(config: &LsmConfig) -> Self {
        allocator::give_large_buffers_pages_of_their_own();
        let cache = Cache::new_lru_cache(config.cache_bytes());
        let write_buffer_bytes = config.write_buffer_bytes();
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-state-{}-{number}", std::process::id());
        let (directory, given) = (config.directory.join(name), AtomicU64::new(0));
        let file_bytes = config.memory / FILE_PART;
        let file_bytes = file_bytes.clamp(*FILE_BYTES.start(), *FILE_BYTES.end()) as u64;
        Self { directory, cache, buffers, write_buffer_bytes, file_bytes, given }
    }

    /// What all tables have in memory, by RocksDB's own account.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// A path that nobody else has, for a table of this name.
    pub(crate) fn place(&self, table: &str) -> PathBuf {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let plain: String = table.chars().filter(|c| is_plain(*c)).take(40).collect();
        self.directory.join(format!("{number}-{plain}"))
    }

    /// How a table is opened to be used.
    pub(crate) fn options(&self) -> Options {
        let mut options = self.reading_options();
        options.create_if_missing(true);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(WRITE_BUFFER_MAX.min(self.write_buffer_bytes));
        // Memory is charged as it is taken, and a table that is hardly used takes little.
        let piece = (self.write_buffer_bytes / 64).clamp(allocator::OWN_PAGES, 1 << 20);
        options.set_arena_block_size(piece);
        options.set_target_file_size_base(self.file_bytes);
        options.set_max_bytes_for_level_base(4 * self.file_bytes);
        options.set_writable_file_max_buffer_size(FILE_BUFFER);
        options.set_max_background_jobs(2);
        options.set_compaction_readahead_size(COMPACTION_READ_AHEAD);
        // One thread writes.
        options.set_allow_concurrent_memtable_write(false);
        options
    }

    /// How files are opened that do not change any more.
    pub(crate) fn reading_options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_format_version(5);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_log_level(LogLevel::Error);
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// Removes a directory, whether it is there or not. What cannot be removed is left to whoever owns the
/// directory around it: nobody will ever read it.
pub(crate) fn remove(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}
