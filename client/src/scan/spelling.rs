//! Looking at a path as it is spelled.
//!
//! Owns what a lookup does not tell on a disk that folds names: there `foo` is found where `Foo`
//! stands, and whoever believed that would have two entries of one file, or take a rename from one
//! to the other for a path that still exists. It stores nothing.

use crate::fs::{Fs, FsError, RelPath, Stat};

/// As [`crate::fs::Look::stat`], but another spelling of the last name is not found. A directory
/// above that is there by another spelling is no concern of this: its own listing tells.
///
/// # Errors
/// Those of looking, and of listing the directory.
pub fn stat_spelled(fs: &dyn Fs, path: &RelPath) -> Result<Stat, FsError> {
    let stat = fs.stat(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(stat) };
    if !fs.folds_names() {
        return Ok(stat);
    }
    let listing = fs.list(&parent)?;
    let spelled = listing.entries.into_iter().find(|it| it.name == name.as_str().as_bytes());
    spelled.map(|listed| listed.stat).ok_or_else(|| FsError::NotFound {
        path: path.clone(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, "it has another spelling"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::contract::path;
    use crate::fs::memory::{MemoryFs, MemoryOptions};
    use std::sync::Arc;

    #[test]
    fn another_spelling_is_not_found() {
        for case_insensitive in [false, true] {
            let options = MemoryOptions { case_insensitive, ..MemoryOptions::default() };
            let fs = MemoryFs::with_options(Arc::new(|| 1), options);
            fs.user().mkdir("Dir").unwrap();
            fs.user().write("Dir/Foo", b"1").unwrap();
            let stat = fs.user().stat("Dir/Foo").unwrap();
            assert_eq!(stat_spelled(&fs, &path("Dir/Foo")).unwrap(), stat);
            assert!(stat_spelled(&fs, &path("Dir/foo")).unwrap_err().is_not_found());
            assert!(stat_spelled(&fs, &path("Dir/no")).unwrap_err().is_not_found());
        }
    }
}
