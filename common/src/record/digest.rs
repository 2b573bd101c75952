//! The digest of all registers of a folder, which a checkpoint signs.
//!
//! Owns the order and the encoding that is hashed. It must not know where registers are stored.

use super::{ConflictRecord, Content, Kind, Place, Registers, Settings, encoding, settings};
use crate::ids::{EntryId, FolderId, Head};
use crate::revision::Revision;

const CONTEXT: &str = "driftless 2026 register digest v1";
const PLACE_CONTEXT: &str = "driftless 2026 place register v1";
const CONTENT_CONTEXT: &str = "driftless 2026 content register v1";
const SETTINGS_CONTEXT: &str = "driftless 2026 register digest with settings v1";
const ROW_CONTEXT: &str = "driftless 2026 register row v1";

/// Hashes live registers in ascending order of [`EntryId`], then open conflicts in ascending
/// order of their ids.
pub struct RegisterDigest {
    hasher: blake3::Hasher,
    last: Option<EntryId>,
    entries: u64,
    conflicts: u64,
    settings: Option<(Revision, Vec<u8>)>,
}

impl RegisterDigest {
    /// An empty digest for one folder.
    #[must_use]
    pub fn new(folder: &FolderId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(folder.as_bytes());
        Self { hasher, last: None, entries: 0, conflicts: 0, settings: None }
    }

    /// The hash of a place register, which a device keeps beside its remote tree.
    #[must_use]
    pub fn place(entry: &EntryId, kind: Kind, revision: Revision, place: &Place) -> Head {
        let mut hasher = blake3::Hasher::new_derive_key(PLACE_CONTEXT);
        hasher.update(entry.as_bytes());
        hasher.update(&kind.code().to_le_bytes());
        hasher.update(&revision.to_le_bytes());
        hasher.update(&encoding::place_bytes(place));
        Head::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The hash of a content register, which a device keeps beside its remote tree.
    #[must_use]
    pub fn content(entry: &EntryId, revision: Revision, content: &Content) -> Head {
        let mut hasher = blake3::Hasher::new_derive_key(CONTENT_CONTEXT);
        hasher.update(entry.as_bytes());
        hasher.update(&revision.to_le_bytes());
        hasher.update(&encoding::content_bytes(content));
        Head::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The hash of both registers of an entry, from their own hashes.
    #[must_use]
    pub fn combine(place: &Head, content: &Head) -> Head {
        let mut hasher = blake3::Hasher::new_derive_key(ROW_CONTEXT);
        hasher.update(place.as_bytes());
        hasher.update(content.as_bytes());
        Head::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The hash of both registers of an entry.
    #[must_use]
    pub fn row(registers: &Registers) -> Head {
        let Registers { entry, kind, place_revision, place, content_revision, content } = registers;
        Self::combine(
            &Self::place(entry, *kind, *place_revision, place),
            &Self::content(entry, *content_revision, content),
        )
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

    /// Adds what the folder is set to and the revision that set it. A folder that was never set has
    /// the digest that it had before there were settings.
    pub fn settings(&mut self, revision: Revision, standing: &Settings) {
        self.settings = Some((revision, settings::settings_bytes(standing)));
    }

    /// The digest.
    #[must_use]
    pub fn finish(mut self) -> Head {
        self.hasher.update(&self.entries.to_le_bytes());
        self.hasher.update(&self.conflicts.to_le_bytes());
        let registers = Head::from_bytes(*self.hasher.finalize().as_bytes());
        let Some((revision, settings)) = self.settings else { return registers };
        let mut hasher = blake3::Hasher::new_derive_key(SETTINGS_CONTEXT);
        hasher.update(registers.as_bytes());
        hasher.update(&revision.to_le_bytes());
        hasher.update(&settings);
        Head::from_bytes(*hasher.finalize().as_bytes())
    }
}
