//! Making durable what was observed.
//!
//! Owns rule 6: nothing may become the merge base, or be pushed, before a sync that began after it
//! was observed. Otherwise a power cut could empty a file or bring an older one back, and that
//! would be taken for an edit. It must not know what is built on it.

use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{Fs, FsError, Kind, RelPath, Stat};
use crate::state::StateError;
use common::ids::EntryId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Files that are synced one by one; more, and the whole filesystem is (rule 15).
const SYNC_ONE_BY_ONE: usize = 48;

/// Why nothing may be taken as durable.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The disk could not be looked at.
    #[error(transparent)]
    Disk(#[from] FsError),
    /// The disk could not sync: what it was to store may be lost, and a sync that is tried again
    /// says nothing about it.
    #[error("this disk could not store what was written to it: {0}")]
    Unsynced(#[source] FsError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The program stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// Makes local entries durable as they were observed: content, attributes and name. Returns those
/// that are not at their paths any more, or not what they were: nothing is proven of them.
///
/// # Errors
/// [`DurableError`]; then nothing is proven of any.
pub async fn make_durable(
    context: &FolderContext,
    entries: &BTreeSet<EntryId>,
) -> Result<BTreeSet<EntryId>, DurableError> {
    let (mut nodes, mut moved) = (Vec::with_capacity(entries.len()), BTreeSet::new());
    for entry in entries {
        let row = context.state.local_row(entry)?;
        let names = context.state.local_path(entry)?;
        match row.zip(names.and_then(|names| RelPath::new(names).ok())) {
            Some((row, path)) => nodes.push(Observed { entry: *entry, path, stat: row.stat }),
            None => drop(moved.insert(*entry)),
        }
    }
    if nodes.is_empty() {
        return Ok(moved);
    }
    let fs = Arc::clone(&context.fs);
    let synced = compute(context.environment.as_ref(), move || sync(fs.as_ref(), &nodes));
    moved.extend(synced.await??);
    Ok(moved)
}

struct Observed {
    entry: EntryId,
    path: RelPath,
    stat: Stat,
}

impl Observed {
    /// What is in a directory changes its times and not what it is.
    fn is_still(&self, now: &Stat) -> bool {
        match self.stat.kind {
            Kind::Directory => now.same_inode(&self.stat),
            _ => now.same_content(&self.stat),
        }
    }

    /// Whether it is at its path as it was observed, or all of it with more.
    fn is_held(&self, fs: &dyn Fs) -> Result<bool, FsError> {
        match self.stat.kind {
            Kind::File => fs.holds(&self.path, &self.stat),
            _ => Ok(self.is_still(&fs.stat(&self.path)?)),
        }
    }
}

/// Syncs files through handles, so that a rename in between cannot make it a sync of something
/// else, then the directories that name them.
fn sync(fs: &dyn Fs, nodes: &[Observed]) -> Result<BTreeSet<EntryId>, DurableError> {
    let mut moved = BTreeSet::new();
    if nodes.len() <= SYNC_ONE_BY_ONE {
        for node in nodes.iter().filter(|node| node.stat.kind == Kind::File) {
            let opened = fs.open(&node.path).and_then(|file| {
                let is_held = node.is_still(&file.stat()?) || node.is_held(fs)?;
                Ok((is_held, file))
            });
            match opened {
                Ok((true, file)) => match file.sync() {
                    Err(error) if error.is_stale_view() => drop(moved.insert(node.entry)),
                    synced => synced.map_err(DurableError::Unsynced)?,
                },
                Ok(_) => drop(moved.insert(node.entry)),
                Err(error) if error.is_stale_view() => drop(moved.insert(node.entry)),
                Err(error) => return Err(error.into()),
            }
        }
    }
    // Many at once: the filesystem as a whole, wherever they are by now.
    let paths: Vec<RelPath> = nodes.iter().map(|node| node.path.clone()).collect();
    fs.sync(&paths).map_err(DurableError::Unsynced)?;
    for node in nodes {
        if !node.is_held(fs).unwrap_or(false) {
            moved.insert(node.entry);
        }
    }
    Ok(moved)
}
