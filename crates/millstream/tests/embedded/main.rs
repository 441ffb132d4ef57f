//! Jobs that run embedded: what their users are told.

mod damage;
mod failures;
mod interrupts;
mod scratch;
mod stages;
mod storage_faults;
