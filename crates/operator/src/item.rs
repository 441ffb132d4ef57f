//! Items of list state, as sources and sinks write them: a version byte and a row.
//!
//! Only whoever wrote an item reads it, but perhaps a later version of that: a reader that meets a
//! byte it does not know says so, and does not guess.

use millstream_core::record::Input;
use millstream_core::{OperatorError, Record};

/// The version that is written.
const VERSION: u8 = 1;

/// The item of a value.
pub fn encode<T: Record>(value: &T) -> Vec<u8> {
    let mut item = vec![VERSION];
    value.encode(&mut item);
    item
}

/// The value of an item. `what` it is, is told with a failure: "the position of a source".
pub fn decode<T: Record>(what: &str, item: &[u8]) -> Result<T, OperatorError> {
    let unreadable = |why: String| {
        let next = "resume with the version of the program that wrote it";
        OperatorError::new(format!("could not read {what} from the checkpoint: {why}; {next}"))
    };
    match item.split_first() {
        Some((&VERSION, row)) => {
            let mut input = Input::new(row);
            let read = T::decode(&mut input).and_then(|value| input.finish().map(|()| value));
            read.map_err(|error| unreadable(error.to_string()))
        }
        Some((version, _)) => Err(unreadable(format!("it has version {version}, not {VERSION}"))),
        None => Err(unreadable("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_and_anything_else_is_refused() {
        let value = (7_u64, "path".to_owned());
        let item = encode(&value);
        assert_eq!(decode("a pair", &item), Ok(value));
        for len in 0..item.len() {
            assert!(decode::<(u64, String)>("a pair", &item[..len]).is_err());
        }
        for (item, why) in [
            (vec![], "it is empty"),
            ([vec![9], item[1..].to_vec()].concat(), "it has version 9, not 1"),
            ([item, vec![0]].concat(), "1 bytes left over"),
        ] {
            let error = decode::<(u64, String)>("a pair", &item).expect_err("refused");
            assert!(error.message.contains("could not read a pair"), "{error}");
            assert!(error.message.contains(why), "{error}");
        }
    }
}
