//! What a device remembers of one folder: three trees, the journal's cursor, the outbox, the chunk
//! index, conflicts and issues, in one SQLite file.
//!
//! Owns all SQL of the client. It must not decide anything: it stores observations and answers
//! look-ups. One connection, used by the folder's engine alone; every write is durable when
//! [`FolderState::atomically`] returns (WAL, `synchronous=FULL`); the index of sealed chunks, which
//! proves nothing, is spared the wait.

mod chunks;
mod conflicts;
mod guard;
mod issues;
mod journal;
mod local;
mod outbox;
mod partials;
mod placing;
mod remote;
mod row;
mod rows;
mod settings;
mod synced;
#[cfg(test)]
mod tests;
mod view;

pub use chunks::ChunkSource;
pub use conflicts::Reopened;
pub use guard::{LetThrough, MassDeletion};
pub use issues::{IssueSource, StoredIssue};
pub use journal::Agreement;
pub use local::LocalRow;
pub use outbox::{Effect, OutboxRow};
pub use partials::KeptChunk;
pub use placing::Placing;
pub use remote::{IGNORED, RemoteRow};

use self::rows::Rows;
use client_core::tree::SyncedNode;
use common::ids::EntryId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::Cell;
use std::path::Path;

/// The state database failed or does not hold what it must.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite failed.
    #[error("the state database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value is not what this version writes.
    #[error("the state database holds a bad {what}")]
    Corrupt {
        /// Which value.
        what: &'static str,
    },
    /// Written by a newer version.
    #[error("the state database has version {found}, this program knows {known}: update Driftless")]
    Newer {
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
}

impl StateError {
    /// Whether trying again later may help: the disk was full, or the file was busy.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::DatabaseBusy
                        | rusqlite::ErrorCode::DatabaseLocked
                )
            ),
            Self::Corrupt { .. } | Self::Newer { .. } => false,
        }
    }
}

const MIGRATIONS: &[&str] = &[
    include_str!("001_trees.sql"),
    include_str!("002_issues.sql"),
    include_str!("003_partials.sql"),
    include_str!("004_guard.sql"),
    include_str!("005_placing.sql"),
];

/// Pages in the log from which on they are written back to the database: keys are random, so that each
/// batch touches most pages of its tables, and a page of many batches is written back once.
const LOG_PAGES: i64 = 4 * 1024;

/// A folder's state on this device.
pub struct FolderState {
    connection: Connection,
    depth: Cell<u32>,
    local: Rows<LocalRow>,
    remote: Rows<RemoteRow>,
    synced: Rows<SyncedNode>,
    /// Entries that are marked as dirty.
    marked: Rows<()>,
}

impl FolderState {
    /// Opens or makes the database at `path`.
    ///
    /// # Errors
    /// [`StateError`] when SQLite cannot, or when a newer version wrote it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Self::prepare(Connection::open(path)?)
    }

    /// A database in memory, for the simulation: it survives a simulated crash by being kept.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open_in_memory() -> Result<Self, StateError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, StateError> {
        connection.set_prepared_statement_cache_capacity(128);
        // One process at a time has the state: locking each statement would cost more than most do.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // Otherwise a plan that could depend on a bound value is made anew with each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -8000)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
        if found > known {
            return Err(StateError::Newer { found, known });
        }
        for (number, migration) in (1..=known).zip(MIGRATIONS).skip(found as usize) {
            connection
                .execute_batch(&format!("BEGIN;{migration}PRAGMA user_version={number};COMMIT;"))?;
        }
        let (local, remote, synced, marked) = Default::default();
        Ok(Self { connection, depth: Cell::new(0), local, remote, synced, marked })
    }

    /// Runs `work` in one transaction: all of it is durable when this returns `Ok`, none of it is
    /// kept otherwise. Inside another call it joins the outer transaction.
    ///
    /// # Errors
    /// What `work` returned, or what SQLite said on commit.
    pub fn atomically<T, E: From<StateError>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.depth.get() > 0 {
            return work(self);
        }
        self.batch("BEGIN IMMEDIATE")?;
        self.depth.set(1);
        let result = work(self);
        self.depth.set(0);
        match result {
            Ok(value) => match self.batch("COMMIT") {
                Ok(()) => Ok(value),
                Err(error) => {
                    self.rollback();
                    Err(error.into())
                }
            },
            Err(error) => {
                self.rollback();
                Err(error)
            }
        }
    }

    /// The same for what only saves work: it outlives the process when this returns `Ok`, and a power
    /// cut may take it back, until something else has been stored after it.
    ///
    /// # Errors
    /// As [`Self::atomically`].
    pub fn atomically_unsynced<T, E: From<StateError>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.depth.get() > 0 {
            return work(self);
        }
        // In WAL mode a commit under NORMAL is not synced; the next one under FULL syncs both.
        self.connection.pragma_update(None, "synchronous", "NORMAL").map_err(StateError::from)?;
        let result = self.atomically(work);
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(StateError::from)?;
        result
    }

    /// Drops an open transaction, as a crash would. For the simulation.
    pub fn abandon(&self) {
        self.depth.set(0);
        self.rollback();
    }

    fn rollback(&self) {
        self.forget_rows();
        if !self.connection.is_autocommit() {
            // A failed rollback leaves the transaction to SQLite, which drops it on close.
            let rolled_back = self.connection.execute_batch("ROLLBACK");
            if let Err(error) = rolled_back {
                tracing::error!(%error, "the state database could not roll back");
            }
        }
    }

    /// Gives back the memory of rows that were read lately: for when nothing is left to do.
    pub fn forget_rows(&self) {
        self.local.clear();
        self.remote.clear();
        self.synced.clear();
        self.marked.clear();
    }

    fn batch(&self, sql: &str) -> Result<(), StateError> {
        Ok(self.connection.prepare_cached(sql)?.execute([]).map(|_| ())?)
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StateError> {
        Ok(self.connection.prepare_cached(sql)?.execute(values)?)
    }

    fn find<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StateError> {
        Ok(self.connection.prepare_cached(sql)?.query_row(values, read).optional()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StateError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn count(&self, sql: &str) -> Result<u64, StateError> {
        let count: i64 = self.find(sql, [], |row| row.get(0))?.unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// A stored setting.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.find("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
    }

    /// Stores a setting.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), StateError> {
        self.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
            params![key, value],
        )?;
        Ok(())
    }

    /// Removes a setting.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_meta(&self, key: &str) -> Result<(), StateError> {
        self.execute("DELETE FROM meta WHERE key = ?1", [key])?;
        Ok(())
    }

    /// A stored number, 0 when there is none.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn number(&self, key: &str) -> Result<u64, StateError> {
        match self.meta(key)? {
            None => Ok(0),
            Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice())
                .map(u64::from_le_bytes)
                .map_err(|_| StateError::Corrupt { what: "number" }),
        }
    }

    /// Stores a number.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_number(&self, key: &str, value: u64) -> Result<(), StateError> {
        self.set_meta(key, &value.to_le_bytes())
    }

    /// Marks an entry for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn mark_dirty(&self, entry: &EntryId) -> Result<(), StateError> {
        let marked = self.marked.get(entry, || {
            self.execute("INSERT OR IGNORE INTO dirty (entry) VALUES (?1)", [row::blob(entry)])?;
            Ok(Some(()))
        });
        marked.map(drop)
    }

    /// Marks every entry of every tree for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn mark_all_dirty(&self) -> Result<(), StateError> {
        for table in ["local", "remote", "synced"] {
            self.execute(
                &format!("INSERT OR IGNORE INTO dirty (entry) SELECT entry FROM {table}"),
                [],
            )?;
        }
        Ok(())
    }

    /// Marks every entry that is not the same in all three trees.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn mark_all_dirty_that_differ(&self) -> Result<(), StateError> {
        self.execute(
            "INSERT OR IGNORE INTO dirty (entry)
             SELECT entry FROM (
                 SELECT entry, parent, name, tag FROM synced WHERE held != 0
                 EXCEPT SELECT entry, parent, name, tag FROM local)
             UNION SELECT entry FROM (
                 SELECT entry, parent, name, tag FROM local
                 EXCEPT SELECT entry, parent, name, tag FROM synced)
             UNION SELECT entry FROM (
                 SELECT entry, parent, name, tag FROM remote WHERE deleted = 0 AND broken IS NULL
                 EXCEPT SELECT entry, parent, name, tag FROM synced)",
            [],
        )?;
        Ok(())
    }

    /// Unmarks an entry: its trees agree, or nothing can be done until one of them changes.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn unmark_dirty(&self, entry: &EntryId) -> Result<(), StateError> {
        self.marked.forget(entry);
        self.execute("DELETE FROM dirty WHERE entry = ?1", [row::blob(entry)])?;
        Ok(())
    }

    /// At most `limit` entries that are marked for planning, in ascending order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn dirty(&self, limit: usize) -> Result<std::collections::BTreeSet<EntryId>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let entries =
            self.all("SELECT entry FROM dirty ORDER BY entry LIMIT ?1", [limit], |row| {
                row::entry(row, 0)
            })?;
        Ok(entries.into_iter().collect())
    }

    /// All entries that are marked for planning but files that have not been read yet, in ascending
    /// order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn dirty_and_read(&self) -> Result<std::collections::BTreeSet<EntryId>, StateError> {
        let sql = "SELECT entry FROM dirty
                   EXCEPT SELECT entry FROM local WHERE tag IS NULL ORDER BY entry";
        Ok(self.all(sql, [], |row| row::entry(row, 0))?.into_iter().collect())
    }

    /// Whether an entry is marked for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn is_dirty(&self, entry: &EntryId) -> Result<bool, StateError> {
        let sql = "SELECT 1 FROM dirty WHERE entry = ?1";
        Ok(self.find(sql, [row::blob(entry)], |_| Ok(()))?.is_some())
    }

    /// How many entries are marked for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn dirty_count(&self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM dirty")
    }
}
