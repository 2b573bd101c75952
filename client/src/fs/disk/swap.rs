//! Staging, swapping and removing on a disk.
//!
//! Owns [`Swap`] for [`DiskFs`]. Whatever could lose a user's file is one system call here, and
//! one that refuses rather than replaces.

use super::DiskFs;
use super::attributes::{change_mode, set_directory_mode};
use super::file::{DiskStaged, mtime_only};
use super::look::{require_file, stat_at, stat_handle};
use super::unlock::{directory_at, same, unlocking};
use crate::fs::error::{At, FsError, require_apart};
use crate::fs::lease::ReadLease;
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{Kind, Stat};
use crate::fs::traits::{StagedFile, Swap};
use common::name::{Name, PRIVATE_DIRECTORY};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// A file in staging is its owner's to read and write until it has its last mode.
const STAGED_MODE: u16 = 0o600;

impl Swap for DiskFs {
    fn stage(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        let path = RelPath::inside(Area::Staging, name.clone());
        let (parent, last) = self.target_parent(&path)?;
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(STAGED_MODE.into());
        let handle = rustix::fs::openat(&parent, last, flags, mode).at(&path)?;
        Ok(Box::new(DiskStaged::new(handle, path)))
    }

    fn reopen(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        let path = RelPath::inside(Area::Staging, name.clone());
        let (parent, last) = self.parent(&path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let seen = rustix::fs::openat(&parent, last, flags, Mode::empty()).at(&path)?;
        let before = stat_handle(seen.as_fd()).at(&path)?;
        require_own_file(&before, &path)?;
        // It may have its last mode already, which need not let its owner write.
        change_mode(seen.as_fd(), STAGED_MODE, Kind::File).at(&path)?;
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&parent, last, flags, Mode::empty()).at(&path)?;
        let now = stat_handle(handle.as_fd()).at(&path)?;
        if !now.same_inode(&before) {
            return Err(FsError::Changed { path });
        }
        require_own_file(&now, &path)?;
        Ok(Box::new(DiskStaged::new(handle, path)))
    }

    fn make_directory(&self, path: &RelPath, mode: u16) -> Result<(), FsError> {
        let (parent, name) = self.target_parent(path)?;
        let held = || same(&parent).into_iter().collect();
        unlocking(held, || rustix::fs::mkdirat(&parent, name, Mode::RWXU)).at(path)?;
        set_directory_mode(parent.as_fd(), name, mode).at(path)
    }

    fn make_symlink(&self, path: &RelPath, target: &[u8], mtime_ns: i64) -> Result<(), FsError> {
        if !path.is_private() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = self.target_parent(path)?;
        rustix::fs::symlinkat(target, &parent, name).at(path)?;
        let times = mtime_only(mtime_ns);
        rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).at(path)
    }

    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        if !to.is_private() {
            return Err(FsError::Misplaced { path: to.clone() });
        }
        let (from_parent, from_name) = self.parent(from)?;
        require_file(&stat_at(from_parent.as_fd(), from_name.as_bytes()).at(from)?, from)?;
        let (to_parent, to_name) = self.target_parent(to)?;
        // A symlink that takes the file's place meanwhile is linked itself, and seen to be one.
        match rustix::fs::linkat(&from_parent, from_name, &to_parent, to_name, AtFlags::empty()) {
            Err(Errno::EXIST) => Err(FsError::new(to, Errno::EXIST)),
            result => result.at(from),
        }
    }

    fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        require_apart(from, to)?;
        self.rename(from, to, RenameFlags::NOREPLACE)
    }

    fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError> {
        require_apart(one, two)?;
        require_apart(two, one)?;
        self.rename(one, two, RenameFlags::EXCHANGE)
    }

    fn remove(&self, path: &RelPath) -> Result<(), FsError> {
        if !path.is_private() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = self.parent(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).at(path)
    }

    fn remove_directory(&self, path: &RelPath) -> Result<(), FsError> {
        if path.is_root() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = self.parent(path)?;
        let held = || same(&parent).into_iter().collect();
        match unlocking(held, || rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)) {
            // POSIX lets a system say either.
            Err(Errno::EXIST) => Err(FsError::new(path, Errno::NOTEMPTY)),
            result => result.at(path),
        }
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        self.set_path_attributes(path, expected, mode, mtime_ns)
    }

    fn writer_absent(&self, displaced: &RelPath) -> Result<bool, FsError> {
        let (parent, name) = self.parent(displaced)?;
        match stat_at(parent.as_fd(), name.as_bytes()).at(displaced)?.kind {
            Kind::Directory | Kind::Symlink => Ok(true),
            Kind::File | Kind::Other => {
                let handle = self.open_regular(displaced)?;
                let lease = ReadLease::take(handle.as_fd()).at(displaced)?;
                Ok(lease.is_some())
            }
        }
    }
}

/// A regular file without another name.
fn require_own_file(stat: &Stat, path: &RelPath) -> Result<(), FsError> {
    require_file(stat, path)?;
    if stat.nlink == 1 { Ok(()) } else { Err(FsError::Changed { path: path.clone() }) }
}

impl DiskFs {
    /// As `parent`, for a path at which something is to appear: an area that was removed is made
    /// again, so long as `.driftless` itself is there.
    fn target_parent<'a>(&self, path: &'a RelPath) -> Result<(OwnedFd, &'a str), FsError> {
        if path.is_root() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        match (self.parent(path), path.area().directory()) {
            (Err(FsError::NotFound { .. }), Some(area)) if path.names().len() == 1 => {
                let private = self.open_private(OFlags::PATH).at(path)?;
                match rustix::fs::mkdirat(&private, area, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => self.parent(path),
                    Err(errno) => Err(FsError::new(path, errno)),
                }
            }
            (result, _) => result,
        }
    }

    /// Opens `.driftless`.
    pub(super) fn open_private(&self, access: OFlags) -> Result<OwnedFd, Errno> {
        self.resolver.open(self.root.as_fd(), &[PRIVATE_DIRECTORY], access)
    }

    fn rename(&self, from: &RelPath, to: &RelPath, flags: RenameFlags) -> Result<(), FsError> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.target_parent(to)?;
        // A directory that gets another parent is written to itself.
        let held = || {
            let parents = [same(&from_parent), same(&to_parent)];
            let moved = [directory_at(&from_parent, from_name), directory_at(&to_parent, to_name)];
            parents.into_iter().chain(moved).flatten().collect()
        };
        let renamed = unlocking(held, || {
            rustix::fs::renameat_with(&from_parent, from_name, &to_parent, to_name, flags)
        });
        match renamed {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(FsError::new(to, Errno::EXIST)),
            // The flag is unknown to this filesystem; moves into itself were refused before.
            Err(Errno::INVAL) => Err(FsError::new(from, Errno::OPNOTSUPP)),
            Err(errno @ (Errno::NAMETOOLONG | Errno::ILSEQ)) => Err(FsError::new(to, errno)),
            Err(Errno::NOENT) => {
                let from_is_there = stat_at(from_parent.as_fd(), from_name.as_bytes()).is_ok();
                Err(FsError::new(if from_is_there { to } else { from }, Errno::NOENT))
            }
            Err(errno) => Err(FsError::new(from, errno)),
        }
    }
}
