//! Room that a server keeps for its next start.
//!
//! Owns a file of no content in the data directory. Databases need a little room to be opened, also
//! for reading, and a disk that filled up while the server was off would keep it from starting. Then
//! the file gives its room up; it is made again once there is plenty, and when the server stops. It
//! must not know what needs the room.

use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Room that a start needs: shared memory of two databases, their logs, and what recovery indexes.
pub(super) const START_BYTES: u64 = 4 * 1024 * 1024;
/// Free room from which on the file is made by a running server, which may need the last itself.
const PLENTY_BYTES: u64 = 64 * 1024 * 1024;

/// The file that holds the room.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    data: PathBuf,
    path: PathBuf,
}

impl Reserve {
    pub(super) fn of(data: &Path) -> Self {
        Self { data: data.to_owned(), path: data.join("reserve") }
    }

    /// Gives the room up if a start needs it; returns whether it did.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn release_if_needed(&self) -> io::Result<bool> {
        if self.free_bytes()? >= START_BYTES {
            return Ok(false);
        }
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the room if there is plenty.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.free_bytes()? < PLENTY_BYTES { Ok(()) } else { self.take() }
    }

    /// Takes the room if there is just enough: nobody else needs it, the server has stopped.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn keep_for_next_start(&self) -> io::Result<()> {
        if self.free_bytes()? < START_BYTES { Ok(()) } else { self.take() }
    }

    fn take(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        if file.metadata()?.len() >= START_BYTES {
            return Ok(());
        }
        match fallocate(&file, FallocateFlags::empty(), 0, START_BYTES) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Half of it helps nobody, and without it a start is as good as it was before.
                fs::remove_file(&self.path)?;
                let is_told = [Errno::NOSPC, Errno::OPNOTSUPP].contains(&error);
                if is_told { Ok(()) } else { Err(error.into()) }
            }
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let StatVfs { f_bavail, f_frsize, .. } = statvfs(&self.data)?;
        Ok(f_bavail.saturating_mul(f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_and_given_up_only_when_it_is_needed() {
        let data = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(data.path());
        if reserve.free_bytes().unwrap() < 2 * PLENTY_BYTES {
            println!("left out: this disk is nearly full itself");
            return;
        }
        for _ in 0..2 {
            reserve.keep().unwrap();
            assert_eq!(fs::metadata(&reserve.path).unwrap().len(), START_BYTES);
        }
        assert!(!reserve.release_if_needed().unwrap());
        assert!(reserve.path.exists());
        fs::remove_file(&reserve.path).unwrap();
        reserve.keep_for_next_start().unwrap();
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), START_BYTES);
    }
}
