//! Rows for people: what a row holds, as JSON, by nothing but its schema.
//!
//! A row is decoded as [`millstream_core::record`] documents its format. Values that JSON has no
//! place for are text: 128-bit numbers, floats that are not finite, bytes of foreign codecs.

use crate::hex;
use millstream_core::record::{Field, Input, Schema};
use millstream_core::{DecodeError, Record};
use serde_json::{Map, Number, Value};
use std::ops::{Deref, DerefMut};

/// Schemas are no deeper.
const DEPTH_MAX: usize = 64;

/// So many values without bytes are shown, and [`EMPTY_PER_BYTE`] more for each byte of the input: a
/// claimed number of them, or a long array, would be any amount of memory.
const EMPTY_VALUES: usize = 4096;

/// See [`EMPTY_VALUES`].
const EMPTY_PER_BYTE: usize = 16;

/// Takes one row off the front of the input.
pub fn value(schema: &Schema, input: &mut Input<'_>) -> Result<Value, DecodeError> {
    let empty_left = EMPTY_VALUES + EMPTY_PER_BYTE * input.rest().len();
    at_depth(schema, &mut Reader { input, empty_left }, DEPTH_MAX)
}

/// The input, and how many values without bytes it may still hold.
struct Reader<'a, 'b> {
    input: &'a mut Input<'b>,
    empty_left: usize,
}

impl<'b> Deref for Reader<'_, 'b> {
    type Target = Input<'b>;

    fn deref(&self) -> &Input<'b> {
        self.input
    }
}

impl DerefMut for Reader<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.input
    }
}

fn at_depth(
    schema: &Schema,
    input: &mut Reader<'_, '_>,
    left: usize,
) -> Result<Value, DecodeError> {
    let bytes = input.rest().len();
    let value = any_value(schema, input, left)?;
    if input.rest().len() == bytes {
        let left = input.empty_left.checked_sub(1);
        input.empty_left =
            left.ok_or(DecodeError::Invalid("row: too many values without bytes"))?;
    }
    Ok(value)
}

fn any_value(
    schema: &Schema,
    input: &mut Reader<'_, '_>,
    left: usize,
) -> Result<Value, DecodeError> {
    let left = left.checked_sub(1).ok_or(DecodeError::Invalid("schema: it is too deep"))?;
    match schema {
        Schema::Plain(kind) => plain(kind, input),
        Schema::Option(inner) => match bool::decode(input)? {
            true => at_depth(inner, input, left),
            false => Ok(Value::Null),
        },
        Schema::List(item) => {
            let n = count(item, input)?;
            items(std::iter::repeat_n(&**item, n), input, left)
        }
        Schema::Array(item, n) => items(std::iter::repeat_n(&**item, *n), input, left),
        Schema::Map(key, value) => map(key, value, input, left),
        Schema::Tuple(parts) => items(parts.iter(), input, left),
        Schema::Struct { fields, .. } => structure(fields, input, left),
        Schema::Enum { variants, .. } => {
            let number = input.number()?;
            let variant = usize::try_from(number).ok().and_then(|number| variants.get(number));
            let variant = variant.ok_or(DecodeError::Invalid("variant of the enum"))?;
            if variant.fields.is_empty() {
                return Ok(Value::String(variant.name.clone()));
            }
            let fields = structure(&variant.fields, input, left)?;
            Ok(Value::Object(Map::from_iter([(variant.name.clone(), fields)])))
        }
        Schema::Foreign(_) => {
            let n = input.length(1)?;
            Ok(Value::String(hex::encode(input.take(n)?)))
        }
    }
}

/// How many items follow: no more than there are bytes, unless they have none.
fn count(item: &Schema, input: &mut Input<'_>) -> Result<usize, DecodeError> {
    input.length(usize::from(!is_empty(item)))
}

/// Whether values of the schema have no bytes.
fn is_empty(schema: &Schema) -> bool {
    match schema {
        Schema::Tuple(parts) => parts.iter().all(is_empty),
        Schema::Struct { fields, .. } => fields.iter().all(|field| is_empty(&field.schema)),
        Schema::Array(item, n) => *n == 0 || is_empty(item),
        _ => false,
    }
}

fn items<'a>(
    schemas: impl Iterator<Item = &'a Schema>,
    input: &mut Reader<'_, '_>,
    left: usize,
) -> Result<Value, DecodeError> {
    let mut items = Vec::new();
    for schema in schemas {
        items.push(at_depth(schema, input, left)?);
    }
    Ok(Value::Array(items))
}

/// An object where the keys are text, else a list of pairs.
fn map(
    key: &Schema,
    value: &Schema,
    input: &mut Reader<'_, '_>,
    left: usize,
) -> Result<Value, DecodeError> {
    let n = count(key, input)?;
    let mut pairs = Vec::new();
    for _ in 0..n {
        pairs.push((at_depth(key, input, left)?, at_depth(value, input, left)?));
    }
    if pairs.iter().all(|(key, _)| key.is_string()) {
        let named = pairs.into_iter().map(|(key, value)| match key {
            Value::String(key) => (key, value),
            other => (other.to_string(), value),
        });
        return Ok(Value::Object(named.collect()));
    }
    Ok(pairs.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect())
}

fn structure(
    fields: &[Field],
    input: &mut Reader<'_, '_>,
    left: usize,
) -> Result<Value, DecodeError> {
    let mut object = Map::new();
    for field in fields {
        object.insert(field.name.clone(), at_depth(&field.schema, input, left)?);
    }
    Ok(Value::Object(object))
}

fn plain(kind: &str, input: &mut Input<'_>) -> Result<Value, DecodeError> {
    Ok(match kind {
        "u8" => u8::decode(input)?.into(),
        "u16" => u16::decode(input)?.into(),
        "u32" => u32::decode(input)?.into(),
        "u64" => u64::decode(input)?.into(),
        "u128" => u128::decode(input)?.to_string().into(),
        "i8" => i8::decode(input)?.into(),
        "i16" => i16::decode(input)?.into(),
        "i32" => i32::decode(input)?.into(),
        "i64" => i64::decode(input)?.into(),
        "i128" => i128::decode(input)?.to_string().into(),
        "f32" => float(f64::from(f32::decode(input)?)),
        "f64" => float(f64::decode(input)?),
        "bool" => bool::decode(input)?.into(),
        "char" => char::decode(input)?.to_string().into(),
        "string" => String::decode(input)?.into(),
        _ => return Err(DecodeError::Invalid("kind that this version knows")),
    })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::Str;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Clone, Record)]
    enum Shape {
        Point,
        Circle { radius: f64 },
        Pair(u8, i128),
    }

    #[derive(Clone, Record)]
    struct Everything {
        word: Str,
        number: Option<i32>,
        shapes: Vec<Shape>,
        counts: BTreeMap<String, u64>,
        pairs: BTreeMap<u8, char>,
        fixed: [u16; 2],
        tuple: (bool, f32),
        nothing: Vec<()>,
    }

    fn shown<T: Record>(value: &T) -> Value {
        let mut row = Vec::new();
        value.encode(&mut row);
        let mut input = Input::new(&row);
        let shown = super::value(&T::schema(), &mut input).expect("as written");
        assert!(input.rest().is_empty(), "the whole row is read");
        shown
    }

    #[test]
    fn every_kind_of_value_is_shown() {
        let everything = Everything {
            word: "to be".into(),
            number: Some(-7),
            shapes: vec![Shape::Point, Shape::Circle { radius: 1.5 }, Shape::Pair(3, -1)],
            counts: BTreeMap::from([("a".to_owned(), 1)]),
            pairs: BTreeMap::from([(1, 'x')]),
            fixed: [7, 8],
            tuple: (true, f32::INFINITY),
            nothing: vec![(), ()],
        };
        let expected = json!({
            "word": "to be",
            "number": -7,
            "shapes": ["Point", {"Circle": {"radius": 1.5}}, {"Pair": {"0": 3, "1": "-1"}}],
            "counts": {"a": 1},
            "pairs": [[1, "x"]],
            "fixed": [7, 8],
            "tuple": [true, "inf"],
            "nothing": [[], []],
        });
        assert_eq!(shown(&everything), expected);
        assert_eq!(shown(&None::<u64>), Value::Null);
    }

    #[test]
    fn a_row_of_another_shape_is_an_error_and_takes_no_memory() {
        let list = Schema::List(Box::new(Schema::plain("u64")));
        let claims = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
        assert!(value(&list, &mut Input::new(&claims)).is_err());
        let empty = Schema::List(Box::new(Schema::Tuple(Vec::new())));
        assert!(value(&empty, &mut Input::new(&claims)).is_err());
        assert!(value(&Schema::plain("bool"), &mut Input::new(&[2])).is_err());
        assert!(value(&Schema::plain("u65"), &mut Input::new(&[0; 9])).is_err());
        assert!(value(&Shape::schema(), &mut Input::new(&[9])).is_err());
        let mut deep = Schema::plain("u8");
        for _ in 0..100 {
            deep = Schema::Option(Box::new(deep));
        }
        assert!(value(&deep, &mut Input::new(&[1; 200])).is_err());
    }
}
