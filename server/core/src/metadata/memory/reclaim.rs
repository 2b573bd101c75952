//! What garbage collection asks, in memory.
//!
//! Owns the maps' side of those traits. It must not know the rules.

use super::super::reclaim::{ReclaimReads, ReclaimWrites, RootCursor};
use super::super::state::ObjectState;
use super::super::store::{StoreError, Stored};
use super::MemoryStore;
use common::ids::{ChunkId, FolderId};
use common::record::Root;
use std::ops::Bound::{Excluded, Unbounded};

impl ReclaimReads for MemoryStore {
    fn roots(
        &self,
        folder: &FolderId,
        after: Option<&RootCursor>,
        limit: usize,
    ) -> Stored<Vec<(RootCursor, Root)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let rows = folder.entries.iter().flat_map(|(entry, row)| {
            row.contents.iter().filter_map(|version| {
                let (revision, change) = (version.revision, version.change);
                Some((RootCursor { entry: *entry, revision, change }, version.content.root?))
            })
        });
        let asked = rows.filter(|(at, _)| after.is_none_or(|after| at > after));
        Ok(asked.take(limit).collect())
    }

    fn objects(
        &self,
        folder: &FolderId,
        after: Option<&ChunkId>,
        limit: usize,
    ) -> Stored<Vec<(ChunkId, ObjectState)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let from = after.map_or(Unbounded, Excluded);
        let known = folder.objects.range((from, Unbounded));
        Ok(known.take(limit).map(|(id, state)| (*id, *state)).collect())
    }
}

impl ReclaimWrites for MemoryStore {
    fn remove_object(&mut self, folder: &FolderId, id: &ChunkId) -> Stored<()> {
        let removed = self.folder_mut(folder)?.objects.remove(id);
        removed.map(|_| ()).ok_or(StoreError::Corrupt { what: "object" })
    }
}
