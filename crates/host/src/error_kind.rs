//! Who has to act on an error of this crate.

/// Who has to act, and how. A variant exists only where the handling differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try the same call again after a pause: the network, a process limit that others use up.
    Transient,
    /// Whoever submitted the program or called us has to change what they gave us.
    Request,
    /// Whoever runs this machine has to change it: a mount, a permission, a full disk.
    Machine,
    /// Bytes are not what they were: fetch or write them again.
    Corrupt,
    /// A bug of ours: ask for a report.
    Internal,
}
