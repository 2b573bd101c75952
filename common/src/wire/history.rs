//! Metadata requests about what a folder was, and about what devices hold of it.
//!
//! Owns these messages and their numbers. It must not know how a record inside is encoded.

use crate::record::EarlierMessage;
use prost::Message;

/// Asks what a folder was at a revision. Only what was set after it is told, so the asker, who knows a
/// later state, can lay it over that.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PastRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// As of which revision.
    #[prost(uint64, tag = "2")]
    pub at: u64,
    /// The revision that the asker knows; what was set later may be told too.
    #[prost(uint64, tag = "3")]
    pub known: u64,
    /// Only entries after this one, in the server's order; all when empty.
    #[prost(bytes = "vec", tag = "4")]
    pub after: Vec<u8>,
}

/// Part of what a folder was, in an order of the server's. A request is answered by several, which may
/// end before all is told.
#[derive(Clone, PartialEq, Message)]
pub struct PastPart {
    /// Entries of which a register was set since.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<EarlierMessage>,
    /// After which entry it goes on; empty at the end.
    #[prost(bytes = "vec", tag = "2")]
    pub next: Vec<u8>,
}

/// Asks for versions of all entries.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TimelineRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Only versions at or before this revision; 0 for all.
    #[prost(uint64, tag = "2")]
    pub at_or_before: u64,
    /// At most so many, and at most [`crate::limits::REPLY_ITEMS_MAX`].
    #[prost(uint32, tag = "3")]
    pub limit: u32,
    /// Only entries that were in this directory then, at any depth, or are it; all when empty. A
    /// part may then be empty and go on.
    #[prost(bytes = "vec", tag = "4")]
    pub below: Vec<u8>,
    /// Of the revision `at_or_before` only what comes after this entry; all when empty.
    #[prost(bytes = "vec", tag = "5")]
    pub after: Vec<u8>,
}

/// Asks which revision a moment is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MomentRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// A revision; 0 for the last one at or before `time_ms`. Of either the last one at or before it is
    /// told at which the whole folder is still known.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub time_ms: u64,
}

/// A moment of a folder's life.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MomentReply {
    /// Its revision; 0 when it is before the first that is known.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When that was accepted, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// When the first of them was accepted; 0 when there is none.
    #[prost(uint64, tag = "3")]
    pub first_ms: u64,
    /// The folder's last revision.
    #[prost(uint64, tag = "4")]
    pub last_revision: u64,
}

/// Asks which entries ever had a name in a directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NamedRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Which directory.
    #[prost(bytes = "vec", tag = "2")]
    pub parent: Vec<u8>,
    /// Tag of the name there.
    #[prost(bytes = "vec", tag = "3")]
    pub name_tag: Vec<u8>,
}

/// Entries that had a name: live ones first, then those whose place was set last, at most
/// [`crate::limits::NAMED_MAX`].
#[derive(Clone, PartialEq, Message)]
pub struct NamedReply {
    /// Entries.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<NamedEntry>,
}

/// An entry that had a name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NamedEntry {
    /// Which entry.
    #[prost(bytes = "vec", tag = "1")]
    pub entry: Vec<u8>,
    /// What it is: [`crate::record::Kind::code`].
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// Whether it still has that name, or had it when it was deleted.
    #[prost(bool, tag = "3")]
    pub last: bool,
    /// Whether it is deleted.
    #[prost(bool, tag = "4")]
    pub deleted: bool,
    /// The revision that set its place last.
    #[prost(uint64, tag = "5")]
    pub place_revision: u64,
}

/// Asks for entries that are deleted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeletedRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Only entries after this one; all when empty.
    #[prost(bytes = "vec", tag = "2")]
    pub after: Vec<u8>,
}

/// Tells that the device's disk holds a folder as of a revision.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Report {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// As of which revision.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

/// Asks what of a folder is on each device's disk.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HoldersRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
}

/// What of a folder is on the disks of devices, as they have told.
#[derive(Clone, PartialEq, Message)]
pub struct HoldersReply {
    /// Devices that have told it.
    #[prost(message, repeated, tag = "1")]
    pub holders: Vec<Holder>,
}

/// What of a folder is on a device's disk.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Holder {
    /// Which device.
    #[prost(bytes = "vec", tag = "1")]
    pub device: Vec<u8>,
    /// As of which revision.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}
