//! What can go wrong below a synced root.
//!
//! Owns the one mapping from system errors to the variants on which callers branch. It decides
//! nothing: what a failure means for an entry is the scanner's and apply's affair.

use super::path::RelPath;
use common::archive::ArchiveError;
use rustix::io::Errno;
use std::io;

/// What is wrong with a database and the files beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseProblem {
    /// Its rollback journal is there: a program is in the middle of a transaction, or died in it.
    #[error("was left in the middle of a transaction: open it once with its program")]
    Unfinished,
    /// Its log is of a version that nobody knew when this was written.
    #[error("has a log of an unknown kind: open it once with its program")]
    UnknownLog,
    /// SQLite would take the log at its place for its own.
    #[error("a log of another database lies beside its place: move that away")]
    ForeignLog,
}

/// A failed operation, with the path that it concerns.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// Nothing is there, or a directory above it is missing.
    #[error("{path}: not found")]
    NotFound {
        /// What was looked for.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Something is there already.
    #[error("{path}: something is there already")]
    Exists {
        /// The taken path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A directory was expected.
    #[error("{path}: not a directory")]
    NotADirectory {
        /// The path that is or leads through something else.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A regular file (or, for a link, a symlink) was expected.
    #[error("{path}: not of the expected kind")]
    WrongKind {
        /// The path at which a directory, link, FIFO, device or socket is.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The directory still holds something.
    #[error("{path}: the directory is not empty")]
    NotEmpty {
        /// The directory.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The path leads through a symlink, and so perhaps out of the root. Nothing was followed.
    #[error("{path}: leads through a symlink")]
    Escapes {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The path lies on another filesystem than the root, or the two paths on different ones.
    #[error("{path}: on another filesystem")]
    CrossDevice {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The disk or a quota is full, or the file would be larger than the filesystem allows.
    #[error("{path}: no space left")]
    NoSpace {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Permission denied, a read-only filesystem or an immutable file.
    #[error("{path}: permission denied")]
    Denied {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No file descriptor or no kernel memory is left; passes by itself.
    #[error("{path}: too many open files")]
    TooManyOpenFiles {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// This filesystem or kernel cannot do it (exchange, leases); asking again is useless.
    #[error("{path}: not supported by this filesystem")]
    Unsupported {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// This filesystem cannot hold the name (too long for it, characters it refuses).
    #[error("{path}: the filesystem does not accept this name")]
    NameRefused {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// What was written could not be stored, nor perhaps what others wrote: the system has told so, and
    /// will not tell again.
    #[error("{path}: could not be stored: {source}")]
    Unsynced {
        /// What was being synced.
        path: RelPath,
        /// What the sync came to.
        #[source]
        source: Box<FsError>,
    },
    /// A bundle that no archive can hold, or an archive that no directory can be made of.
    #[error("{path}: cannot be kept whole: {reason}")]
    Unfit {
        /// The bundle, or the archive.
        path: RelPath,
        /// Why.
        reason: ArchiveError,
    },
    /// A database that cannot be read as one file, or not be put where it belongs.
    #[error("{path}: {reason}")]
    Database {
        /// The database.
        path: RelPath,
        /// Why.
        reason: DatabaseProblem,
    },
    /// What is there is not what the caller expected; nothing was changed.
    #[error("{path}: changed meanwhile")]
    Changed {
        /// The path.
        path: RelPath,
    },
    /// Somebody holds the file open for writing; nothing was changed.
    #[error("{path}: somebody is writing to it")]
    Busy {
        /// The path.
        path: RelPath,
    },
    /// A directory would come to lie inside itself.
    #[error("{path}: a directory cannot be moved into itself")]
    IntoItself {
        /// The target of the move.
        path: RelPath,
    },
    /// The operation is for `.driftless` alone (removing) or for the tree alone, or needs an
    /// entry where the root of an area was given. A mistake of the caller; nothing was done.
    #[error("{path}: the operation is not meant for this path")]
    Misplaced {
        /// The path.
        path: RelPath,
    },
    /// The root's own path is missing or leads to another directory than the one opened
    /// (unmounted, replaced). Says nothing about the entries.
    #[error("the root is gone or has been replaced")]
    RootGone {
        /// The system's error, if there was one.
        #[source]
        source: Option<io::Error>,
    },
    /// The device failed or anything else happened. After a failed sync the data must be written
    /// anew, never just synced again.
    #[error("{path}: input/output error")]
    Io {
        /// The path.
        path: RelPath,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl FsError {
    /// Sorts a system error; `path` is what it concerns.
    pub(crate) fn new(path: &RelPath, errno: Errno) -> Self {
        let (path, source) = (path.clone(), io::Error::from(errno));
        match errno {
            Errno::NOENT | Errno::STALE => Self::NotFound { path, source },
            Errno::EXIST => Self::Exists { path, source },
            Errno::NOTDIR => Self::NotADirectory { path, source },
            Errno::ISDIR | Errno::NXIO => Self::WrongKind { path, source },
            Errno::NOTEMPTY => Self::NotEmpty { path, source },
            Errno::LOOP => Self::Escapes { path, source },
            Errno::XDEV => Self::CrossDevice { path, source },
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace { path, source },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied { path, source },
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::TooManyOpenFiles { path, source },
            Errno::NOSYS | Errno::OPNOTSUPP => Self::Unsupported { path, source },
            Errno::NAMETOOLONG | Errno::ILSEQ => Self::NameRefused { path, source },
            _ => Self::Io { path, source },
        }
    }

    /// Whether the same call may succeed a while later though nobody touched the tree.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TooManyOpenFiles { .. } | Self::NoSpace { .. } | Self::Busy { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::Interrupted
                        | io::ErrorKind::WouldBlock
                        | io::ErrorKind::ResourceBusy
                )
            }
            _ => false,
        }
    }

    /// Whether the tree is not as the caller thought, so that looking at the path again and
    /// planning anew is the answer.
    #[must_use]
    pub fn is_stale_view(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Exists { .. }
                | Self::NotADirectory { .. }
                | Self::WrongKind { .. }
                | Self::NotEmpty { .. }
                | Self::Escapes { .. }
                | Self::Changed { .. }
                | Self::Database { reason: DatabaseProblem::Unfinished, .. }
        )
    }

    /// Whether nothing is there; the one error that may be read as an absence.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the filesystem cannot do this at all, so that the caller takes another way.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    /// Whether the fault is in this one path, so that others may well be worked on.
    #[must_use]
    pub fn is_of_one_path(&self) -> bool {
        !matches!(
            self,
            Self::NoSpace { .. }
                | Self::RootGone { .. }
                | Self::TooManyOpenFiles { .. }
                | Self::Unsynced { .. }
        )
    }

    /// Whether nothing else is worth trying before something has changed: no room, no root, or a disk
    /// that could not store what was written.
    #[must_use]
    pub fn ends_a_batch(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::RootGone { .. } | Self::Unsynced { .. })
    }

    /// The same as the failure of a sync of a path.
    #[must_use]
    pub fn of_sync(self, path: &RelPath) -> Self {
        Self::Unsynced { path: path.clone(), source: Box::new(self) }
    }

    /// The path concerned; `None` when it is the root as a whole.
    #[must_use]
    pub fn path(&self) -> Option<&RelPath> {
        match self {
            Self::NotFound { path, .. }
            | Self::Unsynced { path, .. }
            | Self::Exists { path, .. }
            | Self::NotADirectory { path, .. }
            | Self::WrongKind { path, .. }
            | Self::NotEmpty { path, .. }
            | Self::Escapes { path, .. }
            | Self::CrossDevice { path, .. }
            | Self::NoSpace { path, .. }
            | Self::Denied { path, .. }
            | Self::TooManyOpenFiles { path, .. }
            | Self::Unsupported { path, .. }
            | Self::NameRefused { path, .. }
            | Self::Unfit { path, .. }
            | Self::Database { path, .. }
            | Self::Changed { path }
            | Self::Busy { path }
            | Self::IntoItself { path }
            | Self::Misplaced { path }
            | Self::Io { path, .. } => Some(path),
            Self::RootGone { .. } => None,
        }
    }
}

/// Checks that two paths may be renamed to, or exchanged with, each other: neither is the root
/// of an area, and `inner` does not lie below `outer`.
pub(crate) fn require_apart(outer: &RelPath, inner: &RelPath) -> Result<(), FsError> {
    for path in [outer, inner] {
        if path.is_root() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
    }
    if outer != inner && inner.starts_with(outer) {
        return Err(FsError::IntoItself { path: inner.clone() });
    }
    Ok(())
}

/// Gives system errors their path.
pub(crate) trait At<T> {
    /// Sorts the error as one that concerns `path`.
    fn at(self, path: &RelPath) -> Result<T, FsError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, path: &RelPath) -> Result<T, FsError> {
        self.map_err(|errno| FsError::new(path, errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_can_branch_on_system_errors() {
        let sort = |errno| FsError::new(&RelPath::root(), errno);
        assert!(sort(Errno::NOENT).is_not_found());
        assert!(matches!(sort(Errno::LOOP), FsError::Escapes { .. }));
        assert!(matches!(sort(Errno::XDEV), FsError::CrossDevice { .. }));
        assert!(matches!(sort(Errno::DQUOT), FsError::NoSpace { .. }));
        assert!(sort(Errno::MFILE).is_retryable());
        assert!(sort(Errno::BUSY).is_retryable());
        assert!(!sort(Errno::IO).is_retryable(), "a failed sync must not be repeated as success");
        assert!(sort(Errno::EXIST).is_stale_view());
        assert!(sort(Errno::OPNOTSUPP).is_unsupported());
    }
}
