//! Changing what is in a directory that its owner may not write to.
//!
//! Owns the moment in which such a directory is writable: what others keep in a read-only directory
//! (a module cache, say) has to be made here all the same, and a plain user may not do that as long
//! as the directory has its mode. A crash in that moment leaves it writable, which then counts as a
//! change of mode by its user.

use super::attributes::change_mode;
use super::look::stat_handle;
use crate::fs::stat::Kind;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Does `act`; if that is denied, does it once more with the owner's rights given to those of
/// `directories` that lack them, and takes these back. Only the owner of a directory can.
pub(super) fn unlocking<T>(
    directories: impl FnOnce() -> Vec<OwnedFd>,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match act() {
        Err(Errno::ACCESS) => {}
        result => return result,
    }
    let mut opened = Vec::new();
    for directory in directories() {
        let mode = stat_handle(directory.as_fd())?.mode;
        if mode & 0o200 == 0
            && change_mode(directory.as_fd(), mode | 0o700, Kind::Directory).is_ok()
        {
            opened.push((directory, mode));
        }
    }
    if opened.is_empty() {
        return Err(Errno::ACCESS);
    }
    let result = act();
    for (directory, mode) in opened {
        if let Err(errno) = change_mode(directory.as_fd(), mode, Kind::Directory) {
            tracing::warn!(%errno, "a read-only directory stays writable");
        }
    }
    result
}

/// A handle of what `name` is in `parent`, if that is a directory.
pub(super) fn directory_at(parent: &OwnedFd, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).ok()
}

/// Another handle of the same directory.
pub(super) fn same(directory: &OwnedFd) -> Option<OwnedFd> {
    directory.try_clone().ok()
}
