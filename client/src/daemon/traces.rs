//! What a first start makes on the disk before it is sure to succeed, taken away when it fails.
//!
//! Owns that nothing goes which was there before, or which holds anything: directories go only
//! when they are empty, and of the files the home's lock and, when no device was ever enrolled at
//! it, what an embedded server has made for itself. It must not know why it failed.

use crate::home::Home;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Paths that were not there before a `join` or the first `up`.
#[derive(Debug)]
pub struct Traces {
    lock: Option<PathBuf>,
    /// The data of an embedded server.
    server: Option<PathBuf>,
    /// What lies in another comes before it.
    directories: Vec<PathBuf>,
}

impl Traces {
    /// Looks at what a first start with this home and folder would make. To be called before it does.
    #[must_use]
    pub fn before(home: &Home, directory: &Path) -> Self {
        let lock = Some(home.lock_path()).filter(|path| is_missing(path));
        let server = Some(home.server_path()).filter(|path| is_missing(path));
        let state = home.state_directory();
        let missing =
            state.ancestors().chain(directory.ancestors()).filter(|path| is_missing(path));
        let mut directories: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        directories.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        Self { lock, server, directories }
    }

    /// As [`Traces::remove`], after the embedded server was started and has stopped. Its data stays
    /// when a device is or may be enrolled at it: the same command goes on with it then.
    pub fn remove_with_server(&self, home: &Home) {
        if home.is_enrolled() || !matches!(home.pending(), Ok(None)) {
            return;
        }
        if let Some(Err(error)) = self.server.as_ref().map(fs::remove_dir_all) {
            tracing::debug!(%error, "something is left of a server that nobody has joined");
        }
        self.remove();
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
    fn a_server_at_which_a_device_may_be_enrolled_stays() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().join("home"))).unwrap();
        let made = home.server_path().join("meta");
        for (note, stays) in [("joining", true), ("config.toml", true), ("server/other", false)] {
            let traces = Traces::before(&home, &directory.path().join("folder"));
            home.create().unwrap();
            fs::create_dir_all(&made).unwrap();
            fs::write(home.path().join(note), "").unwrap();
            traces.remove_with_server(&home);
            assert_eq!(made.exists(), stays, "{note}");
            assert_eq!(home.path().exists(), stays, "{note}");
            if stays {
                fs::remove_dir_all(home.path()).unwrap();
            }
        }
        fs::create_dir_all(&made).unwrap();
        Traces::before(&home, directory.path()).remove_with_server(&home);
        assert!(made.exists(), "it was there before");
    }

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
