//! The metadata, kept: SQLite behind the state machine of `server_core::metadata`, and the one
//! writer that makes its commands durable.
//!
//! [`MetaDb`] is the database: one connection that writes, others that read snapshots.
//! [`MetaHandle`] is what the service holds: it carries out commands, answers when they are durable,
//! and wakes those who wait for news. It must not know the rules (they are in `server_core`) nor who
//! asks (that is the service's).

mod db;
mod handle;
mod news;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

pub use db::{MetaDb, OpenError};
pub use handle::{MetaError, MetaHandle};
pub use news::Position;
pub use writer::{FailedSync, SyncFaults};
