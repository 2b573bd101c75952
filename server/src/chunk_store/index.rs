//! Where each chunk lies: a SQLite index beside the segments, which can be rebuilt from them.
//!
//! Owns the SQL and the rules of starting; what garbage collection asks is in `reclaim`. It must not
//! know files of segments or their bytes.
//!
//! The index is not synced with each batch (`synchronous=NORMAL`): a power cut may take back its
//! last transactions, in order, and then the marks of the segments go back with the rows, so that
//! recovery scans what came after them. What recovery cannot find again is the generation of a
//! stamp. So the index is marked *open*, synced, before it is used and *clean* when it is closed;
//! one that is found open is checked for damage, and all its stamps count as of the generation of
//! that start (`stamp_floor`): a chunk may be kept longer for it, never shorter. For the same reason
//! what was in its trash then is there no more (a row of the trash counts only if it is of a later
//! generation than the floor): that a chunk was taken out of the trash may be among what was lost.

mod reclaim;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, params};

use super::ChunkKey;
use super::record::{HEADER_BYTES, SegmentId};

const VERSION: i64 = 2;
/// "DrLi", so that another program's database is not taken for an index.
const APPLICATION_ID: i64 = 0x4472_4c69;
const BUSY_MS_MAX: u64 = 10_000;
/// Length of the log from which on it is written back, in bytes: 4,096 pages, as most batches touch
/// the same ones.
const LOG_BYTES_SOFT: u64 = 4 * 1024 * 4120;

const SCHEMA: &str = "
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        clean INTEGER NOT NULL,
        stamp_floor INTEGER NOT NULL,
        chunks INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE segments (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        mark INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE chunks (
        folder BLOB NOT NULL,
        id BLOB NOT NULL,
        segment INTEGER NOT NULL,
        position INTEGER NOT NULL,
        length INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        PRIMARY KEY (folder, id)
    ) STRICT, WITHOUT ROWID;
";

/// What version 2 added.
const TRASH: &str = "
    CREATE TABLE trash (
        folder BLOB NOT NULL,
        id BLOB NOT NULL,
        since_ms INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        PRIMARY KEY (folder, id)
    ) STRICT, WITHOUT ROWID;
";

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// No room for a write; it was taken back.
    #[error("no room for the chunk index")]
    NoRoom,
    /// It is not a whole index. It can be rebuilt.
    #[error("the chunk index is damaged: {source}")]
    Damaged {
        /// What was found.
        #[source]
        source: rusqlite::Error,
    },
    /// A later release made it.
    #[error("the chunk index has version {version}, and this release knows {VERSION}")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// SQLite or the system failed.
    #[error("the chunk index failed: {source}")]
    Failed {
        /// What failed.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged index could not be put away.
    #[error("removing the damaged chunk index: {source}")]
    Remove {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl From<rusqlite::Error> for IndexError {
    fn from(source: rusqlite::Error) -> Self {
        match (&source, source.sqlite_error_code()) {
            (_, Some(ErrorCode::DiskFull)) => Self::NoRoom,
            // Shared memory is a file too. A commit that lacked room there may come back after a
            // crash; its marks then do not fit the segments, which are scanned again.
            (rusqlite::Error::SqliteFailure(cause, _), _)
                if cause.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                Self::NoRoom
            }
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            | (
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::QueryReturnedNoRows,
                _,
            ) => Self::Damaged { source },
            _ => Self::Failed { source },
        }
    }
}

/// Where a chunk's record begins, and how long its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) position: u64,
    pub(super) length: u32,
}

impl Location {
    /// Where the next record may begin.
    pub(super) fn end(&self) -> u64 {
        self.position + HEADER_BYTES as u64 + u64::from(self.length)
    }
}

/// What the index says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) location: Location,
    /// Generation of the last stamp, or of the start that made it count as stamped.
    pub(super) generation: u64,
}

/// What the index says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub(super) id: SegmentId,
    /// All that lies before this position is indexed.
    pub(super) mark: u64,
}

/// Chunks and their bytes that are indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(super) struct IndexBatch {
    /// Chunks that lie somewhere new, in order of position.
    pub(super) placed: Vec<(ChunkKey, Location)>,
    /// Chunks to stamp again.
    pub(super) stamped: Vec<ChunkKey>,
    /// Chunks that were copied from one place to another, in order of the new position. Each is
    /// known to lie at the first when this is applied; its stamp and its trash stay as they are.
    pub(super) moved: Vec<(ChunkKey, Location, Location)>,
    /// How far a segment is indexed with this batch.
    pub(super) mark: Option<(u32, SegmentRow)>,
}

/// The index, for writing. There is one in a process.
#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
    stamp_floor: u64,
    /// Whether anything may be in the trash.
    has_trash: bool,
    /// The write-ahead log.
    log: PathBuf,
    /// Growth of the log after which it is written back.
    log_bytes_soft: u64,
    /// Length of the log at which that happens next.
    log_bytes_next: u64,
}

impl Index {
    /// Opens the index, or makes an empty one if there is none or it is damaged, and marks it open.
    pub(super) fn open(path: &Path, generation: u64) -> Result<Self, IndexError> {
        match Self::open_as_it_is(path, generation) {
            Err(error @ IndexError::Damaged { .. }) => {
                tracing::warn!(%error, path = %path.display(), "the index will be rebuilt");
                remove(path).map_err(|source| IndexError::Remove { source })?;
                Self::open_as_it_is(path, generation)
            }
            result => result,
        }
    }

    fn open_as_it_is(path: &Path, generation: u64) -> Result<Self, IndexError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        // A new index and the mark "open" must outlive a power cut before anything else does.
        connection.pragma_update(None, "synchronous", "full")?;
        let version = pragma(&connection, "user_version")?;
        match (version, pragma(&connection, "application_id")?) {
            (0, 0) => create(&mut connection, generation)?,
            (VERSION, APPLICATION_ID) => {}
            (1, APPLICATION_ID) => bring_up(&mut connection)?,
            (version, APPLICATION_ID) => return Err(IndexError::Newer { version }),
            _ => {
                let source = rusqlite::Error::QueryReturnedNoRows;
                return Err(IndexError::Damaged { source });
            }
        }
        let (clean, mut stamp_floor): (bool, u64) =
            connection.query_row("SELECT clean, stamp_floor FROM state", [], |row| {
                Ok((row.get(0)?, number(row, 1)?))
            })?;
        if !clean {
            check(&connection)?;
            stamp_floor = stamp_floor.max(generation);
        }
        connection
            .execute("UPDATE state SET clean = 0, stamp_floor = ?1", params![stamp_floor as i64])?;
        connection.pragma_update(None, "synchronous", "normal")?;
        let log = beside(path, "-wal");
        let (log_bytes_soft, log_bytes_next) = (LOG_BYTES_SOFT, LOG_BYTES_SOFT);
        let has_trash =
            connection.query_row("SELECT EXISTS (SELECT 1 FROM trash)", [], |row| row.get(0))?;
        Ok(Self { connection, stamp_floor, has_trash, log, log_bytes_soft, log_bytes_next })
    }

    /// Stamps older than this count as of this generation.
    pub(super) fn stamp_floor(&self) -> u64 {
        self.stamp_floor
    }

    pub(super) fn totals(&self) -> Result<Totals, IndexError> {
        let read = |row: &Row<'_>| Ok(Totals { chunks: number(row, 0)?, bytes: number(row, 1)? });
        Ok(self.connection.query_row("SELECT chunks, bytes FROM state", [], read)?)
    }

    pub(super) fn segments(&self) -> Result<BTreeMap<u32, SegmentRow>, IndexError> {
        let mut statement = self.connection.prepare("SELECT number, id, mark FROM segments")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, SegmentRow { id: SegmentId(row.get(1)?), mark: number(row, 2)? }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is known of a chunk.
    pub(super) fn find(&self, key: &ChunkKey) -> Result<Option<Entry>, IndexError> {
        find(&self.connection, key, self.stamp_floor)
    }

    /// Applies a batch in one transaction, which outlives the process when this returns, and a
    /// power cut some time later. Says what is then indexed.
    pub(super) fn apply(
        &mut self,
        batch: &IndexBatch,
        generation: u64,
    ) -> Result<Totals, IndexError> {
        let mut totals = self.totals()?;
        let transaction = self.connection.transaction()?;
        place(&transaction, &batch.placed, generation, &mut totals)?;
        {
            let mut stamp = transaction.prepare_cached(
                "UPDATE chunks SET generation = ?3 WHERE folder = ?1 AND id = ?2",
            )?;
            for key in &batch.stamped {
                let key = params![key.folder.as_bytes(), key.id.as_bytes(), generation as i64];
                stamp.execute(key)?;
            }
        }
        reclaim::relocate(&transaction, &batch.moved)?;
        if let Some((number, row)) = &batch.mark {
            transaction.execute(
                "INSERT INTO segments (number, id, mark) VALUES (?1, ?2, ?3)
                 ON CONFLICT (number) DO UPDATE SET id = excluded.id, mark = excluded.mark",
                params![number, row.id.0, row.mark as i64],
            )?;
        }
        if self.has_trash {
            let placed = batch.placed.iter().map(|(key, _)| key);
            reclaim::untrash(&transaction, placed.chain(&batch.stamped))?;
        }
        set_totals(&transaction, &totals)?;
        transaction.commit()?;
        self.write_back()?;
        Ok(totals)
    }

    /// Writes the log back once it has grown. SQLite would do so by itself, but would not tell of a
    /// failed sync, after which nothing may be written (M8). Never fails for want of room.
    fn write_back(&mut self) -> Result<(), IndexError> {
        let length = std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        if length < self.log_bytes_next {
            return Ok(());
        }
        let written =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        let is_left = match written.map_err(IndexError::from) {
            Ok(busy) => busy,
            // The log stays as it is, and with it what was committed.
            Err(IndexError::NoRoom) => {
                tracing::warn!("no room to write the chunk index's log back");
                true
            }
            Err(error) => return Err(error),
        };
        let soft = self.log_bytes_soft;
        self.log_bytes_next = if is_left { length + soft } else { soft };
        Ok(())
    }

    /// Forgets a segment and all chunks in it.
    pub(super) fn forget_segment(&mut self, number: u32) -> Result<(), IndexError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM trash WHERE EXISTS (SELECT 1 FROM chunks
                WHERE chunks.folder = trash.folder AND chunks.id = trash.id AND segment = ?1)",
            params![number],
        )?;
        transaction.execute("DELETE FROM chunks WHERE segment = ?1", params![number])?;
        transaction.execute("DELETE FROM segments WHERE number = ?1", params![number])?;
        transaction.execute(
            "UPDATE state SET (chunks, bytes) =
                (SELECT count(*), coalesce(sum(length), 0) FROM chunks)",
            [],
        )?;
        transaction.commit()?;
        self.write_back()
    }

    /// Marks the index clean, durably, and closes it.
    pub(super) fn close_clean(self) -> Result<(), IndexError> {
        self.connection.pragma_update(None, "synchronous", "full")?;
        self.connection.execute("UPDATE state SET clean = 1", [])?;
        self.connection.close().map_err(|(_, source)| source.into())
    }
}

/// The index, for looking up from another thread; sees each batch as soon as it is applied.
#[derive(Debug)]
pub(super) struct IndexReader {
    connection: Connection,
    stamp_floor: u64,
}

impl IndexReader {
    /// Opens an index that [`Index::open`] has opened; `stamp_floor` is the one it tells.
    pub(super) fn open(path: &Path, stamp_floor: u64) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        Ok(Self { connection, stamp_floor })
    }

    /// What is known of a chunk.
    pub(super) fn find(&self, key: &ChunkKey) -> Result<Option<Entry>, IndexError> {
        find(&self.connection, key, self.stamp_floor)
    }
}

/// Removes the files of an index; it is rebuilt when the store is opened next.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A file of SQLite's beside the database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn create(connection: &mut Connection, generation: u64) -> Result<(), IndexError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(TRASH)?;
    // Clean, as there is nothing to check; the floor covers the stamps of an index that was lost.
    transaction.execute(
        "INSERT INTO state (one, clean, stamp_floor, chunks, bytes) VALUES (1, 1, ?1, 0, 0)",
        params![generation as i64],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

fn bring_up(connection: &mut Connection) -> Result<(), IndexError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TRASH)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Sets where chunks lie, and stamps them.
fn place(
    transaction: &Connection,
    placed: &[(ChunkKey, Location)],
    generation: u64,
    totals: &mut Totals,
) -> Result<(), IndexError> {
    let mut place = transaction.prepare_cached(
        "INSERT INTO chunks (folder, id, segment, position, length, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (folder, id) DO UPDATE SET segment = excluded.segment,
            position = excluded.position, length = excluded.length,
            generation = excluded.generation",
    )?;
    for (key, location) in placed {
        match find(transaction, key, 0)? {
            Some(entry) => {
                totals.bytes = totals.bytes.saturating_sub(u64::from(entry.location.length));
            }
            None => totals.chunks += 1,
        }
        totals.bytes += u64::from(location.length);
        place.execute(params![
            key.folder.as_bytes(),
            key.id.as_bytes(),
            location.segment,
            location.position as i64,
            location.length,
            generation as i64
        ])?;
    }
    Ok(())
}

fn set_totals(transaction: &Connection, totals: &Totals) -> Result<(), IndexError> {
    transaction.execute(
        "UPDATE state SET chunks = ?1, bytes = ?2",
        params![totals.chunks as i64, totals.bytes as i64],
    )?;
    Ok(())
}

fn check(connection: &Connection) -> Result<(), IndexError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(found)).into())
}

fn find(
    connection: &Connection,
    key: &ChunkKey,
    stamp_floor: u64,
) -> Result<Option<Entry>, IndexError> {
    let mut statement = connection.prepare_cached(
        "SELECT segment, position, length, generation FROM chunks WHERE folder = ?1 AND id = ?2",
    )?;
    let entry = statement.query_row(params![key.folder.as_bytes(), key.id.as_bytes()], |row| {
        let location =
            Location { segment: row.get(0)?, position: number(row, 1)?, length: row.get(2)? };
        Ok(Entry { location, generation: number(row, 3)?.max(stamp_floor) })
    });
    Ok(entry.optional()?)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, IndexError> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{ChunkId, FolderId};

    #[test]
    fn want_of_room_for_shared_memory_is_want_of_room() {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
        let error = IndexError::from(rusqlite::Error::SqliteFailure(code, None));
        assert!(matches!(error, IndexError::NoRoom), "{error}");
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        let error = IndexError::from(rusqlite::Error::SqliteFailure(code, None));
        assert!(matches!(error, IndexError::Failed { .. }), "{error}");
    }

    fn placed(from: u32, count: u32) -> IndexBatch {
        let chunk = |number: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_le_bytes());
            let key =
                ChunkKey { folder: FolderId::from_bytes([1; 32]), id: ChunkId::from_bytes(id) };
            (key, Location { segment: 1, position: u64::from(number), length: 1 })
        };
        IndexBatch { placed: (from..from + count).map(chunk).collect(), ..IndexBatch::default() }
    }

    #[test]
    fn the_index_is_synced_when_its_log_is_written_back_and_only_by_us() {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(&directory.path().join("index.sqlite"), 1).unwrap();
        let journal: String =
            index.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
        // NORMAL: a checkpoint syncs the log, and then the database.
        assert_eq!(pragma(&index.connection, "synchronous").unwrap(), 1);
        assert_eq!(pragma(&index.connection, "wal_autocheckpoint").unwrap(), 0);
        assert_eq!(pragma(&index.connection, "page_size").unwrap() + 24, 4120);
    }

    #[test]
    fn the_log_is_written_back_as_it_grows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.sqlite");
        let mut index = Index::open(&path, 1).unwrap();
        index.log_bytes_soft = 400_000;
        index.log_bytes_next = 400_000;
        let (mut number, mut largest) = (0, 0);
        loop {
            index.apply(&placed(number, 100), 1).unwrap();
            number += 100;
            let length = std::fs::metadata(beside(&path, "-wal")).unwrap().len();
            if length < largest {
                break;
            }
            largest = length;
            assert!(largest < 2_000_000, "the log grows without end");
        }
        assert_eq!(index.totals().unwrap().chunks, u64::from(number));
    }

    #[test]
    fn a_sync_writes_to_the_log_also_when_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.sqlite");
        let mut index = Index::open(&path, 1).unwrap();
        index.apply(&placed(0, 10), 1).unwrap();
        let length = || std::fs::metadata(beside(&path, "-wal")).unwrap().len();
        for _ in 0..2 {
            let before = length();
            index.sync().unwrap();
            assert!(length() > before, "a commit that writes nothing syncs nothing");
        }
        assert_eq!(pragma(&index.connection, "user_version").unwrap(), VERSION);
        assert_eq!(pragma(&index.connection, "synchronous").unwrap(), 1);
    }

    #[test]
    fn m8_a_log_that_cannot_be_written_back_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.sqlite");
        let mut index = Index::open(&path, 1).unwrap();
        index.apply(&placed(0, 10), 1).unwrap();
        let log = std::fs::OpenOptions::new().write(true).open(beside(&path, "-wal")).unwrap();
        log.set_len(1_000).unwrap();
        index.log_bytes_next = 0;
        let error = index.write_back().unwrap_err();
        assert!(matches!(error, IndexError::Failed { .. }), "{error}");
    }
}
