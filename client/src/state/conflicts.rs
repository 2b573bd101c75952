//! Open conflicts, as the journal tells them.

use super::{FolderState, StateError, row};
use common::ids::{ConflictId, EntryId};
use common::record::ConflictRecord;
use rusqlite::{Row, params};

const COLUMNS: &str = "conflict, entry, base, theirs, copy, opened, time_ms, device";

fn read(row: &Row<'_>) -> rusqlite::Result<ConflictRecord> {
    let base: Option<i64> = row.get(2)?;
    Ok(ConflictRecord {
        conflict: row::conflict(row, 0)?,
        entry: row::entry(row, 1)?,
        base: base.map(|_| row::unsigned(row, 2)).transpose()?,
        theirs: row::unsigned(row, 3)?,
        copy: row::entry(row, 4)?,
        opened: row::unsigned(row, 5)?,
        time_ms: row::unsigned(row, 6)?,
        device: row::device(row, 7)?,
    })
}

impl FolderState {
    /// All open conflicts, in ascending order of id.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn conflicts(&self) -> Result<Vec<ConflictRecord>, StateError> {
        self.all(&format!("SELECT {COLUMNS} FROM conflict ORDER BY conflict"), [], read)
    }

    /// The open conflicts that an entry is a side of.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn conflicts_of(&self, entry: &EntryId) -> Result<Vec<ConflictRecord>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM conflict WHERE entry = ?1 OR copy = ?1 ORDER BY conflict"
        );
        self.all(&sql, [row::blob(entry)], read)
    }

    /// Stores an open conflict.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_conflict(&self, record: &ConflictRecord) -> Result<(), StateError> {
        self.execute(
            "INSERT OR REPLACE INTO conflict (conflict, entry, base, theirs, copy, opened, time_ms,
                 device) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                record.conflict.as_bytes().as_slice(),
                row::blob(&record.entry),
                record.base.map(row::signed),
                row::signed(record.theirs),
                row::blob(&record.copy),
                row::signed(record.opened),
                row::signed(record.time_ms),
                record.device.as_bytes().as_slice(),
            ],
        )?;
        Ok(())
    }

    /// Removes a conflict that was resolved.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_conflict(&self, conflict: &ConflictId) -> Result<(), StateError> {
        self.execute("DELETE FROM conflict WHERE conflict = ?1", [conflict.as_bytes().as_slice()])?;
        Ok(())
    }

    /// Removes all conflicts, before a snapshot is taken.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_conflicts(&self) -> Result<(), StateError> {
        self.execute("DELETE FROM conflict", [])?;
        Ok(())
    }
}
