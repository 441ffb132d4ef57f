//! Runs the tests that stand inside the ledger examples: an example is built as a program, not as a
//! test.

#[path = "../../examples/ledger.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod ledger;

#[path = "../../examples/ledger_check.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod ledger_check;
