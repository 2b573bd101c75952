//! What stands on the disk and is not synced: special files, mounts, what is ignored, and
//! directories that are kept for either.
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
    } else if is_directory && kept_for(context, ignore, path)?.is_some() {
        Some("a directory that holds ignored files stands in its place")
    } else {
        None
    })
}

/// What keeps a directory on this disk that others have deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// What is ignored in it.
    Ignored,
    /// Also what cannot be synced: special files, mounts, names that are not UTF-8.
    Unsyncable,
}

/// What keeps a directory here that was deleted by others, if it is one.
///
/// # Errors
/// [`StateError`].
pub fn kept_for(
    context: &FolderContext,
    ignore: &IgnoreRules,
    path: &RelPath,
) -> Result<Option<Kept>, StateError> {
    let text = path.to_string();
    if !context.state.is_residue(&text)? {
        return Ok(None);
    }
    let kept = holds_nothing_synced(context, ignore, path);
    if kept.is_none() {
        context.state.remove_residue(&text)?;
    }
    Ok(kept)
}

/// What a directory holds, as far down as it goes, if that is nothing that is synced; `None` too when
/// that cannot be told.
#[must_use]
pub fn holds_nothing_synced(
    context: &FolderContext,
    ignore: &IgnoreRules,
    directory: &RelPath,
) -> Option<Kept> {
    let mut kept = Kept::Ignored;
    for listed in context.fs.list(directory).ok()?.entries {
        let name = Name::from_bytes(&listed.name).ok();
        let Some(path) = name.and_then(|name| directory.join(&name).ok()) else {
            kept = Kept::Unsyncable;
            continue;
        };
        let names = path.names().iter().map(Name::as_str);
        if ignore.is_ignored(names, listed.stat.shows_directory()) {
            continue;
        }
        let is_elsewhere = listed.stat.device != context.fs.identity().device;
        kept = kept.max(match listed.stat.kind {
            fs::Kind::Other => Kept::Unsyncable,
            _ if is_elsewhere => Kept::Unsyncable,
            // An empty directory is somebody's, not a place kept for what is ignored.
            fs::Kind::Directory if context.fs.list(&path).ok()?.entries.is_empty() => return None,
            fs::Kind::Directory => holds_nothing_synced(context, ignore, &path)?,
            _ => return None,
        });
    }
    Some(kept)
}
