//! The two ends of the row codec: [`Output`] takes bytes, [`Input`] gives them back, checked.

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("row ends early: {wanted} bytes wanted, {left} left")]
    Short {
        /// Bytes that the value needs.
        wanted: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The bytes do not form a value of the type.
    #[error("not a {0}")]
    Invalid(&'static str),
    /// A row is followed by bytes that belong to nothing.
    #[error("{0} bytes left over after the last field")]
    Trailing(usize),
    /// A foreign codec refused.
    #[error("foreign record: {0}")]
    Foreign(String),
}

/// Where a row is written.
pub trait Output {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends a length or a variant number: LEB128, one byte below 128.
    #[inline]
    fn put_len(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.put(&[n as u8 | 0x80]);
            n >>= 7;
        }
        self.put(&[n as u8]);
    }
}

impl Output for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes into a slice that is large enough: for rows of fixed size.
pub struct SliceOutput<'a> {
    rest: &'a mut [u8],
}

impl<'a> SliceOutput<'a> {
    /// Writes from the front of `target`; writing past its end panics.
    #[inline]
    pub fn new(target: &'a mut [u8]) -> Self {
        Self { rest: target }
    }
}

impl Output for SliceOutput<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.rest = rest;
    }
}

/// Reads rows from a byte slice.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads from the front of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(n) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(DecodeError::Short { wanted: n, left: self.rest.len() }),
        }
    }

    /// Takes the next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(DecodeError::Short { wanted: N, left: self.rest.len() }),
        }
    }

    /// Takes one LEB128 number. The shortest form only: a key has one encoding.
    #[inline]
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let [first] = self.array::<1>()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.long_number(u64::from(first & 0x7F))
    }

    fn long_number(&mut self, mut value: u64) -> Result<u64, DecodeError> {
        for shift in (7..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid("LEB128 number of 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                let shortest = byte != 0;
                return shortest
                    .then_some(value)
                    .ok_or(DecodeError::Invalid("shortest LEB128 number"));
            }
        }
        Err(DecodeError::Invalid("LEB128 number of 64 bits"))
    }

    /// Takes a length of items that occupy at least `item_min` bytes each, and checks that so many
    /// can follow: the caller may allocate for them. Items that occupy nothing are limited by number.
    #[inline]
    pub fn length(&mut self, item_min: usize) -> Result<usize, DecodeError> {
        const EMPTY_ITEMS_MAX: u64 = 1 << 20;
        let n = self.number()?;
        let items_max = match self.rest.len().checked_div(item_min) {
            Some(items) => items as u64,
            None => EMPTY_ITEMS_MAX,
        };
        if n <= items_max {
            Ok(n as usize)
        } else {
            let wanted = usize::try_from(n).unwrap_or(usize::MAX).saturating_mul(item_min.max(1));
            Err(DecodeError::Short { wanted, left: self.rest.len() })
        }
    }

    /// Nothing may be left.
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_have_one_form() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut row = Vec::new();
            row.put_len(n);
            assert_eq!(Input::new(&row).number(), Ok(n));
        }
        for long in [&[0x80, 0][..], &[0x81, 0x80, 0], &[0xFF; 11], &[0x80]] {
            assert!(Input::new(long).number().is_err(), "{long:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_before_anything_is_allocated() {
        let mut row = Vec::new();
        row.put_len(1 << 40);
        assert!(matches!(Input::new(&row).length(1), Err(DecodeError::Short { .. })));
        assert!(Input::new(&row).length(0).is_err());
    }
}
