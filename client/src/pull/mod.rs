//! Taking in what the server says: journal groups and snapshots.
//!
//! Owns every check on what comes from the server: signatures, bases, the chain, seals, names and
//! checkpoints (docs/security.md). What it accepts goes into the remote tree; what this device had
//! sent itself also completes its outbox. It must not change the disk.

mod groups;
mod labels;
mod registers;
mod snapshot;

pub(crate) use groups::is_edited;
pub use groups::{PullError, Pulled, Revived, apply_batch};
pub use registers::{RemoteIssue, row as row_of};
pub(crate) use registers::{set_content, set_place};
pub use snapshot::{Restore, SnapshotError, checkpoint, finish_rebuild, take_snapshot};
