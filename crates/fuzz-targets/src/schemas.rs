//! What reads rows by nothing but their schema: the view for people, and rows of older programs.

use crate::kinds::{self, KINDS};
use crate::limits::within;
use millstream_checkpoint::inspect::value;
use millstream_core::record::{Input, Record, RowReader, Schema};
use millstream_core::{DecodeError, Str};

/// JSON is large: a byte becomes an object with a name, inside of others.
const JSON_PER_BYTE: usize = 64 << 10;

/// Values without bytes may be so large in all.
const JSON_FREE: usize = 64;

/// With a schema of their own inputs are no longer: each of its names is repeated for each row.
const DESCRIBED_MAX: usize = 1024;

/// Rows as JSON. The first byte chooses a schema, or says that one follows.
pub(crate) fn inspect(bytes: &[u8]) -> bool {
    let Some((kind, row)) = kinds::chosen(bytes) else { return false };
    if bytes[0] == u8::MAX {
        let Ok((schema, row)) = schema(row) else { return false };
        return bytes.len() <= DESCRIBED_MAX && shown(&schema, row).is_ok();
    }
    let shown = shown(&(kind.schema)(), row);
    if kind.described {
        // People need not see thousands of values without bytes.
        let too_many = DecodeError::Invalid("row: too many values without bytes");
        if shown != Err(too_many) {
            assert_eq!(shown.ok(), (kind.read)(row).ok(), "it is a row for all or for none");
        }
    }
    true
}

/// A schema, and the bytes that follow it.
fn schema(bytes: &[u8]) -> Result<(Schema, &[u8]), postcard::Error> {
    let (schema, rest): (Schema, _) =
        within(bytes.len(), 1024, || postcard::take_from_bytes(bytes))?;
    // What is found wrong is told with the schema.
    assert_eq!(schema.fingerprint(), schema.clone().fingerprint());
    Ok((schema, rest))
}

/// The bytes of the row that was shown.
fn shown(schema: &Schema, row: &[u8]) -> Result<usize, DecodeError> {
    let mut input = Input::new(row);
    within(row.len() + JSON_FREE, JSON_PER_BYTE, || value(schema, &mut input).map(drop))?;
    Ok(row.len() - input.rest().len())
}

#[derive(Clone, Record)]
enum OldShape {
    Circle { radius: f32 },
    Point,
}

#[derive(Clone, Record)]
enum NewShape {
    Square(u8),
    Point,
    Circle { radius: f64, colour: Option<Str> },
}

#[derive(Clone, Record)]
struct Old {
    gone: Vec<Str>,
    number: i16,
    shapes: Vec<OldShape>,
    nested: Option<(u8, [u32; 2])>,
    nothing: Vec<()>,
}

#[derive(Clone, Record)]
struct New {
    #[record(default = 7)]
    added: u32,
    nested: Option<(u64, [u64; 2])>,
    shapes: Vec<NewShape>,
    #[record(alias = "number")]
    count: i64,
    nothing: Vec<()>,
}

/// Rows of an older program. The first byte chooses this program's schema; the older one's is known, or
/// follows.
pub(crate) fn evolution(bytes: &[u8]) -> bool {
    let Some((choice, rest)) = bytes.split_first() else { return false };
    let (written, wanted, row) = match *choice {
        0 => (Old::schema(), New::schema(), rest),
        choice @ 1..128 => {
            let kinds = KINDS.len();
            let other = usize::from(choice) % kinds;
            let Some((kind, row)) = kinds::chosen(rest) else { return false };
            ((kind.schema)(), (KINDS[other].schema)(), row)
        }
        _ => {
            let Ok((written, rest)) = schema(rest) else { return false };
            let Some((kind, row)) = kinds::chosen(rest) else { return false };
            (written, (kind.schema)(), row)
        }
    };
    let Ok(reader) = RowReader::new(&written, &wanted) else { return false };
    if reader.is_identity() {
        return false;
    }
    let mut out = Vec::new();
    let transcoded = within(bytes.len(), 64, || reader.transcode(&mut Input::new(row), &mut out));
    if *choice == 0 && Old::decode(&mut Input::new(row)).is_ok() {
        transcoded.clone().expect("a row of the older program");
        let mut input = Input::new(&out);
        let new = New::decode(&mut input).expect("a row of this program");
        assert!(input.rest().is_empty() && new.added == 7);
    }
    transcoded.is_ok()
}
