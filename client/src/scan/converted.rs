//! Directories that a rule makes bundles.
//!
//! Owns the answer to one question: whether such a bundle holds anything that the server has not.

use crate::context::FolderContext;
use crate::fs::RelPath;
use crate::fs::bundle::Archive;
use crate::state::{LocalRow, StateError};
use common::archive::{Item, ItemKind};
use common::ids::EntryId;
use common::record::Kind;
use std::collections::BTreeMap;

/// Whether the bundle at a path holds what the rows below a directory say, no more and no less, and the
/// server has all of that. One that cannot be read does not.
///
/// # Errors
/// [`StateError`].
pub(super) fn is_all_synced(
    context: &FolderContext,
    directory: &EntryId,
    path: &RelPath,
) -> Result<bool, StateError> {
    let Ok(archive) = Archive::open(context.fs.as_ref(), path) else { return Ok(false) };
    let Some(rows) = synced_below(context, directory)? else { return Ok(false) };
    let items = archive.index().items();
    let is_known = |item: &Item| rows.get(&item.path).is_some_and(|row| looks_like(row, item));
    Ok(items.len() == rows.len() && items.iter().all(is_known))
}

/// All rows below a directory by their paths in it; `None` if one of them, or what is missing there, is
/// not synced.
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

fn looks_like(row: &LocalRow, item: &Item) -> bool {
    let stat = &row.stat;
    match &item.kind {
        ItemKind::Directory => row.kind == Kind::Directory && item.mode == stat.mode,
        ItemKind::Symlink(target) => row.target.as_ref() == Some(target),
        ItemKind::File(size) => {
            row.kind == Kind::File
                && (*size, item.mode, item.mtime_ns) == (stat.size, stat.mode, stat.mtime_ns)
        }
    }
}
