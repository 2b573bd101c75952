//! The metadata's rows in SQLite.
//!
//! Owns the statements and how values become columns. Every file here is one subject of
//! `server_core::metadata`'s store traits. It must not know the rules, nor when a transaction
//! begins and ends.

mod folders;
mod journal;
#[cfg(test)]
mod plans;
mod reclaim;
mod registers;
mod requests;
mod retention;
mod users;

use common::ids::{FolderId, UserId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};
use server_core::metadata::{Savepoints, StoreError, Stored};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS_KEPT: usize = 128;

/// One connection. What it reads is inside the transaction that its owner has begun.
pub(super) struct SqliteStore {
    connection: Connection,
    /// Numbers of folders and users that this connection has looked up.
    folders: RefCell<BTreeMap<FolderId, i64>>,
    users: RefCell<BTreeMap<UserId, i64>>,
}

impl SqliteStore {
    pub(super) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self {
            connection,
            folders: RefCell::new(BTreeMap::new()),
            users: RefCell::new(BTreeMap::new()),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn begin(&self) -> Stored<()> {
        self.run("BEGIN", [])
    }

    pub(super) fn commit(&self) -> Stored<()> {
        self.run("COMMIT", [])
    }

    /// Undoes the transaction, which SQLite may have done itself when the disk was full.
    pub(super) fn roll_back_all(&self) -> Stored<()> {
        // A number that was given in the transaction may be given again to another.
        self.folders.borrow_mut().clear();
        self.users.borrow_mut().clear();
        if self.connection.is_autocommit() { Ok(()) } else { self.run("ROLLBACK", []) }
    }

    fn folder_number(&self, folder: &FolderId) -> Stored<Option<i64>> {
        let sql = "SELECT number FROM folders WHERE id = ?1";
        self.number(&self.folders, sql, folder, folder.as_bytes())
    }

    fn user_number(&self, user: &UserId) -> Stored<Option<i64>> {
        let sql = "SELECT number FROM users WHERE id = ?1";
        self.number(&self.users, sql, user, user.as_bytes())
    }

    fn number<K: Ord + Copy>(
        &self,
        known: &RefCell<BTreeMap<K, i64>>,
        sql: &str,
        key: &K,
        bytes: &[u8; 32],
    ) -> Stored<Option<i64>> {
        if let Some(number) = known.borrow().get(key) {
            return Ok(Some(*number));
        }
        let number = self.one(sql, [bytes], |row| row.get(0))?;
        if let Some(number) = number {
            known.borrow_mut().insert(*key, number);
        }
        Ok(number)
    }

    /// The number of a folder that a write is for, so it exists.
    fn folder_row(&self, folder: &FolderId) -> Stored<i64> {
        self.folder_number(folder)?.ok_or(StoreError::Corrupt { what: "folder" })
    }

    /// The number of a user that a write is for, so it exists.
    fn user_row(&self, user: &UserId) -> Stored<i64> {
        self.user_number(user)?.ok_or(StoreError::Corrupt { what: "user" })
    }

    fn run(&self, sql: &str, params: impl Params) -> Stored<()> {
        self.count(sql, params)?;
        Ok(())
    }

    /// Runs a statement that has to write one row.
    fn run_once(&self, sql: &str, params: impl Params, what: &'static str) -> Stored<()> {
        if self.count(sql, params)? == 1 { Ok(()) } else { Err(StoreError::Corrupt { what }) }
    }

    fn count(&self, sql: &str, params: impl Params) -> Stored<usize> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(params).map_err(failed)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Stored<Option<T>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(params, read).optional().map_err(failed)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Stored<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }
}

impl Savepoints for SqliteStore {
    fn savepoint(&mut self) -> Stored<()> {
        self.run("SAVEPOINT one_group", [])
    }

    fn release(&mut self) -> Stored<()> {
        self.run("RELEASE one_group", [])
    }

    fn rollback(&mut self) -> Stored<()> {
        if self.connection.is_autocommit() {
            // SQLite has undone the whole transaction already.
            return Ok(());
        }
        self.run("ROLLBACK TO one_group", [])?;
        self.run("RELEASE one_group", [])
    }
}

/// What an SQLite error means for the store.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match &error {
        error if is_no_room(error) => StoreError::DiskFull,
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt { what: "row" },
        _ => StoreError::Failed(Box::new(error)),
    }
}

/// Whether there was no room. Shared memory is a file too; whether a commit that lacked room there
/// comes back after a crash is open, as it is for one whose answer was lost: its request id tells.
pub(super) fn is_no_room(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(cause, _)
        if cause.code == ErrorCode::DiskFull
            || cause.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// A number as SQLite holds it. Those that count something never come near the end; a bound
/// (a quota, an expiry) beyond it means the same at it.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| out_of_range(column, value))
}

fn out_of_range(column: usize, value: i64) -> rusqlite::Error {
    rusqlite::Error::IntegralValueOutOfRange(column, value)
}
