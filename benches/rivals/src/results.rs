//! Where results go: dropped where the compiler cannot see it, or kept to be checked.

use std::fmt::Display;
use std::fs::File;
use std::hash::Hash;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use crate::Result;
use crate::arguments::Arguments;

/// The sink of a keyed job. Each worker has a clone of its own; counts meet when clones are dropped.
pub struct Results<K: ?Sized + ToOwned> {
    /// Input records that the results of this clone stand for.
    records: u64,
    /// The same, of all clones that have been dropped.
    records_total: Arc<AtomicU64>,
    /// The last value of each key, if somebody wants to see them.
    answers: Option<Arc<Answers<K::Owned>>>,
}

struct Answers<K> {
    path: PathBuf,
    last: Mutex<FxHashMap<K, i64>>,
}

impl<K> Results<K>
where
    K: ?Sized + ToOwned<Owned: Display + Eq + Hash + Ord>,
{
    /// A sink that drops results, or keeps them for the file named by `--answers`.
    pub fn from_arguments(arguments: &mut Arguments) -> Self {
        let answers = arguments
            .text("answers")
            .map(|path| Arc::new(Answers { path: path.into(), last: Mutex::default() }));
        Self { records: 0, records_total: Arc::default(), answers }
    }

    /// Takes a running result: one per input record.
    #[inline]
    pub fn accept(&mut self, key: &K, value: i64) {
        self.take(key, value, 1);
    }

    /// Takes a final result that stands for many input records.
    #[inline]
    pub fn accept_final(&mut self, key: &K, value: i64, records: u64) {
        self.take(key, value, records);
    }

    #[inline]
    fn take(&mut self, key: &K, value: i64, records: u64) {
        self.records += records;
        match &self.answers {
            None => {
                black_box(key);
                black_box(value);
            }
            Some(answers) => {
                let mut last = answers.last.lock().expect("no holder panics");
                last.insert(key.to_owned(), value);
            }
        }
    }

    /// Writes the answers, if wanted, and tells how many input records there were. All other
    /// clones must have been dropped.
    pub fn close(mut self) -> Result<u64> {
        if let Some(answers) = self.answers.take() {
            let last = answers.last.lock().expect("no holder panics");
            write_answers(&answers.path, last.iter())?;
        }
        Ok(self.records + self.records_total.load(Ordering::Acquire))
    }
}

/// Writes one `key value` per line, sorted by key.
pub fn write_answers<'a, K: Display + Ord + ?Sized + 'a>(
    path: &Path,
    answers: impl Iterator<Item = (&'a K, &'a i64)>,
) -> Result<()> {
    let mut sorted: Vec<_> = answers.collect();
    sorted.sort_unstable();
    let mut out = BufWriter::new(File::create(path)?);
    for (key, value) in sorted {
        writeln!(out, "{key} {value}")?;
    }
    Ok(out.flush()?)
}

impl<K: ?Sized + ToOwned> Clone for Results<K> {
    fn clone(&self) -> Self {
        Self {
            records: 0,
            records_total: self.records_total.clone(),
            answers: self.answers.clone(),
        }
    }
}

impl<K: ?Sized + ToOwned> Drop for Results<K> {
    fn drop(&mut self) {
        self.records_total.fetch_add(self.records, Ordering::Release);
    }
}
