//! Open files on a disk: one being read, one being staged.
//!
//! Owns [`ReadFile`] and [`StagedFile`] for a disk. An open file stays the same inode whatever
//! happens to its path, and nothing here looks a path up.

use super::look::stat_handle;
use crate::fs::error::{At, FsError};
use crate::fs::path::RelPath;
use crate::fs::stat::Stat;
use crate::fs::traits::{ReadFile, StagedFile};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, FallocateFlags, Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::num::NonZeroU64;

/// A run of so many bytes goes on its way to the disk once it is written: the sync at the end of a
/// large file has little left to wait for.
const WRITE_BACK_BYTES: NonZeroU64 = NonZeroU64::new(4 * 1024 * 1024).unwrap();

/// What `st_blocks` counts in, whatever the filesystem's own blocks are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// A regular file open read-only.
#[derive(Debug)]
pub(super) struct DiskFile {
    handle: OwnedFd,
    path: RelPath,
}

impl DiskFile {
    /// `path` is for errors alone.
    pub(super) fn new(handle: OwnedFd, path: RelPath) -> Self {
        Self { handle, path }
    }
}

impl ReadFile for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        read_full(self.handle.as_fd(), offset, buffer).at(&self.path)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        stat_handle(self.handle.as_fd()).at(&self.path)
    }

    fn sync(&self) -> Result<(), FsError> {
        rustix::fs::fsync(&self.handle).at(&self.path)
    }
}

/// A file in `.driftless/staging` open for reading and writing.
#[derive(Debug)]
pub(super) struct DiskStaged {
    handle: OwnedFd,
    path: RelPath,
}

impl DiskStaged {
    /// `path` is where the file was created.
    pub(super) fn new(handle: OwnedFd, path: RelPath) -> Self {
        Self { handle, path }
    }
}

impl StagedFile for DiskStaged {
    fn path(&self) -> &RelPath {
        &self.path
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::pwrite(&self.handle, &bytes[written..], offset + written as u64) {
                Ok(0) => return Err(FsError::new(&self.path, Errno::IO)),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(FsError::new(&self.path, errno)),
            }
        }
        let run = offset / WRITE_BACK_BYTES;
        if run != (offset + bytes.len() as u64) / WRITE_BACK_BYTES {
            let start = run * WRITE_BACK_BYTES.get();
            // Linux begins to write back what is dirty there (posix_fadvise(2)). Only a hint: whatever
            // becomes of it, the sync tells.
            let length = Some(WRITE_BACK_BYTES);
            let hinted = rustix::fs::fadvise(&self.handle, start, length, Advice::DontNeed);
            if let Err(errno) = hinted {
                tracing::trace!(%errno, "no early write-back");
            }
        }
        Ok(())
    }

    fn preallocate(&self, size: u64) -> Result<(), FsError> {
        if size == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.handle, FallocateFlags::KEEP_SIZE, 0, size) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(()),
            Err(errno) => Err(FsError::new(&self.path, errno)),
        }
    }

    fn held_bytes(&self) -> Result<u64, FsError> {
        let blocks = rustix::fs::fstat(&self.handle).at(&self.path)?.st_blocks;
        Ok(u64::try_from(blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES))
    }

    fn truncate(&self, size: u64) -> Result<(), FsError> {
        rustix::fs::ftruncate(&self.handle, size).at(&self.path)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        read_full(self.handle.as_fd(), offset, buffer).at(&self.path)
    }

    fn set_attributes(&self, mode: u16, mtime_ns: i64) -> Result<(), FsError> {
        let mode = Mode::from_raw_mode(u32::from(mode & 0o777));
        rustix::fs::fchmod(&self.handle, mode).at(&self.path)?;
        rustix::fs::futimens(&self.handle, &mtime_only(mtime_ns)).at(&self.path)
    }

    fn sync(&self) -> Result<(), FsError> {
        rustix::fs::fsync(&self.handle).at(&self.path)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        stat_handle(self.handle.as_fd()).at(&self.path)
    }
}

/// Times that set the mtime and leave the access time alone.
pub(super) fn mtime_only(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(
    handle: BorrowedFd<'_>,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let mut read = 0;
    while read < buffer.len() {
        match rustix::io::pread(handle, &mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(read)
}
