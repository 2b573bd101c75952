//! Setting mode and mtime of what is at a path, only if it is what the caller saw.
//!
//! Owns the way from a checked handle to its attributes. The handle is opened with `O_PATH`,
//! checked, and the attributes are set through it, so that nothing else can be hit.

use super::DiskFs;
use super::file::mtime_only;
use super::look::stat_handle;
use crate::fs::error::{At, FsError};
use crate::fs::lease::ReadLease;
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Stat};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Bits above the nine that a directory keeps: setgid and sticky.
const DIRECTORY_KEEPS: u32 = 0o3000;

impl DiskFs {
    /// See [`crate::fs::Swap::set_attributes`].
    pub(super) fn set_path_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        if mode.is_some() && expected.kind == Kind::Symlink {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&parent, name, flags, Mode::empty()).at(path)?;
        // Without a lease, a write between the check and the new mtime would leave no trace.
        let readable = match (mtime_ns, expected.kind) {
            (Some(_), Kind::File) => self.open_for_lease(path)?,
            _ => None,
        };
        let _lease = match &readable {
            Some(file) => take_lease(file.as_fd(), path)?,
            None => None,
        };
        let leased = readable.as_ref().map_or(handle.as_fd(), AsFd::as_fd);
        let is_same = stat_handle(leased).at(path)?.same_inode(expected);
        if !is_same || !stat_handle(handle.as_fd()).at(path)?.untouched(expected) {
            return Err(FsError::Changed { path: path.clone() });
        }
        if let Some(mode) = mode {
            change_mode(handle.as_fd(), mode, expected.kind).at(path)?;
        }
        if let Some(mtime_ns) = mtime_ns {
            change_mtime(handle.as_fd(), mtime_ns).at(path)?;
        }
        stat_handle(handle.as_fd()).at(path)
    }

    /// A readable handle; `None` for a file that we may not read.
    fn open_for_lease(&self, path: &RelPath) -> Result<Option<OwnedFd>, FsError> {
        match self.open_regular(path) {
            Ok(handle) => Ok(Some(handle)),
            Err(FsError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Takes a lease where the filesystem has them; a writer is an error.
fn take_lease<'a>(file: BorrowedFd<'a>, path: &RelPath) -> Result<Option<ReadLease<'a>>, FsError> {
    match ReadLease::take(file) {
        Ok(Some(lease)) => Ok(Some(lease)),
        Ok(None) => Err(FsError::Busy { path: path.clone() }),
        Err(Errno::OPNOTSUPP | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(FsError::new(path, errno)),
    }
}

pub(super) fn change_mode(handle: BorrowedFd<'_>, mode: u16, kind: Kind) -> Result<(), Errno> {
    let keeps = if kind == Kind::Directory { DIRECTORY_KEEPS } else { 0 };
    let kept = rustix::fs::fstat(handle)?.st_mode & keeps;
    let mode = Mode::from_raw_mode(u32::from(mode & 0o777) | kept);
    // fchmod refuses an O_PATH handle; the magic link leads to exactly its inode.
    rustix::fs::chmod(magic_link(handle), mode)
}

fn change_mtime(handle: BorrowedFd<'_>, mtime_ns: i64) -> Result<(), Errno> {
    let times = mtime_only(mtime_ns);
    match rustix::fs::utimensat(handle, "", &times, AtFlags::EMPTY_PATH) {
        // Kernels before 5.8 know no empty path here.
        Err(Errno::INVAL | Errno::NOENT) => {
            rustix::fs::utimensat(CWD, magic_link(handle), &times, AtFlags::empty())
        }
        result => result,
    }
}

fn magic_link(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// Gives a directory just made its exact mode, past the umask.
pub(super) fn set_directory_mode(
    parent: BorrowedFd<'_>,
    name: &str,
    mode: u16,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let kept = rustix::fs::fstat(&handle)?.st_mode & DIRECTORY_KEEPS;
    rustix::fs::fchmod(&handle, Mode::from_raw_mode(u32::from(mode & 0o777) | kept))
}
