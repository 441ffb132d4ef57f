//! What the shell does for the election, and tells it.
//!
//! [`HaOp::Read`], [`HaOp::Put`], [`HaOp::Probe`] and [`HaOp::StopLeading`] end with exactly one
//! [`HaDone`] each, [`HaOp::Lead`] with one unless [`HaOp::StopLeading`] overtakes it;
//! [`HaOp::TellChange`] ends with none. Changes come in by themselves, under [`UNSOLICITED`].

use super::change::{Change, ChangeEnd, ChangeId};
use super::record::{HaRecord, Published};
use millstream_checkpoint::pointer::{Put, Version};
use millstream_checkpoint::storage::StorageError;
use millstream_core::ids::FencingToken;
use millstream_rpc::machine::OpId;

/// The name of what nobody asked for.
pub const UNSOLICITED: OpId = OpId(0);

/// Work that the election has done by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaOp {
    /// Read the record.
    Read,
    /// Write the record, if that is still the newest version.
    Put {
        /// What.
        bytes: Vec<u8>,
        /// On what it is based.
        expected: Option<Version>,
    },
    /// Find out whether a process still listens where it did.
    Probe {
        /// `host:port`.
        rpc: String,
        /// The process, as the record names it.
        process: millstream_core::ids::ResourceId,
    },
    /// This process leads: make everything that belongs to a leader, from what the record holds.
    Lead(Box<Grant>),
    /// This process does not lead any more, or is to end: stop everything of the term. Done when
    /// nothing of it is left.
    StopLeading {
        /// The term.
        epoch: u64,
        /// Why.
        reason: String,
        /// The process is to end and still leads: jobs are suspended in good order.
        orderly: bool,
    },
    /// Tell whoever wanted a change what became of it.
    TellChange {
        /// Which.
        change: ChangeId,
        /// What.
        end: ChangeEnd,
    },
}

/// A term of leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its number.
    pub epoch: u64,
    /// The token of all its endpoints.
    pub token: FencingToken,
    /// What the record held at its begin.
    pub record: HaRecord,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaDone {
    /// Of [`HaOp::Read`].
    Read(Result<Option<(Version, Vec<u8>)>, StorageError>),
    /// Of [`HaOp::Put`].
    Put(Put),
    /// Of [`HaOp::Probe`].
    Probed(Presence),
    /// Of [`HaOp::Lead`]: it serves there; or it cannot, and why.
    Led {
        /// The term.
        epoch: u64,
        /// How it went.
        result: Result<Published, String>,
    },
    /// Of [`HaOp::StopLeading`].
    Stopped,
    /// By itself: somebody wants a change.
    Change {
        /// How its end will be called.
        change: ChangeId,
        /// In which term it was wanted: in another one it is refused.
        epoch: u64,
        /// What.
        what: Change,
    },
}

/// Whether a process is where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answered.
    There,
    /// Surely not: its address refuses, or another process answers there.
    Gone,
    /// Nobody knows.
    Silent,
}
