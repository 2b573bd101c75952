//! Two devices that share one folder through one server.

use super::{Device, Programs, Server, Tree};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// A server and two devices in a directory of their own, which goes with them.
pub struct Pair {
    directory: tempfile::TempDir,
    _server: Server,
    /// The devices, in the order in which they joined.
    pub devices: [Device; 2],
    seconds: u64,
}

impl Pair {
    /// Starts them, with the names of the devices; a sync may take this many seconds.
    ///
    /// # Errors
    /// If a program does not start.
    pub fn begin(names: [&str; 2], seconds: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory.path())?;
        let one = Device::join(&programs, directory.path(), names[0], &server.invite()?)?;
        let two = Device::join(&programs, directory.path(), names[1], &one.invite()?)?;
        Ok(Self { directory, _server: server, devices: [one, two], seconds })
    }

    /// Where everything of theirs lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path outside the folder, and its text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn beside(&self, name: &str) -> Result<(PathBuf, String)> {
        let path = self.directory.path().join(name);
        let text = path.to_str().context("a path that is no UTF-8")?.to_owned();
        Ok((path, text))
    }

    /// Where something in the folder is on a device.
    #[must_use]
    pub fn at(&self, device: usize, path: &str) -> PathBuf {
        self.devices[device].root().join(path)
    }

    /// Syncs one after the other.
    ///
    /// # Errors
    /// If one does not get in sync.
    pub fn sync(&self) -> Result<()> {
        self.devices.iter().try_for_each(|device| device.sync(self.seconds))
    }

    /// Syncs until both have the same, in every byte, mode and mtime, but for what git keeps of a disk.
    ///
    /// # Errors
    /// If they differ.
    pub fn meet(&self) -> Result<()> {
        self.sync()?;
        self.sync()?;
        let [one, two] = &self.devices;
        let one = Tree::read_as_git(one.root())?;
        let two = Tree::read_as_git(two.root())?;
        ensure!(one == two, "{:?}", one.differences(&two));
        Ok(())
    }
}
