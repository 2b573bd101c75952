//! What stands on the disk and is not synced: special files, mounts, what is ignored, and
//! directories that are kept for what is ignored.
//!
//! Owns how these are told from what is synced. It must not decide what becomes of them.

use crate::context::FolderContext;
use crate::fs::{self, RelPath};
use crate::state::StateError;
use client_core::ignore::IgnoreRules;
use common::name::Name;

/// Why the scanner lists nothing at a path at which something stands; `None` if nothing stands
/// there, or something that it does list.
///
/// # Errors
/// [`StateError`].
pub fn unsynced_at(
    context: &FolderContext,
    ignore: &IgnoreRules,
    path: &RelPath,
) -> Result<Option<&'static str>, StateError> {
    let Ok(stat) = context.fs.stat(path) else { return Ok(None) };
    let is_directory = stat.kind == fs::Kind::Directory;
    Ok(if stat.kind == fs::Kind::Other {
        Some("a FIFO, device or socket stands in its place; move it away")
    } else if stat.device != context.fs.identity().device {
        Some("another filesystem is mounted in its place")
    } else if ignore.is_ignored(path.names().iter().map(Name::as_str), stat.shows_directory()) {
        Some("something that is ignored stands in its place")
    } else if is_directory && is_residue(context, ignore, path)? {
        Some("a directory that holds ignored files stands in its place")
    } else {
        None
    })
}

/// Whether a directory was deleted by others and is only kept here for the ignored files in it.
///
/// # Errors
/// [`StateError`].
pub(super) fn is_residue(
    context: &FolderContext,
    ignore: &IgnoreRules,
    path: &RelPath,
) -> Result<bool, StateError> {
    let text = path.to_string();
    if !context.state.is_residue(&text)? {
        return Ok(false);
    }
    if holds_only_ignored(context, ignore, path) {
        return Ok(true);
    }
    context.state.remove_residue(&text)?;
    Ok(false)
}

/// Whether a directory holds nothing but ignored things, as far down as it goes; `false` when that
/// cannot be told.
#[must_use]
pub fn holds_only_ignored(
    context: &FolderContext,
    ignore: &IgnoreRules,
    directory: &RelPath,
) -> bool {
    let Ok(listing) = context.fs.list(directory) else { return false };
    listing.entries.iter().all(|listed| {
        let Ok(name) = Name::from_bytes(&listed.name) else { return false };
        let Ok(path) = directory.join(&name) else { return false };
        let is_directory = listed.stat.kind == fs::Kind::Directory;
        ignore.is_ignored(path.names().iter().map(Name::as_str), listed.stat.shows_directory())
            // An empty directory is somebody's, not a place kept for what is ignored.
            || (is_directory
                && context.fs.list(&path).is_ok_and(|inside| !inside.entries.is_empty())
                && holds_only_ignored(context, ignore, &path))
    })
}
