//! Trees: current registers, their versions, objects and conflicts.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, int, out_of_range, size, uint};
use common::ids::{ChunkId, ConflictId, ContentTag, DeviceId, EntryId, FolderId, NameTag};
use common::record::{ConflictRecord, Content, Kind, Place, Resolution, Root};
use common::revision::Revision;
use rusqlite::{Row, params};
use server_core::metadata::{
    ConflictState, ContentVersion, EntryState, ObjectState, PlaceVersion, RegisterReads,
    RegisterWrites, Stored, TreeReads,
};

const CONFLICT: &str = "SELECT conflict, entry, base, theirs, copy, opened, time_ms, device,
    closed, resolution FROM conflicts";

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    let code: u32 = row.get(column)?;
    Kind::from_code(code).ok_or_else(|| out_of_range(column, i64::from(code)))
}

fn entry_row(row: &Row<'_>) -> rusqlite::Result<EntryState> {
    Ok(EntryState {
        kind: kind(row, 0)?,
        place_revision: uint(row, 1)?,
        parent: EntryId::from_bytes(row.get(2)?),
        name_tag: NameTag::from_bytes(row.get(3)?),
        deleted: row.get(4)?,
        content_revision: uint(row, 5)?,
    })
}

fn place_row(row: &Row<'_>) -> rusqlite::Result<PlaceVersion> {
    let place = Place {
        parent: EntryId::from_bytes(row.get(1)?),
        name: row.get(3)?,
        name_tag: NameTag::from_bytes(row.get(2)?),
    };
    Ok(PlaceVersion { revision: uint(row, 0)?, place, deleted: row.get(4)? })
}

fn content_row(row: &Row<'_>) -> rusqlite::Result<ContentVersion> {
    let level: u8 = row.get(3)?;
    let root = row.get::<_, Option<[u8; 32]>>(2)?;
    let content = Content {
        root: root.map(|id| Root { id: ChunkId::from_bytes(id), level }),
        tag: ContentTag::from_bytes(row.get(4)?),
        attributes: row.get(5)?,
    };
    Ok(ContentVersion { revision: uint(row, 0)?, change: row.get(1)?, content })
}

fn conflict_row(row: &Row<'_>) -> rusqlite::Result<ConflictState> {
    let base: Option<i64> = row.get(2)?;
    let closed: Option<i64> = row.get(8)?;
    let record = ConflictRecord {
        conflict: ConflictId::from_bytes(row.get(0)?),
        entry: EntryId::from_bytes(row.get(1)?),
        base: base.map(|_| uint(row, 2)).transpose()?,
        theirs: uint(row, 3)?,
        copy: EntryId::from_bytes(row.get(4)?),
        opened: uint(row, 5)?,
        time_ms: uint(row, 6)?,
        device: DeviceId::from_bytes(row.get(7)?),
    };
    let closed = match closed {
        Some(_) => Some((uint(row, 8)?, resolution(row, 9)?)),
        None => None,
    };
    Ok(ConflictState { record, closed })
}

/// Codes of this column; only ever added to.
const fn resolution_code(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::KeepOriginal => 1,
        Resolution::KeepCopy => 2,
        Resolution::KeepBoth => 3,
        Resolution::Gone => 4,
        Resolution::Merged => 5,
    }
}

fn resolution(row: &Row<'_>, column: usize) -> rusqlite::Result<Resolution> {
    match row.get::<_, i64>(column)? {
        1 => Ok(Resolution::KeepOriginal),
        2 => Ok(Resolution::KeepCopy),
        3 => Ok(Resolution::KeepBoth),
        4 => Ok(Resolution::Gone),
        5 => Ok(Resolution::Merged),
        other => Err(out_of_range(column, other)),
    }
}

impl TreeReads for SqliteStore {
    fn entry(&self, folder: &FolderId, entry: &EntryId) -> Stored<Option<EntryState>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT kind, place_revision, parent, name_tag, deleted, content_revision
            FROM entries WHERE folder = ?1 AND entry = ?2";
        self.one(sql, params![number, entry.as_bytes()], entry_row)
    }

    fn named(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
    ) -> Stored<Option<EntryId>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT entry FROM entries
            WHERE folder = ?1 AND parent = ?2 AND name_tag = ?3 AND deleted = 0";
        let key = params![number, parent.as_bytes(), name_tag.as_bytes()];
        self.one(sql, key, |row| Ok(EntryId::from_bytes(row.get(0)?)))
    }

    fn children(&self, folder: &FolderId, parent: &EntryId, limit: usize) -> Stored<Vec<EntryId>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT entry FROM entries
            WHERE folder = ?1 AND parent = ?2 AND deleted = 0 LIMIT ?3";
        let key = params![number, parent.as_bytes(), size(limit)];
        self.all(sql, key, |row| Ok(EntryId::from_bytes(row.get(0)?)))
    }

    fn object(&self, folder: &FolderId, id: &ChunkId) -> Stored<Option<ObjectState>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT level, length FROM objects WHERE folder = ?1 AND id = ?2";
        self.one(sql, params![number, id.as_bytes()], |row| {
            Ok(ObjectState { level: row.get(0)?, length: row.get(1)? })
        })
    }

    fn conflict(&self, folder: &FolderId, id: &ConflictId) -> Stored<Option<ConflictState>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = format!("{CONFLICT} WHERE folder = ?1 AND conflict = ?2");
        self.one(&sql, params![number, id.as_bytes()], conflict_row)
    }
}

impl RegisterReads for SqliteStore {
    fn entries(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<(EntryId, Kind)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        // Every id is longer than nothing, and comes after it.
        let after = after.map(|entry| entry.as_bytes().to_vec()).unwrap_or_default();
        let sql = "SELECT entry, kind FROM entries WHERE folder = ?1 AND entry > ?2
            ORDER BY entry LIMIT ?3";
        self.all(sql, params![number, after, size(limit)], |row| {
            Ok((EntryId::from_bytes(row.get(0)?), kind(row, 1)?))
        })
    }

    fn places(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<PlaceVersion>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT p.revision, p.parent, p.name_tag, p.name, p.deleted
            FROM entries e JOIN places p ON p.entry = e.number
            WHERE e.folder = ?1 AND e.entry = ?2 AND p.revision <= ?3
            ORDER BY p.revision DESC LIMIT ?4";
        self.all(sql, params![number, entry.as_bytes(), int(at), size(limit)], place_row)
    }

    fn contents(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<ContentVersion>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT c.revision, c.change, c.root, c.level, c.tag, c.attributes
            FROM entries e JOIN contents c ON c.entry = e.number
            WHERE e.folder = ?1 AND e.entry = ?2 AND c.revision <= ?3
            ORDER BY c.revision DESC, c.change DESC LIMIT ?4";
        self.all(sql, params![number, entry.as_bytes(), int(at), size(limit)], content_row)
    }

    fn conflicts_open(
        &self,
        folder: &FolderId,
        at: Revision,
        after: Option<&ConflictId>,
        limit: usize,
    ) -> Stored<Vec<ConflictRecord>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = after.map(|conflict| conflict.as_bytes().to_vec()).unwrap_or_default();
        let sql = format!(
            "{CONFLICT} WHERE folder = ?1 AND conflict > ?2 AND opened <= ?3
            AND (closed IS NULL OR closed > ?3) ORDER BY conflict LIMIT ?4"
        );
        let key = params![number, after, int(at), size(limit)];
        self.all(&sql, key, |row| Ok(conflict_row(row)?.record))
    }
}

impl RegisterWrites for SqliteStore {
    fn put_entry(&mut self, folder: &FolderId, entry: &EntryId, state: &EntryState) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT INTO entries
            (folder, entry, kind, place_revision, parent, name_tag, deleted, content_revision)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (folder, entry) DO UPDATE SET kind = excluded.kind,
            place_revision = excluded.place_revision, parent = excluded.parent,
            name_tag = excluded.name_tag, deleted = excluded.deleted,
            content_revision = excluded.content_revision";
        self.run(
            sql,
            params![
                number,
                entry.as_bytes(),
                state.kind.code(),
                int(state.place_revision),
                state.parent.as_bytes(),
                state.name_tag.as_bytes(),
                state.deleted,
                int(state.content_revision)
            ],
        )
    }

    fn append_place(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &PlaceVersion,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT INTO places (entry, revision, parent, name_tag, name, deleted)
            SELECT number, ?3, ?4, ?5, ?6, ?7 FROM entries WHERE folder = ?1 AND entry = ?2";
        self.run_once(
            sql,
            params![
                number,
                entry.as_bytes(),
                int(version.revision),
                version.place.parent.as_bytes(),
                version.place.name_tag.as_bytes(),
                version.place.name,
                version.deleted
            ],
            "entry of a place",
        )
    }

    fn append_content(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &ContentVersion,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let content = &version.content;
        let sql = "INSERT INTO contents (entry, revision, change, root, level, tag, attributes)
            SELECT number, ?3, ?4, ?5, ?6, ?7, ?8 FROM entries
            WHERE folder = ?1 AND entry = ?2";
        self.run_once(
            sql,
            params![
                number,
                entry.as_bytes(),
                int(version.revision),
                version.change,
                content.root.as_ref().map(|root| root.id.as_bytes()),
                content.root.map_or(0, |root| root.level),
                content.tag.as_bytes(),
                content.attributes
            ],
            "entry of a content",
        )
    }

    fn put_object(&mut self, folder: &FolderId, id: &ChunkId, object: &ObjectState) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT OR REPLACE INTO objects (folder, id, level, length)
            VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![number, id.as_bytes(), object.level, object.length])
    }

    fn put_conflict(&mut self, folder: &FolderId, conflict: &ConflictState) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let record = &conflict.record;
        let sql = "INSERT OR REPLACE INTO conflicts
            (folder, conflict, entry, base, theirs, copy, opened, time_ms, device, closed,
            resolution) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        self.run(
            sql,
            params![
                number,
                record.conflict.as_bytes(),
                record.entry.as_bytes(),
                record.base.map(int),
                int(record.theirs),
                record.copy.as_bytes(),
                int(record.opened),
                int(record.time_ms),
                record.device.as_bytes(),
                conflict.closed.map(|(revision, _)| int(revision)),
                conflict.closed.map(|(_, resolution)| resolution_code(resolution))
            ],
        )
    }
}
