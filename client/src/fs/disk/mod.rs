//! A root on a real disk, reached through directory handles alone.
//!
//! Owns the handle of the root. Each operation opens the directory that holds its path
//! (`resolve`) and works on the last name with `*at` calls, so that a directory swapped for a
//! symlink at any moment leads nowhere. It keeps no other state and may be used by many threads.
//!
//! Holding the handle keeps the root's filesystem from being unmounted; a daemon that stops
//! syncing a folder drops its `DiskFs`.

mod attributes;
mod file;
mod look;
mod resolve;
mod root;
mod swap;
mod unlock;

#[cfg(test)]
mod hostile;

use super::error::{At, FsError};
use super::path::RelPath;
use super::stat::RootIdentity;
use resolve::Resolver;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// How directories below the root are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// `openat2` where the kernel lets us, else [`Resolution::Walk`].
    Kernel,
    /// One `openat` with `O_NOFOLLOW` for each name. A bind mount of the root's own filesystem
    /// is not noticed in this way; all else is as with `openat2`.
    Walk,
}

/// A root on disk.
#[derive(Debug)]
pub struct DiskFs {
    root: OwnedFd,
    path: PathBuf,
    identity: RootIdentity,
    resolver: Resolver,
}

impl DiskFs {
    /// Opens a directory as a root. Symlinks in the root's own path are followed, as its owner
    /// wrote them.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::Denied`] and the like, all
    /// for the root.
    pub fn open(root: &Path) -> Result<Self, FsError> {
        Self::open_with(root, Resolution::Kernel)
    }

    /// As [`DiskFs::open`], with the way of opening directories chosen.
    ///
    /// # Errors
    /// As [`DiskFs::open`].
    pub fn open_with(root: &Path, resolution: Resolution) -> Result<Self, FsError> {
        let at = RelPath::root();
        let absolute = std::path::absolute(root).map_err(|error| {
            FsError::new(&at, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        let handle = open_root(&absolute).at(&at)?;
        let stat = look::stat_handle(handle.as_fd()).at(&at)?;
        let identity = RootIdentity { device: stat.device, inode: stat.inode };
        let resolver = Resolver::new(resolution, stat.device, handle.as_fd());
        Ok(Self { root: handle, path: absolute, identity, resolver })
    }

    /// The root's own path, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory that holds `path`, and gives the last name.
    fn parent<'a>(&self, path: &'a RelPath) -> Result<(OwnedFd, &'a str), FsError> {
        let mut components: Vec<&str> = path.components().collect();
        let Some(name) = components.pop() else {
            return Err(FsError::Misplaced { path: path.clone() });
        };
        let handle = self.resolver.open(self.root.as_fd(), &components, OFlags::PATH).at(path)?;
        Ok((handle, name))
    }

    /// Opens `path` itself as a directory, with `access` being `PATH` or `RDONLY`.
    fn directory(&self, path: &RelPath, access: OFlags) -> Result<OwnedFd, FsError> {
        let components: Vec<&str> = path.components().collect();
        self.resolver.open(self.root.as_fd(), &components, access).at(path)
    }
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
