//! Writing down a group that has been accepted.
//!
//! Owns how changes become rows: journal, registers, their versions, objects, conflicts, and the
//! folder's new end. Everything has been judged before; it must not refuse.

use super::super::commit::PreparedGroup;
use super::super::outcome::GroupOutcome;
use super::super::state::{
    ConflictState, ContentVersion, EntryState, FolderState, JournalMark, PlaceVersion,
};
use super::super::store::{MetaStore, StoreError, Stored};
use super::group::Judged;
use super::labels;
use common::ids::{EntryId, FolderId};
use common::record::{Change, ConflictRecord, Content, Group, Place};
use common::revision::Revision;
use std::collections::BTreeMap;

/// Writes a group at the next revision; gives its outcome and the folder after it.
pub(super) fn write(
    store: &mut dyn MetaStore,
    time_ms: u64,
    prepared: &PreparedGroup,
    group: &Group,
    judged: Judged,
    folder: &FolderState,
) -> Stored<(GroupOutcome, FolderState)> {
    let id = &group.folder;
    let revision = folder.revision + 1;
    let time_ms = time_ms.max(folder.time_ms);
    let signed = prepared.signed();
    let head = folder.head.next(id, folder.epoch, revision, &signed.digest(time_ms));
    let mark = JournalMark { epoch: folder.epoch, time_ms, device: group.device, head };
    store.append_group(id, revision, &mark, signed)?;
    for (entry, state) in registers_after(&judged.before, group, revision)? {
        store.put_entry(id, &entry, &state)?;
    }
    for (number, change) in (0..).zip(&group.changes) {
        write_versions(store, id, revision, number, change)?;
        write_conflict(store, id, revision, &mark, change)?;
        labels::write(store, id, revision, time_ms, change)?;
    }
    for (object, state) in &judged.objects {
        store.put_object(id, object, state)?;
    }
    store.set_usage(&folder.user, &judged.usage)?;
    let after = FolderState { revision, head, time_ms, ..folder.clone() };
    store.advance_folder(id, &after)?;
    Ok((GroupOutcome::Accepted { revision, time_ms, epoch: folder.epoch }, after))
}

/// The registers of the group's entries after it.
fn registers_after(
    before: &BTreeMap<EntryId, Option<EntryState>>,
    group: &Group,
    revision: Revision,
) -> Stored<BTreeMap<EntryId, EntryState>> {
    let mut after = BTreeMap::new();
    for change in &group.changes {
        match change {
            Change::Create { entry, kind, place, .. } => {
                let state = EntryState {
                    kind: *kind,
                    place_revision: revision,
                    parent: place.parent,
                    name_tag: place.name_tag,
                    deleted: false,
                    content_revision: revision,
                };
                after.insert(*entry, state);
            }
            Change::Edit { entry, .. } => {
                known(before, &mut after, entry)?.content_revision = revision;
            }
            Change::Move { entry, place, .. } | Change::Revive { entry, place, .. } => {
                let state = known(before, &mut after, entry)?;
                state.place_revision = revision;
                state.parent = place.parent;
                state.name_tag = place.name_tag;
                state.deleted = false;
            }
            Change::Delete { entry, .. } => {
                let state = known(before, &mut after, entry)?;
                state.place_revision = revision;
                state.deleted = true;
            }
            Change::OpenConflict { .. }
            | Change::ResolveConflict { .. }
            | Change::ConfirmEpoch { .. }
            | Change::AddLabel { .. }
            | Change::RemoveLabel { .. }
            | Change::SetSettings { .. } => {}
        }
    }
    Ok(after)
}

fn known<'a>(
    before: &BTreeMap<EntryId, Option<EntryState>>,
    after: &'a mut BTreeMap<EntryId, EntryState>,
    entry: &EntryId,
) -> Stored<&'a mut EntryState> {
    let state = match after.get(entry) {
        Some(state) => *state,
        None => before
            .get(entry)
            .copied()
            .flatten()
            .ok_or(StoreError::Corrupt { what: "entry of a judged group" })?,
    };
    Ok(after.entry(*entry).or_insert(state))
}

/// Adds the versions that a change makes.
fn write_versions(
    store: &mut dyn MetaStore,
    id: &FolderId,
    revision: Revision,
    number: u32,
    change: &Change,
) -> Stored<()> {
    match change {
        Change::Create { entry, place, content, .. } => {
            append_place(store, id, entry, revision, place, false)?;
            append_content(store, id, entry, revision, number, content)
        }
        Change::Edit { entry, content, .. } => {
            append_content(store, id, entry, revision, number, content)
        }
        Change::Move { entry, place, .. } | Change::Revive { entry, place, .. } => {
            append_place(store, id, entry, revision, place, false)
        }
        Change::Delete { entry, .. } => {
            let last = store.places(id, entry, revision, 1)?.pop();
            let last = last.ok_or(StoreError::Corrupt { what: "place of a live entry" })?;
            append_place(store, id, entry, revision, &last.place, true)
        }
        // The journal keeps a confirmation, and other devices read it there.
        Change::OpenConflict { .. }
        | Change::ResolveConflict { .. }
        | Change::ConfirmEpoch { .. }
        | Change::AddLabel { .. }
        | Change::RemoveLabel { .. }
        | Change::SetSettings { .. } => Ok(()),
    }
}

fn write_conflict(
    store: &mut dyn MetaStore,
    id: &FolderId,
    revision: Revision,
    mark: &JournalMark,
    change: &Change,
) -> Stored<()> {
    match change {
        Change::OpenConflict { conflict, entry, base, theirs, copy } => {
            let record = ConflictRecord {
                conflict: *conflict,
                entry: *entry,
                base: *base,
                theirs: *theirs,
                copy: *copy,
                opened: revision,
                time_ms: mark.time_ms,
                device: mark.device,
            };
            store.put_conflict(id, &ConflictState { record, closed: None })
        }
        Change::ResolveConflict { conflict, resolution } => {
            let open = store.conflict(id, conflict)?;
            let mut state = open.ok_or(StoreError::Corrupt { what: "open conflict" })?;
            state.closed = Some((revision, *resolution));
            store.put_conflict(id, &state)
        }
        _ => Ok(()),
    }
}

fn append_place(
    store: &mut dyn MetaStore,
    id: &FolderId,
    entry: &EntryId,
    revision: Revision,
    place: &Place,
    deleted: bool,
) -> Stored<()> {
    let version = PlaceVersion { revision, place: place.clone(), deleted, until: None };
    store.append_place(id, entry, &version)
}

fn append_content(
    store: &mut dyn MetaStore,
    id: &FolderId,
    entry: &EntryId,
    revision: Revision,
    change: u32,
    content: &Content,
) -> Stored<()> {
    let content = content.clone();
    let version = ContentVersion { revision, change, content, until: None, released: false };
    store.append_content(id, entry, &version)
}
