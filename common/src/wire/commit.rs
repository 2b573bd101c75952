//! What a device commits to a folder, and what becomes of it.
//!
//! Owns these messages and the numbers of refusals. It must not know how a group is encoded.

use prost::{Enumeration, Message, Oneof};

/// Begins a commit to one folder.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CommitBegin {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
}

/// A part of a commit; all parts take effect with the end of the stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CommitPart {
    /// Encoded and signed [`crate::trust::ReceiptBatch`]es for what the groups name.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub receipts: Vec<Vec<u8>>,
    /// New manifest pages, as they are stored.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub pages: Vec<Vec<u8>>,
    /// Groups, in the order in which they are judged.
    #[prost(message, repeated, tag = "3")]
    pub groups: Vec<GroupMessage>,
}

/// A signed group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GroupMessage {
    /// As its author encoded it.
    #[prost(bytes = "vec", tag = "1")]
    pub body: Vec<u8>,
    /// Ed25519.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// Asks for outcomes of the peer's own requests.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OutcomesRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Which life of the device's database.
    #[prost(fixed64, tag = "2")]
    pub incarnation: u64,
    /// Which requests.
    #[prost(uint64, repeated, tag = "3")]
    pub counters: Vec<u64>,
}

/// Outcomes in the order asked.
#[derive(Clone, PartialEq, Message)]
pub struct Outcomes {
    /// One for each group.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<Outcome>,
}

/// What became of a group.
#[derive(Clone, PartialEq, Message)]
pub struct Outcome {
    /// One of these; none: the service does not know the request.
    #[prost(oneof = "OutcomeKind", tags = "1,2")]
    pub kind: Option<OutcomeKind>,
}

/// Accepted or not.
#[derive(Clone, PartialEq, Oneof)]
pub enum OutcomeKind {
    /// It is in the journal, durably.
    #[prost(message, tag = "1")]
    Accepted(Accepted),
    /// It had no effect.
    #[prost(message, tag = "2")]
    Rejected(Rejected),
}

/// Where a group stands in the journal.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Accepted {
    /// Its revision.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// Life of the journal.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
}

/// Why a group had no effect, by its first change that could not be made.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Rejected {
    /// What was in the way.
    #[prost(enumeration = "RejectionCode", tag = "1")]
    pub code: i32,
    /// Number of the change in the group, from 0.
    #[prost(uint32, tag = "2")]
    pub change: u32,
    /// The entry that is in the way or stale, if there is one.
    #[prost(bytes = "vec", tag = "3")]
    pub entry: Vec<u8>,
    /// For a person.
    #[prost(string, tag = "4")]
    pub message: String,
    /// The journal's last revision when it was judged: pull at least this far and plan anew.
    #[prost(uint64, tag = "5")]
    pub revision: u64,
}

/// Why a change could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum RejectionCode {
    /// Not said.
    Unspecified = 0,
    /// The place register has moved on.
    StalePlace = 1,
    /// The content register has moved on.
    StaleContent = 2,
    /// Another live entry has the name.
    NameTaken = 3,
    /// The parent is not a live directory.
    NoParent = 4,
    /// The entry would be inside itself.
    Cycle = 5,
    /// A deleted directory would still hold live entries.
    NotEmpty = 6,
    /// No such entry, or not in the state that the change needs.
    NoSuchEntry = 7,
    /// The entry id or conflict id is in use.
    IdTaken = 8,
    /// A chunk or page is named without proof that it is stored.
    MissingChunk = 9,
    /// A receipt is from before the last GC generation but one: prove presence anew.
    StaleReceipt = 10,
    /// A page is malformed, or not what its id says.
    BadPage = 11,
    /// Bytes or counts over the quota.
    Quota = 12,
    /// Written for another epoch of the journal.
    WrongEpoch = 13,
    /// Its `seen` head is not on this journal.
    UnknownHead = 14,
    /// Signed by a device that is not enrolled, or a bad signature.
    BadSignature = 15,
    /// The request id was used with other bytes, or is below the window of kept outcomes.
    RequestId = 16,
    /// The group or a change in it is not valid.
    Malformed = 17,
    /// The conflict is not open.
    NoSuchConflict = 18,
    /// The last content of a deleted entry was released by retention: it comes back with a content.
    ContentReleased = 19,
    /// The moment that a label would name is not in the journal, or was thinned.
    NotWhole = 20,
    /// The folder has no such label.
    NoSuchLabel = 21,
    /// The settings have moved on.
    StaleSettings = 22,
}
