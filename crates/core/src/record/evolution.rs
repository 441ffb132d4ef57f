//! Rows that another version of the program wrote: from its schema and ours, a plan that makes rows
//! of ours out of them.
//!
//! What may change:
//! - fields come (with a default, or as an option that is then empty), go, change places, and are
//!   renamed (the new one names the old one as an alias);
//! - numbers are widened: to more bits of the same kind;
//! - variants of enums come and change places; names of types do not matter.
//!
//! All else is refused before a single row is read, with the field, both shapes, and what to do.

use super::schema::SCHEMA_DEPTH_MAX;
use super::{DecodeError, Field, Input, Output, Schema, Variant};

/// Makes rows of the program's schema out of rows of another one.
#[derive(Clone, Debug)]
pub struct RowReader {
    step: Step,
    identity: bool,
}

/// Rows that cannot become rows of the program's schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: written as {written}, now {wanted}: {advice}")]
pub struct Incompatible {
    /// The field, by its path from the outside; `the value` for the whole.
    pub place: String,
    /// The shape that was written.
    pub written: String,
    /// The shape that the program has.
    pub wanted: String,
    /// What can be done.
    pub advice: String,
}

/// What becomes of a field in the program's rows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum FieldChange {
    /// It has another name.
    Renamed {
        /// The field, by its path from the outside, with its new name.
        field: String,
        /// The old name.
        from: String,
    },
    /// Its numbers have more bits.
    Widened {
        /// The field; nothing for the whole value.
        field: String,
        /// The old kind.
        from: String,
        /// The new kind.
        to: String,
    },
    /// It is new, and has its default in older rows.
    Added {
        /// The field.
        field: String,
        /// What it is.
        shape: String,
    },
    /// It is gone, and what it held is left behind.
    Dropped {
        /// The field.
        field: String,
        /// What it was.
        shape: String,
    },
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Renamed { field, from } => write!(f, "rename `{from}` to `{field}`"),
            Self::Widened { field, from, to } if field.is_empty() => {
                write!(f, "widen the value from {from} to {to}")
            }
            Self::Widened { field, from, to } => write!(f, "widen `{field}` from {from} to {to}"),
            Self::Added { field, shape } => write!(f, "add `{field}`: {shape}, with its default"),
            Self::Dropped { field, shape } => write!(f, "drop `{field}`: {shape}"),
        }
    }
}

/// What is done with one value of a written row.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes are copied.
    Fixed(usize),
    /// A length and that many bytes are copied.
    Bytes,
    /// An integer of `from` bytes gets `to` bytes.
    Widen {
        from: usize,
        to: usize,
        signed: bool,
    },
    /// `f32` to `f64`.
    WidenFloat,
    Option(Box<Step>),
    List(Box<Step>),
    Array(Box<Step>, usize),
    Map(Box<Step>, Box<Step>),
    Fields(Fields),
    /// By the number of the variant that was written: that of the program's variant, and its fields.
    Enum(Vec<(u64, Fields)>),
}

/// What is done with the fields of a struct, a tuple or a variant.
#[derive(Clone, Debug)]
struct Fields {
    /// The written ones, in order; those that are gone as well.
    written: Vec<Step>,
    /// The program's, in order.
    wanted: Vec<Origin>,
}

/// Where a field of the program's row comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// The written field with this number.
    Written(usize),
    /// It is new.
    Default(Vec<u8>),
}

impl RowReader {
    /// A plan for rows of the schema `written` in a program that has `wanted`.
    pub fn new(written: &Schema, wanted: &Schema) -> Result<Self, Incompatible> {
        if written.fingerprint() == wanted.fingerprint() {
            return Ok(Self { step: Step::Fixed(0), identity: true });
        }
        let step = Planner::default().step(written, wanted)?;
        Ok(Self { identity: step.is_identity(), step })
    }

    /// What becomes of the fields of the schema `written` in a program that has `wanted`.
    pub fn changes(written: &Schema, wanted: &Schema) -> Result<Vec<FieldChange>, Incompatible> {
        let mut planner = Planner::default();
        planner.step(written, wanted)?;
        Ok(planner.changes)
    }

    /// Rows are the same bytes in both schemas.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Takes a written row off the input and appends the program's row. Not for identities, whose
    /// rows can be used as they are.
    pub fn transcode(&self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        assert!(!self.identity, "rows of an identity are read as they are");
        self.step.transcode(input, out)
    }
}

/// Plans, and knows where it is.
#[derive(Default)]
struct Planner {
    path: Vec<String>,
    /// What it has found to be different.
    changes: Vec<FieldChange>,
}

impl Planner {
    fn refuse<T>(
        &self,
        written: &Schema,
        wanted: &Schema,
        advice: impl Into<String>,
    ) -> Result<T, Incompatible> {
        let (written, wanted) = (written.to_string(), wanted.to_string());
        Err(Incompatible { place: self.place(), written, wanted, advice: advice.into() })
    }

    fn place(&self) -> String {
        match self.path.as_slice() {
            [] => "the value".to_owned(),
            path => format!("field `{}`", path.join(".")),
        }
    }

    fn below(
        &mut self,
        name: &str,
        written: &Schema,
        wanted: &Schema,
    ) -> Result<Step, Incompatible> {
        self.path.push(name.to_owned());
        let step = self.step(written, wanted);
        self.path.pop();
        step
    }

    fn step(&mut self, written: &Schema, wanted: &Schema) -> Result<Step, Incompatible> {
        if self.path.len() > SCHEMA_DEPTH_MAX {
            return self.refuse(written, wanted, "schemas are nested at most 64 deep");
        }
        Ok(match (written, wanted) {
            (Schema::Plain(from), Schema::Plain(to)) => match plain(from, to) {
                Some(step) => {
                    if from != to {
                        let (from, to) = (from.clone(), to.clone());
                        let field = self.path.join(".");
                        self.changes.push(FieldChange::Widened { field, from, to });
                    }
                    step
                }
                None => return self.refuse(written, wanted, KEEP_KIND),
            },
            (Schema::Option(from), Schema::Option(to)) => {
                Step::Option(Box::new(self.below("?", from, to)?))
            }
            (Schema::List(from), Schema::List(to)) => {
                Step::List(Box::new(self.below("[]", from, to)?))
            }
            (Schema::Array(from, n), Schema::Array(to, m)) if n == m => {
                Step::Array(Box::new(self.below("[]", from, to)?), *n)
            }
            (Schema::Map(key, value), Schema::Map(new_key, new_value)) => {
                let key = self.below("key", key, new_key)?;
                Step::Map(Box::new(key), Box::new(self.below("value", value, new_value)?))
            }
            (Schema::Tuple(from), Schema::Tuple(to)) if from.len() == to.len() => {
                let pairs = from.iter().zip(to).enumerate();
                let steps = pairs.map(|(i, (from, to))| self.below(&i.to_string(), from, to));
                let written = steps.collect::<Result<Vec<_>, _>>()?;
                Step::Fields(Fields {
                    wanted: (0..to.len()).map(Origin::Written).collect(),
                    written,
                })
            }
            (Schema::Struct { fields: from, .. }, Schema::Struct { fields: to, .. }) => {
                Step::Fields(self.fields(from, to)?)
            }
            (Schema::Enum { variants: from, .. }, Schema::Enum { variants: to, .. }) => {
                let variants =
                    from.iter().map(|variant| self.variant(variant, to, written, wanted));
                Step::Enum(variants.collect::<Result<_, _>>()?)
            }
            (Schema::Foreign(from), Schema::Foreign(to)) if from == to => Step::Bytes,
            _ => return self.refuse(written, wanted, KEEP_KIND),
        })
    }

    fn variant(
        &mut self,
        variant: &Variant,
        all: &[Variant],
        written: &Schema,
        wanted: &Schema,
    ) -> Result<(u64, Fields), Incompatible> {
        let found = (0..).zip(all).find(|(_, new)| new.name == variant.name);
        let Some((number, new)) = found else {
            let name = &variant.name;
            let advice = format!("rows may hold the variant `{name}`, which is gone: keep it");
            return self.refuse(written, wanted, advice);
        };
        self.path.push(variant.name.clone());
        let fields = self.fields(&variant.fields, &new.fields);
        self.path.pop();
        Ok((number, fields?))
    }

    fn fields(&mut self, written: &[Field], wanted: &[Field]) -> Result<Fields, Incompatible> {
        let mut steps = vec![None; written.len()];
        let mut origins = Vec::with_capacity(wanted.len());
        for field in wanted {
            origins.push(match origin(written, wanted, field) {
                Some(at) => {
                    if written[at].name != field.name {
                        let (field, from) = (self.of(&field.name), written[at].name.clone());
                        self.changes.push(FieldChange::Renamed { field, from });
                    }
                    steps[at] =
                        Some(self.below(&field.name, &written[at].schema, &field.schema)?);
                    Origin::Written(at)
                }
                None => {
                    let default = self.default_row(field)?;
                    let (field, shape) = (self.of(&field.name), field.schema.to_string());
                    self.changes.push(FieldChange::Added { field, shape });
                    Origin::Default(default)
                }
            });
        }
        let skipped = |(step, field): (Option<Step>, &Field)| match step {
            Some(step) => Ok(step),
            None => {
                let step = self.below(&field.name, &field.schema, &field.schema)?;
                let (field, shape) = (self.of(&field.name), field.schema.to_string());
                self.changes.push(FieldChange::Dropped { field, shape });
                Ok(step)
            }
        };
        let steps = steps.into_iter().zip(written).map(skipped).collect::<Result<_, _>>()?;
        Ok(Fields { written: steps, wanted: origins })
    }

    /// The path of a field of what is at hand.
    fn of(&self, field: &str) -> String {
        let path = self.path.iter().map(String::as_str).chain([field]);
        path.collect::<Vec<_>>().join(".")
    }

    fn default_row(&self, field: &Field) -> Result<Vec<u8>, Incompatible> {
        match (&field.default, &field.schema) {
            (Some(row), _) => Ok(row.clone()),
            (None, Schema::Option(_)) => Ok(vec![0]),
            (None, schema) => Err(Incompatible {
                place: format!("{}, its field `{}`", self.place(), field.name),
                written: "nothing".to_owned(),
                wanted: schema.to_string(),
                advice: "say what it is in older rows with #[record(default)] or \
                         #[record(default = ...)], or under what name it was written with \
                         #[record(alias = \"...\")]"
                    .to_owned(),
            }),
        }
    }
}

const KEEP_KIND: &str = "numbers can only be widened and other kinds not be changed; keep the old \
                         field and add a new one with a default, or give the state another name";

/// The number of the written field that a field of the program is: the one of its name, else of one
/// of its aliases, if no other field has that name now.
fn origin(written: &[Field], wanted: &[Field], field: &Field) -> Option<usize> {
    let at = |name: &String| written.iter().position(|old| old.name == *name);
    let taken = |name: &String| wanted.iter().any(|other| other.name == *name);
    at(&field.name).or_else(|| field.aliases.iter().filter(|alias| !taken(alias)).find_map(at))
}

/// Bytes of a kind of fixed size.
fn fixed(kind: &str) -> Option<usize> {
    Some(match kind {
        "bool" | "u8" | "i8" => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" | "f32" | "char" => 4,
        "u64" | "i64" | "f64" => 8,
        "u128" | "i128" => 16,
        _ => return None,
    })
}

fn plain(from: &str, to: &str) -> Option<Step> {
    if from == to {
        return if from == "string" { Some(Step::Bytes) } else { fixed(from).map(Step::Fixed) };
    }
    if (from, to) == ("f32", "f64") {
        return Some(Step::WidenFloat);
    }
    let integer = |kind: &str| {
        let sign = kind.chars().next().filter(|sign| "iu".contains(*sign))?;
        Some((sign, fixed(kind)?))
    };
    let ((sign, from), (new_sign, to)) = (integer(from)?, integer(to)?);
    (sign == new_sign && from < to).then_some(Step::Widen { from, to, signed: sign == 'i' })
}

impl Step {
    fn is_identity(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Bytes => true,
            Self::Widen { .. } | Self::WidenFloat => false,
            Self::Option(step) | Self::List(step) | Self::Array(step, _) => step.is_identity(),
            Self::Map(key, value) => key.is_identity() && value.is_identity(),
            Self::Fields(fields) => fields.is_identity(),
            Self::Enum(variants) => {
                let same = |(old, (new, fields)): (u64, &(u64, Fields))| {
                    old == *new && fields.is_identity()
                };
                (0..).zip(variants).all(same)
            }
        }
    }

    /// The least number of bytes that a written value occupies.
    fn least(&self) -> usize {
        match self {
            Self::Fixed(0) => 0,
            Self::Array(_, 0) => 0,
            Self::Array(step, _) => step.least(),
            Self::Fields(fields) => fields.written.iter().map(Self::least).max().unwrap_or(0),
            _ => 1,
        }
    }

    fn transcode(&self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Self::Fixed(bytes) => out.put(input.take(*bytes)?),
            Self::Bytes => {
                let n = input.length(1)?;
                out.put_len(n as u64);
                out.put(input.take(n)?);
            }
            Self::Widen { from, to, signed } => {
                let bytes = input.take(*from)?;
                let negative = *signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                out.put(bytes);
                out.resize(out.len() + to - from, if negative { 0xFF } else { 0 });
            }
            Self::WidenFloat => {
                let number = f64::from(f32::from_le_bytes(input.array()?));
                out.put(&number.to_le_bytes());
            }
            Self::Option(step) => {
                let [there] = input.array()?;
                out.put(&[there]);
                match there {
                    0 => (),
                    1 => step.transcode(input, out)?,
                    _ => return Err(DecodeError::Invalid("option")),
                }
            }
            Self::List(step) => {
                let n = input.length(step.least())?;
                out.put_len(n as u64);
                for _ in 0..n {
                    step.transcode(input, out)?;
                }
            }
            Self::Array(step, n) => {
                for _ in 0..*n {
                    step.transcode(input, out)?;
                }
            }
            Self::Map(key, value) => {
                let n = input.length(key.least() + value.least())?;
                out.put_len(n as u64);
                for _ in 0..n {
                    key.transcode(input, out)?;
                    value.transcode(input, out)?;
                }
            }
            Self::Fields(fields) => fields.transcode(input, out)?,
            Self::Enum(variants) => {
                let number = usize::try_from(input.number()?).ok();
                let variant = number.and_then(|number| variants.get(number));
                let (number, fields) = variant.ok_or(DecodeError::Invalid("variant"))?;
                out.put_len(*number);
                fields.transcode(input, out)?;
            }
        }
        Ok(())
    }
}

impl Fields {
    fn is_identity(&self) -> bool {
        let in_place =
            |(at, origin): (usize, &Origin)| matches!(origin, Origin::Written(from) if *from == at);
        self.written.len() == self.wanted.len()
            && self.wanted.iter().enumerate().all(in_place)
            && self.written.iter().all(Step::is_identity)
    }

    /// Written fields are transcoded in their order, and then put together in ours.
    fn transcode(&self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut fields = Vec::new();
        let mut ends = Vec::with_capacity(self.written.len() + 1);
        ends.push(0);
        for step in &self.written {
            step.transcode(input, &mut fields)?;
            ends.push(fields.len());
        }
        for origin in &self.wanted {
            match origin {
                Origin::Written(at) => out.put(&fields[ends[*at]..ends[at + 1]]),
                Origin::Default(row) => out.put(row),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "evolution_test.rs"]
mod tests;
