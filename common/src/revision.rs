//! Positions in a folder's journal.
//!
//! Owns the order of revisions and of epochs. It must not know what happened at one.

use crate::ids::Head;

/// A position in one epoch of a folder's journal; 0 is before the first group.
pub type Revision = u64;

/// A life of a folder's journal. A server restored from a backup starts a new one.
pub type Epoch = u64;

/// Where a reader stands: everything up to and including `revision` of `epoch` has been seen,
/// and `head` is the journal's hash chain at that point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Life of the journal, from 1.
    pub epoch: Epoch,
    /// Last revision seen, 0 for none.
    pub revision: Revision,
    /// Chain value at `revision`.
    pub head: Head,
}

impl Cursor {
    /// Before anything of epoch 1.
    pub const START: Self = Self { epoch: 1, revision: 0, head: Head::ZERO };
}
