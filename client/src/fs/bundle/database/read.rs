//! A database with a log, open as the file that it will be when the log is merged into it.
//!
//! Owns the overlay: each page comes from the log if a committed frame has it, from the database
//! otherwise. What is committed while it is read is added to the log, and changes nothing of what was
//! there before; whatever else changes is told by the looks of whoever reads: before and after they must
//! be the same.

use super::log::{HEADER_BYTES, Log, Source, read_header};
use super::merged;
use crate::fs::error::FsError;
use crate::fs::path::RelPath;
use crate::fs::stat::Stat;
use crate::fs::traits::{Fs, ReadFile};

/// What was seen of a database and its log when it was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) database: Stat,
    pub(super) wal: Stat,
    header: [u8; HEADER_BYTES],
}

impl Moment {
    /// Whether all that was committed then is still where it was, though more may follow it: the
    /// database has not been touched, and the log not been begun anew.
    pub(super) fn is_kept(
        &self,
        database: &Stat,
        wal: &Stat,
        log: &dyn ReadFile,
    ) -> Result<bool, FsError> {
        Ok(database.untouched(&self.database)
            && wal.same_inode(&self.wal)
            && wal.size >= self.wal.size
            && read_header(log)? == self.header)
    }
}

/// The pages of a database, the newest committed ones as of when it was opened.
pub(super) struct DatabaseFile {
    path: RelPath,
    file: Box<dyn ReadFile>,
    wal: Box<dyn ReadFile>,
    log: Log,
    moment: Moment,
    /// Bytes of content.
    size: u64,
}

impl DatabaseFile {
    /// Opens a database, which must be what was seen of it, and its log.
    ///
    /// # Errors
    /// [`FsError::Changed`] if it is not or is being changed, and those of opening and reading.
    pub(super) fn open(
        fs: &dyn Fs,
        [path, beside]: [&RelPath; 2],
        [database, wal]: [&Stat; 2],
    ) -> Result<Self, FsError> {
        let changed = || FsError::Changed { path: path.clone() };
        let (file, log_file) = (fs.open(path)?, fs.open(beside)?);
        let seen = log_file.stat()?;
        if !seen.same_inode(wal) {
            return Err(changed());
        }
        let header = read_header(log_file.as_ref())?;
        let moment = Moment { database: *database, wal: seen, header };
        let log = Log::read(log_file.as_ref(), seen.size, beside)?;
        if !moment.is_kept(&file.stat()?, &log_file.stat()?, log_file.as_ref())? {
            return Err(changed());
        }
        let size = log.content_bytes().unwrap_or(database.size);
        Ok(Self { path: path.clone(), file, wal: log_file, log, moment, size })
    }

    pub(super) fn moment(&self) -> &Moment {
        &self.moment
    }

    /// How it looked when it was opened.
    pub(super) fn opened(&self) -> Stat {
        merged(&self.moment.database, &self.moment.wal, self.size)
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
            Source::Database(length) if offset >= self.moment.database.size => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                buffer.get_mut(..length).ok_or_else(changed)?.fill(0);
                return Ok(length);
            }
            Source::Database(length) => {
                (&self.file, offset, length.min(self.moment.database.size - offset))
            }
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
        let (database, wal) = (self.file.stat()?, self.wal.stat()?);
        if self.moment.is_kept(&database, &wal, self.wal.as_ref())? {
            return Ok(self.opened());
        }
        Err(FsError::Changed { path: self.path.clone() })
    }

    fn sync(&self) -> Result<(), FsError> {
        self.wal.sync()?;
        self.file.sync()
    }
}
