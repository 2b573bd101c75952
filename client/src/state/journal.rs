//! Where this device stands in the folder's journal, and the chain up to there.

use super::{FolderState, StateError, row};
use common::ids::{Head, RequestId};
use common::revision::{Cursor, Revision};
use rusqlite::params;

const CURSOR: &str = "cursor";
const REBUILDING: &str = "rebuilding";
const AGREEMENT: &str = "agreement";
const INCARNATION: &str = "incarnation";
const COUNTER: &str = "counter";

/// Epoch, revision and head.
const CURSOR_BYTES: usize = 8 + 8 + 32;

/// A person's word to go on after the server was restored, as the journal is to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Where the new epoch parted from the one before.
    pub restored: Cursor,
    /// How far this device had seen the one before.
    pub highest: Cursor,
}

fn cursor_bytes(cursor: &Cursor) -> Vec<u8> {
    let mut bytes = cursor.epoch.to_le_bytes().to_vec();
    bytes.extend_from_slice(&cursor.revision.to_le_bytes());
    bytes.extend_from_slice(cursor.head.as_bytes());
    bytes
}

fn cursor_of(bytes: &[u8]) -> Option<Cursor> {
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (revision, head) = rest.split_first_chunk()?;
    Some(Cursor {
        epoch: u64::from_le_bytes(*epoch),
        revision: u64::from_le_bytes(*revision),
        head: Head::from_slice(head).ok()?,
    })
}

impl FolderState {
    /// The cursor; `None` before the first snapshot or journal batch has been taken.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn cursor(&self) -> Result<Option<Cursor>, StateError> {
        let Some(bytes) = self.meta(CURSOR)? else { return Ok(None) };
        cursor_of(&bytes).map(Some).ok_or(StateError::Corrupt { what: "cursor" })
    }

    /// Moves the cursor and adds to the chain. In the transaction of what was read up to there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_cursor(&self, cursor: &Cursor) -> Result<(), StateError> {
        self.set_meta(CURSOR, &cursor_bytes(cursor))?;
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

    /// What a person has agreed to on this device and the journal has not brought yet.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn agreement(&self) -> Result<Option<Agreement>, StateError> {
        let Some(bytes) = self.meta(AGREEMENT)? else { return Ok(None) };
        let read = || {
            let (restored, highest) = bytes.split_at_checked(CURSOR_BYTES)?;
            Some(Agreement { restored: cursor_of(restored)?, highest: cursor_of(highest)? })
        };
        read().map(Some).ok_or(StateError::Corrupt { what: "agreement" })
    }

    /// Stores what a person has agreed to, or that the journal owes nothing of it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_agreement(&self, agreement: Option<&Agreement>) -> Result<(), StateError> {
        match agreement {
            Some(Agreement { restored, highest }) => {
                self.set_meta(AGREEMENT, &[cursor_bytes(restored), cursor_bytes(highest)].concat())
            }
            None => self.clear_meta(AGREEMENT),
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
