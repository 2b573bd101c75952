//! Why a file could not be built.
//!
//! Owns the one distinction that callers need: whether it is the fault of one version, or a reason
//! to stop.

use crate::context::Stopping;
use crate::fs::FsError;
use crate::remote::RemoteError;
use crate::state::StateError;
use common::chunk::OpenError;
use common::ids::ChunkId;

/// A file that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server could not be asked or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server does not have an object that the version needs, or only a damaged copy.
    #[error("the server has no whole copy of chunk {0}")]
    Absent(ChunkId),
    /// An object is not what it has to be.
    #[error("chunk {id} cannot be opened: {source}")]
    Object {
        /// Which object.
        id: ChunkId,
        /// What is wrong.
        #[source]
        source: OpenError,
    },
    /// The objects do not make up the version that its attributes describe.
    #[error("the server's chunks do not make up this version: {0}")]
    Mismatch(&'static str),
    /// The disk has less room than the file needs.
    #[error("no space left for it: the file needs {needed} bytes and {free} are left on this disk")]
    NoRoom {
        /// Its size in bytes.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// Bytes taken from local files were not what the index said; without it all is downloaded, so
    /// the same version can be built at once.
    #[error("local files changed while they were copied from")]
    StaleSources,
    /// The staged file could not be written.
    #[error(transparent)]
    Disk(#[from] FsError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The program stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl FetchError {
    /// Whether the fault is in this one version, so that others may well be built.
    #[must_use]
    pub fn is_of_one_file(&self) -> bool {
        match self {
            Self::Absent(_)
            | Self::Object { .. }
            | Self::Mismatch(_)
            | Self::NoRoom { .. }
            | Self::StaleSources => true,
            // A smaller one may well find room.
            Self::Disk(FsError::NoSpace { .. }) => true,
            Self::Disk(error) => error.is_of_one_path(),
            Self::Remote(_) | Self::State(_) | Self::Stopping(_) => false,
        }
    }

    /// Whether nothing is wrong with the version but that the disk has too little room for it.
    pub(super) fn is_want_of_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. } | Self::Disk(FsError::NoSpace { .. }))
    }
}
