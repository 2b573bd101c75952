//! What stands on the disk and is not synced: special files, mounts, what is ignored, and
//! directories that are kept for either.
//!
//! Owns how these are told from what is synced. It must not decide what becomes of them.

use crate::context::FolderContext;
use crate::fs::{self, FsError, Listing, RelPath};
use crate::state::StateError;
use client_core::ignore::IgnoreRules;
use client_core::tree::Position;
use common::ids::EntryId;
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
    let names = path.names().iter().map(Name::as_str);
    Ok(if stat.kind == fs::Kind::Other {
        Some("a FIFO, device or socket stands in its place; move it away")
    } else if stat.device != context.fs.identity().device {
        Some("another filesystem is mounted in its place")
    } else if ignore.is_ignored(names, stat.shows_directory()) {
        Some("something that is ignored stands in its place")
    } else if stat.kind == fs::Kind::Directory {
        match kept_for(context, ignore, path) {
            Ok(kept) => kept.map(Kept::in_the_way),
            Err(UnsyncedError::Disk(_)) => {
                Some("a directory that cannot be read stands in its place; move it away")
            }
            Err(UnsyncedError::State(error)) => return Err(error),
        }
    } else {
        None
    })
}

/// What keeps a directory on this disk that others have deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Nothing any more: what was ignored in it is gone, and it was left behind.
    Nothing,
    /// What is ignored in it.
    Ignored,
    /// Also what cannot be synced: special files, mounts, names that are not UTF-8.
    Unsyncable,
}

impl Kept {
    fn in_the_way(self) -> &'static str {
        match self {
            Self::Nothing => {
                "an empty directory that was deleted elsewhere stands in its place; remove it"
            }
            Self::Ignored => {
                "a directory that holds ignored files stands in its place; move it away"
            }
            Self::Unsyncable => {
                "a directory that holds what cannot be synced stands in its place; move it away"
            }
        }
    }
}

/// Why it cannot be told what a directory holds: it counts as what it was.
#[derive(Debug, thiserror::Error)]
pub enum UnsyncedError {
    /// It, or a directory in it, could not be listed.
    #[error(transparent)]
    Disk(#[from] FsError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What keeps a directory here that was deleted by others, if it is one.
///
/// # Errors
/// [`UnsyncedError`]: whether it is still one is unknown.
pub fn kept_for(
    context: &FolderContext,
    ignore: &IgnoreRules,
    path: &RelPath,
) -> Result<Option<Kept>, UnsyncedError> {
    if !context.state.is_residue(&path.to_string())? {
        return Ok(None);
    }
    holds_nothing_synced(context, ignore, path)
}

/// What a directory holds, as far down as it goes, if that is nothing that is synced.
///
/// # Errors
/// [`UnsyncedError`].
pub fn holds_nothing_synced(
    context: &FolderContext,
    ignore: &IgnoreRules,
    directory: &RelPath,
) -> Result<Option<Kept>, UnsyncedError> {
    let mut kept = Kept::Nothing;
    for listed in context.fs.list(directory)?.entries {
        let name = Name::from_bytes(&listed.name).ok();
        let Some(path) = name.and_then(|name| directory.join(&name).ok()) else {
            kept = Kept::Unsyncable;
            continue;
        };
        let names = path.names().iter().map(Name::as_str);
        let is_elsewhere = listed.stat.device != context.fs.identity().device;
        kept = kept.max(match listed.stat.kind {
            _ if ignore.is_ignored(names, listed.stat.shows_directory()) => Kept::Ignored,
            fs::Kind::Other => Kept::Unsyncable,
            _ if is_elsewhere => Kept::Unsyncable,
            fs::Kind::Directory => match holds_nothing_synced(context, ignore, &path)? {
                // An empty directory is somebody's, unless it was left behind like the one above.
                Some(Kept::Nothing) if !context.state.is_residue(&path.to_string())? => {
                    return Ok(None);
                }
                Some(inside) => inside,
                None => return Ok(None),
            },
            _ => return Ok(None),
        });
    }
    Ok(Some(kept))
}

/// Directories that were kept below one that has just been listed, and do not stand there any more. One
/// below a row that is missing is left out: the row may turn up elsewhere.
///
/// # Errors
/// [`StateError`].
pub(super) fn kept_no_more(
    context: &FolderContext,
    entry: EntryId,
    directory: &RelPath,
    listing: &Listing,
) -> Result<Vec<String>, StateError> {
    let above = if directory.is_root() { String::new() } else { format!("{directory}/") };
    let mut gone = Vec::new();
    for path in context.state.residues_below(above.trim_end_matches('/'))? {
        let first = path[above.len()..].split('/').next().unwrap_or_default();
        let Ok(name) = Name::new(first) else { continue };
        let listed = listing.entries.iter().find(|listed| listed.name == first.as_bytes());
        let is_gone = match listed {
            Some(listed) => listed.stat.kind != fs::Kind::Directory,
            None => context.state.local_row_at(&Position { parent: entry, name })?.is_none(),
        };
        if is_gone {
            gone.push(path);
        }
    }
    Ok(gone)
}

/// Directories that were kept at a path or below it.
///
/// # Errors
/// [`StateError`].
pub(super) fn kept_at(context: &FolderContext, path: &RelPath) -> Result<Vec<String>, StateError> {
    let text = path.to_string();
    let mut kept = context.state.residues_below(&text)?;
    if context.state.is_residue(&text)? {
        kept.push(text);
    }
    Ok(kept)
}
