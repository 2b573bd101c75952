//! The database: its connections and transactions.
//!
//! Owns opening, settings, the pool of readers, checkpoints of the write-ahead log and copies. With
//! `synchronous=FULL` a transaction is durable when its commit returns. It must not know the rules,
//! and it does not decide what happens after a failure: [`super::MetaHandle`] does.

use super::schema::migrate;
use super::sqlite::{SqliteStore, failed, is_no_room};
use rusqlite::{Connection, OpenFlags};
use server_core::metadata::{MetaReads, MetaStore, StoreError, Stored};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Idle connections that are kept for readers.
const READERS_KEPT: usize = 8;
/// Time to wait for another connection's lock.
const BUSY: Duration = Duration::from_secs(10);
/// Growth of the write-ahead log after which it is written back. Ids are random, so large commits
/// write the same pages again and again: a longer log writes them back once.
const LOG_BYTES_SOFT: u64 = 32 * 1024 * 1024;

/// How many times that a log has when overlapping readers are waited for: it would grow until they
/// pause by themselves.
const LONG_LOG: u64 = 8;
/// Tries to write a long log back, and the time that each waits for readers. SQLite may wait for the
/// place of an old reader that new ones have taken meanwhile; another try finds them there.
const LONG_TRIES: (usize, Duration) = (10, Duration::from_millis(50));

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or read as a database.
    #[error("cannot open the metadata in {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Written by a newer version of this program.
    #[error("the metadata has schema version {found}, this program knows up to {known}")]
    Version {
        /// What the file says.
        found: i64,
        /// What this build knows.
        known: usize,
    },
    /// It is of an older version, and cannot be brought to this one's. It is as it was, or at a version in
    /// between.
    #[error("the metadata cannot be upgraded to schema version {to}")]
    Upgrade {
        /// To which version.
        to: i64,
        /// What the store says.
        #[source]
        source: StoreError,
    },
    /// A statement failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether it is for want of room on the disk.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        match self {
            Self::File { source, .. } => is_no_room(source),
            Self::Upgrade { source, .. } | Self::Store(source) => {
                matches!(source, StoreError::DiskFull)
            }
            Self::Version { .. } => false,
        }
    }
}

/// The metadata database. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct MetaDb {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` for a database in memory, which has one connection for everything.
    path: Option<PathBuf>,
    writer: Mutex<Writing>,
    readers: Mutex<Vec<SqliteStore>>,
}

struct Writing {
    store: SqliteStore,
    /// Growth of the write-ahead log after which it is written back.
    log_bytes_soft: u64,
    /// Size of the log at which that happens next.
    log_bytes_next: u64,
}

impl MetaDb {
    /// Opens the database in this file, makes it if there is none, and migrates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = Connection::open(path);
        let connection =
            opened.map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        Self::with(connection, Some(path.to_owned()))
    }

    /// A new database in memory: gone with its last clone, and otherwise the same.
    ///
    /// # Errors
    /// [`OpenError`] when SQLite finds no memory.
    pub fn open_in_memory() -> Result<Self, OpenError> {
        let connection = Connection::open_in_memory().map_err(failed)?;
        Self::with(connection, None)
    }

    fn with(mut connection: Connection, path: Option<PathBuf>) -> Result<Self, OpenError> {
        if let Some(path) = &path {
            prepare_file(&connection)
                .map_err(|source| OpenError::File { path: path.clone(), source })?;
        }
        migrate(&mut connection)?;
        let writer = Writing {
            store: SqliteStore::new(connection),
            log_bytes_soft: LOG_BYTES_SOFT,
            log_bytes_next: LOG_BYTES_SOFT,
        };
        let inner = Inner { path, writer: Mutex::new(writer), readers: Mutex::new(Vec::new()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads one snapshot, on the calling thread: nothing in it changes while `read` runs. Blocks
    /// while it reads from disk; in memory it also waits for the writer. Each read at a time has a
    /// connection and its files: the caller bounds them.
    ///
    /// # Errors
    /// What `read` says, or the store; [`StoreError::Unopened`] when there is no connection for it.
    pub fn read<T>(&self, read: impl FnOnce(&dyn MetaReads) -> Stored<T>) -> Stored<T> {
        if self.inner.path.is_none() {
            return read(&self.writing()?.store);
        }
        let reader = self.reader()?;
        reader.begin()?;
        let result = read(&reader);
        reader.roll_back_all()?;
        let mut idle = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_KEPT {
            idle.push(reader);
        }
        result
    }

    fn reader(&self) -> Stored<SqliteStore> {
        let idle = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match (idle, &self.inner.path) {
            (Some(reader), _) => Ok(reader),
            (None, Some(path)) => {
                Ok(SqliteStore::new(open_reader(path).map_err(|error| match failed(error) {
                    StoreError::Failed(source) => StoreError::Unopened(source),
                    error => error,
                })?))
            }
            (None, None) => Err(StoreError::Corrupt { what: "reader of a database in memory" }),
        }
    }

    /// Runs `write` in one transaction and commits it: durable when this returns. After an error
    /// nothing of it stands.
    ///
    /// # Errors
    /// What `write` says, or the store; after any but [`StoreError::DiskFull`] the database must
    /// not be written any more.
    pub(super) fn transact<T>(
        &self,
        write: impl FnOnce(&mut dyn MetaStore) -> Stored<T>,
    ) -> Stored<T> {
        let mut writing = self.writing()?;
        writing.store.begin()?;
        let written = write(&mut writing.store);
        match written.and_then(|value| writing.store.commit().map(|()| value)) {
            Ok(value) => {
                self.write_back(&mut writing)?;
                Ok(value)
            }
            Err(error) => {
                writing.store.roll_back_all()?;
                Err(error)
            }
        }
    }

    /// Writes the log back once it has grown. SQLite would do so by itself, but would not tell of a
    /// failed sync of the database, after which nothing may be written (M8).
    fn write_back(&self, writing: &mut Writing) -> Stored<()> {
        let Some(path) = &self.inner.path else { return Ok(()) };
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        let length = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        if length < writing.log_bytes_next {
            return Ok(());
        }
        // Who waits for a reader here keeps everyone waiting who wants to write. Meanwhile the log does not
        // grow: once all of it is written back, new readers go without it.
        let is_long = length >= LONG_LOG * writing.log_bytes_soft;
        let (tries, wait) = if is_long { LONG_TRIES } else { (1, Duration::ZERO) };
        let connection = writing.store.connection();
        connection.busy_timeout(wait).map_err(failed)?;
        let done = write_back_in(connection, tries);
        connection.busy_timeout(BUSY).map_err(failed)?;
        let busy = done.or_else(no_room_is_busy)?;
        // A reader that still needs the log keeps it: the next attempt waits for as much again.
        let soft = writing.log_bytes_soft;
        writing.log_bytes_next = if busy { length + soft } else { soft };
        Ok(())
    }

    /// Looks the whole file over; says what is wrong with it, at most ten things.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot even be looked at.
    pub fn integrity(&self) -> Stored<Vec<String>> {
        let beside = self.inner.path.as_deref().map(open_beside).transpose().map_err(failed)?;
        let writing = if beside.is_none() { Some(self.writing()?) } else { None };
        let connection = match (&beside, &writing) {
            (Some(connection), _) => connection,
            (None, Some(writing)) => writing.store.connection(),
            (None, None) => return Err(StoreError::Corrupt { what: "connection" }),
        };
        let mut statement = connection.prepare("PRAGMA integrity_check(10)").map_err(failed)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        let said: Vec<String> = rows.collect::<rusqlite::Result<_>>().map_err(failed)?;
        Ok(said.into_iter().filter(|line| line != "ok").collect())
    }

    /// Copies the database as it is now into a new file, durably. Writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]: the file exists, or cannot be written.
    pub fn backup(&self, to: &Path) -> Stored<()> {
        let io = |error: std::io::Error| StoreError::Failed(Box::new(error));
        let target = to.to_str().ok_or_else(|| {
            io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8"))
        })?;
        if let Some(path) = &self.inner.path {
            // A connection of its own: readers may not write, and the writer is not kept waiting.
            let connection = open_beside(path).map_err(failed)?;
            connection.execute("VACUUM INTO ?1", [target]).map_err(failed)?;
        } else {
            let writing = self.writing()?;
            writing.store.connection().execute("VACUUM INTO ?1", [target]).map_err(failed)?;
        }
        std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(io)?;
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        std::fs::File::open(directory).and_then(|file| file.sync_all()).map_err(io)
    }

    /// Forgets all versions of an entry's content, for tests of what follows from it.
    #[cfg(test)]
    pub(crate) fn thin(
        &self,
        folder: &common::ids::FolderId,
        entry: &common::ids::EntryId,
    ) -> Stored<()> {
        self.writing()?.store.thin(folder, entry)
    }

    /// Loses a folder's journal marks, for tests of what follows from it.
    #[cfg(test)]
    pub(crate) fn lose_marks(&self, folder: &common::ids::FolderId) -> Stored<()> {
        let sql = "DELETE FROM marks WHERE folder = (SELECT number FROM folders WHERE id = ?1)";
        let writing = self.writing()?;
        let lost = writing.store.connection().execute(sql, [folder.as_bytes()]);
        lost.map(|_| ()).map_err(failed)
    }

    #[cfg(test)]
    pub(super) fn set_log_bytes_soft(&self, bytes: u64) -> Stored<()> {
        let mut writing = self.writing()?;
        (writing.log_bytes_soft, writing.log_bytes_next) = (bytes, bytes);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn set_pragma(&self, name: &str, value: i64) -> Stored<()> {
        let writing = self.writing()?;
        let done =
            writing.store.connection().pragma_update_and_check(None, name, value, |_| Ok(()));
        match done {
            Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the writer's connection says of a setting.
    #[cfg(test)]
    pub(super) fn pragma(&self, name: &str) -> Stored<rusqlite::types::Value> {
        let writing = self.writing()?;
        let connection = writing.store.connection();
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(failed)
    }

    /// A panic inside a transaction leaves no one to say what state it is in.
    fn writing(&self) -> Stored<MutexGuard<'_, Writing>> {
        self.inner
            .writer
            .lock()
            .map_err(|_| StoreError::Corrupt { what: "transaction of a thread that panicked" })
    }
}

/// Writes the log back in so many tries; returns whether a reader kept it even so.
fn write_back_in(connection: &Connection, tries: usize) -> Stored<bool> {
    for _ in 0..tries {
        let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        let busy: bool = done.map_err(failed)?;
        if !busy {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Without room to write the log back, it stays as it is: what was committed is durable in it.
fn no_room_is_busy(error: StoreError) -> Stored<bool> {
    match error {
        StoreError::DiskFull => {
            tracing::warn!("no room to write the metadata's log back");
            Ok(true)
        }
        error => Err(error),
    }
}

fn prepare_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // What a group's savepoint needs to undo it is a few MiB at most, and would be a file elsewhere.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16 * 1024)
}

fn open_beside(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_beside(path)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -4 * 1024)?;
    Ok(connection)
}
