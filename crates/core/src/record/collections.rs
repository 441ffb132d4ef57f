//! Rows of options, lists, arrays, maps, boxes and tuples.

use super::{DecodeError, Input, Output, Record, Schema};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// The least number of bytes that a value of the type occupies.
const fn least<T: Record>() -> usize {
    match T::FIXED {
        Some(size) => size,
        None => 1,
    }
}

impl<T: Record> Record for Option<T> {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = T::CANONICAL;

    fn schema() -> Schema {
        Schema::Option(Box::new(T::schema()))
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        match self {
            None => out.put(&[0]),
            Some(value) => {
                out.put(&[1]);
                value.encode(out);
            }
        }
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match input.array()? {
            [0] => Ok(None),
            [1] => T::decode(input).map(Some),
            _ => Err(DecodeError::Invalid("option")),
        }
    }
}

impl<T: Record> Record for Box<T> {
    const FIXED: Option<usize> = T::FIXED;
    const CANONICAL: bool = T::CANONICAL;

    fn schema() -> Schema {
        T::schema()
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        T::encode(self, out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        T::decode(input).map(Box::new)
    }
}

macro_rules! list {
    ($($list:ident where $($bound:ident)?, $put:ident;)*) => {$(
        impl<T: Record $(+ $bound)?> Record for $list<T> {
            const FIXED: Option<usize> = None;
            const CANONICAL: bool = T::CANONICAL;

            fn schema() -> Schema {
                Schema::List(Box::new(T::schema()))
            }

            #[inline]
            fn encode<O: Output>(&self, out: &mut O) {
                out.put_len(self.len() as u64);
                for item in self {
                    item.encode(out);
                }
            }

            #[inline]
            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                let n = input.length(least::<T>())?;
                let mut list = $list::new();
                for _ in 0..n {
                    list.$put(T::decode(input)?);
                }
                Ok(list)
            }
        }
    )*};
}

list! {
    VecDeque where, push_back;
    BTreeSet where Ord, insert;
}

impl<T: Record, const N: usize> Record for [T; N] {
    const FIXED: Option<usize> = match T::FIXED {
        Some(size) => Some(size * N),
        None => None,
    };
    const CANONICAL: bool = T::CANONICAL;

    fn schema() -> Schema {
        Schema::Array(Box::new(T::schema()), N)
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        T::encode_all(self, out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        T::decode_array(input)
    }
}

impl<T: Record> Record for Vec<T> {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = T::CANONICAL;

    fn schema() -> Schema {
        Schema::List(Box::new(T::schema()))
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(self.len() as u64);
        T::encode_all(self, out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let n = input.length(least::<T>())?;
        T::decode_list(n, input)
    }
}

impl<K: Record + Ord, V: Record> Record for BTreeMap<K, V> {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = K::CANONICAL && V::CANONICAL;

    fn schema() -> Schema {
        Schema::Map(Box::new(K::schema()), Box::new(V::schema()))
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(self.len() as u64);
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let n = input.length(least::<K>() + least::<V>())?;
        let mut map = Self::new();
        for _ in 0..n {
            map.insert(K::decode(input)?, V::decode(input)?);
        }
        Ok(map)
    }
}

// A user's map: its order is not canonical, and the type says so.
#[allow(clippy::disallowed_types)]
impl<K, V, S> Record for std::collections::HashMap<K, V, S>
where
    K: Record + Eq + Hash,
    V: Record,
    S: BuildHasher + Default + Clone + Send + 'static,
{
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = false;

    fn schema() -> Schema {
        Schema::Map(Box::new(K::schema()), Box::new(V::schema()))
    }

    fn encode<O: Output>(&self, out: &mut O) {
        out.put_len(self.len() as u64);
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let n = input.length(least::<K>() + least::<V>())?;
        let mut map = Self::with_hasher(S::default());
        for _ in 0..n {
            map.insert(K::decode(input)?, V::decode(input)?);
        }
        Ok(map)
    }
}

/// Adds sizes; nothing if one is not fixed.
const fn sum(sizes: &[Option<usize>]) -> Option<usize> {
    let (mut total, mut i) = (0, 0);
    while i < sizes.len() {
        match sizes[i] {
            Some(size) => total += size,
            None => return None,
        }
        i += 1;
    }
    Some(total)
}

macro_rules! tuple {
    ($($name:ident $at:tt),+) => {
        impl<$($name: Record),+> Record for ($($name,)+) {
            const FIXED: Option<usize> = sum(&[$($name::FIXED),+]);
            const CANONICAL: bool = $($name::CANONICAL)&&+;

            fn schema() -> Schema {
                Schema::Tuple(vec![$($name::schema()),+])
            }

            #[inline]
            fn encode<Out: Output>(&self, out: &mut Out) {
                $(self.$at.encode(out);)+
            }

            #[inline]
            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(($($name::decode(input)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
