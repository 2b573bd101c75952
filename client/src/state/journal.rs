//! Where this device stands in the folder's journal, and the chain up to there.

use super::{FolderState, StateError, row};
use common::ids::{Head, RequestId};
use common::revision::{Cursor, Revision};
use rusqlite::params;

const CURSOR: &str = "cursor";
const REBUILDING: &str = "rebuilding";
const INCARNATION: &str = "incarnation";
const COUNTER: &str = "counter";

impl FolderState {
    /// The cursor; `None` before the first snapshot or journal batch has been taken.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn cursor(&self) -> Result<Option<Cursor>, StateError> {
        let Some(bytes) = self.meta(CURSOR)? else { return Ok(None) };
        let bad = StateError::Corrupt { what: "cursor" };
        let (numbers, head) = bytes.split_at_checked(16).ok_or(bad)?;
        let bad = |_| StateError::Corrupt { what: "cursor" };
        let mut fields = numbers
            .chunks_exact(8)
            .map(|field| <[u8; 8]>::try_from(field).map(u64::from_le_bytes).unwrap_or_default());
        Ok(Some(Cursor {
            epoch: fields.next().unwrap_or_default(),
            revision: fields.next().unwrap_or_default(),
            head: Head::from_slice(head).map_err(bad)?,
        }))
    }

    /// Moves the cursor and adds to the chain. In the transaction of what was read up to there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_cursor(&self, cursor: &Cursor) -> Result<(), StateError> {
        let mut bytes = cursor.epoch.to_le_bytes().to_vec();
        bytes.extend_from_slice(&cursor.revision.to_le_bytes());
        bytes.extend_from_slice(cursor.head.as_bytes());
        self.set_meta(CURSOR, &bytes)?;
        self.execute(
            "INSERT OR REPLACE INTO head (revision, head) VALUES (?1, ?2)",
            params![row::signed(cursor.revision), cursor.head.as_bytes().as_slice()],
        )?;
        Ok(())
    }

    /// The last revision that the remote tree, which is being rebuilt, shares with what this device has
    /// synced; `None` while it is whole. Nothing may be planned before.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn rebuilding(&self) -> Result<Option<Revision>, StateError> {
        let Some(bytes) = self.meta(REBUILDING)? else { return Ok(None) };
        let bytes = bytes.try_into().map_err(|_| StateError::Corrupt { what: "rebuilding" })?;
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    /// Notes from when on the remote tree is being rebuilt, or that it is whole again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_rebuilding(&self, shared: Option<Revision>) -> Result<(), StateError> {
        match shared {
            Some(shared) => self.set_meta(REBUILDING, &shared.to_le_bytes()),
            None => self.clear_meta(REBUILDING),
        }
    }

    /// Forgets the chain, when the journal is taken anew from a snapshot.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_heads(&self) -> Result<(), StateError> {
        self.execute("DELETE FROM head", [])?;
        Ok(())
    }

    /// The chain's value at a revision, where this device has read it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn head_at(&self, revision: Revision) -> Result<Option<Head>, StateError> {
        self.find("SELECT head FROM head WHERE revision = ?1", [row::signed(revision)], |row| {
            row::head(row, 0)
        })
    }

    /// The next request id; durable with the transaction that it is drawn in.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn next_request(&self) -> Result<RequestId, StateError> {
        let counter = self.number(COUNTER)? + 1;
        self.set_number(COUNTER, counter)?;
        Ok(RequestId { incarnation: self.number(INCARNATION)?, counter })
    }

    /// Starts a new life of request ids, as a fresh or restored database must.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn begin_incarnation(&self, incarnation: u64) -> Result<(), StateError> {
        self.set_number(INCARNATION, incarnation)?;
        self.set_number(COUNTER, 0)
    }

    /// This life's number, 0 when none has begun.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn incarnation(&self) -> Result<u64, StateError> {
        self.number(INCARNATION)
    }
}
