//! A set of row numbers, one bit each.

/// The rows that are in it, as words of 64.
#[derive(Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Puts a row in; all row numbers are below `end`.
    pub(crate) fn set(&mut self, row: u32, end: u32) {
        let words = (end as usize).div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        self.words[row as usize / 64] |= 1 << (row % 64);
    }

    pub(crate) fn unset(&mut self, row: u32) {
        self.words[row as usize / 64] &= !(1 << (row % 64));
    }

    pub(crate) fn has(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word & 1 << (row % 64) != 0)
    }

    /// Takes all rows out.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The rows from `first` on, in order.
    pub(crate) fn rows_from(&self, first: u32) -> impl Iterator<Item = u32> {
        let begin = (first / 64) as usize;
        let words = self.words.iter().enumerate().skip(begin);
        words.flat_map(move |(at, word)| {
            let word = if at == begin { word & (!0 << (first % 64)) } else { *word };
            rows_of_word(at, word)
        })
    }
}

/// The rows of the word with this number.
pub(crate) fn rows_of_word(at: usize, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(at as u32 * 64 + bit)
    })
}
