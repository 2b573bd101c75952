//! Which entry a thing on disk is.
//!
//! Owns rule 9: a synced path that still exists keeps its entry whatever its inode; an inode moves
//! an entry only when the old path, looked at again, is gone, and nothing speaks against it being
//! the same thing. It must not store anything.

use super::spelling::stat_spelled;
use crate::context::FolderContext;
use crate::fs::{FsError, RelPath, Stat};
use crate::state::{LocalRow, StateError};
use client_core::tree::{PARKED, Position};
use common::ids::EntryId;
use common::record::Kind;

/// How an unknown name came to be.
pub(super) enum Identity {
    /// A row that stood elsewhere until now.
    Moved(Box<LocalRow>),
    /// A file that had moved away, where something stands again: the path keeps its entry, and what
    /// has moved is something new (a program saved, and kept what was there before).
    Returned {
        /// The row, where it has moved to.
        row: Box<LocalRow>,
        /// What the moved file is called from now on.
        fresh: EntryId,
    },
    /// An entry of the merge base that was missing here and is back at its place.
    Back(EntryId),
    /// Something new.
    New(EntryId),
}

/// Finds out which entry stands at a position that has no local row.
pub(super) fn identify(
    context: &FolderContext,
    position: &Position,
    kind: Kind,
    stat: &Stat,
) -> Result<Identity, StateError> {
    if let Some(row) = moved_here(context, kind, stat)? {
        return Ok(Identity::Moved(Box::new(row)));
    }
    for node in context.state.synced_nodes_at(position)? {
        if node.kind != kind {
            continue;
        }
        let Some(row) = context.state.local_row(&node.entry)? else {
            return Ok(Identity::Back(node.entry));
        };
        if has_left(context, &row, position)? {
            return Ok(Identity::Returned { row: Box::new(row), fresh: context.fresh_entry() });
        }
    }
    Ok(Identity::New(context.fresh_entry()))
}

/// Whether a file of the merge base was moved away from a position by somebody, and the server has
/// neither heard of it nor given the position to another.
fn has_left(
    context: &FolderContext,
    row: &LocalRow,
    position: &Position,
) -> Result<bool, StateError> {
    if row.kind != Kind::File || row.position == *position || row.position.parent == PARKED {
        return Ok(false);
    }
    let remote = context.state.remote_row(&row.entry)?;
    Ok(remote.is_some_and(|remote| !remote.node.deleted && remote.node.position == *position))
}

fn moved_here(
    context: &FolderContext,
    kind: Kind,
    stat: &Stat,
) -> Result<Option<LocalRow>, StateError> {
    if kind == Kind::File && stat.nlink != 1 {
        return Ok(None);
    }
    // A file that moved twice may have been seen at both old paths: as an edit of what stood there
    // the second time. Where it was last is told by the ctime, which each rename sets.
    let mut rows = context.state.local_rows_of_inode(stat.inode, stat.device)?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.stat.ctime_ns));
    for row in rows {
        if row.kind == kind && same_thing(&row.stat, stat) && is_gone(context, &row)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Filesystems use a freed inode again at once, so the number alone proves nothing: the birth time
/// must agree, or, where there is none, size and mtime.
fn same_thing(before: &Stat, now: &Stat) -> bool {
    match (before.birth_ns, now.birth_ns) {
        (Some(one), Some(two)) => one == two,
        _ => before.same_content(now),
    }
}

/// Whether nothing of the row's kind stands at its path any more. Something of that kind there keeps
/// the entry, whatever its inode.
fn is_gone(context: &FolderContext, row: &LocalRow) -> Result<bool, StateError> {
    let Some(names) = context.state.local_path(&row.entry)? else { return Ok(false) };
    let Ok(path) = RelPath::new(names) else { return Ok(false) };
    Ok(match stat_spelled(context.fs.as_ref(), &path) {
        Ok(found) => found.kind != row.stat.kind,
        Err(FsError::NotADirectory { .. }) => true,
        Err(error) => error.is_not_found(),
    })
}
