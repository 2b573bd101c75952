//! Whether anybody holds a file open for writing, asked by taking a read lease on it.
//!
//! The kernel grants a read lease only while no descriptor and no shared mapping of the file can
//! write (fcntl(2), `F_SETLEASE`). rustix has no call for leases, so the two `fcntl` calls here
//! are the only unsafe code of the project. They pass plain integers and a borrowed, hence open,
//! descriptor; no memory is shared with the kernel.
#![allow(unsafe_code)]

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// `F_SETSIG` of asm-generic/fcntl.h, which the libc crate does not name.
const F_SETSIG: libc::c_int = 10;

/// A read lease; given back when it is dropped.
///
/// A writer that comes while the lease is held waits until it is given back, so it must not be
/// held for longer than a few system calls. The kernel then sends `SIGIO`, which would end a
/// process that does not expect it; the lease is set to send `SIGURG` instead, which is ignored
/// unless somebody asks for it.
#[derive(Debug)]
pub(crate) struct ReadLease<'a> {
    file: BorrowedFd<'a>,
}

impl<'a> ReadLease<'a> {
    /// Takes a lease on a regular file that is open read-only; `None` if a writer has it open.
    ///
    /// # Errors
    /// `OPNOTSUPP` where the filesystem has no leases, `ACCESS` for a file of another user.
    pub(crate) fn take(file: BorrowedFd<'a>) -> Result<Option<Self>, Errno> {
        fcntl(file, F_SETSIG, libc::SIGURG)?;
        match fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) {
            Ok(()) => Ok(Some(Self { file })),
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INVAL | Errno::NOLCK | Errno::NOSYS) => Err(Errno::OPNOTSUPP),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for ReadLease<'_> {
    fn drop(&mut self) {
        // Giving back what was granted fails only if the kernel took it back already, after the
        // minute that a writer waits at most.
        let _given_back = fcntl(self.file, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn fcntl(file: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and the commands used here
    // take an integer, so the kernel reads and writes no memory of ours.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::fs::{File, OpenOptions};

    #[test]
    fn a_writer_that_comes_during_a_lease_does_not_end_this_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        let file = File::open(&path).unwrap();
        let lease = ReadLease::take(file.as_fd()).unwrap().unwrap();
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || OpenOptions::new().write(true).open(path).map(drop))
        };
        // F_GETLEASE shows the kernel asking for the lease: the signal has been sent by then.
        let broken = || unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) } != libc::F_RDLCK;
        while !broken() {
            std::thread::yield_now();
        }
        drop(lease);
        writer.join().unwrap().unwrap();
        assert!(ReadLease::take(file.as_fd()).unwrap().is_some());
    }
}
