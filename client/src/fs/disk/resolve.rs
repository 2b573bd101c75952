//! Opening a directory below the root without ever leaving it.
//!
//! Owns the two ways: `openat2` with `RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV`,
//! and, where a kernel or a container refuses that call, a walk that opens each name with
//! `O_NOFOLLOW`. Both end by comparing `st_dev`, since a btrfs subvolume is no mount but may not
//! be renamed into either; `openat2` alone is enough where one mount is one device.

use super::Resolution;
use super::look;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of names given to one `openat2`; the kernel takes paths of less than 4096.
const RUN_BYTES_MAX: usize = 4000;
/// Times that `openat2` is asked again when it lost a race against a rename elsewhere.
const AGAIN_MAX: u32 = 16;

/// Filesystems that have one device number a mount: ext2 to ext4, XFS, F2FS and tmpfs.
const PLAIN: [u64; 4] = [0xef53, 0x5846_5342, 0xf2f5_2010, 0x0102_1994];

/// Opens directories below one root.
#[derive(Debug)]
pub(super) struct Resolver {
    device: u64,
    /// Whether one mount is known to be one device.
    is_plain: bool,
    walk: AtomicBool,
}

impl Resolver {
    /// For a root on the filesystem `device`.
    pub(super) fn new(resolution: Resolution, device: u64, root: BorrowedFd<'_>) -> Self {
        let kind = rustix::fs::fstatfs(root).map(|found| u64::try_from(found.f_type));
        let is_plain = matches!(kind, Ok(Ok(kind)) if PLAIN.contains(&kind));
        Self { device, is_plain, walk: AtomicBool::new(resolution == Resolution::Walk) }
    }

    /// Opens the directory that the names lead to from `root`. `access` is `PATH` or `RDONLY`.
    ///
    /// `LOOP` means that a symlink was met, `XDEV` that another filesystem was.
    pub(super) fn open(
        &self,
        root: BorrowedFd<'_>,
        names: &[&str],
        access: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let handle = if self.walk.load(Ordering::Relaxed) {
            self.open_by_walk(root, names, access)?
        } else {
            match open_by_kernel(root, names, access) {
                // ENOSYS: before Linux 5.6. EPERM: a container's filter; opening a directory by
                // openat2 gives it in no other case.
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.walk.store(true, Ordering::Relaxed);
                    self.open_by_walk(root, names, access)?
                }
                // NO_XDEV has refused every mount on the way.
                Ok(handle) if self.is_plain => return Ok(handle),
                result => result?,
            }
        };
        self.check_device(handle.as_fd())?;
        Ok(handle)
    }

    fn open_by_walk(
        &self,
        root: BorrowedFd<'_>,
        names: &[&str],
        access: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let Some((last, above)) = names.split_last() else {
            return open_one(root, ".", access);
        };
        let mut handle: Option<OwnedFd> = None;
        for name in above {
            let next = open_one(handle.as_ref().map_or(root, AsFd::as_fd), name, OFlags::PATH)?;
            self.check_device(next.as_fd())?;
            handle = Some(next);
        }
        open_one(handle.as_ref().map_or(root, AsFd::as_fd), last, access)
    }

    fn check_device(&self, handle: BorrowedFd<'_>) -> Result<(), Errno> {
        if look::stat_handle(handle)?.device == self.device { Ok(()) } else { Err(Errno::XDEV) }
    }
}

fn open_by_kernel(root: BorrowedFd<'_>, names: &[&str], access: OFlags) -> Result<OwnedFd, Errno> {
    let mut runs = runs(names);
    let last = runs.pop().unwrap_or_else(|| ".".to_owned());
    let mut handle: Option<OwnedFd> = None;
    for run in runs {
        let from = handle.as_ref().map_or(root, AsFd::as_fd);
        handle = Some(open_run(from, &run, OFlags::PATH)?);
    }
    open_run(handle.as_ref().map_or(root, AsFd::as_fd), &last, access)
}

/// Joins names into as few paths as the kernel takes.
fn runs(names: &[&str]) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    for name in names {
        match runs.last_mut() {
            Some(run) if run.len() + 1 + name.len() <= RUN_BYTES_MAX => {
                run.push('/');
                run.push_str(name);
            }
            _ => runs.push((*name).to_owned()),
        }
    }
    runs
}

fn open_run(from: BorrowedFd<'_>, path: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    // Without O_NOFOLLOW, so that a symlink at the end is LOOP too and not NOTDIR.
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let mut again = 0;
    loop {
        match rustix::fs::openat2(from, path, flags, Mode::empty(), resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if again < AGAIN_MAX => again += 1,
            result => return result,
        }
    }
}

fn open_one(from: BorrowedFd<'_>, name: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            // With O_DIRECTORY a symlink is "not a directory"; callers want to know which.
            Err(Errno::NOTDIR) => {
                let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                return Err(if link { Errno::LOOP } else { Errno::NOTDIR });
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_opened_in_runs_that_the_kernel_takes() {
        let name = "x".repeat(255);
        let names = vec![name.as_str(); 40];
        let runs = runs(&names);
        assert_eq!(runs.len(), 3);
        assert!(runs.iter().all(|run| run.len() <= RUN_BYTES_MAX));
        assert_eq!(runs.join("/"), names.join("/"));
    }
}
