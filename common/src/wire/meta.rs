//! Metadata requests (`driftless-meta/1`) and joining (`driftless-join/1`).
//!
//! A stream carries one [`Request`] frame and then its reply: one [`Reply`] frame, or a run of
//! [`Reply`] frames that ends with the stream where the request says so. A [`Request::Commit`] is
//! followed by [`CommitPart`] frames until the device finishes its side of the stream.
//!
//! Owns these messages and their numbers. It must not know how a record inside is encoded.

pub use super::commit::{
    Accepted, CommitBegin, CommitPart, GroupMessage, Outcome, OutcomeKind, Outcomes, OutcomesRead,
    Rejected, RejectionCode,
};
pub use super::history::{
    DeletedRead, Holder, HoldersRead, HoldersReply, MomentRead, MomentReply, NamedEntry, NamedRead,
    NamedReply, PastPart, PastRead, Report, TimelineRead,
};
use super::retention::{LabelsRead, LabelsReply, RetentionPreviewRead, RetentionPreviewReply};
use crate::record::{ConflictMessage, RegistersMessage, StandingSettingsMessage};
use prost::{Enumeration, Message, Oneof};

/// Why a node does not do what it was asked. Numbers are stable; unknown ones decode as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum RefusalCode {
    /// Not said.
    Unspecified = 0,
    /// The message does not decode or breaks a limit.
    Malformed = 1,
    /// The peer is not enrolled.
    NotEnrolled = 2,
    /// No such folder, or not one of this user's: one answer for both.
    NoSuchFolder = 3,
    /// The join code is not known, was used, or has expired.
    InvitationInvalid = 4,
    /// A compare-and-swap found another state.
    Conflict = 5,
    /// A quota or count is exhausted.
    Quota = 6,
    /// The disk is full; reads and deletes go on.
    DiskFull = 7,
    /// The node stopped serving after a failed write; an operator has to look.
    Stopped = 8,
    /// Too much at once; try again later.
    Busy = 9,
    /// The journal is in another epoch than the device thinks.
    EpochChanged = 10,
    /// A stored chunk is damaged and no other copy is known.
    Damaged = 11,
    /// The capability is expired, forged or for something else.
    Capability = 12,
    /// The other side speaks no common version.
    Version = 13,
    /// The record is not one that may follow the log's head.
    RecordInvalid = 14,
    /// The folder has no such entry or version.
    NotFound = 15,
    /// The peer was enrolled, and its user's device log says that it was revoked.
    Revoked = 16,
}

/// A refused request.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Refusal {
    /// What branches are taken on.
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub code: i32,
    /// For a person; never holds a secret.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Refusal {
    /// A refusal with a message for a person.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code: code as i32, message: message.into() }
    }
}

/// One request frame.
#[derive(Clone, PartialEq, Message)]
pub struct RequestFrame {
    /// What is asked.
    #[prost(
        oneof = "Request",
        tags = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,20,21,22,23,24,25,26,27,29,30,31"
    )]
    pub request: Option<Request>,
}

/// What a device asks.
#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    /// Records of the user's device log; a run of [`Reply::DeviceLog`].
    #[prost(message, tag = "1")]
    DeviceLogRead(DeviceLogRead),
    /// Appends a record; [`Reply::Done`], or a refusal with `Conflict` when the head has moved.
    #[prost(message, tag = "2")]
    DeviceLogAppend(DeviceLogAppend),
    /// The user's sealed keyring; [`Reply::Keyring`].
    #[prost(message, tag = "3")]
    KeyringGet(Empty),
    /// Replaces it by compare-and-swap on the version; [`Reply::Done`].
    #[prost(message, tag = "4")]
    KeyringPut(Keyring),
    /// Makes a folder from its signed genesis; [`Reply::Done`]; again with the same genesis too.
    #[prost(message, tag = "5")]
    FolderCreate(FolderCreate),
    /// The user's folders; a run of [`Reply::Folders`].
    #[prost(message, tag = "6")]
    FolderList(Empty),
    /// Opens an invitation: log record and blob in one step; [`Reply::Done`].
    #[prost(message, tag = "7")]
    InvitationOpen(InvitationOpen),
    /// Leaves a signed checkpoint of a folder; [`Reply::Done`].
    #[prost(message, tag = "8")]
    CheckpointPut(CheckpointPut),
    /// Commits groups; followed by [`CommitPart`] frames; [`Reply::Outcomes`].
    #[prost(message, tag = "9")]
    Commit(CommitBegin),
    /// What became of earlier requests; [`Reply::Outcomes`].
    #[prost(message, tag = "10")]
    Outcomes(OutcomesRead),
    /// The journal after a cursor and everything that follows; a run of [`Reply::Journal`] that
    /// ends only with the stream. The first batch is sent at once, even when empty.
    #[prost(message, tag = "11")]
    Subscribe(Subscribe),
    /// All registers as of the newest checkpoint; a run of [`Reply::Snapshot`].
    #[prost(message, tag = "12")]
    Snapshot(SnapshotRead),
    /// Versions of an entry, newest first; [`Reply::Versions`].
    #[prost(message, tag = "13")]
    Versions(VersionsRead),
    /// A short-lived capability for storage nodes; [`Reply::Capability`].
    #[prost(message, tag = "14")]
    Capability(CapabilityRequest),
    /// What a folder was at a revision, where it was another; [`Reply::Past`].
    #[prost(message, tag = "15")]
    Past(PastRead),
    /// Which of the user's devices are connected; [`Reply::Presence`].
    #[prost(message, tag = "20")]
    Presence(Empty),
    /// Joining: what was left for the joiner; a run of [`Reply::Invitation`] and
    /// [`Reply::DeviceLog`].
    #[prost(message, tag = "21")]
    InvitationFetch(InvitationFetch),
    /// Joining: redeems an invitation, once; [`Reply::Done`].
    #[prost(message, tag = "22")]
    InvitationRedeem(InvitationRedeem),
    /// Versions of all entries, newest first; [`Reply::Versions`].
    #[prost(message, tag = "23")]
    Timeline(TimelineRead),
    /// Which revision a moment is; [`Reply::Moment`].
    #[prost(message, tag = "24")]
    Moment(MomentRead),
    /// Which entries ever had a name; [`Reply::Named`].
    #[prost(message, tag = "25")]
    Named(NamedRead),
    /// Entries that are deleted; [`Reply::Versions`].
    #[prost(message, tag = "29")]
    Deleted(DeletedRead),
    /// Tells what of a folder is on the device's disk; [`Reply::Done`].
    #[prost(message, tag = "30")]
    Report(Report),
    /// What of a folder is on each device's disk; [`Reply::Holders`].
    #[prost(message, tag = "31")]
    Holders(HoldersRead),
    /// The labels and settings of a folder; [`Reply::Labels`].
    #[prost(message, tag = "26")]
    Labels(LabelsRead),
    /// What retention would release now; [`Reply::RetentionPreview`].
    #[prost(message, tag = "27")]
    RetentionPreview(RetentionPreviewRead),
}

/// One reply frame.
#[derive(Clone, PartialEq, Message)]
pub struct ReplyFrame {
    /// What is answered.
    #[prost(oneof = "Reply", tags = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,19")]
    pub reply: Option<Reply>,
}

/// What a node answers.
#[derive(Clone, PartialEq, Oneof)]
pub enum Reply {
    /// It was not done.
    #[prost(message, tag = "1")]
    Refused(Refusal),
    /// It was done, durably.
    #[prost(message, tag = "2")]
    Done(Empty),
    /// Device-log records in order.
    #[prost(message, tag = "3")]
    DeviceLog(DeviceLogPart),
    /// The sealed keyring.
    #[prost(message, tag = "4")]
    Keyring(Keyring),
    /// Folders.
    #[prost(message, tag = "5")]
    Folders(FolderListPart),
    /// What became of groups, in the order of the request.
    #[prost(message, tag = "6")]
    Outcomes(Outcomes),
    /// Journal groups in order.
    #[prost(message, tag = "7")]
    Journal(JournalBatch),
    /// Part of a snapshot.
    #[prost(message, tag = "8")]
    Snapshot(SnapshotPart),
    /// Versions of an entry.
    #[prost(message, tag = "9")]
    Versions(VersionsPart),
    /// A capability.
    #[prost(message, tag = "10")]
    Capability(CapabilityReply),
    /// Which devices are connected.
    #[prost(message, tag = "11")]
    Presence(PresenceReply),
    /// What was left for a joiner.
    #[prost(message, tag = "12")]
    Invitation(InvitationReply),
    /// What a folder was.
    #[prost(message, tag = "13")]
    Past(PastPart),
    /// Which revision a moment is.
    #[prost(message, tag = "14")]
    Moment(MomentReply),
    /// Which entries had a name.
    #[prost(message, tag = "15")]
    Named(NamedReply),
    /// What of a folder is on each device's disk.
    #[prost(message, tag = "19")]
    Holders(HoldersReply),
    /// Labels and settings of a folder.
    #[prost(message, tag = "16")]
    Labels(LabelsReply),
    /// What retention would release.
    #[prost(message, tag = "17")]
    RetentionPreview(RetentionPreviewReply),
}

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// Asks for the device log of the peer's user.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeviceLogRead {
    /// Number of records that the device has already.
    #[prost(uint64, tag = "1")]
    pub from: u64,
}

/// A run of records.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeviceLogPart {
    /// Number of the first record here.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Signed records, as sent by their authors.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub records: Vec<Vec<u8>>,
}

/// A record for the device log; it names its predecessor itself.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeviceLogAppend {
    /// The signed record.
    #[prost(bytes = "vec", tag = "1")]
    pub record: Vec<u8>,
}

/// The user's sealed keyring.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Keyring {
    /// Version, from 1; 0 with no bytes: there is none yet. A put carries its new version and
    /// succeeds when the stored one is one less.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Sealed and signed [`crate::keys::Keyring`].
    #[prost(bytes = "vec", tag = "2")]
    pub sealed: Vec<u8>,
}

/// A new folder.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FolderCreate {
    /// Signed genesis; the folder's id is its hash.
    #[prost(bytes = "vec", tag = "1")]
    pub genesis: Vec<u8>,
}

/// Some of the user's folders.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FolderListPart {
    /// Folders by id.
    #[prost(message, repeated, tag = "1")]
    pub folders: Vec<FolderState>,
}

/// A folder and its journal's end.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FolderState {
    /// Signed genesis.
    #[prost(bytes = "vec", tag = "1")]
    pub genesis: Vec<u8>,
    /// Life of the journal.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Last revision.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// Head at it.
    #[prost(bytes = "vec", tag = "4")]
    pub head: Vec<u8>,
}

/// Opens an invitation.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InvitationOpen {
    /// Signed device-log record; names the invitation's key, lookup id and expiry.
    #[prost(bytes = "vec", tag = "1")]
    pub record: Vec<u8>,
    /// What the joiner will need, sealed under the one-time secret.
    #[prost(bytes = "vec", tag = "2")]
    pub blob: Vec<u8>,
}

/// A joiner asks what was left for it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InvitationFetch {
    /// Derived from the one-time secret.
    #[prost(bytes = "vec", tag = "1")]
    pub lookup: Vec<u8>,
}

/// What was left for a joiner; the user's device log follows.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InvitationReply {
    /// The sealed blob; empty for a bootstrap invitation, which leaves nothing.
    #[prost(bytes = "vec", tag = "1")]
    pub blob: Vec<u8>,
}

/// A joiner redeems an invitation.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InvitationRedeem {
    /// Derived from the one-time secret.
    #[prost(bytes = "vec", tag = "1")]
    pub lookup: Vec<u8>,
    /// Device: the signed redeeming record. Bootstrap: the signed genesis of a new device log.
    #[prost(bytes = "vec", tag = "2")]
    pub record: Vec<u8>,
}

/// A signed checkpoint.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CheckpointPut {
    /// Encoded and signed [`crate::trust::Checkpoint`].
    #[prost(bytes = "vec", tag = "1")]
    pub checkpoint: Vec<u8>,
}

/// Subscribes to a folder's journal.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Subscribe {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Epoch of the device's cursor.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Groups after this revision are sent.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// A run of journal groups without a gap.
#[derive(Clone, PartialEq, Message)]
pub struct JournalBatch {
    /// Life of the journal. When it is not the subscriber's, `groups` is empty, `lineage` tells how
    /// the epochs branched off, and the stream ends.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Groups in order.
    #[prost(message, repeated, tag = "2")]
    pub groups: Vec<JournalGroup>,
    /// The journal's last revision when this was sent: below it, more follows at once.
    #[prost(uint64, tag = "3")]
    pub last_revision: u64,
    /// How epochs after the subscriber's began.
    #[prost(message, repeated, tag = "4")]
    pub lineage: Vec<EpochStart>,
}

/// How an epoch began: it continues from `revision` and `head` of the one before.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EpochStart {
    /// The new epoch.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Last revision that it kept.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// Head at it.
    #[prost(bytes = "vec", tag = "3")]
    pub head: Vec<u8>,
}

/// An accepted group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct JournalGroup {
    /// Position.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When it was accepted, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// The author's bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub body: Vec<u8>,
    /// The author's signature.
    #[prost(bytes = "vec", tag = "4")]
    pub signature: Vec<u8>,
    /// Epoch in which it was accepted: the chain hashes it.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
}

/// Asks for a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
}

/// A part of a snapshot: the checkpoint in the first, then registers in ascending order of entry,
/// then open conflicts.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotPart {
    /// The newest signed checkpoint; empty when the folder has none, and the journal is to be read
    /// from its start.
    #[prost(bytes = "vec", tag = "1")]
    pub checkpoint: Vec<u8>,
    /// Live registers as of the checkpoint.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<RegistersMessage>,
    /// Conflicts open as of the checkpoint.
    #[prost(message, repeated, tag = "3")]
    pub conflicts: Vec<ConflictMessage>,
    /// Set in the last part.
    #[prost(bool, tag = "4")]
    pub last: bool,
    /// What the folder was set to as of the checkpoint, in the last part.
    #[prost(message, optional, tag = "5")]
    pub settings: Option<StandingSettingsMessage>,
}

/// Asks for versions of an entry.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VersionsRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Which entry.
    #[prost(bytes = "vec", tag = "2")]
    pub entry: Vec<u8>,
    /// Only versions at or before this revision; 0 for all.
    #[prost(uint64, tag = "3")]
    pub at_or_before: u64,
    /// At most so many, and at most [`crate::limits::REPLY_ITEMS_MAX`].
    #[prost(uint32, tag = "4")]
    pub limit: u32,
}

/// Versions, newest first; of deleted entries, in ascending order of entry.
#[derive(Clone, PartialEq, Message)]
pub struct VersionsPart {
    /// Each a revision at which a register of an entry was set.
    #[prost(message, repeated, tag = "1")]
    pub versions: Vec<Version>,
    /// Whether there are more.
    #[prost(bool, tag = "2")]
    pub more: bool,
    /// Of a timeline that has more: at which revision it goes on.
    #[prost(uint64, tag = "3")]
    pub next_revision: u64,
    /// Of a timeline or of deleted entries, when there are more: after which entry they go on.
    #[prost(bytes = "vec", tag = "4")]
    pub next_entry: Vec<u8>,
}

/// A revision at which an entry changed.
#[derive(Clone, PartialEq, Message)]
pub struct Version {
    /// Which revision.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// By which device.
    #[prost(bytes = "vec", tag = "3")]
    pub device: Vec<u8>,
    /// Whether the place register was set.
    #[prost(bool, tag = "4")]
    pub place_changed: bool,
    /// Whether the content register was set.
    #[prost(bool, tag = "5")]
    pub content_changed: bool,
    /// Whether the entry was deleted at this revision; the registers are then its last ones.
    #[prost(bool, tag = "6")]
    pub deleted: bool,
    /// Both registers as of this revision.
    #[prost(message, optional, tag = "7")]
    pub registers: Option<RegistersMessage>,
    /// Where the entry was before, if this revision set its place and it was somewhere.
    #[prost(message, optional, tag = "8")]
    pub before: Option<PlaceBefore>,
    /// Whether a conflict of the entry was settled at this revision.
    #[prost(bool, tag = "9")]
    pub settled: bool,
    /// Whether retention has released the content: only what it was is known.
    #[prost(bool, tag = "10")]
    pub released: bool,
    /// Sealed attributes of the content before, if this revision set the content and that is known.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub attributes_before: Option<Vec<u8>>,
}

/// A place that an entry had.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PlaceBefore {
    /// The directory that held it.
    #[prost(bytes = "vec", tag = "1")]
    pub parent: Vec<u8>,
    /// Its sealed name there.
    #[prost(bytes = "vec", tag = "2")]
    pub name: Vec<u8>,
    /// Whether it was deleted then.
    #[prost(bool, tag = "3")]
    pub deleted: bool,
}

/// Asks for a capability for one folder.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CapabilityRequest {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
}

/// A capability.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CapabilityReply {
    /// Encoded and signed [`crate::trust::Capability`].
    #[prost(bytes = "vec", tag = "1")]
    pub capability: Vec<u8>,
    /// When it expires, in milliseconds since 1970 by the node's clock.
    #[prost(uint64, tag = "2")]
    pub expires_ms: u64,
}

/// Which devices are connected.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PresenceReply {
    /// One for each device that was ever seen.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<DevicePresence>,
}

/// Whether a device is connected.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DevicePresence {
    /// Which device.
    #[prost(bytes = "vec", tag = "1")]
    pub device: Vec<u8>,
    /// Whether it has a connection now.
    #[prost(bool, tag = "2")]
    pub online: bool,
    /// When it last had one, in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub last_seen_ms: u64,
}
