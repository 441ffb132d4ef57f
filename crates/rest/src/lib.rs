//! REST v1 over gateways.
