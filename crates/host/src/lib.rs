//! What the operating system gives: child processes, directories, blob files, signals.
