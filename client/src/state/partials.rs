//! Cut downloads: the staged file that each goes on in, and which chunks have arrived there.
//!
//! What is remembered here says what to look for in the file, and is no proof of it: after a power
//! cut the file may hold less than was written.

use super::{FolderState, StateError, row};
use common::ids::{ChunkId, EntryId, PlainHash};
use common::name::Name;
use rusqlite::params;

/// Length in bytes of a stored [`KeptChunk`]: start, length, id, hash.
const STORED_BYTES: usize = 8 + 4 + 32 + 32;

/// A chunk that was written into a staged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptChunk {
    /// From which byte of the file.
    pub start: u64,
    /// How many bytes.
    pub length: u32,
    /// Its sealed id.
    pub id: ChunkId,
    /// Hash of the bytes that were written.
    pub hash: PlainHash,
}

impl KeptChunk {
    fn store(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.start.to_le_bytes());
        into.extend_from_slice(&self.length.to_le_bytes());
        into.extend_from_slice(self.id.as_bytes());
        into.extend_from_slice(self.hash.as_bytes());
    }

    fn load(stored: &[u8]) -> Option<Self> {
        let (start, rest) = stored.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        Some(Self {
            start: u64::from_le_bytes(*start),
            length: u32::from_le_bytes(*length),
            id: ChunkId::from_bytes(*id),
            hash: PlainHash::from_bytes(rest.try_into().ok()?),
        })
    }
}

impl FolderState {
    /// The staged file that an entry's cut download goes on in.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn partial(&self, entry: &EntryId) -> Result<Option<Name>, StateError> {
        self.find("SELECT name FROM partial WHERE entry = ?1", [row::blob(entry)], |row| {
            row::name(row, 0)
        })
    }

    /// What was written into that file, in the order in which it was kept; of two chunks at one
    /// place the later stands.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn kept_chunks(&self, entry: &EntryId) -> Result<Vec<KeptChunk>, StateError> {
        let sql = "SELECT chunks FROM partial_part WHERE entry = ?1 ORDER BY number";
        let parts: Vec<Vec<u8>> = self.all(sql, [row::blob(entry)], |row| row.get(0))?;
        let stored = parts.iter().flat_map(|part| part.chunks(STORED_BYTES));
        let chunks: Option<_> = stored.map(KeptChunk::load).collect();
        chunks.ok_or(StateError::Corrupt { what: "chunk of a cut download" })
    }

    /// Remembers what has arrived in the staged file `name`, besides what is remembered of it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn keep_partial(
        &self,
        entry: &EntryId,
        name: &Name,
        chunks: &[KeptChunk],
    ) -> Result<(), StateError> {
        let mut part = Vec::with_capacity(chunks.len() * STORED_BYTES);
        chunks.iter().for_each(|chunk| chunk.store(&mut part));
        self.atomically(|state| {
            state.execute(
                "INSERT OR REPLACE INTO partial (entry, name) VALUES (?1, ?2)",
                params![row::blob(entry), name.as_str()],
            )?;
            state.execute(
                "INSERT INTO partial_part (entry, chunks) VALUES (?1, ?2)",
                params![row::blob(entry), part],
            )?;
            Ok(())
        })
    }

    /// Forgets a download: it is complete, or not wanted any more.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_partial(&self, entry: &EntryId) -> Result<(), StateError> {
        self.atomically(|state| {
            state.execute("DELETE FROM partial WHERE entry = ?1", [row::blob(entry)])?;
            state.execute("DELETE FROM partial_part WHERE entry = ?1", [row::blob(entry)])?;
            Ok(())
        })
    }

    /// All cut downloads, each with its staged file.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn partials(&self) -> Result<Vec<(EntryId, Name)>, StateError> {
        self.all("SELECT entry, name FROM partial ORDER BY entry", [], |row| {
            Ok((row::entry(row, 0)?, row::name(row, 1)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_in_order_until_it_is_forgotten() {
        let state = FolderState::open_in_memory().unwrap();
        let chunk = |number: u8| KeptChunk {
            start: u64::from(number) << 40,
            length: 70_000 + u32::from(number),
            id: ChunkId::from_bytes([number; 32]),
            hash: PlainHash::from_bytes([number + 100; 32]),
        };
        let [one, other] = [1, 2].map(|byte| EntryId::from_bytes([byte; 16]));
        let name = |text| Name::new(text).unwrap();
        state.keep_partial(&one, &name("a"), &[chunk(1), chunk(2)]).unwrap();
        state.keep_partial(&other, &name("b"), &[chunk(9)]).unwrap();
        state.keep_partial(&one, &name("a"), &[chunk(3)]).unwrap();
        assert_eq!(state.partial(&one).unwrap(), Some(name("a")));
        assert_eq!(state.kept_chunks(&one).unwrap(), [1, 2, 3].map(chunk));
        assert_eq!(state.partials().unwrap(), [(one, name("a")), (other, name("b"))]);
        state.forget_partial(&one).unwrap();
        assert_eq!(
            (state.partial(&one).unwrap(), state.kept_chunks(&one).unwrap()),
            (None, vec![])
        );
        assert_eq!(state.kept_chunks(&other).unwrap(), [chunk(9)]);
    }
}
