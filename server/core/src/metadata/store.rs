//! What the state machine asks of its storage, split by subject.
//!
//! Owns the contract. A store keeps rows and nothing else: no rule of the metadata service lives
//! there. Reads see the writes before them in the same transaction. `Reads` traits can be had
//! alone, from a snapshot that does not change while it is read. Lists are in ascending order of
//! their key unless said otherwise. Every implementation passes one contract suite.

use super::reclaim::{ReclaimReads, ReclaimWrites};
use super::state::{
    ConflictState, ContentVersion, DeviceState, EntryState, EpochStart, FolderState,
    InvitationState, JournalMark, JournalRow, KeptOutcome, Label, ObjectState, PlaceVersion, Quota,
    RequestWindow, Usage, UserState,
};
use crate::retention::{Release, VersionMark, Whole};
use common::ids::{
    ChunkId, ConflictId, DeviceId, EntryId, FolderId, Head, LabelId, LookupId, NameTag, RequestId,
    UserId,
};
use common::record::{ConflictRecord, Earlier, Kind, SignedGroup, StandingSettings};
use common::revision::Revision;

/// A store that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. What was written since the transaction began has to be rolled back; after
    /// that the store serves on.
    #[error("the metadata's disk is full")]
    DiskFull,
    /// A read or write failed. The store must not be written any more (M8).
    #[error("the metadata store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no way to begin a read just now: too many files are open, or the like. Nothing is
    /// known to be wrong with what is stored.
    #[error("the metadata could not be opened for reading")]
    Unopened(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored row does not read back as what was written.
    #[error("the stored {what} is damaged")]
    Corrupt {
        /// Which row or column.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether the same command may succeed later without anyone looking after the store.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull | Self::Unopened(_))
    }
}

/// At or after every revision; SQLite counts in i64.
pub const LAST_REVISION: Revision = Revision::MAX >> 1;

/// A result of a store.
pub type Stored<T> = Result<T, StoreError>;

/// Users, their devices, keyrings and invitations.
pub trait UserReads {
    /// A user.
    fn user(&self, user: &UserId) -> Stored<Option<UserState>>;
    /// A device that is or was enrolled.
    fn device(&self, device: &DeviceId) -> Stored<Option<DeviceState>>;
    /// All devices of a user, revoked ones too.
    fn devices(&self, user: &UserId) -> Stored<Vec<(DeviceId, DeviceState)>>;
    /// Records of a device log from number `from` on, at most `limit`.
    fn log_records(&self, user: &UserId, from: u64, limit: usize) -> Stored<Vec<Vec<u8>>>;
    /// Whether a device log once had this head.
    fn log_knows(&self, user: &UserId, head: &Head) -> Stored<bool>;
    /// Version and sealed bytes of a keyring; version 0 and nothing when there is none.
    fn keyring(&self, user: &UserId) -> Stored<(u64, Vec<u8>)>;
    /// An invitation that can still be redeemed.
    fn invitation(&self, lookup: &LookupId) -> Stored<Option<InvitationState>>;
    /// Number of invitations of a user, or of bootstrap invitations.
    fn invitations(&self, user: Option<&UserId>) -> Stored<usize>;
    /// Invitations that expire at or before a time, at most `limit`.
    fn invitations_expired(
        &self,
        time_ms: u64,
        limit: usize,
    ) -> Stored<Vec<(LookupId, Option<UserId>)>>;
}

/// Writes of what [`UserReads`] reads.
pub trait UserWrites {
    /// A new user without records, keyring and usage.
    fn insert_user(&mut self, user: &UserId, created_ms: u64, quota: &Quota) -> Stored<()>;
    /// What a user may occupy.
    fn set_quota(&mut self, user: &UserId, quota: &Quota) -> Stored<()>;
    /// What a user occupies.
    fn set_usage(&mut self, user: &UserId, usage: &Usage) -> Stored<()>;
    /// The next record of a device log and the head after it.
    fn append_log(&mut self, user: &UserId, record: &[u8], head: &Head) -> Stored<()>;
    /// Sets a device.
    fn put_device(&mut self, device: &DeviceId, state: &DeviceState) -> Stored<()>;
    /// Sets a keyring.
    fn put_keyring(&mut self, user: &UserId, version: u64, sealed: &[u8]) -> Stored<()>;
    /// Sets an invitation.
    fn put_invitation(&mut self, lookup: &LookupId, state: &InvitationState) -> Stored<()>;
    /// Forgets an invitation and its blob, if there is one.
    fn delete_invitation(&mut self, lookup: &LookupId) -> Stored<()>;
    /// Forgets all invitations of all users.
    fn delete_invitations(&mut self) -> Stored<()>;
}

/// Folders, their epochs and checkpoints.
pub trait FolderReads {
    /// A folder.
    fn folder(&self, folder: &FolderId) -> Stored<Option<FolderState>>;
    /// A user's folders after one, at most `limit`.
    fn folders(
        &self,
        user: &UserId,
        after: Option<&FolderId>,
        limit: usize,
    ) -> Stored<Vec<(FolderId, FolderState)>>;
    /// All folders of all users.
    fn all_folders(&self) -> Stored<Vec<FolderId>>;
    /// What devices have told that they hold of a folder, by device.
    fn positions(&self, folder: &FolderId) -> Stored<Vec<(DeviceId, Revision)>>;
    /// How each epoch of a folder began, the first one included.
    fn lineage(&self, folder: &FolderId) -> Stored<Vec<EpochStart>>;
    /// Revision and bytes of the newest checkpoint.
    fn checkpoint(&self, folder: &FolderId) -> Stored<Option<(Revision, Vec<u8>)>>;
    /// Generation of the garbage collection, 0 before the first.
    fn generation(&self) -> Stored<u64>;
}

/// Writes of what [`FolderReads`] reads.
pub trait FolderWrites {
    /// A new folder.
    fn insert_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()>;
    /// Sets epoch, revision, head and time of a folder.
    fn advance_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()>;
    /// Adds an epoch to a folder's lineage.
    fn insert_epoch(&mut self, folder: &FolderId, start: &EpochStart) -> Stored<()>;
    /// Sets what a device holds of a folder.
    fn put_position(&mut self, folder: &FolderId, device: &DeviceId, at: Revision) -> Stored<()>;
    /// Sets the newest checkpoint.
    fn put_checkpoint(&mut self, folder: &FolderId, at: Revision, bytes: &[u8]) -> Stored<()>;
    /// Sets the generation of the garbage collection.
    fn set_generation(&mut self, generation: u64) -> Stored<()>;
}

/// A folder's journal.
pub trait JournalReads {
    /// What is kept of a revision.
    fn mark(&self, folder: &FolderId, at: Revision) -> Stored<Option<JournalMark>>;
    /// Groups after a revision without a gap: at most `limit`, and no more once their bodies reach
    /// `bytes_soft`, but always one if there is one.
    fn journal(
        &self,
        folder: &FolderId,
        after: Revision,
        limit: usize,
        bytes_soft: usize,
    ) -> Stored<Vec<JournalRow>>;
}

/// Writes of what [`JournalReads`] reads.
pub trait JournalWrites {
    /// The group at the next revision.
    fn append_group(
        &mut self,
        folder: &FolderId,
        revision: Revision,
        mark: &JournalMark,
        group: &SignedGroup,
    ) -> Stored<()>;
}

/// What became of requests.
pub trait RequestReads {
    /// The kept outcome of a request.
    fn outcome(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
    ) -> Stored<Option<KeptOutcome>>;
    /// One incarnation of a device in a folder.
    fn window(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
    ) -> Stored<Option<RequestWindow>>;
    /// All incarnations of a device in a folder, in the order in which they were first seen.
    fn windows(&self, folder: &FolderId, device: &DeviceId) -> Stored<Vec<(u64, RequestWindow)>>;
}

/// Writes of what [`RequestReads`] reads.
pub trait RequestWrites {
    /// Keeps an outcome.
    fn put_outcome(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
        kept: &KeptOutcome,
    ) -> Stored<()>;
    /// Sets an incarnation.
    fn put_window(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        window: &RequestWindow,
    ) -> Stored<()>;
    /// Drops the outcomes of an incarnation up to and including a counter.
    fn drop_outcomes(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        up_to: u64,
    ) -> Stored<()>;
}

/// The current state of a folder's tree: what judging a group needs.
pub trait TreeReads {
    /// An entry, live or deleted.
    fn entry(&self, folder: &FolderId, entry: &EntryId) -> Stored<Option<EntryState>>;
    /// The live entry with this name.
    fn named(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
    ) -> Stored<Option<EntryId>>;
    /// Live entries in a directory, at most `limit`, in any order.
    fn children(&self, folder: &FolderId, parent: &EntryId, limit: usize) -> Stored<Vec<EntryId>>;
    /// An object that an accepted version reaches.
    fn object(&self, folder: &FolderId, id: &ChunkId) -> Stored<Option<ObjectState>>;
    /// A conflict, open or closed.
    fn conflict(&self, folder: &FolderId, id: &ConflictId) -> Stored<Option<ConflictState>>;
}

/// The history of a folder's registers.
pub trait RegisterReads {
    /// Entries after one, deleted ones too, at most `limit`.
    fn entries(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<(EntryId, Kind)>>;
    /// Versions of an entry's place at or before a revision, newest first, at most `limit`.
    fn places(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<PlaceVersion>>;
    /// Versions of an entry's content at or before a revision, newest first (by revision, then by
    /// change), at most `limit`.
    fn contents(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<ContentVersion>>;
    /// What entries of which a register was set after a revision were then, as [`super::earlier`] tells it
    /// to one who knows them as of another: in some fixed order, after one, at most `limit`.
    fn earlier(
        &self,
        folder: &FolderId,
        at_and_known: (Revision, Revision),
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<Earlier>>;
    /// Which entries had a register set at or before a revision, or a conflict closed on either side,
    /// and when: newest first, in one revision in some fixed order, at most `limit`. Of the revision
    /// `at` itself only those that come after `after` in that order.
    fn timeline(
        &self,
        folder: &FolderId,
        at: Revision,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<(Revision, EntryId)>>;
    /// Entries that ever had a name in a directory: live ones first, then by the revision of their
    /// last place, newest first, at most `limit`.
    fn named_ever(
        &self,
        folder: &FolderId,
        parent: &EntryId,
        name_tag: &NameTag,
        limit: usize,
    ) -> Stored<Vec<(EntryId, EntryState)>>;
    /// Deleted entries after one, in ascending order, at most `limit`.
    fn deleted(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>>;
    /// Revisions at or before one at which a conflict of an entry, on either side, was closed: newest
    /// first, at most `limit`.
    fn closings(
        &self,
        folder: &FolderId,
        entry: &EntryId,
        at: Revision,
        limit: usize,
    ) -> Stored<Vec<Revision>>;
    /// Conflicts that were open as of a revision, after one, at most `limit`.
    fn conflicts_open(
        &self,
        folder: &FolderId,
        at: Revision,
        after: Option<&ConflictId>,
        limit: usize,
    ) -> Stored<Vec<ConflictRecord>>;
}

/// Writes of what [`TreeReads`] and [`RegisterReads`] read. An entry is set before versions are
/// added to it.
pub trait RegisterWrites {
    /// Sets an entry. Two live entries may have one name until the end of a group.
    fn put_entry(&mut self, folder: &FolderId, entry: &EntryId, state: &EntryState) -> Stored<()>;
    /// Adds a version of a place.
    fn append_place(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &PlaceVersion,
    ) -> Stored<()>;
    /// Adds a version of a content.
    fn append_content(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        version: &ContentVersion,
    ) -> Stored<()>;
    /// Sets an object.
    fn put_object(&mut self, folder: &FolderId, id: &ChunkId, object: &ObjectState) -> Stored<()>;
    /// Sets a conflict.
    fn put_conflict(&mut self, folder: &FolderId, conflict: &ConflictState) -> Stored<()>;
}

/// Labels, settings, and what is whole of a folder's past.
pub trait RetentionReads {
    /// What the folder was set to as of a revision.
    fn settings(&self, folder: &FolderId, at: Revision) -> Stored<Option<StandingSettings>>;
    /// The newest settings that were accepted at or before a time.
    fn settings_by(&self, folder: &FolderId, time_ms: u64) -> Stored<Option<StandingSettings>>;
    /// All labels, by moment and then by id; at most [`common::limits::LABELS_MAX`].
    fn labels(&self, folder: &FolderId) -> Stored<Vec<Label>>;
    /// The moments that are whole.
    fn whole(&self, folder: &FolderId) -> Stored<Whole>;
    /// Entries after one of which there is more than one revision of a register, or that are
    /// deleted, at most `limit`.
    fn entries_with_history(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>>;
    /// Conflicts that are open now and name an entry, as the one that kept the name or as the copy.
    fn conflicts_naming(&self, folder: &FolderId, entry: &EntryId) -> Stored<Vec<ConflictRecord>>;
    /// What a release has to know of all versions of an entry that are still there: of its places
    /// and of its contents, each the newest first, of a group's contents the last. Nothing of an
    /// entry that is not there.
    fn version_marks(&self, folder: &FolderId, entry: &EntryId) -> Stored<VersionMarks>;
}

/// Marks of the versions of an entry's place, and of its content.
pub type VersionMarks = (Vec<VersionMark>, Vec<VersionMark>);

/// Writes of what [`RetentionReads`] reads.
pub trait RetentionWrites {
    /// Adds settings; their revision is later than that of all before.
    fn put_settings(&mut self, folder: &FolderId, standing: &StandingSettings) -> Stored<()>;
    /// Adds a label.
    fn put_label(&mut self, folder: &FolderId, label: &Label) -> Stored<()>;
    /// Forgets a label.
    fn delete_label(&mut self, folder: &FolderId, label: &LabelId) -> Stored<()>;
    /// Sets which moments are whole.
    fn set_whole(&mut self, folder: &FolderId, whole: &Whole) -> Stored<()>;
    /// Releases versions of an entry; returns how many rows went.
    fn release_versions(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        release: &Release,
    ) -> Stored<u64>;
}

/// Undoing the writes of one group inside the caller's transaction. Savepoints do not nest.
pub trait Savepoints {
    /// Marks the state to come back to.
    fn savepoint(&mut self) -> Stored<()>;
    /// Keeps what was written since the mark.
    fn release(&mut self) -> Stored<()>;
    /// Undoes what was written since the mark.
    fn rollback(&mut self) -> Stored<()>;
}

/// Everything that can be read.
pub trait MetaReads:
    UserReads
    + FolderReads
    + JournalReads
    + RequestReads
    + TreeReads
    + RegisterReads
    + RetentionReads
    + ReclaimReads
{
}

impl<T> MetaReads for T where
    T: UserReads
        + FolderReads
        + JournalReads
        + RequestReads
        + TreeReads
        + RegisterReads
        + RetentionReads
        + ReclaimReads
{
}

/// Everything that [`super::apply`] needs, inside a transaction that the caller began and ends.
pub trait MetaStore:
    MetaReads
    + UserWrites
    + FolderWrites
    + JournalWrites
    + RequestWrites
    + RegisterWrites
    + RetentionWrites
    + ReclaimWrites
    + Savepoints
{
}

impl<T> MetaStore for T where
    T: MetaReads
        + UserWrites
        + FolderWrites
        + JournalWrites
        + RequestWrites
        + RegisterWrites
        + RetentionWrites
        + ReclaimWrites
        + Savepoints
{
}
