//! Foreign types as records: anything with serde, through postcard.

use super::{DecodeError, Input, Output, Record, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::{Deref, DerefMut};

/// Carries a value of a type that only has serde. Slower than a derived [`Record`], and its
/// fields cannot evolve: the engine knows it by its type name alone.
///
/// ```
/// use millstream_core::record::{Input, Record, Serde};
///
/// let place = Serde(std::net::Ipv4Addr::LOCALHOST);
/// let mut row = Vec::new();
/// place.encode(&mut row);
/// assert_eq!(Serde::decode(&mut Input::new(&row)), Ok(place));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Serde<T>(pub T);

impl<T> Deref for Serde<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Serde<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize + DeserializeOwned> Serde<T> {
    /// Appends a value of the type: what `#[record(serde)]` calls.
    #[doc(hidden)]
    pub fn encode_value<O: Output>(value: &T, out: &mut O) {
        let bytes = postcard::to_stdvec(value).expect("serde refused to encode a record in memory");
        out.put_len(bytes.len() as u64);
        out.put(&bytes);
    }

    /// Takes a value of the type: what `#[record(serde)]` calls.
    #[doc(hidden)]
    pub fn decode_value(input: &mut Input<'_>) -> Result<T, DecodeError> {
        let n = input.length(1)?;
        postcard::from_bytes(input.take(n)?)
            .map_err(|error| DecodeError::Foreign(error.to_string()))
    }
}

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Record for Serde<T> {
    const FIXED: Option<usize> = None;
    const CANONICAL: bool = false;

    fn schema() -> Schema {
        Schema::Foreign(std::any::type_name::<T>().to_owned())
    }

    fn encode<O: Output>(&self, out: &mut O) {
        Self::encode_value(&self.0, out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Self::decode_value(input).map(Serde)
    }
}
