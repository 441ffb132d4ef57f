//! A deterministic simulator of whole clusters. For tests only.
