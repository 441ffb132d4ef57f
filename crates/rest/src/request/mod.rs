//! What a request says, parsed before anything is done.
//!
//! - [`path`]: path parameters, each into an id of its own type;
//! - [`query`]: query parameters;
//! - [`body`]: bodies, with limits on size and on pauses.

pub(crate) mod body;
pub(crate) mod path;
pub(crate) mod query;

pub(crate) use body::JsonBody;
pub(crate) use path::PathParameters;
pub(crate) use query::Query;
