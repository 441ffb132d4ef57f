//! Rows of numbers, `bool`, `char`, the unit and strings.

use super::{DecodeError, Input, Output, Record, Schema};

macro_rules! number {
    ($($type:ty, $kind:literal, $canonical:literal;)*) => {$(
        impl Record for $type {
            const FIXED: Option<usize> = Some(size_of::<$type>());
            const CANONICAL: bool = $canonical;

            fn schema() -> Schema {
                Schema::plain($kind)
            }

            #[inline]
            fn encode<O: Output>(&self, out: &mut O) {
                out.put(&self.to_le_bytes());
            }

            #[inline]
            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(<$type>::from_le_bytes(input.array()?))
            }

            #[inline]
            fn decode_array<const N: usize>(
                input: &mut Input<'_>,
            ) -> Result<[Self; N], DecodeError> {
                let (rows, _) = input.take(N * size_of::<Self>())?.as_chunks();
                Ok(std::array::from_fn(|i| <$type>::from_le_bytes(rows[i])))
            }

            #[inline]
            fn hash64(&self) -> u64 {
                let row = self.to_le_bytes();
                match row.first_chunk::<8>() {
                    Some(word) if row.len() == 8 => {
                        crate::hash::xxh3_64_of_u64(u64::from_le_bytes(*word))
                    }
                    _ => crate::hash::xxh3_64(&row),
                }
            }
        }
    )*};
}

impl Record for u8 {
    const FIXED: Option<usize> = Some(1);
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("u8")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put(&[*self]);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let [byte] = input.array()?;
        Ok(byte)
    }

    #[inline]
    fn encode_all<O: Output>(values: &[Self], out: &mut O) {
        out.put(values);
    }

    #[inline]
    fn decode_list(n: usize, input: &mut Input<'_>) -> Result<Vec<Self>, DecodeError> {
        input.take(n).map(<[u8]>::to_vec)
    }

    #[inline]
    fn decode_array<const N: usize>(input: &mut Input<'_>) -> Result<[Self; N], DecodeError> {
        input.array()
    }
}

number! {
    u16, "u16", true;
    u32, "u32", true;
    u64, "u64", true;
    u128, "u128", true;
    i8, "i8", true;
    i16, "i16", true;
    i32, "i32", true;
    i64, "i64", true;
    i128, "i128", true;
    f32, "f32", false;
    f64, "f64", false;
}

/// As `u64` and `i64`, whatever the machine's word is.
macro_rules! word {
    ($($type:ty as $wide:ty, $kind:literal;)*) => {$(
        impl Record for $type {
            const FIXED: Option<usize> = Some(8);
            const CANONICAL: bool = true;

            fn schema() -> Schema {
                Schema::plain($kind)
            }

            #[inline]
            fn encode<O: Output>(&self, out: &mut O) {
                (*self as $wide).encode(out);
            }

            #[inline]
            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Self::try_from(<$wide>::decode(input)?).map_err(|_| DecodeError::Invalid($kind))
            }

            #[inline]
            fn hash64(&self) -> u64 {
                (*self as $wide).hash64()
            }
        }
    )*};
}

word! {
    usize as u64, "u64";
    isize as i64, "i64";
}

impl Record for bool {
    const FIXED: Option<usize> = Some(1);
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("bool")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put(&[u8::from(*self)]);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match input.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::Invalid("bool")),
        }
    }
}

impl Record for char {
    const FIXED: Option<usize> = Some(4);
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("char")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        u32::from(*self).encode(out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        char::from_u32(u32::decode(input)?).ok_or(DecodeError::Invalid("char"))
    }
}

impl Record for () {
    const FIXED: Option<usize> = Some(0);
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::Tuple(Vec::new())
    }

    #[inline]
    fn encode<O: Output>(&self, _out: &mut O) {}

    #[inline]
    fn decode(_input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl Record for String {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("string")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(self.len() as u64);
        out.put(self.as_bytes());
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        text(input).map(str::to_owned)
    }
}

impl Record for Box<str> {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        Schema::plain("string")
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(self.len() as u64);
        out.put(self.as_bytes());
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        text(input).map(Into::into)
    }
}

/// A length and as many bytes of UTF-8.
#[inline]
pub(super) fn text<'a>(input: &mut Input<'a>) -> Result<&'a str, DecodeError> {
    let n = input.length(1)?;
    std::str::from_utf8(input.take(n)?).map_err(|_| DecodeError::Invalid("UTF-8 string"))
}
