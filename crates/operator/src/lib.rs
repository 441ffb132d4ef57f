//! Functions, operators, source and sink contracts, and the harness that drives an operator alone.
