//! Labels, settings, whole moments, and the release of versions.
//!
//! Owns their statements. It must not know the rules.

use super::registers::{CONFLICT, conflict_row, optional};
use super::{SqliteStore, int, size, uint};
use common::ids::{EntryId, FolderId, LabelId};
use common::record::{ConflictRecord, Retention, Settings, StandingSettings};
use common::revision::Revision;
use rusqlite::{Row, params};
use server_core::metadata::{
    Label, RetentionReads, RetentionWrites, StoreError, Stored, VersionMarks,
};
use server_core::retention::{RegisterRelease, Release, VersionMark, Whole};

const SETTINGS: &str = "SELECT revision, time_ms, keep_all_ms, daily_ms, monthly_ms, sealed
    FROM settings";

fn settings_row(row: &Row<'_>) -> rusqlite::Result<StandingSettings> {
    let bits = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let retention = Retention { keep_all_ms: bits(2)?, daily_ms: bits(3)?, monthly_ms: bits(4)? };
    Ok(StandingSettings {
        revision: uint(row, 0)?,
        time_ms: uint(row, 1)?,
        settings: Settings { retention, sealed: row.get(5)? },
    })
}

/// Without statistics SQLite takes the primary key, and walks over all conflicts of the folder.
pub(super) fn conflicts_naming() -> String {
    format!(
        "{CONFLICT} INDEXED BY conflicts_open_by_entry
        WHERE folder = ?1 AND entry = ?2 AND closed IS NULL
        UNION {CONFLICT} INDEXED BY conflicts_open_by_copy
        WHERE folder = ?1 AND copy = ?2 AND closed IS NULL ORDER BY conflict"
    )
}

impl RetentionReads for SqliteStore {
    fn settings(&self, folder: &FolderId, at: Revision) -> Stored<Option<StandingSettings>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = format!(
            "{SETTINGS} WHERE folder = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT 1"
        );
        self.one(&sql, params![number, int(at)], settings_row)
    }

    fn settings_by(&self, folder: &FolderId, time_ms: u64) -> Stored<Option<StandingSettings>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = format!(
            "{SETTINGS} WHERE folder = ?1 AND time_ms <= ?2 ORDER BY revision DESC LIMIT 1"
        );
        self.one(&sql, params![number, int(time_ms)], settings_row)
    }

    fn labels(&self, folder: &FolderId) -> Stored<Vec<Label>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT label, at, added, name FROM labels WHERE folder = ?1 ORDER BY at, label";
        self.all(sql, [number], |row| {
            Ok(Label {
                label: LabelId::from_bytes(row.get(0)?),
                at: uint(row, 1)?,
                added: uint(row, 2)?,
                name: row.get(3)?,
            })
        })
    }

    fn whole(&self, folder: &FolderId) -> Stored<Whole> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Whole::default()) };
        let sql = "SELECT horizon FROM folders WHERE number = ?1";
        let horizon = self.one(sql, [number], |row| uint(row, 0))?;
        let horizon = horizon.ok_or(StoreError::Corrupt { what: "folder" })?;
        let sql = "SELECT revision FROM kept WHERE folder = ?1";
        let kept = self.all(sql, [number], |row| uint(row, 0))?.into_iter().collect();
        Ok(Whole { horizon, kept })
    }

    fn entries_with_history(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let after = after.map(|entry| entry.as_bytes().to_vec()).unwrap_or_default();
        let sql = "SELECT e.entry FROM entries e WHERE e.folder = ?1 AND e.entry > ?2
            AND (e.deleted = 1
                OR EXISTS (SELECT 1 FROM places p
                    WHERE p.entry = e.number AND p.revision < e.place_revision)
                OR EXISTS (SELECT 1 FROM contents c
                    WHERE c.entry = e.number AND c.revision < e.content_revision))
            ORDER BY e.entry LIMIT ?3";
        self.all(sql, params![number, after, size(limit)], |row| {
            Ok(EntryId::from_bytes(row.get(0)?))
        })
    }

    fn conflicts_naming(&self, folder: &FolderId, entry: &EntryId) -> Stored<Vec<ConflictRecord>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        self.all(&conflicts_naming(), params![number, entry.as_bytes()], |row| {
            Ok(conflict_row(row)?.record)
        })
    }

    fn version_marks(&self, folder: &FolderId, entry: &EntryId) -> Stored<VersionMarks> {
        let Some(number) = self.folder_number(folder)? else { return Ok(VersionMarks::default()) };
        let mark = |row: &Row<'_>| {
            Ok(VersionMark { revision: uint(row, 0)?, until: optional(row, 1)?, gone: row.get(2)? })
        };
        let key = params![number, entry.as_bytes()];
        let sql = "SELECT p.revision, p.until, p.deleted
            FROM entries e JOIN places p ON p.entry = e.number
            WHERE e.folder = ?1 AND e.entry = ?2 ORDER BY p.revision DESC";
        let places = self.all(sql, key, mark)?;
        let sql = "SELECT c.revision, c.until, c.released
            FROM entries e JOIN contents c ON c.entry = e.number
            WHERE e.folder = ?1 AND e.entry = ?2 ORDER BY c.revision DESC, c.change DESC";
        Ok((places, self.all(sql, key, mark)?))
    }
}

impl RetentionWrites for SqliteStore {
    fn put_settings(&mut self, folder: &FolderId, standing: &StandingSettings) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let Settings { retention, sealed } = &standing.settings;
        let sql = "INSERT INTO settings
            (folder, revision, time_ms, keep_all_ms, daily_ms, monthly_ms, sealed)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.run(
            sql,
            params![
                number,
                int(standing.revision),
                int(standing.time_ms),
                retention.keep_all_ms.cast_signed(),
                retention.daily_ms.cast_signed(),
                retention.monthly_ms.cast_signed(),
                sealed
            ],
        )
    }

    fn put_label(&mut self, folder: &FolderId, label: &Label) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT INTO labels (folder, label, at, added, name) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (at, added) = (int(label.at), int(label.added));
        self.run(sql, params![number, label.label.as_bytes(), at, added, label.name])
    }

    fn delete_label(&mut self, folder: &FolderId, label: &LabelId) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "DELETE FROM labels WHERE folder = ?1 AND label = ?2";
        self.run(sql, params![number, label.as_bytes()])
    }

    fn set_whole(&mut self, folder: &FolderId, whole: &Whole) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "UPDATE folders SET horizon = ?2 WHERE number = ?1";
        self.run_once(sql, params![number, int(whole.horizon)], "folder")?;
        self.run("DELETE FROM kept WHERE folder = ?1", [number])?;
        for revision in &whole.kept {
            let sql = "INSERT INTO kept (folder, revision) VALUES (?1, ?2)";
            self.run(sql, params![number, int(*revision)])?;
        }
        Ok(())
    }

    fn release_versions(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        release: &Release,
    ) -> Stored<u64> {
        let folder = self.folder_row(folder)?;
        let sql = "SELECT number FROM entries WHERE folder = ?1 AND entry = ?2";
        let number: Option<i64> =
            self.one(sql, params![folder, entry.as_bytes()], |row| row.get(0))?;
        let number = number.ok_or(StoreError::Corrupt { what: "entry" })?;
        let mut released = self.release_places(number, &release.places)?;
        released += self.release_contents(number, &release.contents)?;
        if let Some(hollow) = release.hollow {
            let sql = "DELETE FROM contents WHERE entry = ?1 AND revision = ?2 AND change <
                (SELECT max(change) FROM contents WHERE entry = ?1 AND revision = ?2)";
            released += self.count(sql, params![number, int(hollow)])?;
            let sql = "UPDATE contents SET root = NULL, level = 0, released = 1
                WHERE entry = ?1 AND revision = ?2";
            self.run_once(sql, params![number, int(hollow)], "content")?;
        }
        let gone = release.places.gone.iter().chain(&release.contents.gone);
        for revision in gone {
            // Unless the other register was set then too, and stays.
            let sql = "DELETE FROM changes WHERE folder = ?1 AND revision = ?3 AND entry = ?2
                AND NOT EXISTS (SELECT 1 FROM places WHERE entry = ?2 AND revision = ?3)
                AND NOT EXISTS (SELECT 1 FROM contents WHERE entry = ?2 AND revision = ?3)";
            self.run(sql, params![folder, number, int(*revision)])?;
        }
        Ok(released as u64)
    }
}

impl SqliteStore {
    fn release_places(&self, entry: i64, release: &RegisterRelease) -> Stored<usize> {
        let mut released = 0;
        for revision in &release.gone {
            let sql = "DELETE FROM places WHERE entry = ?1 AND revision = ?2";
            released += self.count(sql, params![entry, int(*revision)])?;
        }
        for (stays, until) in &release.until {
            let sql = "UPDATE places SET until = ?3 WHERE entry = ?1 AND revision = ?2";
            self.run_once(sql, params![entry, int(*stays), int(*until)], "place")?;
        }
        Ok(released)
    }

    fn release_contents(&self, entry: i64, release: &RegisterRelease) -> Stored<usize> {
        let mut released = 0;
        for revision in &release.gone {
            let sql = "DELETE FROM contents WHERE entry = ?1 AND revision = ?2";
            released += self.count(sql, params![entry, int(*revision)])?;
        }
        for (stays, until) in &release.until {
            let sql = "UPDATE contents SET until = ?3 WHERE entry = ?1 AND revision = ?2";
            self.run(sql, params![entry, int(*stays), int(*until)])?;
        }
        Ok(released)
    }
}
