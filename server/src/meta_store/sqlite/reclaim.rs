//! What garbage collection asks of the metadata.
//!
//! Owns its statements. It must not know the rules.

use super::{SqliteStore, int, size, uint};
use common::ids::{ChunkId, EntryId, FolderId};
use common::record::Root;
use rusqlite::params;
use server_core::metadata::{ObjectState, ReclaimReads, ReclaimWrites, RootCursor, Stored};

impl ReclaimReads for SqliteStore {
    fn roots(
        &self,
        folder: &FolderId,
        after: Option<&RootCursor>,
        limit: usize,
    ) -> Stored<Vec<(RootCursor, Root)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        // Every id is longer than nothing, and comes after it.
        let entry = after.map(|at| at.entry.to_vec()).unwrap_or_default();
        let (revision, change) = after.map_or((0, 0), |at| (at.revision, at.change));
        let sql = "SELECT e.entry, c.revision, c.change, c.root, c.level
            FROM entries e CROSS JOIN contents c ON c.entry = e.number
            WHERE e.folder = ?1 AND e.entry >= ?2 AND c.root IS NOT NULL
            AND (e.entry > ?2 OR (c.revision, c.change) > (?3, ?4))
            ORDER BY e.entry, c.revision, c.change LIMIT ?5";
        self.all(sql, params![number, entry, int(revision), change, size(limit)], |row| {
            let entry = EntryId::from_bytes(row.get(0)?);
            let at = RootCursor { entry, revision: uint(row, 1)?, change: row.get(2)? };
            Ok((at, Root { id: ChunkId::from_bytes(row.get(3)?), level: row.get(4)? }))
        })
    }

    fn objects(
        &self,
        folder: &FolderId,
        after: Option<&ChunkId>,
        limit: usize,
    ) -> Stored<Vec<(ChunkId, ObjectState)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = after.map(|id| id.to_vec()).unwrap_or_default();
        let sql = "SELECT id, level, length FROM objects WHERE folder = ?1 AND id > ?2
            ORDER BY id LIMIT ?3";
        self.all(sql, params![number, after, size(limit)], |row| {
            let state = ObjectState { level: row.get(1)?, length: row.get(2)? };
            Ok((ChunkId::from_bytes(row.get(0)?), state))
        })
    }
}

#[cfg(test)]
impl SqliteStore {
    /// Forgets all versions of an entry's content, as retention does with old ones.
    pub(in crate::meta_store) fn thin(&self, folder: &FolderId, entry: &EntryId) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "DELETE FROM contents WHERE entry =
            (SELECT number FROM entries WHERE folder = ?1 AND entry = ?2)";
        self.run(sql, params![number, entry.as_bytes()])
    }
}

impl ReclaimWrites for SqliteStore {
    fn remove_object(&mut self, folder: &FolderId, id: &ChunkId) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "DELETE FROM objects WHERE folder = ?1 AND id = ?2";
        self.run_once(sql, params![number, id.as_bytes()], "object")
    }
}
