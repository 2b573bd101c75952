//! Open conflicts, as the journal tells them.

use super::{FolderState, StateError, row};
use common::ids::{ConflictId, EntryId};
use common::record::ConflictRecord;
use common::revision::Revision;
use rusqlite::{Row, params};

/// Conflicts that are to be opened again, in `meta`.
const REOPENED: &str = "reopened";
/// Three ids and the base, which is 0 for none: no revision is.
const REOPENED_BYTES: usize = ConflictId::LEN + 2 * EntryId::LEN + 8;

const COLUMNS: &str = "conflict, entry, base, theirs, copy, opened, time_ms, device";

/// A conflict that the journal does not have, and is to be told of again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// The id that it gets.
    pub conflict: ConflictId,
    /// The entry that kept the name.
    pub entry: EntryId,
    /// The copy.
    pub copy: EntryId,
    /// What both started from.
    pub base: Option<Revision>,
}

impl Reopened {
    fn bytes(&self) -> Vec<u8> {
        let base = self.base.unwrap_or(0).to_le_bytes();
        let ids: [&[u8]; 3] =
            [self.conflict.as_bytes(), self.entry.as_bytes(), self.copy.as_bytes()];
        [ids.concat().as_slice(), base.as_slice()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (conflict, rest) = bytes.split_at_checked(ConflictId::LEN)?;
        let (entry, rest) = rest.split_at_checked(EntryId::LEN)?;
        let (copy, base) = rest.split_at_checked(EntryId::LEN)?;
        let base = u64::from_le_bytes(base.try_into().ok()?);
        Some(Self {
            conflict: ConflictId::from_slice(conflict).ok()?,
            entry: EntryId::from_slice(entry).ok()?,
            copy: EntryId::from_slice(copy).ok()?,
            base: (base > 0).then_some(base),
        })
    }
}

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

    /// An open conflict.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn conflict(&self, conflict: &ConflictId) -> Result<Option<ConflictRecord>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM conflict WHERE conflict = ?1");
        self.find(&sql, [conflict.as_bytes().as_slice()], read)
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

    /// Stores an open conflict, which is not to be opened again any more.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_conflict(&self, record: &ConflictRecord) -> Result<(), StateError> {
        self.forget_reopened(&record.conflict)?;
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
        self.forget_reopened(conflict)?;
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

    /// Conflicts that are to be opened again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn reopened(&self) -> Result<Vec<Reopened>, StateError> {
        let bytes = self.meta(REOPENED)?.unwrap_or_default();
        let reopened = bytes.chunks(REOPENED_BYTES).map(Reopened::from_bytes);
        reopened.collect::<Option<_>>().ok_or(StateError::Corrupt { what: "reopened" })
    }

    /// Notes a conflict that is to be opened again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn reopen(&self, conflict: &Reopened) -> Result<(), StateError> {
        self.forget_reopened(&conflict.conflict)?;
        let bytes = self.meta(REOPENED)?.unwrap_or_default();
        self.set_meta(REOPENED, &[bytes, conflict.bytes()].concat())
    }

    /// Forgets one that is open, or is not to be opened any more.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_reopened(&self, conflict: &ConflictId) -> Result<(), StateError> {
        let all = self.reopened()?;
        if all.iter().all(|it| it.conflict != *conflict) {
            return Ok(());
        }
        let left = all.iter().filter(|it| it.conflict != *conflict);
        self.set_meta(REOPENED, &left.flat_map(Reopened::bytes).collect::<Vec<u8>>())
    }
}
