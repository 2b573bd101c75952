//! The metadata in memory: the model that the SQLite store is held against, and what tests of the
//! rules run on.
//!
//! Owns ordered maps and a switch that makes a write fail. It must not know the rules. A savepoint
//! is a copy of everything, so it is for small states.

mod journal;
mod reclaim;
mod registers;
mod retention;
mod users;

use super::state::{
    ConflictState, ContentVersion, DeviceState, EntryState, EpochStart, FolderState,
    InvitationState, JournalMark, KeptOutcome, Label, ObjectState, PlaceVersion, RequestWindow,
    UserState,
};
use super::store::{Savepoints, StoreError, Stored};
use crate::retention::Whole;
use common::ids::{
    ChunkId, ConflictId, DeviceId, EntryId, FolderId, Head, LabelId, LookupId, RequestId, UserId,
};
use common::record::{SignedGroup, StandingSettings};
use common::revision::Revision;
use std::collections::BTreeMap;

/// A write that was told to fail.
#[derive(Debug, thiserror::Error)]
#[error("a write was told to fail")]
struct ToldToFail;

#[derive(Clone, Debug, Default, PartialEq)]
struct User {
    state: Option<UserState>,
    log: Vec<(Vec<u8>, Head)>,
    keyring: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    state: Option<EntryState>,
    places: Vec<PlaceVersion>,
    contents: Vec<ContentVersion>,
}

#[derive(Clone, Debug, PartialEq)]
struct Folder {
    state: FolderState,
    lineage: Vec<EpochStart>,
    positions: BTreeMap<DeviceId, Revision>,
    checkpoint: Option<(Revision, Vec<u8>)>,
    journal: BTreeMap<Revision, (JournalMark, SignedGroup)>,
    outcomes: BTreeMap<(DeviceId, RequestId), KeptOutcome>,
    windows: BTreeMap<(DeviceId, u64), RequestWindow>,
    entries: BTreeMap<EntryId, Entry>,
    objects: BTreeMap<ChunkId, ObjectState>,
    conflicts: BTreeMap<ConflictId, ConflictState>,
    settings: Vec<StandingSettings>,
    labels: BTreeMap<LabelId, Label>,
    whole: Whole,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Tables {
    users: BTreeMap<UserId, User>,
    devices: BTreeMap<DeviceId, DeviceState>,
    invitations: BTreeMap<LookupId, InvitationState>,
    folders: BTreeMap<FolderId, Folder>,
    generation: u64,
}

/// A [`super::MetaStore`] in memory. Equal stores hold equal rows.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Tables,
    saved: Option<Box<Tables>>,
    writes_left: Option<u64>,
}

impl PartialEq for MemoryStore {
    fn eq(&self, other: &Self) -> bool {
        self.tables == other.tables
    }
}

impl MemoryStore {
    /// Nothing at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets so many more writes succeed and fails all that follow; `None` ends that.
    pub const fn fail_after(&mut self, writes: Option<u64>) {
        self.writes_left = writes;
    }

    fn write(&mut self) -> Stored<&mut Tables> {
        if let Some(left) = &mut self.writes_left {
            *left = left.checked_sub(1).ok_or(StoreError::Failed(Box::new(ToldToFail)))?;
        }
        Ok(&mut self.tables)
    }

    fn folder_mut(&mut self, folder: &FolderId) -> Stored<&mut Folder> {
        let found = self.write()?.folders.get_mut(folder);
        found.ok_or(StoreError::Corrupt { what: "folder" })
    }

    fn user_mut(&mut self, user: &UserId) -> Stored<&mut User> {
        let found = self.write()?.users.get_mut(user);
        found.ok_or(StoreError::Corrupt { what: "user" })
    }
}

impl Savepoints for MemoryStore {
    fn savepoint(&mut self) -> Stored<()> {
        self.saved = Some(Box::new(self.tables.clone()));
        Ok(())
    }

    fn release(&mut self) -> Stored<()> {
        self.saved = None;
        Ok(())
    }

    fn rollback(&mut self) -> Stored<()> {
        if let Some(saved) = self.saved.take() {
            self.tables = *saved;
        }
        Ok(())
    }
}
