//! The root as a whole on a disk: marker, durability, room, boot id.
//!
//! Owns [`Root`] for [`DiskFs`] and the choice between syncing paths one by one and `syncfs`.

use super::DiskFs;
use super::file::read_full;
use super::look::{stat_at, stat_handle};
use super::open_root;
use crate::fs::error::{At, FsError};
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{FreeSpace, Kind, RootIdentity};
use crate::fs::traits::{Look, MARKER_BYTES_MAX, Root, SYNC_EACH_MAX};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;

/// The marker's name in `.driftless`.
const MARKER: &str = "root";
/// That name as only a disk that ignores case finds it.
const MARKER_CAPITALS: &[u8] = b"ROOT";
/// The name under which a marker is written first.
const MARKER_NEW: &str = "root.new";
/// Where Linux tells its boot id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Root for DiskFs {
    fn init_root(&self, marker: &[u8]) -> Result<(), FsError> {
        let at = RelPath::root();
        if marker.len() > MARKER_BYTES_MAX {
            return Err(FsError::Misplaced { path: at });
        }
        make_directory(&self.root, common::name::PRIVATE_DIRECTORY).at(&at)?;
        let private = self.open_private(OFlags::RDONLY).at(&at)?;
        for area in Area::PRIVATE {
            if let Some(name) = area.directory() {
                make_directory(&private, name).at(&RelPath::area_root(area))?;
                self.directory(&RelPath::area_root(area), OFlags::PATH)?;
            }
        }
        match read_marker_in(&private).at(&at)? {
            Some(there) if there == marker => {}
            Some(_) => return Err(FsError::new(&at, Errno::EXIST)),
            None => write_marker(&private, marker).at(&at)?,
        }
        rustix::fs::fsync(&private).at(&at)?;
        rustix::fs::fsync(&self.root).at(&at)
    }

    fn read_marker(&self) -> Result<Option<Vec<u8>>, FsError> {
        let gone = |errno: Errno| FsError::RootGone { source: Some(io::Error::from(errno)) };
        let there = open_root(&self.path).map_err(gone)?;
        let stat = stat_handle(there.as_fd()).map_err(gone)?;
        if self.identity != (RootIdentity { device: stat.device, inode: stat.inode }) {
            return Err(FsError::RootGone { source: None });
        }
        let at = RelPath::root();
        match self.open_private(OFlags::PATH) {
            Ok(private) => read_marker_in(&private).at(&at),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FsError::new(&at, errno)),
        }
    }

    fn identity(&self) -> RootIdentity {
        self.identity
    }

    fn sync(&self, paths: &[RelPath]) -> Result<(), FsError> {
        if paths.len() > SYNC_EACH_MAX || !self.sync_each(paths)? {
            return rustix::fs::syncfs(&self.root).at(&RelPath::root());
        }
        Ok(())
    }

    fn free_space(&self) -> Result<FreeSpace, FsError> {
        let found = rustix::fs::fstatvfs(&self.root).at(&RelPath::root())?;
        Ok(FreeSpace {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_inodes: (found.f_files > 0).then_some(found.f_favail),
        })
    }

    fn folds_names(&self) -> bool {
        // The marker is always there: does its name in capitals lead to it too?
        let private = self.open_private(OFlags::PATH);
        private.is_ok_and(|private| stat_at(private.as_fd(), MARKER_CAPITALS).is_ok())
    }

    fn boot_id(&self) -> Result<String, FsError> {
        let text = std::fs::read_to_string(BOOT_ID)
            .map_err(|source| FsError::Io { path: RelPath::root(), source })?;
        Ok(text.trim().to_owned())
    }
}

impl DiskFs {
    /// Syncs files and then their directories one by one; `false` if one may not be opened, so
    /// that only `syncfs` is left.
    ///
    /// `fsync`, not `fdatasync`: they cost the same for a file that grew, and mode and mtime must
    /// not come back as an edit after a power cut.
    fn sync_each(&self, paths: &[RelPath]) -> Result<bool, FsError> {
        let mut directories = BTreeSet::new();
        for path in paths {
            match self.sync_content(path, &mut directories) {
                Ok(()) => {}
                Err(FsError::Denied { .. }) => return Ok(false),
                Err(error) if error.is_stale_view() => {
                    directories.extend(self.nearest_directory(path)?);
                }
                Err(error) => return Err(error),
            }
        }
        for directory in directories {
            match self.directory(&directory, OFlags::RDONLY) {
                Ok(handle) => rustix::fs::fsync(&handle).at(&directory)?,
                // Its entries went with it; whoever removed it names its parent.
                Err(error) if error.is_stale_view() => {}
                Err(FsError::Denied { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn sync_content(
        &self,
        path: &RelPath,
        directories: &mut BTreeSet<RelPath>,
    ) -> Result<(), FsError> {
        match self.stat(path)?.kind {
            Kind::File => {
                let handle = self.open_regular(path)?;
                rustix::fs::fsync(&handle).at(path)?;
            }
            Kind::Directory => {
                directories.insert(path.clone());
            }
            Kind::Symlink | Kind::Other => {}
        }
        directories.extend(path.parent());
        Ok(())
    }

    /// The closest directory above a path that is there.
    fn nearest_directory(&self, path: &RelPath) -> Result<Option<RelPath>, FsError> {
        let mut above = path.parent();
        while let Some(directory) = above {
            match self.directory(&directory, OFlags::PATH) {
                Ok(_) => return Ok(Some(directory)),
                Err(error) if error.is_stale_view() => above = directory.parent(),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn make_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn read_marker_in(private: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(private, MARKER, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if stat_handle(handle.as_fd())?.kind != Kind::File {
        return Err(Errno::ISDIR);
    }
    let mut bytes = vec![0; MARKER_BYTES_MAX + 1];
    let length = read_full(handle.as_fd(), 0, &mut bytes)?;
    if length > MARKER_BYTES_MAX {
        return Err(Errno::INVAL);
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

fn write_marker(private: &OwnedFd, marker: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(private, MARKER_NEW, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(private, MARKER_NEW, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = marker;
    while !rest.is_empty() {
        match rustix::io::write(&handle, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::fsync(&handle)?;
    match rustix::fs::renameat_with(private, MARKER_NEW, private, MARKER, RenameFlags::NOREPLACE) {
        // No such flag on this filesystem. Nobody else makes markers, and none was there.
        Err(Errno::INVAL) => rustix::fs::renameat(private, MARKER_NEW, private, MARKER),
        result => result,
    }
}
