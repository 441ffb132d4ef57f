//! Files named by their content: programs on their way from a client to every worker.
//!
//! - [`store`]: the directory that holds them on the JobManager's side, and who needs which;
//! - [`protocol`]: what client and server say to each other, over any stream;
//! - [`server`], [`client`]: the same over TCP;
//! - [`cache`]: the worker's copies, fetched once and ready to be executed.
//!
//! A name is the XXH3-128 hash of the content, so a transfer is checked by its name and two jobs with
//! the same program share one file. The hash finds accidents, not forgers: who may talk to the server
//! is decided by its [`Secret`], and by TLS where the shell puts it around
//! [`protocol::serve`].

pub mod cache;
pub mod client;
mod error;
pub mod protocol;
pub mod server;
pub mod store;
mod transfer;

pub use cache::{BlobCache, Fetch};
pub use client::BlobClient;
pub use error::BlobError;
pub use protocol::Secret;
pub use server::{BlobServer, ServerLimits};
pub use store::BlobStore;
