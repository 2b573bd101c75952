//! The scanner: from what the disk shows to the local tree.
//!
//! Owns what counts as changed, moved and gone (rules 8 and 9). It never changes the disk, and
//! never calls anything deleted that it could not list without an error under a root whose marker
//! is there. It does not hash: changed files get their content in `transfer`.

mod converted;
mod durable;
mod identity;
mod issues;
mod observe;
mod spelling;
mod unsynced;

pub use durable::{DurableError, make_durable};
pub use issues::forget_issues_of_gone;
pub use observe::{RootLoss, ScanError, ScanReport, Scanner, check_root, remove_subtree};
pub use spelling::stat_spelled;
pub use unsynced::{Kept, UnsyncedError, holds_nothing_synced, kept_for, unsynced_at};

use crate::fs::RelPath;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// One path: whatever is there now.
    Path(RelPath),
    /// A directory and everything below it.
    Subtree(RelPath),
}
