//! Thinning a folder's history: what is whole is said first, then versions go.
//!
//! Owns the order and the checks that make a plan that has become old harmless. That order is what
//! keeps answers about the past right after a crash between the two: a moment that is not said to be
//! whole is not shown, also while all of it is still there. It must not decide what stays:
//! [`crate::retention`] does.

use super::super::outcome::Refused;
use super::super::state::FolderState;
use super::super::store::{MetaStore, StoreError};
use super::super::thinning::{self, RELEASED_TOGETHER};
use super::Stop;
use crate::retention::Whole;
use common::ids::{EntryId, FolderId};
use common::revision::Revision;

/// Says what is whole from now on. Nothing becomes whole that was not, and labels and the newest
/// checkpoint stay, also those that came after the plan.
pub(super) fn move_horizon(
    store: &mut dyn MetaStore,
    id: &FolderId,
    settings: Revision,
    planned: &Whole,
) -> Result<(), Stop> {
    let folder = known(store, id)?;
    let standing = store.settings(id, folder.revision)?;
    let stored = standing.map_or(0, |standing| standing.revision);
    if stored != settings {
        return Err(Refused::SettingsMoved { stored }.into());
    }
    let before = store.whole(id)?;
    let horizon = planned.horizon.min(folder.revision).max(before.horizon);
    let mut kept = planned.kept.clone();
    kept.extend(thinning::pinned(store, id)?);
    kept.retain(|at| *at > 0 && *at < horizon && before.contains(*at));
    store.set_whole(id, &Whole { horizon, kept })?;
    Ok(())
}

/// Releases what no whole moment shows of these entries, [`RELEASED_TOGETHER`] versions at most;
/// returns how many went.
pub(super) fn release(
    store: &mut dyn MetaStore,
    id: &FolderId,
    entries: &[EntryId],
) -> Result<u64, Stop> {
    let folder = known(store, id)?;
    let whole = store.whole(id)?;
    let mut released = 0;
    for entry in entries {
        let left = RELEASED_TOGETHER.saturating_sub(released);
        if left == 0 {
            break;
        }
        let mut found = thinning::releasable(store, id, entry, &whole)?;
        found.bound(usize::try_from(left).unwrap_or(usize::MAX));
        if !found.is_empty() {
            released += store.release_versions(id, entry, &found)?;
        }
    }
    let owner = store.user(&folder.user)?.ok_or(StoreError::Corrupt { what: "folder's user" })?;
    let mut usage = owner.usage;
    usage.versions = usage.versions.saturating_sub(released);
    store.set_usage(&folder.user, &usage)?;
    Ok(released)
}

fn known(store: &dyn MetaStore, id: &FolderId) -> Result<FolderState, Stop> {
    Ok(store.folder(id)?.ok_or(Refused::NoSuchFolder)?)
}
