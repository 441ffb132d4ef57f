//! Millstream: stateful stream processing in Rust, embedded or on a cluster.

#[doc(hidden)]
pub use millstream_core as core;

pub mod embedded;

pub use millstream_api as api;
pub use millstream_connectors as connectors;
pub use millstream_core::Str;

/// What a program needs.
pub mod prelude {
    pub use crate::Env;
    pub use millstream_api::{
        CombinedStream, DataStream, Error, JobClient, JobResult, KeyedStream, Result,
        StreamExecutionEnvironment, environment::RuntimeExecutionMode,
    };
    pub use millstream_core::{Key, Record, Str};
}

/// The short name of [`millstream_api::StreamExecutionEnvironment`].
pub type Env = millstream_api::StreamExecutionEnvironment;

/// An environment from the process's arguments and launch mode.
pub fn env_from_args() -> millstream_api::Result<Env> {
    let args = millstream_api::args::Args::parse(std::env::args().skip(1))?;
    Ok(Env::with_executor(
        args,
        Default::default(),
        Default::default(),
        Box::new(embedded::LocalExecutor),
    ))
}
