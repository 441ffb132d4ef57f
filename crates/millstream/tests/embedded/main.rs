//! Jobs that run embedded: what their users are told.

mod failures;
mod interrupts;
