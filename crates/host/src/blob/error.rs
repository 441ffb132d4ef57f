//! Why a blob could not be stored or fetched.

use crate::ErrorKind;
use millstream_core::ids::ContentHash;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a blob could not be stored or fetched. Cheap to clone: all who wait for one download get it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// The file system said no.
    #[error("could not {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Nobody answers.
    #[error("could not reach the blob server at {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The server cannot be one.
    #[error("could not serve blobs at {address}")]
    Serve {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The connection broke, or the other side was silent for too long.
    #[error("the transfer of blob {hash} broke off")]
    Transfer {
        /// The blob.
        hash: ContentHash,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The other side does not speak as it should.
    #[error("the other side of a blob transfer {0}")]
    Protocol(
        /// What it does.
        &'static str,
    ),
    /// The server refused the secret.
    #[error(
        "the blob server refused the request: it belongs to another cluster, or the secret of \
             this process is not the cluster's"
    )]
    Denied,
    /// What arrived is not what was named.
    #[error("blob {expected} is damaged: the bytes that came are those of {found}")]
    Damaged {
        /// What it should be.
        expected: ContentHash,
        /// What it is.
        found: ContentHash,
    },
    /// It is not in the store.
    #[error("there is no blob {0}; the job it belongs to may have ended")]
    Unknown(
        /// Which.
        ContentHash,
    ),
    /// The store is full.
    #[error(
        "a blob of {needed} bytes does not fit: {used} of the {quota} bytes of the blob store \
             are used; cancel jobs, or raise its quota"
    )]
    Quota {
        /// How much was to come.
        needed: u64,
        /// How much is there or on its way.
        used: u64,
        /// How much there may be.
        quota: u64,
    },
    /// Anything else that the server said.
    #[error("the blob server failed: {0}")]
    Server(
        /// Its words.
        String,
    ),
}

impl BlobError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BlobError::Connect { .. } | BlobError::Transfer { .. } | BlobError::Server(_) => {
                ErrorKind::Transient
            }
            BlobError::Damaged { .. } => ErrorKind::Corrupt,
            BlobError::File { .. } | BlobError::Quota { .. } | BlobError::Serve { .. } => {
                ErrorKind::Machine
            }
            BlobError::Denied | BlobError::Unknown(_) => ErrorKind::Request,
            BlobError::Protocol(_) => ErrorKind::Internal,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn may_be_retried(&self) -> bool {
        matches!(self.kind(), ErrorKind::Transient | ErrorKind::Corrupt | ErrorKind::Internal)
    }

    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| BlobError::File { action, path, cause: Arc::new(cause) }
    }

    pub(super) fn transfer(hash: ContentHash) -> impl Fn(io::Error) -> Self {
        move |cause| {
            // What the kernel calls a time-out of a socket.
            let cause = match cause.kind() {
                io::ErrorKind::WouldBlock => {
                    io::Error::new(io::ErrorKind::TimedOut, "the other side was silent too long")
                }
                _ => cause,
            };
            BlobError::Transfer { hash, cause: Arc::new(cause) }
        }
    }
}
