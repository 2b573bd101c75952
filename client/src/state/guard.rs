//! What the guard against mass deletion let through lately, and what a person is asked about.
//!
//! Owns where that is stored. It must not know how long it counts.

use super::{FolderState, StateError, row};
use client_core::planner::Halt;
use common::ids::EntryId;
use rusqlite::params;
use std::collections::BTreeSet;

/// A deletion that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetThrough {
    /// What was deleted or emptied.
    pub entry: EntryId,
    /// Whether it came from the server (true) or from this disk (false).
    pub from_remote: bool,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A mass deletion that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassDeletion {
    /// What would go.
    pub halt: Halt,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: u64,
}

impl FolderState {
    /// What was let through and has not been forgotten.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn let_through(&self) -> Result<Vec<LetThrough>, StateError> {
        self.all("SELECT entry, from_remote, time_ms FROM let_through", [], |row| {
            Ok(LetThrough {
                entry: row::entry(row, 0)?,
                from_remote: row.get(1)?,
                time_ms: row::unsigned(row, 2)?,
            })
        })
    }

    /// Notes what is let through. In the transaction that notes the plan.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_let_through(&self, losses: &[LetThrough]) -> Result<(), StateError> {
        for loss in losses {
            self.execute(
                "INSERT OR REPLACE INTO let_through (entry, from_remote, time_ms)
                 VALUES (?1, ?2, ?3)",
                params![row::blob(&loss.entry), loss.from_remote, row::signed(loss.time_ms)],
            )?;
        }
        Ok(())
    }

    /// Forgets some of what was let through.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_let_through(&self, entries: &BTreeSet<EntryId>) -> Result<(), StateError> {
        for entry in entries {
            self.execute("DELETE FROM let_through WHERE entry = ?1", [row::blob(entry)])?;
        }
        Ok(())
    }

    /// Forgets all that was let through.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_let_through(&self) -> Result<(), StateError> {
        self.execute("DELETE FROM let_through", [])?;
        Ok(())
    }

    /// The mass deletion that waits for a person.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn mass_deletion(&self) -> Result<Option<MassDeletion>, StateError> {
        let sql = "SELECT held, lately, from_remote, since_ms FROM mass_deletion";
        let found = self.find(sql, [], |row| {
            let halt = Halt {
                deletions: BTreeSet::new(),
                held: row::unsigned(row, 0)?,
                lately: row::unsigned(row, 1)?,
                from_remote: row.get(2)?,
            };
            Ok(MassDeletion { halt, since_ms: row::unsigned(row, 3)? })
        })?;
        let Some(mut found) = found else { return Ok(None) };
        let deletions = self.all("SELECT entry FROM mass_deleted", [], |row| row::entry(row, 0))?;
        found.halt.deletions = deletions.into_iter().collect();
        Ok(Some(found))
    }

    /// Notes a mass deletion that waits for a person; `known` is what was noted of it before, if that
    /// is all that is noted.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_mass_deletion(
        &self,
        known: Option<&MassDeletion>,
        mass: &MassDeletion,
    ) -> Result<(), StateError> {
        let nothing = BTreeSet::new();
        let before = match known {
            Some(known) => &known.halt.deletions,
            None => {
                self.execute("DELETE FROM mass_deleted", [])?;
                &nothing
            }
        };
        let MassDeletion { halt, since_ms } = mass;
        for entry in before.difference(&halt.deletions) {
            self.execute("DELETE FROM mass_deleted WHERE entry = ?1", [row::blob(entry)])?;
        }
        for entry in halt.deletions.difference(before) {
            self.execute("INSERT INTO mass_deleted (entry) VALUES (?1)", [row::blob(entry)])?;
        }
        let (held, lately) = (row::signed(halt.held), row::signed(halt.lately));
        self.execute(
            "INSERT OR REPLACE INTO mass_deletion (number, held, lately, from_remote, since_ms)
             VALUES (1, ?1, ?2, ?3, ?4)",
            params![held, lately, halt.from_remote, row::signed(*since_ms)],
        )?;
        Ok(())
    }

    /// Nothing waits for a person any more.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_mass_deletion(&self) -> Result<(), StateError> {
        self.execute("DELETE FROM mass_deleted", [])?;
        self.execute("DELETE FROM mass_deletion", [])?;
        Ok(())
    }
}
