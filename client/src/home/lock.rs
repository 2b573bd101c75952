//! The lock of a home: one daemon at a time.
//!
//! Owns the lock file, which holds the process id for the message of a second daemon. The kernel
//! drops the lock with the process, however it ends.

use super::HomeError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A locked home; dropping it unlocks.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    pub(super) fn take(path: &Path) -> Result<Self, HomeError> {
        let failed = |doing| move |source| HomeError::Io { doing, path: path.to_owned(), source };
        let mut file = open(path).map_err(failed("opening"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::InUse { pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed("locking")(error)),
        }
        // A join that failed takes its lock away: one that nobody finds would keep nobody out.
        if !is_at(&file, path).map_err(failed("finding"))? {
            return Err(HomeError::InUse { pid: None });
        }
        // Only for the message of a second daemon: nothing depends on it.
        write_pid(&mut file).map_err(failed("writing"))?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock: `None` for nobody, `Some(None)` for a process that did not say.
    pub(super) fn holder(path: &Path) -> Result<Option<Option<u32>>, HomeError> {
        let failed = |doing| move |source| HomeError::Io { doing, path: path.to_owned(), source };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opening")(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file))),
            Err(TryLockError::Error(error)) => Err(failed("locking")(error)),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (held, found) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((held.dev(), held.ino()) == (found.dev(), found.ino()))
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    write!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
