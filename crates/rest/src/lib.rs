//! Flink's REST interface over the endpoints of a JobManager, with Flink's paths, JSON and states.
//!
//! In reading order:
//! - [`config`]: where the server listens, what it allows, its limits;
//! - [`server`]: binding, accepting, stopping; `connection`: one connection with its deadlines;
//! - `front`: the way of one request: `guard` (Host, Origin), router, `audit`; `app`: what handlers
//!   share;
//! - `routes`: the table of all endpoints; `handlers`: what they do, one file per noun;
//! - `gateway`: the questions they ask of dispatcher, resource manager and task executors;
//! - `request`: path, query and body, parsed; `reply`, `error`: what goes back;
//! - `json`: one file per message of Flink's, made from `millstream_rpc::protocol::details`;
//! - [`artefacts`]: uploaded programs: the contract that the process assembly fulfils.
//!
//! The contract is data: `fixtures/rest`. Extra fields are allowed, missing ones never.
//!
//! What is not Flink's:
//! - `GET /jobs/:jobid/logs`: the output of a job, collected from its workers, as text;
//! - `GET /jobs/:jobid/execution-result?wait-ms=N`: answers when the job has ended, after N ms at
//!   the latest, so that a client need not poll;
//! - extra fields: `waiting-for` and `restart-count` of a job, counters of the last second in
//!   `metrics`, `millstream-version`;
//! - every request is checked against web pages of others (Host, Origin, `Sec-Fetch-Site`), there is
//!   no `Access-Control-Allow-Origin: *`, and JSON bodies need their content type;
//! - errors are one sentence each, without a stack trace, and 404 or 409 where Flink says 500;
//! - the id of an uploaded program is the hash of its content.

mod app;
pub mod artefacts;
mod audit;
pub mod config;
mod connection;
mod error;
mod front;
mod gateway;
mod guard;
mod handlers;
mod job_types;
mod json;
mod reply;
mod request;
mod routes;
pub mod server;

pub use artefacts::{
    Artefact, ArtefactError, ArtefactErrorKind, Artefacts, Launch, Restore, Upload,
};
pub use config::{LogHook, Port, RestConfig};
pub use routes::endpoints;
pub use server::RestServer;
