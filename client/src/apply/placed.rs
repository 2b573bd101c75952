//! What was put in place without a record of it: a crash came before, or the look at it failed.
//!
//! Owns what is concluded from the notes that are made before anything is swapped in (decision 063). It must
//! not put anything in place.

use super::displaced::{home_of, keep_beside};
use super::place::Placing;
use super::run::{ApplyError, Applying};
use crate::context::{FolderContext, compute};
use crate::fs::{Area, FsError, RelPath};
use crate::scan::{Target, stat_spelled};
use crate::state::{self, StateError};
use crate::transfer::Built;
use client_core::tree::SyncedNode;
use common::ids::EntryId;
use common::name::Name;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Applying<'_> {
    /// Notes what is about to be swapped in, in one transaction.
    pub(super) fn note_placing(&self, files: &[(Placing, Built)]) -> Result<(), StateError> {
        self.context.state.atomically(|state| {
            for (placing, built) in files {
                let node = &placing.remote.node;
                let Some(staged) = built.path.name().cloned() else { continue };
                state.put_placing(&state::Placing {
                    staged,
                    entry: node.entry,
                    stat: built.stat,
                    content: node.content,
                    content_revision: node.content_revision,
                })?;
            }
            Ok(())
        })
    }
}

/// What stands where it was put and was not recorded, and could not be taken for the merge base.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// Places that have changed since the scan. Nothing may be planned before they were looked at again.
    pub again: BTreeSet<Target>,
    /// Entries that cannot be seen for now. They may not be read either.
    pub unseen: BTreeSet<EntryId>,
}

/// Takes for the merge base what stands at its place by a note: whatever is done to it there is an edit of
/// it, even if the server has an older content again. The place is made durable first (rule 6). Only after
/// a scan, for the scanner says what stands where.
///
/// # Errors
/// [`ApplyError`]; then nothing may be planned.
pub async fn settle_placed(context: &FolderContext) -> Result<Unsettled, ApplyError> {
    let (mut unsettled, mut standing) = (Unsettled::default(), Vec::new());
    for placing in context.state.placings()? {
        let row = context.state.local_row(&placing.entry)?;
        if !row.is_some_and(|row| row.stat.same_inode(&placing.stat)) {
            continue;
        }
        let names = context.state.local_path(&placing.entry)?;
        let Some(path) = names.and_then(|names| RelPath::new(names).ok()) else { continue };
        if is_there(context, &placing, &path, &mut unsettled)? {
            standing.push((placing, path));
        }
    }
    // What it holds was synced before it was put there.
    let directories: BTreeSet<RelPath> =
        standing.iter().filter_map(|(_, path)| path.parent()).collect();
    if directories.is_empty() {
        return Ok(unsettled);
    }
    let (fs, paths) = (Arc::clone(&context.fs), directories.into_iter().collect::<Vec<_>>());
    let synced = compute(context.environment.as_ref(), move || fs.sync(&paths));
    match synced.await? {
        Ok(()) => {}
        Err(FsError::Denied { .. }) => {
            unsettled.unseen.extend(standing.iter().map(|(placing, _)| placing.entry));
            return Ok(unsettled);
        }
        Err(error) => return Err(ApplyError::Unsynced(error)),
    }
    for (placing, path) in standing {
        if is_there(context, &placing, &path, &mut unsettled)? {
            settle(context, &placing)?;
        }
    }
    Ok(unsettled)
}

fn is_there(
    context: &FolderContext,
    placing: &state::Placing,
    path: &RelPath,
    unsettled: &mut Unsettled,
) -> Result<bool, FsError> {
    match stat_spelled(context.fs.as_ref(), path) {
        Ok(stat) if stat.same_inode(&placing.stat) => return Ok(true),
        Ok(_) => drop(unsettled.again.insert(Target::Path(path.clone()))),
        // It has left its place: nothing of it is pushed from here.
        Err(error) if error.is_stale_view() => {}
        Err(error) if error.is_of_one_path() => drop(unsettled.unseen.insert(placing.entry)),
        Err(error) => return Err(error),
    }
    Ok(false)
}

fn settle(context: &FolderContext, placing: &state::Placing) -> Result<(), StateError> {
    context.state.atomically(|state| {
        if let Some(node) = state.synced_node(&placing.entry)?
            && node.content_revision < placing.content_revision
        {
            let (content, content_revision) = (placing.content, placing.content_revision);
            state.put_synced(&SyncedNode { content, content_revision, held: true, ..node })?;
        }
        state.forget_placing(&placing.staged)
    })
}

/// Brings back what somebody wrote into a file while it was at its place, and that a power cut took back
/// into staging: beside where its entry is now. Forgets the notes of everything else that lies in staging,
/// and those that say nothing any more. Of what is `staged`, leaves what may be removed.
pub(super) fn rescue(
    context: &FolderContext,
    staged: &mut BTreeSet<Name>,
) -> Result<(), ApplyError> {
    for placing in context.state.placings()? {
        if !staged.contains(&placing.staged) {
            if says_nothing(context, &placing)? {
                context.state.forget_placing(&placing.staged)?;
            }
            continue;
        }
        // What cannot come back now must not keep the rest: it stays, and is tried again.
        if let Err(error) = come_back(context, &placing) {
            tracing::warn!(%error, "what lay in staging cannot be looked at for now");
            staged.remove(&placing.staged);
            continue;
        }
        context.state.forget_placing(&placing.staged)?;
    }
    Ok(())
}

fn come_back(context: &FolderContext, placing: &state::Placing) -> Result<(), ApplyError> {
    let staged = RelPath::inside(Area::Staging, placing.staged.clone());
    if context.fs.stat(&staged)?.same_content(&placing.stat) {
        return Ok(());
    }
    let beside = home_of(context, &placing.entry)?;
    tracing::warn!(%beside, "what was written there before a power cut comes back");
    Ok(keep_beside(context, &staged, &beside)?)
}

/// Whether a note that has nothing in staging can settle nothing: the merge base is newer, or there is none.
fn says_nothing(context: &FolderContext, placing: &state::Placing) -> Result<bool, StateError> {
    let base = context.state.synced_node(&placing.entry)?;
    Ok(base.is_none_or(|base| base.content_revision >= placing.content_revision))
}
