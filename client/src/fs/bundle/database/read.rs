//! A database with a log, open as the file that it will be when the log is merged into it.
//!
//! Owns the overlay: each page comes from the log if a committed frame has it, from the database
//! otherwise. What changes meanwhile is told by the looks of whoever reads: before and after they must
//! be the same.

use super::log::{Log, Source};
use super::merged;
use crate::fs::error::FsError;
use crate::fs::path::RelPath;
use crate::fs::stat::Stat;
use crate::fs::traits::{Fs, ReadFile};

/// The pages of a database, the newest committed ones.
pub(super) struct DatabaseFile {
    path: RelPath,
    file: Box<dyn ReadFile>,
    wal: Box<dyn ReadFile>,
    log: Log,
    /// Bytes of content.
    size: u64,
    /// Bytes of the database itself.
    held: u64,
}

impl DatabaseFile {
    /// Opens a database and its log, which must be what was seen of them.
    ///
    /// # Errors
    /// [`FsError::Changed`] if they are not, and those of opening and reading.
    pub(super) fn open(
        fs: &dyn Fs,
        paths: [&RelPath; 2],
        seen: [&Stat; 2],
    ) -> Result<Self, FsError> {
        let [path, beside] = paths;
        let (file, wal) = (fs.open(path)?, fs.open(beside)?);
        let is_as_seen =
            || Ok::<_, FsError>(file.stat()?.untouched(seen[0]) && wal.stat()?.untouched(seen[1]));
        let changed = || FsError::Changed { path: path.clone() };
        if !is_as_seen()? {
            return Err(changed());
        }
        let log = Log::read(wal.as_ref(), beside)?;
        if !is_as_seen()? {
            return Err(changed());
        }
        let held = seen[0].size;
        let size = log.content_bytes().unwrap_or(held);
        Ok(Self { path: path.clone(), file, wal, log, size, held })
    }

    /// Bytes of the database by its log, if that has a commit.
    pub(super) fn logged_bytes(&self) -> Option<u64> {
        self.log.content_bytes()
    }

    /// Reads some of what is at an offset below the end.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        let changed = || FsError::Changed { path: self.path.clone() };
        let left = (self.size - offset).min(buffer.len() as u64);
        let (file, at, length) = match self.log.source(offset, left) {
            Source::Log(at, length) => (&self.wal, at, length),
            // Pages that nobody has written yet: that of SQLite's locks, at 1 GiB, never is.
            Source::Database(length) if offset >= self.held => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                buffer.get_mut(..length).ok_or_else(changed)?.fill(0);
                return Ok(length);
            }
            Source::Database(length) => (&self.file, offset, length.min(self.held - offset)),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let room = buffer.get_mut(..length).ok_or_else(changed)?;
        // One that has become shorter.
        if file.read_at(at, room)? == length { Ok(length) } else { Err(changed()) }
    }
}

impl ReadFile for DatabaseFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        let mut filled = 0;
        while filled < buffer.len() && offset.saturating_add(filled as u64) < self.size {
            filled += self.read_some(offset + filled as u64, &mut buffer[filled..])?;
        }
        Ok(filled)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        Ok(merged(&self.file.stat()?, &self.wal.stat()?, self.size))
    }

    fn sync(&self) -> Result<(), FsError> {
        self.wal.sync()?;
        self.file.sync()
    }
}
