//! What a row holds: names and kinds of fields, and the fingerprint that two processes compare.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;

/// Schemas that are read are no deeper: they come from other processes and out of files.
pub(super) const SCHEMA_DEPTH_MAX: usize = 64;

/// XXH3-64 of the text of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

/// The shape of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum Schema {
    /// A kind without parts: `u64`, `string`, ...
    Plain(String),
    /// A value or nothing.
    Option(Box<Schema>),
    /// Any number of items.
    List(Box<Schema>),
    /// So many items.
    Array(Box<Schema>, usize),
    /// Keys with values.
    Map(Box<Schema>, Box<Schema>),
    /// Values without names.
    Tuple(Vec<Schema>),
    /// Named fields.
    Struct {
        /// The type's name.
        name: String,
        /// In the order of the row.
        fields: Vec<Field>,
    },
    /// One of several shapes.
    Enum {
        /// The type's name.
        name: String,
        /// In the order of their numbers.
        variants: Vec<Variant>,
    },
    /// Bytes of a foreign codec, known by the name of the type alone.
    Foreign(String),
}

/// One field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name in the program.
    pub name: String,
    /// Names it had before.
    pub aliases: Vec<String>,
    /// Its shape.
    pub schema: Schema,
    /// The row of the value that it has where it was not written. Known to the program that reads, and
    /// of no interest in what it writes.
    #[serde(skip)]
    pub default: Option<Vec<u8>>,
}

/// One variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name in the program.
    pub name: String,
    /// Its fields; those of a tuple variant are named `0`, `1`, ...
    pub fields: Vec<Field>,
}

thread_local! {
    /// How many schemas are being read, one inside the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One schema is being read.
struct Level;

impl Level {
    /// Nothing: it would be too deep.
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < SCHEMA_DEPTH_MAX).then(|| {
            DEPTH.set(depth + 1);
            Self
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

fn visit_fields(fields: &mut [Field], visit: &mut dyn FnMut(&mut Field)) {
    for field in fields {
        visit(field);
        field.schema.for_each_field(visit);
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The derived function, which `remote` makes one of the type.
        Schema::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Level::enter() {
            Some(_level) => Schema::deserialize(deserializer),
            None => Err(serde::de::Error::custom("a schema is nested more than 64 deep")),
        }
    }
}

impl Schema {
    /// A kind without parts.
    pub fn plain(kind: &str) -> Self {
        Self::Plain(kind.to_owned())
    }

    /// Shows every field, each before those inside it.
    pub fn for_each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        match self {
            Self::Plain(_) | Self::Foreign(_) => (),
            Self::Option(inner) | Self::List(inner) | Self::Array(inner, _) => {
                inner.for_each_field(visit);
            }
            Self::Map(key, value) => {
                key.for_each_field(visit);
                value.for_each_field(visit);
            }
            Self::Tuple(parts) => parts.iter_mut().for_each(|part| part.for_each_field(visit)),
            Self::Struct { fields, .. } => visit_fields(fields, visit),
            Self::Enum { variants, .. } => {
                variants.iter_mut().for_each(|variant| visit_fields(&mut variant.fields, visit));
            }
        }
    }

    /// What two processes compare: the hash of the schema's text. Names count, aliases do not.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(crate::hash::xxh3_64(self.to_string().as_bytes()))
    }
}

fn comma_separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.schema)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        comma_separated(f, &self.fields)?;
        f.write_str(")")
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(kind) => f.write_str(kind),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Array(item, n) => write!(f, "array<{item}, {n}>"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(parts) => {
                f.write_str("(")?;
                comma_separated(f, parts)?;
                f.write_str(")")
            }
            Self::Struct { name, fields } => {
                write!(f, "{name} {{ ")?;
                comma_separated(f, fields)?;
                f.write_str(" }")
            }
            Self::Enum { name, variants } => {
                write!(f, "enum {name} {{ ")?;
                comma_separated(f, variants)?;
                f.write_str(" }")
            }
            Self::Foreign(name) => write!(f, "foreign<{name}>"),
        }
    }
}
