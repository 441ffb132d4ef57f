//! Sources, sinks and formats that need no service: files, sockets, JSON lines, generators.
