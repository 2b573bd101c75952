//! The digest of all registers of a folder, which a checkpoint signs.
//!
//! Owns the order and the encoding that is hashed. It must not know where registers are stored.

use super::{ConflictRecord, Registers, encoding};
use crate::ids::{EntryId, FolderId, Head};

const CONTEXT: &str = "driftless 2026 register digest v1";

/// Hashes live registers in ascending order of [`EntryId`], then open conflicts in ascending
/// order of their ids.
pub struct RegisterDigest {
    hasher: blake3::Hasher,
    last: Option<EntryId>,
    entries: u64,
    conflicts: u64,
}

impl RegisterDigest {
    /// An empty digest for one folder.
    #[must_use]
    pub fn new(folder: &FolderId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(folder.as_bytes());
        Self { hasher, last: None, entries: 0, conflicts: 0 }
    }

    /// The hash of one entry's registers, which a device keeps beside its remote tree.
    #[must_use]
    pub fn row(registers: &Registers) -> Head {
        let mut hasher = blake3::Hasher::new_derive_key("driftless 2026 register row v1");
        hasher.update(&encoding::registers(registers));
        Head::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Adds the next entry by its row hash.
    ///
    /// # Panics
    /// When entries do not come in ascending order: the caller's query is wrong.
    pub fn entry(&mut self, entry: &EntryId, row: &Head) {
        assert!(self.last.is_none_or(|last| last < *entry), "registers out of order");
        self.last = Some(*entry);
        self.entries += 1;
        self.hasher.update(row.as_bytes());
    }

    /// Adds the next open conflict, after all entries.
    pub fn conflict(&mut self, record: &ConflictRecord) {
        self.conflicts += 1;
        self.hasher.update(&encoding::conflict(record));
    }

    /// The digest.
    #[must_use]
    pub fn finish(mut self) -> Head {
        self.hasher.update(&self.entries.to_le_bytes());
        self.hasher.update(&self.conflicts.to_le_bytes());
        Head::from_bytes(*self.hasher.finalize().as_bytes())
    }
}
