//! What a first start makes on the disk before it is sure to succeed, taken away when it fails.
//!
//! Owns that nothing goes which was there before, or which holds anything: directories go only
//! when they are empty, and of the files the home's lock alone. It must not know why it failed.

use crate::home::Home;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Paths that were not there before a `join` or the first `up`.
#[derive(Debug)]
pub struct Traces {
    lock: Option<PathBuf>,
    /// What lies in another comes before it.
    directories: Vec<PathBuf>,
}

impl Traces {
    /// Looks at what a first start with this home and folder would make. To be called before it does.
    #[must_use]
    pub fn before(home: &Home, directory: &Path) -> Self {
        let lock = Some(home.lock_path()).filter(|path| is_missing(path));
        let state = home.state_directory();
        let missing =
            state.ancestors().chain(directory.ancestors()).filter(|path| is_missing(path));
        let mut directories: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        directories.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        Self { lock, directories }
    }

    /// Takes them away again. To be called while the home is locked.
    pub fn remove(&self) {
        let lock = self.lock.iter().map(fs::remove_file);
        for removed in lock.chain(self.directories.iter().map(fs::remove_dir)) {
            if let Err(error) = removed {
                tracing::debug!(%error, "something is left of a first start that failed");
            }
        }
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_since_and_holds_nothing_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("home")).unwrap();
        fs::create_dir_all(at("was/there")).unwrap();
        let home = Home::locate(Some(at("home"))).unwrap();
        for (folder, kept) in [("was/there/new/er", "was/there"), ("was/there", "was/there")] {
            let traces = Traces::before(&home, &at(folder));
            home.create().unwrap();
            let lock = home.lock().unwrap();
            fs::create_dir_all(at(folder)).unwrap();
            traces.remove();
            drop(lock);
            assert_eq!(fs::read_dir(at("home")).unwrap().count(), 0);
            assert_eq!(fs::read_dir(at(kept)).unwrap().count(), 0, "{folder}");
        }
        let traces = Traces::before(&home, &at("full/folder"));
        fs::create_dir_all(at("full/folder")).unwrap();
        fs::write(at("full/file"), "of a user").unwrap();
        traces.remove();
        assert!(!at("full/folder").exists() && at("full/file").exists());
    }
}
