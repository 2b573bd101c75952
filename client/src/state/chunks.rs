//! The chunk index: which sealed chunk a plaintext has become, and where its bytes lie here.
//!
//! It saves work and never proves presence at a server: only receipts do.

use super::{FolderState, StateError, row};
use common::ids::{ChunkId, EntryId, PlainHash};
use rusqlite::params;

/// A place on this disk where a chunk's plaintext was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSource {
    /// In which entry.
    pub entry: EntryId,
    /// From which byte.
    pub start: u64,
    /// How many bytes.
    pub length: u32,
}

impl FolderState {
    /// The sealed id of a plaintext chunk and whether a node has acknowledged it once.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn sealed_id(&self, plain: &PlainHash) -> Result<Option<(ChunkId, bool)>, StateError> {
        self.find(
            "SELECT id, stored FROM chunk WHERE plain = ?1",
            [plain.as_bytes().as_slice()],
            |row| Ok((row::chunk(row, 0)?, row.get(1)?)),
        )
    }

    /// Remembers what a plaintext chunk was sealed as.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_sealed_id(
        &self,
        plain: &PlainHash,
        id: &ChunkId,
        length: u32,
        stored: bool,
    ) -> Result<(), StateError> {
        self.execute(
            "INSERT INTO chunk (plain, id, length, stored) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (plain) DO UPDATE SET id = ?2, length = ?3, stored = max(stored, ?4)",
            params![plain.as_bytes().as_slice(), id.as_bytes().as_slice(), length, stored],
        )?;
        Ok(())
    }

    /// Forgets that any node has acknowledged anything: presence is to be proven anew.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_stored(&self) -> Result<(), StateError> {
        self.execute("UPDATE chunk SET stored = 0", [])?;
        Ok(())
    }

    /// Replaces what is known of where an entry's chunks lie.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_locations(
        &self,
        entry: &EntryId,
        chunks: impl IntoIterator<Item = (ChunkId, u32)>,
    ) -> Result<(), StateError> {
        self.forget_locations(entry)?;
        let mut start = 0_u64;
        for (id, length) in chunks {
            self.execute(
                "INSERT INTO location (entry, start, id, length) VALUES (?1, ?2, ?3, ?4)",
                params![row::blob(entry), row::signed(start), id.as_bytes().as_slice(), length],
            )?;
            start += u64::from(length);
        }
        Ok(())
    }

    /// Forgets where an entry's chunks lie.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_locations(&self, entry: &EntryId) -> Result<(), StateError> {
        self.execute("DELETE FROM location WHERE entry = ?1", [row::blob(entry)])?;
        Ok(())
    }

    /// A few places where a chunk's bytes may lie on this disk; they are verified when read.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn sources(&self, id: &ChunkId) -> Result<Vec<ChunkSource>, StateError> {
        self.all(
            "SELECT entry, start, length FROM location WHERE id = ?1 LIMIT 4",
            [id.as_bytes().as_slice()],
            |row| {
                Ok(ChunkSource {
                    entry: row::entry(row, 0)?,
                    start: row::unsigned(row, 1)?,
                    length: row.get(2)?,
                })
            },
        )
    }

    /// Forgets where these chunks lie: what was read there was something else.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_sources<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a ChunkId>,
    ) -> Result<(), StateError> {
        self.atomically(|state| {
            for id in ids {
                state.execute("DELETE FROM location WHERE id = ?1", [id.as_bytes().as_slice()])?;
            }
            Ok(())
        })
    }
}
