//! Trees: current registers, their versions, objects and conflicts.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, failed, int, out_of_range, size, uint};
use common::ids::{ChunkId, ConflictId, ContentTag, DeviceId, EntryId, FolderId, NameTag};
use common::record::{ConflictRecord, Content, Earlier, Kind, Place, Resolution, Root};
use common::revision::Revision;
use rusqlite::{OptionalExtension, Row, params};
use server_core::metadata::{
    ConflictState, ContentVersion, EntryState, ObjectState, PlaceVersion, RegisterReads,
    RegisterWrites, Stored, TreeReads, earlier,
};

/// So many changes are looked through one by one, anew for each page; of more, all entries are.
pub(super) const CHANGES_FEW: usize = 4096;

/// Changes after a revision, counted up to a bound: one revision has up to hundreds.
pub(super) const CHANGES_AFTER: &str = "SELECT count(*) FROM
    (SELECT 1 FROM changes WHERE folder = ?1 AND revision > ?2 LIMIT ?3)";

/// Entries of which a register was set after a revision, in the order in which they were made: their
/// versions lie together.
const CHANGED: &str = "SELECT kind, place_revision, parent, name_tag, deleted, content_revision,
    number, entry FROM entries WHERE folder = ?1 AND number > ?3
    AND max(place_revision, content_revision) > ?2 ORDER BY number LIMIT ?4";

/// The same, for few revisions.
pub(super) const CHANGED_FEW: &str = "SELECT kind, place_revision, parent, name_tag, deleted,
    content_revision, number, entry FROM entries WHERE number IN
    (SELECT entry FROM changes WHERE folder = ?1 AND revision > ?2 AND entry > ?3)
    ORDER BY number LIMIT ?4";

/// Deleted entries, without a walk over those that live.
pub(super) const DELETED: &str = "SELECT entry FROM entries INDEXED BY entries_deleted
    WHERE folder = ?1 AND entry > ?2 AND deleted = 1 ORDER BY entry LIMIT ?3";

/// Without statistics SQLite takes the primary key, and walks over all conflicts of the folder.
pub(super) const CLOSINGS: &str = "SELECT closed FROM conflicts
    INDEXED BY conflicts_closed_by_entry WHERE folder = ?1 AND entry = ?2 AND closed <= ?3
    UNION SELECT closed FROM conflicts INDEXED BY conflicts_closed_by_copy
    WHERE folder = ?1 AND copy = ?2 AND closed <= ?3 ORDER BY closed DESC LIMIT ?4";

/// Each part is cut before the parts are put together: both may be long.
pub(super) const TIMELINE: &str = "SELECT c.revision, e.entry FROM (
        SELECT * FROM (SELECT revision, entry FROM changes
            WHERE folder = ?1 AND revision <= ?2 AND (revision < ?2 OR entry > ?3)
            ORDER BY revision DESC, entry LIMIT ?4)
        UNION SELECT * FROM (SELECT k.closed AS revision, e.number AS entry
            FROM conflicts k INDEXED BY conflicts_by_closed
            CROSS JOIN entries e ON e.folder = k.folder AND e.entry = k.entry
            WHERE k.folder = ?1 AND k.closed <= ?2 AND (k.closed < ?2 OR e.number > ?3)
            ORDER BY k.closed DESC, e.number LIMIT ?4)
        UNION SELECT * FROM (SELECT k.closed AS revision, e.number AS entry
            FROM conflicts k INDEXED BY conflicts_by_closed
            CROSS JOIN entries e ON e.folder = k.folder AND e.entry = k.copy
            WHERE k.folder = ?1 AND k.closed <= ?2 AND (k.closed < ?2 OR e.number > ?3)
            ORDER BY k.closed DESC, e.number LIMIT ?4)
    ) c JOIN entries e ON e.number = c.entry ORDER BY c.revision DESC, c.entry LIMIT ?4";

pub(super) const CONFLICT: &str =
    "SELECT conflict, entry, base, theirs, copy, opened, time_ms, device,
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
    let (deleted, until) = (row.get(4)?, optional(row, 5)?);
    Ok(PlaceVersion { revision: uint(row, 0)?, place, deleted, until })
}

fn content_row(row: &Row<'_>) -> rusqlite::Result<ContentVersion> {
    let level: u8 = row.get(3)?;
    let root = row.get::<_, Option<[u8; 32]>>(2)?;
    let content = Content {
        root: root.map(|id| Root { id: ChunkId::from_bytes(id), level }),
        tag: ContentTag::from_bytes(row.get(4)?),
        attributes: row.get(5)?,
    };
    Ok(ContentVersion {
        revision: uint(row, 0)?,
        change: row.get(1)?,
        content,
        until: optional(row, 6)?,
        released: row.get(7)?,
    })
}

pub(super) fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|_| uint(row, column)).transpose()
}

pub(super) fn conflict_row(row: &Row<'_>) -> rusqlite::Result<ConflictState> {
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
        let sql = "SELECT p.revision, p.parent, p.name_tag, p.name, p.deleted, p.until
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
        let sql = "SELECT c.revision, c.change, c.root, c.level, c.tag, c.attributes, c.until,
            c.released
            FROM entries e JOIN contents c ON c.entry = e.number
            WHERE e.folder = ?1 AND e.entry = ?2 AND c.revision <= ?3
            ORDER BY c.revision DESC, c.change DESC LIMIT ?4";
        self.all(sql, params![number, entry.as_bytes(), int(at), size(limit)], content_row)
    }

    fn earlier(
        &self,
        folder: &FolderId,
        (at, known): (Revision, Revision),
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<Earlier>> {
        let Some(folder) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = self.number_of(folder, after)?;
        let sql = self.changed_after(folder, at)?;
        let key = params![folder, int(at), after, size(limit)];
        let changed = self.all(sql, key, |row| {
            Ok((row.get::<_, i64>(6)?, EntryId::from_bytes(row.get(7)?), entry_row(row)?))
        })?;
        let place = "SELECT revision, parent, name_tag, name, deleted, until FROM places
            WHERE entry = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT 1";
        let content = "SELECT revision, change, root, level, tag, attributes, until, released
            FROM contents WHERE entry = ?1 AND revision <= ?2
            ORDER BY revision DESC, change DESC LIMIT 1";
        let mut places = self.connection.prepare_cached(place).map_err(failed)?;
        let mut contents = self.connection.prepare_cached(content).map_err(failed)?;
        let told = changed.into_iter().map(|(number, entry, state)| {
            let key = [number, int(at)];
            let place = || places.query_row(key, place_row).optional().map_err(failed);
            let content = || contents.query_row(key, content_row).optional().map_err(failed);
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
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = self.number_of(number, after)?;
        self.all(TIMELINE, params![number, int(at), after, size(limit)], |row| {
            Ok((uint(row, 0)?, EntryId::from_bytes(row.get(1)?)))
        })
    }

    fn named_ever(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
        limit: usize,
    ) -> Stored<Vec<(EntryId, EntryState)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        // The expression is that of the index.
        let sql = "SELECT DISTINCT e.kind, e.place_revision, e.parent, e.name_tag, e.deleted,
            e.content_revision, e.entry FROM places p JOIN entries e ON e.number = p.entry
            WHERE substr(p.name_tag, 1, 8) = substr(?3, 1, 8) AND p.name_tag = ?3
            AND p.parent = ?2 AND e.folder = ?1
            ORDER BY e.deleted, e.place_revision DESC, e.entry LIMIT ?4";
        let key = params![number, parent.as_bytes(), name_tag.as_bytes(), size(limit)];
        self.all(sql, key, |row| Ok((EntryId::from_bytes(row.get(6)?), entry_row(row)?)))
    }

    fn deleted(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = after.map(|entry| entry.as_bytes().to_vec()).unwrap_or_default();
        let key = params![number, after, size(limit)];
        self.all(DELETED, key, |row| Ok(EntryId::from_bytes(row.get(0)?)))
    }

    fn closings(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<Revision>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let key = params![number, entry.as_bytes(), int(at), size(limit)];
        self.all(CLOSINGS, key, |row| uint(row, 0))
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

impl SqliteStore {
    /// How entries that changed after a revision are found.
    pub(super) fn changed_after(&self, folder: i64, at: Revision) -> Stored<&'static str> {
        let key = params![folder, int(at), size(CHANGES_FEW + 1)];
        let changes = self.one(CHANGES_AFTER, key, |row| uint(row, 0))?.unwrap_or(0);
        Ok(if changes <= CHANGES_FEW as u64 { CHANGED_FEW } else { CHANGED })
    }

    /// The number of an entry to go on after, less than all when there is none.
    fn number_of(&self, folder: i64, entry: Option<&EntryId>) -> Stored<i64> {
        let Some(entry) = entry else { return Ok(0) };
        let sql = "SELECT number FROM entries WHERE folder = ?1 AND entry = ?2";
        let number = self.one(sql, params![folder, entry.as_bytes()], |row| row.get(0))?;
        // Numbers begin with 1.
        Ok(number.unwrap_or(0))
    }

    /// A register of an entry was set; again, when both were.
    fn note_change(&self, folder: i64, entry: &EntryId, revision: Revision) -> Stored<()> {
        let sql = "INSERT OR IGNORE INTO changes (folder, revision, entry)
            SELECT folder, ?3, number FROM entries WHERE folder = ?1 AND entry = ?2";
        self.run(sql, params![folder, entry.as_bytes(), int(revision)])
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
        )?;
        self.note_change(number, entry, version.revision)
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
        )?;
        self.note_change(number, entry, version.revision)
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
