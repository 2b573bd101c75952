//! Rows that were read or written lately.
//!
//! A batch of files asks for the same rows again and again: each file's path goes through its
//! directories, and each phase looks at the rows of the phase before. Owns what is kept of them. It
//! is never newer or older than the database: every write goes through it, and a transaction that is
//! rolled back empties it.

use super::StateError;
use common::ids::EntryId;
use std::cell::RefCell;
use std::collections::HashMap;

/// Rows of one tree that are kept at most; more than one batch has.
const ROWS_MAX: usize = 2560;

/// The rows of one tree, by entry; `None` for an entry that has none.
pub(super) struct Rows<T>(RefCell<HashMap<EntryId, Option<T>>>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone> Rows<T> {
    /// The row of an entry, read when it is not kept.
    pub(super) fn get(
        &self,
        entry: &EntryId,
        read: impl FnOnce() -> Result<Option<T>, StateError>,
    ) -> Result<Option<T>, StateError> {
        if let Some(row) = self.0.borrow().get(entry) {
            return Ok(row.clone());
        }
        let row = read()?;
        self.keep(entry, row.clone());
        Ok(row)
    }

    /// What an entry's row is from now on.
    pub(super) fn keep(&self, entry: &EntryId, row: Option<T>) {
        let mut rows = self.0.borrow_mut();
        if rows.len() >= ROWS_MAX {
            rows.clear();
        }
        rows.insert(*entry, row);
    }

    /// Forgets one row: what it is now is read when it is asked for.
    pub(super) fn forget(&self, entry: &EntryId) {
        self.0.borrow_mut().remove(entry);
    }

    /// Forgets all rows and gives their memory back.
    pub(super) fn clear(&self) {
        self.0.take();
    }
}
