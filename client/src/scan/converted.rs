//! Directories that a rule makes bundles.
//!
//! Owns the answer to one question: whether such a bundle holds anything that the server has not.

use crate::context::FolderContext;
use crate::fs::{RelPath, Stat};
use crate::state::{LocalRow, StateError};
use common::ids::EntryId;
use common::record::Kind;
use std::collections::BTreeMap;

/// Whether the bundle at a path holds what the rows below a directory say, no more and no less, and the
/// server has all of that. One that cannot be looked into does not. What is in it is looked at as it was
/// when it was no bundle: a bundle hides what git keeps for this disk alone.
///
/// # Errors
/// [`StateError`].
pub(super) fn is_all_synced(
    context: &FolderContext,
    directory: &EntryId,
    path: &RelPath,
) -> Result<bool, StateError> {
    let Ok(looks) = context.bundles.looks_in(path) else { return Ok(false) };
    let Some(rows) = synced_below(context, directory)? else { return Ok(false) };
    let is_known = |(path, stat): (&String, &Stat)| {
        rows.get(path).is_some_and(|row: &LocalRow| is_untouched(row, stat))
    };
    Ok(looks.len() == rows.len() && looks.iter().all(is_known))
}

/// All rows below a directory by their paths in it; `None` if one of them, or what is missing there, is
/// not synced, or may have been written to in the moment in which it was read.
fn synced_below(
    context: &FolderContext,
    directory: &EntryId,
) -> Result<Option<BTreeMap<String, LocalRow>>, StateError> {
    let state = &context.state;
    let (mut rows, mut directories) = (BTreeMap::new(), vec![(*directory, String::new())]);
    while let Some((directory, above)) = directories.pop() {
        for base in state.synced_nodes_in(&directory)? {
            if base.held && state.local_row(&base.entry)?.is_none() {
                return Ok(None);
            }
        }
        for row in state.local_rows_in(&directory)? {
            let base = state.synced_node(&row.entry)?.filter(|base| base.held);
            let is_synced = base.is_some_and(|base| {
                row.node().content == Some(base.content) && row.position == base.position
            });
            if !is_synced {
                return Ok(None);
            }
            let path = format!("{above}{}", row.position.name);
            if row.kind == Kind::Directory {
                directories.push((row.entry, format!("{path}/")));
            }
            rows.insert(path, row);
        }
    }
    Ok(Some(rows))
}

/// Whether nothing has happened to an entry since it was recorded. A write that keeps size and mtime shows in
/// the ctime; that of a directory changes with what is in it, which is looked at itself.
fn is_untouched(row: &LocalRow, stat: &Stat) -> bool {
    match row.kind {
        Kind::Directory => stat.same_inode(&row.stat) && stat.mode == row.stat.mode,
        Kind::File | Kind::Symlink => stat.untouched(&row.stat),
    }
}
