//! Records as lines of comma-separated values (RFC 4180), through serde.

use super::format::{Format, refused};
use millstream_core::OperatorError;
use serde::ser::{self, Serialize};
use std::fmt::{self, Display};
use std::io::Write;

/// A line of comma-separated values per record.
///
/// A record is a struct, a tuple or a list of plain values; structs, tuples and lists in it are
/// written one value after the other. `None` is an empty value. A value is quoted only if it has to
/// be. Lines end with `\n`.
///
/// ```
/// use millstream_connectors::sink::{Csv, Format};
///
/// let mut out = Vec::new();
/// Csv::new().write(&(7, "a, \"b\"", Some(1.5)), &mut out).unwrap();
/// assert_eq!(out, b"7,\"a, \"\"b\"\"\",1.5\n");
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    delimiter: u8,
    header: Vec<String>,
}

impl Csv {
    /// Separated by commas, without a header.
    pub fn new() -> Self {
        Self { delimiter: b',', header: Vec::new() }
    }

    /// Separated by this ASCII character.
    ///
    /// # Panics
    /// If it is not ASCII, or one that stands for something else.
    pub fn delimiter(self, delimiter: char) -> Self {
        let fits = delimiter.is_ascii() && !matches!(delimiter, '"' | '\n' | '\r');
        assert!(fits, "{delimiter:?} cannot separate values: choose another ASCII character");
        Self { delimiter: delimiter as u8, ..self }
    }

    /// Begins each file with these names.
    pub fn header(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { header: names.into_iter().map(Into::into).collect(), ..self }
    }

    fn line(&self, record: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let begin = out.len();
        record.serialize(&mut Values { out, count: 0, delimiter: self.delimiter })?;
        if out.len() == begin {
            // A blank line would be no record at all.
            out.extend_from_slice(b"\"\"");
        }
        out.push(b'\n');
        Ok(())
    }
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize> Format<T> for Csv {
    fn suffix(&self) -> &'static str {
        ".csv"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.header.is_empty() {
            self.line(&self.header, out).expect("strings are plain values");
        }
    }

    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), OperatorError> {
        let begin = out.len();
        self.line(record, out).map_err(|error| {
            out.truncate(begin);
            refused(error)
        })
    }
}

/// Why a record has no form as a line.
#[derive(Debug)]
struct Refused(String);

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Writes the values of one line.
struct Values<'a> {
    out: &'a mut Vec<u8>,
    /// How many values have been written.
    count: usize,
    delimiter: u8,
}

impl Values<'_> {
    fn separate(&mut self) {
        if self.count > 0 {
            self.out.push(self.delimiter);
        }
        self.count += 1;
    }

    fn text(&mut self, text: &[u8]) {
        self.separate();
        if self.has_special(text) {
            self.quoted(text);
        } else {
            self.out.extend_from_slice(text);
        }
    }

    /// Whether the text has to be quoted.
    fn has_special(&self, text: &[u8]) -> bool {
        let delimiter = self.delimiter;
        text.iter().any(|byte| matches!(byte, b'"' | b'\n' | b'\r') || *byte == delimiter)
    }

    #[cold]
    fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for part in text.split_inclusive(|byte| *byte == b'"') {
            self.out.extend_from_slice(part);
            if part.ends_with(b"\"") {
                self.out.push(b'"');
            }
        }
        self.out.push(b'"');
    }

    /// Writes a value as it is, and again if it has to be quoted: most are numbers and times.
    fn plain(&mut self, value: impl Display) {
        self.separate();
        let begin = self.out.len();
        write!(self.out, "{value}").expect("a vector takes all bytes");
        if self.has_special(&self.out[begin..]) {
            let text = self.out.split_off(begin);
            self.quoted(&text);
        }
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<(), Refused> {
            self.plain(value);
            Ok(())
        }
    )*};
}

impl ser::Serializer for &mut Values<'_> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = ser::Impossible<(), Refused>;
    type SerializeMap = ser::Impossible<(), Refused>;
    type SerializeStruct = Self;
    type SerializeStructVariant = ser::Impossible<(), Refused>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        self.text(value.as_bytes());
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Refused> {
        self.plain(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        self.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.text(b"");
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Refused> {
        self.serialize_str(name)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refused> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Refused> {
        Err(variant_refused(variant))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, Refused> {
        Err(Refused("a map has no fixed columns: make it a struct or a list".to_owned()))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Refused> {
        Err(variant_refused(variant))
    }
}

fn variant_refused(variant: &str) -> Refused {
    Refused(format!("`{variant}`, a variant with several fields, has no fixed columns"))
}

macro_rules! values_in_turn {
    ($($trait:ident::$method:ident,)*) => {$(
        impl ser::$trait for &mut Values<'_> {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

values_in_turn! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
}

impl ser::SerializeStruct for &mut Values<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[track_caller]
    fn check(mut csv: Csv, record: impl Serialize, expected: &str) {
        let mut out = Vec::new();
        csv.write(&record, &mut out).expect("it has columns");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        inner: (u8, Option<bool>),
        kind: Kind,
    }

    #[derive(Serialize)]
    enum Kind {
        Plain,
        Number(i64),
        Pair(i64, i64),
    }

    #[test]
    fn structs_and_tuples_are_values_in_turn() {
        let row = Row { name: "a", inner: (1, None), kind: Kind::Plain };
        check(Csv::new(), row, "a,1,,Plain\n");
        let row = Row { name: "", inner: (1, Some(true)), kind: Kind::Number(-7) };
        check(Csv::new(), row, ",1,true,-7\n");
        check(Csv::new(), ("", ""), ",\n");
        check(Csv::new(), 7, "7\n");
        check(Csv::new(), [1.5, 1e300, -0.25], &format!("1.5,{},-0.25\n", 1e300));
    }

    #[test]
    fn a_value_is_quoted_if_it_has_to_be_and_only_then() {
        check(Csv::new(), ("a b", "it's", " x "), "a b,it's, x \n");
        check(
            Csv::new(),
            ("a,b", "say \"hi\"", "1\n2", "\r"),
            "\"a,b\",\"say \"\"hi\"\"\",\"1\n2\",\"\r\"\n",
        );
        check(Csv::new().delimiter(';'), ("a,b", "a;b", 1.5), "a,b;\"a;b\";1.5\n");
        check(Csv::new().delimiter('.'), (1.5, 2), "\"1.5\".2\n");
    }

    #[test]
    fn one_empty_value_is_not_a_blank_line() {
        check(Csv::new(), "", "\"\"\n");
        check(Csv::new(), None::<u8>, "\"\"\n");
    }

    #[test]
    fn the_header_is_escaped_like_any_line() {
        let mut out = Vec::new();
        Format::<u8>::begin(&mut Csv::new().header(["a", "b,c"]), &mut out);
        assert_eq!(out, b"a,\"b,c\"\n");
    }

    #[test]
    fn what_has_no_columns_is_refused_and_leaves_nothing_behind() {
        let mut out = b"before\n".to_vec();
        let map = std::collections::BTreeMap::from([(1, 2)]);
        for error in [
            Csv::new().write(&(1, map), &mut out),
            Csv::new().write(&(1, Kind::Pair(1, 2)), &mut out),
        ] {
            assert!(error.expect_err("no columns").message.contains("no fixed columns"));
        }
        assert_eq!(out, b"before\n");
    }
}
