//! REST over real sockets, before a cluster of scripted endpoints.
//!
//! - `http`: a client of a few lines; `cluster`: the server and the endpoints behind it; `fixtures`:
//!   jobs and workers in all states; `store`: a store of programs in memory;
//! - `shapes`: compares JSON with `fixtures/rest`; `contract`: every endpoint against it;
//! - the others: one subject each.

mod answers;
mod cluster;
mod contract;
mod fixtures;
mod http;
mod jars;
mod limits;
mod logs;
mod paths;
mod serving;
mod shapes;
mod store;
mod strangers;
