//! The schema's versions.
//!
//! Owns the numbered migrations and how they are run: each in a transaction of its own, never
//! changed once released. It must not know what the tables are for.

use super::db::OpenError;
use super::sqlite::failed;
use rusqlite::Connection;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_revoked.sql"),
    include_str!("migrations/0003_history.sql"),
    include_str!("migrations/0004_labels.sql"),
    include_str!("migrations/0005_earlier.sql"),
    include_str!("migrations/0006_deleted.sql"),
    include_str!("migrations/0007_closings.sql"),
];

/// Brings the schema to the newest version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    migrate_to(connection, MIGRATIONS.len())
}

/// Brings the schema to a version.
pub(super) fn migrate_to(connection: &mut Connection, version: usize) -> Result<(), OpenError> {
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len();
    let done = usize::try_from(found).ok().filter(|done| *done <= known);
    let Some(done) = done else {
        return Err(OpenError::Version { found, known });
    };
    for (version, migration) in (1_i64..).zip(MIGRATIONS).take(version).skip(done) {
        run(connection, version, migration).map_err(|error| match failed(error) {
            source if done > 0 => OpenError::Upgrade { to: version, source },
            error => error.into(),
        })?;
    }
    Ok(())
}

/// All of a migration, or nothing of it.
fn run(connection: &mut Connection, version: i64, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
