//! What the system refuses of files that are copied out of a server, or back into one.

use std::io;
use std::path::{Path, PathBuf};

/// The system refused something of a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}: {source}")]
pub struct FileError {
    /// What was being done.
    doing: &'static str,
    /// To what.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

impl FileError {
    /// Says what was being done, and to what.
    pub(crate) fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { doing, path, source }
    }
}
