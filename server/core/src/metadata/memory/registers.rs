//! Trees and their history in memory.
//!
//! Owns the maps' side of those traits. It must not know the rules.

use super::super::earlier;
use super::super::state::{ConflictState, ContentVersion, EntryState, ObjectState, PlaceVersion};
use super::super::store::{RegisterReads, RegisterWrites, StoreError, Stored, TreeReads};
use super::{Entry, Folder, MemoryStore};
use common::ids::{ChunkId, ConflictId, EntryId, FolderId, NameTag};
use common::record::{ConflictRecord, Earlier, Kind};
use common::revision::Revision;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

impl MemoryStore {
    fn live(&self, folder: &FolderId) -> impl Iterator<Item = (EntryId, EntryState)> {
        let entries = self.tables.folders.get(folder).into_iter().flat_map(|f| &f.entries);
        entries
            .filter_map(|(entry, row)| row.state.map(|state| (*entry, state)))
            .filter(|(_, state)| !state.deleted)
    }

    fn entry_row(&self, folder: &FolderId, entry: &EntryId) -> Option<&Entry> {
        self.tables.folders.get(folder)?.entries.get(entry)
    }

    fn entry_mut(&mut self, folder: &FolderId, entry: &EntryId) -> Stored<&mut Entry> {
        let found = self.folder_mut(folder)?.entries.get_mut(entry);
        found.ok_or(StoreError::Corrupt { what: "entry" })
    }
}

impl TreeReads for MemoryStore {
    fn entry(&self, folder: &FolderId, entry: &EntryId) -> Stored<Option<EntryState>> {
        Ok(self.entry_row(folder, entry).and_then(|row| row.state))
    }

    fn named(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
    ) -> Stored<Option<EntryId>> {
        let mut live = self.live(folder);
        let found = live.find(|(_, at)| at.parent == *parent && at.name_tag == *name_tag);
        Ok(found.map(|(entry, _)| entry))
    }

    fn children(&self, folder: &FolderId, parent: &EntryId, limit: usize) -> Stored<Vec<EntryId>> {
        let inside = self.live(folder).filter(|(_, at)| at.parent == *parent);
        Ok(inside.take(limit).map(|(entry, _)| entry).collect())
    }

    fn object(&self, folder: &FolderId, id: &ChunkId) -> Stored<Option<ObjectState>> {
        Ok(self.tables.folders.get(folder).and_then(|folder| folder.objects.get(id).copied()))
    }

    fn conflict(&self, folder: &FolderId, id: &ConflictId) -> Stored<Option<ConflictState>> {
        Ok(self.tables.folders.get(folder).and_then(|folder| folder.conflicts.get(id).cloned()))
    }
}

/// When conflicts were closed, once for each side.
fn closings(folder: &Folder) -> impl Iterator<Item = (Revision, EntryId)> {
    let closed = folder.conflicts.values().filter_map(|state| {
        let (revision, _) = state.closed?;
        Some([(revision, state.record.entry), (revision, state.record.copy)])
    });
    closed.flatten()
}

impl RegisterReads for MemoryStore {
    fn entries(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<(EntryId, Kind)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let from = after.map_or(Unbounded, Excluded);
        let all = folder.entries.range((from, Unbounded));
        let known = all.filter_map(|(entry, row)| row.state.map(|state| (*entry, state.kind)));
        Ok(known.take(limit).collect())
    }

    fn places(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<PlaceVersion>> {
        let row = self.entry_row(folder, entry).map_or(&[][..], |row| &row.places);
        let asked = row.iter().rev().filter(|version| version.revision <= at);
        Ok(asked.take(limit).cloned().collect())
    }

    fn contents(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<ContentVersion>> {
        let row = self.entry_row(folder, entry).map_or(&[][..], |row| &row.contents);
        let asked = row.iter().rev().filter(|version| version.revision <= at);
        Ok(asked.take(limit).cloned().collect())
    }

    fn earlier(
        &self,
        folder: &FolderId,
        (at, known): (Revision, Revision),
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<Earlier>> {
        let Some(tree) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let from = after.map_or(Unbounded, Excluded);
        let all = tree.entries.range((from, Unbounded));
        let all = all.filter_map(|(entry, row)| row.state.map(|state| (*entry, state)));
        let changed = all.filter(|(_, it)| it.place_revision.max(it.content_revision) > at);
        let told = changed.take(limit).map(|(entry, state)| {
            let place = || Ok(self.places(folder, &entry, at, 1)?.pop());
            let content = || Ok(self.contents(folder, &entry, at, 1)?.pop());
            earlier(entry, &state, (at, known), place, content)
        });
        told.collect()
    }

    fn timeline(
        &self,
        folder: &FolderId,
        at: Revision,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<(Revision, EntryId)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let set = folder.entries.iter().flat_map(|(entry, row)| {
            let places = row.places.iter().map(|version| version.revision);
            let contents = row.contents.iter().map(|version| version.revision);
            places.chain(contents).map(|revision| (revision, *entry))
        });
        let asked = |(revision, entry): &(Revision, EntryId)| {
            *revision < at || (*revision == at && after.is_none_or(|after| entry > after))
        };
        let changes = set.chain(closings(folder)).filter(asked);
        let changes: BTreeSet<_> =
            changes.map(|(revision, entry)| (Reverse(revision), entry)).collect();
        let found = changes.into_iter().map(|(Reverse(revision), entry)| (revision, entry));
        Ok(found.take(limit).collect())
    }

    fn named_ever(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
        limit: usize,
    ) -> Stored<Vec<(EntryId, EntryState)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let was_there = |row: &Entry| {
            let mut places = row.places.iter().map(|version| &version.place);
            places.any(|place| place.parent == *parent && place.name_tag == *name_tag)
        };
        let known = folder.entries.iter().filter(|(_, row)| was_there(row));
        let known = known.filter_map(|(entry, row)| row.state.map(|state| (*entry, state)));
        let mut found: Vec<(EntryId, EntryState)> = known.collect();
        found.sort_by_key(|(entry, at)| (at.deleted, Reverse(at.place_revision), *entry));
        found.truncate(limit);
        Ok(found)
    }

    fn deleted(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let from = after.map_or(Unbounded, Excluded);
        let all = folder.entries.range((from, Unbounded));
        let gone = all.filter(|(_, row)| row.state.is_some_and(|state| state.deleted));
        Ok(gone.take(limit).map(|(entry, _)| *entry).collect())
    }

    fn closings(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<Revision>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let closed = closings(folder).filter(|(revision, of)| of == entry && *revision <= at);
        let closed: BTreeSet<Revision> = closed.map(|(revision, _)| revision).collect();
        Ok(closed.into_iter().rev().take(limit).collect())
    }

    fn conflicts_open(
        &self,
        folder: &FolderId,
        at: Revision,
        after: Option<&ConflictId>,
        limit: usize,
    ) -> Stored<Vec<ConflictRecord>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let from = after.map_or(Unbounded, Excluded);
        let open = folder.conflicts.range((from, Unbounded)).filter(|(_, state)| {
            state.record.opened <= at && state.closed.is_none_or(|(closed, _)| closed > at)
        });
        Ok(open.take(limit).map(|(_, state)| state.record.clone()).collect())
    }
}

impl RegisterWrites for MemoryStore {
    fn put_entry(&mut self, folder: &FolderId, entry: &EntryId, state: &EntryState) -> Stored<()> {
        self.folder_mut(folder)?.entries.entry(*entry).or_default().state = Some(*state);
        Ok(())
    }

    fn append_place(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &PlaceVersion,
    ) -> Stored<()> {
        let places = &mut self.entry_mut(folder, entry)?.places;
        if places.last().is_some_and(|last| last.revision >= version.revision) {
            return Err(StoreError::Corrupt { what: "order of places" });
        }
        places.push(version.clone());
        Ok(())
    }

    fn append_content(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &ContentVersion,
    ) -> Stored<()> {
        let contents = &mut self.entry_mut(folder, entry)?.contents;
        let next = (version.revision, version.change);
        if contents.last().is_some_and(|last| (last.revision, last.change) >= next) {
            return Err(StoreError::Corrupt { what: "order of contents" });
        }
        contents.push(version.clone());
        Ok(())
    }

    fn put_object(&mut self, folder: &FolderId, id: &ChunkId, object: &ObjectState) -> Stored<()> {
        self.folder_mut(folder)?.objects.insert(*id, *object);
        Ok(())
    }

    fn put_conflict(&mut self, folder: &FolderId, conflict: &ConflictState) -> Stored<()> {
        let id = conflict.record.conflict;
        self.folder_mut(folder)?.conflicts.insert(id, conflict.clone());
        Ok(())
    }
}
