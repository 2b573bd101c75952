//! Listing, looking and opening on a disk.
//!
//! Owns [`Look`] for [`DiskFs`]. It changes nothing, not even access times where it may.

use super::DiskFs;
use super::file::DiskFile;
use crate::fs::error::{At, FsError};
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Listed, Listing, Stat};
use crate::fs::traits::{Look, ReadFile};
use common::limits::SYMLINK_BYTES_MAX;
use common::name::PRIVATE_DIRECTORY;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// Times that a directory which changes meanwhile is listed before it is called unsteady.
const LISTINGS_MAX: u32 = 4;

impl Look for DiskFs {
    fn list(&self, directory: &RelPath) -> Result<Listing, FsError> {
        let handle = self.directory(directory, OFlags::RDONLY)?;
        let mut listings = 1;
        loop {
            let listing = list_once(handle.as_fd(), *directory == RelPath::root()).at(directory)?;
            if listing.steady || listings == LISTINGS_MAX {
                return Ok(listing);
            }
            listings += 1;
        }
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, FsError> {
        if path.is_root() {
            let handle = self.directory(path, OFlags::PATH)?;
            return stat_handle(handle.as_fd()).at(path);
        }
        let (parent, name) = self.parent(path)?;
        stat_at(parent.as_fd(), name.as_bytes()).at(path)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, FsError> {
        let (parent, name) = self.parent(path)?;
        let stat = stat_at(parent.as_fd(), name.as_bytes()).at(path)?;
        if stat.kind != Kind::Symlink {
            return Err(FsError::new(path, Errno::ISDIR));
        }
        if usize::try_from(stat.size).is_ok_and(|size| size > SYMLINK_BYTES_MAX) {
            return Err(FsError::new(path, Errno::NAMETOOLONG));
        }
        let target = rustix::fs::readlinkat(&parent, name, Vec::with_capacity(256)).at(path)?;
        if target.as_bytes().len() > SYMLINK_BYTES_MAX {
            return Err(FsError::new(path, Errno::NAMETOOLONG));
        }
        Ok(target.into_bytes())
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError> {
        let handle = self.open_regular(path)?;
        Ok(Box::new(DiskFile::new(handle, path.clone())))
    }
}

impl DiskFs {
    /// Opens a regular file read-only, without waiting and without touching a device.
    pub(super) fn open_regular(&self, path: &RelPath) -> Result<OwnedFd, FsError> {
        let (parent, name) = self.parent(path)?;
        // Opening a device may have effects (a tape rewinds), so look first.
        require_file(&stat_at(parent.as_fd(), name.as_bytes()).at(path)?, path)?;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let quiet = flags | OFlags::NOATIME;
        let handle = match open_retrying(parent.as_fd(), name, quiet) {
            // Only a file's owner may read it without leaving an access time.
            Err(Errno::PERM) => open_retrying(parent.as_fd(), name, flags),
            result => result,
        }
        .at(path)?;
        require_file(&stat_handle(handle.as_fd()).at(path)?, path)?;
        Ok(handle)
    }
}

/// Refuses anything but a regular file.
pub(super) fn require_file(stat: &Stat, path: &RelPath) -> Result<(), FsError> {
    match stat.kind {
        Kind::File => Ok(()),
        Kind::Symlink | Kind::Directory | Kind::Other => Err(FsError::new(path, Errno::ISDIR)),
    }
}

fn open_retrying(parent: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn list_once(handle: BorrowedFd<'_>, is_root: bool) -> Result<Listing, Errno> {
    let before = stat_handle(handle)?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    for entry in Dir::read_from(handle)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let own = is_root && name == PRIVATE_DIRECTORY.as_bytes();
        if name != b"." && name != b".." && !own {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    let mut steady = true;
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        match stat_at(handle, &name) {
            Ok(stat) => entries.push(Listed { name, stat }),
            // Gone since it was read: perhaps renamed to a name that was read past already.
            Err(Errno::NOENT) => steady = false,
            Err(errno) => return Err(errno),
        }
    }
    let after = stat_handle(handle)?;
    steady &= before.ctime_ns == after.ctime_ns && before.mtime_ns == after.mtime_ns;
    Ok(Listing { directory: after, entries, steady })
}

/// Looks at a name in a directory; never follows a symlink, never triggers an automount.
pub(super) fn stat_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, flags)
}

/// Looks at what a handle is open on.
pub(super) fn stat_handle(handle: BorrowedFd<'_>) -> Result<Stat, Errno> {
    statx(handle, b"", AtFlags::EMPTY_PATH)
}

fn statx(directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Stat, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    loop {
        match rustix::fs::statx(directory, name, flags, wanted) {
            Err(Errno::INTR) => {}
            result => return result.map(|found| from_statx(&found)),
        }
    }
}

fn from_statx(found: &Statx) -> Stat {
    let mode = u32::from(found.stx_mode);
    let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    Stat {
        kind: match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        },
        size: found.stx_size,
        mtime_ns: nanoseconds(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        ctime_ns: nanoseconds(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        inode: found.stx_ino,
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        mode: found.stx_mode & 0o777,
        nlink: u64::from(found.stx_nlink),
        birth_ns: has_birth.then(|| nanoseconds(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
    }
}

/// Years beyond 2262 are held at the end of the range, so that they still compare as equal.
fn nanoseconds(seconds: i64, nanos: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos))
}
