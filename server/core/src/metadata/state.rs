//! The rows of the metadata, as plain values.
//!
//! Owns what is remembered of users, devices, folders, entries, objects and requests. It must not
//! know how a row is stored, nor which rules relate rows to each other.

use super::outcome::GroupOutcome;
use common::ids::{DeviceId, EntryId, Head, LabelId, NameTag, UserId};
use common::record::{ConflictRecord, Content, JournalEntry, Kind, Place, Registers, Resolution};
use common::revision::{Cursor, Epoch, Revision};

/// What a user may occupy, over all of its folders. All bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of sealed objects that accepted versions reach, each object counted once a folder.
    pub bytes_max: u64,
    /// Live entries.
    pub entries_max: u64,
    /// Sealed objects: what keeps a user from storing millions of tiny chunks.
    pub objects_max: u64,
    /// What the history keeps: versions of places and contents, and changes that open or close a
    /// conflict or confirm an epoch.
    pub versions_max: u64,
}

impl Quota {
    /// No bound but what a store's integers hold.
    pub const UNLIMITED: Self = Self {
        bytes_max: i64::MAX as u64,
        entries_max: i64::MAX as u64,
        objects_max: i64::MAX as u64,
        versions_max: i64::MAX as u64,
    };
}

/// What a user occupies, in the units of [`Quota`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of sealed objects.
    pub bytes: u64,
    /// Live entries.
    pub entries: u64,
    /// Sealed objects.
    pub objects: u64,
    /// Versions of places and contents, and changes that open or close a conflict or confirm an
    /// epoch.
    pub versions: u64,
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserState {
    /// When its genesis was redeemed, in milliseconds since 1970.
    pub created_ms: u64,
    /// Records of its device log.
    pub log_len: u64,
    /// Head of its device log.
    pub log_head: Head,
    /// Version of its keyring, 0 for none.
    pub keyring_version: u64,
    /// What it may occupy.
    pub quota: Quota,
    /// What it occupies.
    pub usage: Usage,
}

/// A device that is or was enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Whose it is.
    pub user: UserId,
    /// Number of the device-log record that added it.
    pub position: u64,
    /// Whether it has been revoked.
    pub revoked: bool,
    /// When, in milliseconds since 1970 by the clock of the device that revoked it; `None` also when
    /// that was not written down.
    pub revoked_ms: Option<u64>,
    /// When it last had a connection, in milliseconds since 1970.
    pub seen_ms: Option<u64>,
}

/// An invitation that can still be redeemed, expired ones included until they are voided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationState {
    /// Into whose devices; `None` for a bootstrap invitation, which makes a user.
    pub user: Option<UserId>,
    /// From when on it is void, in milliseconds since 1970.
    pub expires_ms: u64,
    /// What was left for the joiner, sealed; empty for a bootstrap invitation.
    pub blob: Vec<u8>,
}

/// A folder and its journal's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderState {
    /// Its owner.
    pub user: UserId,
    /// Signed genesis; the folder's id is its hash.
    pub genesis: Vec<u8>,
    /// Life of the journal.
    pub epoch: Epoch,
    /// Last revision, 0 for none.
    pub revision: Revision,
    /// Head at it.
    pub head: Head,
    /// Time of the last revision: no later one is stamped with less.
    pub time_ms: u64,
}

impl FolderState {
    /// Where a reader stands that has seen everything.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, revision: self.revision, head: self.head }
    }
}

/// How an epoch began: it continues from `revision` and `head` of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// Last revision that it kept.
    pub revision: Revision,
    /// Head at it.
    pub head: Head,
}

/// What the journal keeps of a revision even when its body has been thinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalMark {
    /// Epoch in which it was accepted.
    pub epoch: Epoch,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The author's device.
    pub device: DeviceId,
    /// Head of the chain at this revision.
    pub head: Head,
}

/// An accepted group and the epoch in which it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// The chain hashes it.
    pub epoch: Epoch,
    /// The group and its position.
    pub entry: JournalEntry,
}

/// An entry's registers without their sealed parts: what judging a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// What it is.
    pub kind: Kind,
    /// Revision that set the place.
    pub place_revision: Revision,
    /// The directory that holds it, or last held it.
    pub parent: EntryId,
    /// Tag of its name there.
    pub name_tag: NameTag,
    /// Whether it is gone.
    pub deleted: bool,
    /// Revision that set the content.
    pub content_revision: Revision,
}

/// A version of a place register. A deletion keeps the last place and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceVersion {
    /// Revision that set it.
    pub revision: Revision,
    /// Where the entry is, or was.
    pub place: Place,
    /// Whether the entry was deleted.
    pub deleted: bool,
    /// The revision that replaced it, where retention has released that version.
    pub until: Option<Revision>,
}

/// A version of a content register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentVersion {
    /// Revision that set it.
    pub revision: Revision,
    /// Number of the change in its group, from 0: a group that merges sets a content more than
    /// once, so that the loser's version is kept too, and the last one stands.
    pub change: u32,
    /// The content.
    pub content: Content,
    /// The revision that replaced it, where retention has released that version.
    pub until: Option<Revision>,
    /// Whether retention has released it: then it has no root, and what it was is known alone.
    pub released: bool,
}

/// A version of an entry: a revision at which one of its registers was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// By which device.
    pub device: DeviceId,
    /// Which revision.
    pub revision: Revision,
    /// Whether the place register was set.
    pub place_changed: bool,
    /// Whether the content register was set.
    pub content_changed: bool,
    /// Whether the entry was deleted at this revision; the registers are then its last ones.
    pub deleted: bool,
    /// Both registers as of this revision.
    pub registers: Registers,
    /// The place before this revision, if it set another.
    pub before: Option<PlaceVersion>,
    /// The sealed attributes of the content before this revision, if it set another.
    pub attributes_before: Option<Vec<u8>>,
    /// Whether a conflict of the entry was settled at this revision.
    pub settled: bool,
    /// Whether retention has released the content: what it was is known alone.
    pub released: bool,
}

/// A label of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Names it.
    pub label: LabelId,
    /// The last revision of the moment that it marks.
    pub at: Revision,
    /// The revision that added it.
    pub added: Revision,
    /// Its sealed name.
    pub name: Vec<u8>,
}

/// A sealed object that an accepted version reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// 0 for a chunk, else the page's level.
    pub level: u8,
    /// Stored bytes.
    pub length: u32,
}

/// A conflict, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictState {
    /// As it was opened.
    pub record: ConflictRecord,
    /// The revision that closed it, and how.
    pub closed: Option<(Revision, Resolution)>,
}

/// What became of a request, and of which bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOutcome {
    /// Of the group's bytes and signature.
    pub digest: Head,
    /// What became of it.
    pub outcome: GroupOutcome,
}

/// One incarnation of a device in one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestWindow {
    /// Order in which incarnations were first seen, from 1.
    pub order: u64,
    /// Highest counter that has an outcome.
    pub highest: u64,
    /// No request of it is taken any more: its outcomes have been dropped.
    pub closed: bool,
}
