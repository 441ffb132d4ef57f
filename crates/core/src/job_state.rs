//! What state the operators of a program declare: named in the job graph, so that a program is held
//! against a savepoint before anything of it is started.

use crate::record::Schema;
use serde::{Deserialize, Serialize};

/// One state of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredState {
    /// Its name within the operator.
    pub name: String,
    /// Names it had before.
    pub aliases: Vec<String>,
    /// What it holds.
    pub shape: StateShape,
}

/// What a state holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateShape {
    /// Values by key.
    Keyed {
        /// The key of the stream.
        key: ProgramSchema,
        /// What divides the values of a key: a window, the key of a map; an empty tuple for nothing.
        namespace: ProgramSchema,
        /// The value.
        value: ProgramSchema,
    },
    /// Items of the subtask itself.
    List {
        /// What becomes of them when the parallelism changes.
        mode: ListMode,
        /// What an item is; nothing for bytes that only the operator understands.
        item: Option<ProgramSchema>,
    },
}

/// What becomes of a list when the parallelism changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ListMode {
    /// Items are dealt out to the subtasks, each to one.
    Split,
    /// Every subtask gets all items of all subtasks.
    Union,
    /// All subtasks have the same items; each gets them once.
    Broadcast,
}

/// A schema that travels with the defaults of its fields: what the program makes of rows that do not
/// have them yet. (Schemas of what was written travel without: there they are of no interest.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Travelling", into = "Travelling")]
pub struct ProgramSchema(pub Schema);

#[derive(Serialize, Deserialize)]
struct Travelling {
    schema: Schema,
    /// Of all fields, those of a field after it.
    defaults: Vec<Option<Vec<u8>>>,
}

impl From<ProgramSchema> for Travelling {
    fn from(mut program: ProgramSchema) -> Self {
        let mut defaults = Vec::new();
        program.0.for_each_field(&mut |field| defaults.push(field.default.clone()));
        Self { schema: program.0, defaults }
    }
}

impl From<Travelling> for ProgramSchema {
    fn from(travelling: Travelling) -> Self {
        let Travelling { mut schema, defaults } = travelling;
        let mut defaults = defaults.into_iter();
        schema.for_each_field(&mut |field| field.default = defaults.next().flatten());
        Self(schema)
    }
}

impl DeclaredState {
    /// Values by key.
    pub fn keyed(name: &str, key: Schema, namespace: Schema, value: Schema) -> Self {
        let [key, namespace, value] = [key, namespace, value].map(ProgramSchema);
        let (name, shape) = (name.to_owned(), StateShape::Keyed { key, namespace, value });
        Self { name, aliases: Vec::new(), shape }
    }

    /// Items of the subtask itself.
    pub fn list(name: &str, mode: ListMode, item: Option<Schema>) -> Self {
        let shape = StateShape::List { mode, item: item.map(ProgramSchema) };
        Self { name: name.to_owned(), aliases: Vec::new(), shape }
    }

    /// The same state, with names it had before.
    pub fn with_aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Field;

    #[test]
    fn a_declared_schema_travels_with_the_defaults_of_its_fields() {
        let field = |name: &str, schema, default| Field {
            name: name.to_owned(),
            aliases: Vec::new(),
            schema,
            default,
        };
        let inner = vec![field("b", Schema::plain("u8"), Some(vec![7]))];
        let inner = Schema::Struct { name: "Inner".to_owned(), fields: inner };
        let fields = vec![
            field("a", Schema::Option(Box::new(inner)), None),
            field("c", Schema::plain("u16"), Some(vec![1, 0])),
        ];
        let schema = Schema::Struct { name: "Outer".to_owned(), fields };
        let state =
            DeclaredState::keyed("rows", Schema::plain("u64"), Schema::Tuple(vec![]), schema);
        let bytes = postcard::to_extend(&state, Vec::new()).expect("it is data");
        assert_eq!(postcard::from_bytes::<DeclaredState>(&bytes).expect("as written"), state);
    }
}
