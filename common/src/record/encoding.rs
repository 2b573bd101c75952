//! Version 1 of the records' bytes: prost messages and their checked conversion to values.
//!
//! Owns field numbers and the checks on what comes from outside. Fields are only ever added; a
//! reader skips those it does not know. It must not know of signatures.

use super::settings::SettingsMessage;
use super::{Change, ConflictRecord, Content, Group, Kind, Place, Registers, Resolution, Root};
use crate::ids::{
    ChunkId, ConflictId, ContentTag, EntryId, IdLengthError, LabelId, NameTag, RequestId,
};
use crate::limits;
use crate::revision::Cursor;
use prost::Message;

/// Bytes that do not decode to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the encoding of this record.
    #[error("the record does not decode: {0}")]
    Malformed(String),
    /// An id of another length.
    #[error(transparent)]
    Id(#[from] IdLengthError),
    /// A required field is not there.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// A number that stands for nothing.
    #[error("{field} is {value}, which stands for nothing")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it said.
        value: u64,
    },
    /// More of something than the limits allow.
    #[error("{field} is {actual}, over the limit of {limit}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// How much there is.
        actual: usize,
        /// How much there may be.
        limit: usize,
    },
}

impl From<prost::DecodeError> for RecordError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Version of the group encoding, its first field.
const GROUP_VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContentMessage {
    #[prost(bytes = "vec", tag = "1")]
    root: Vec<u8>,
    #[prost(uint32, tag = "2")]
    level: u32,
    #[prost(bytes = "vec", tag = "3")]
    tag: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    attributes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceMessage {
    #[prost(bytes = "vec", tag = "1")]
    parent: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    name_tag: Vec<u8>,
}

/// A live entry's registers on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct RegistersMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) entry: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(uint64, tag = "3")]
    pub(super) place_revision: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) place: Option<PlaceMessage>,
    #[prost(uint64, tag = "5")]
    pub(super) content_revision: u64,
    #[prost(message, optional, tag = "6")]
    pub(super) content: Option<ContentMessage>,
}

impl RegistersMessage {
    /// Whether they are those of an entry, by what they say.
    #[must_use]
    pub fn is_of(&self, entry: &EntryId) -> bool {
        self.entry == entry.as_bytes()
    }
}

/// An open conflict on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct ConflictMessage {
    #[prost(bytes = "vec", tag = "1")]
    conflict: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    entry: Vec<u8>,
    #[prost(uint64, optional, tag = "3")]
    base: Option<u64>,
    #[prost(uint64, tag = "4")]
    theirs: u64,
    #[prost(bytes = "vec", tag = "5")]
    copy: Vec<u8>,
    #[prost(uint64, tag = "6")]
    opened: u64,
    #[prost(uint64, tag = "7")]
    time_ms: u64,
    #[prost(bytes = "vec", tag = "8")]
    device: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct CursorMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(bytes = "vec", tag = "3")]
    head: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ChangeMessage {
    #[prost(uint32, tag = "1")]
    what: u32,
    #[prost(bytes = "vec", tag = "2")]
    entry: Vec<u8>,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint64, optional, tag = "4")]
    base: Option<u64>,
    #[prost(uint64, tag = "5")]
    content_base: u64,
    #[prost(message, optional, tag = "6")]
    place: Option<PlaceMessage>,
    #[prost(message, optional, tag = "7")]
    content: Option<ContentMessage>,
    #[prost(bytes = "vec", tag = "8")]
    conflict: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    copy: Vec<u8>,
    #[prost(uint64, tag = "10")]
    theirs: u64,
    #[prost(uint32, tag = "11")]
    resolution: u32,
    #[prost(message, optional, tag = "12")]
    restored: Option<CursorMessage>,
    #[prost(message, optional, tag = "13")]
    highest: Option<CursorMessage>,
    #[prost(bytes = "vec", tag = "14")]
    label: Vec<u8>,
    #[prost(uint64, tag = "15")]
    at: u64,
    #[prost(bytes = "vec", tag = "16")]
    name: Vec<u8>,
    #[prost(message, optional, tag = "17")]
    settings: Option<SettingsMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct GroupMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    folder: Vec<u8>,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(bytes = "vec", tag = "4")]
    user: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    device: Vec<u8>,
    #[prost(fixed64, tag = "6")]
    incarnation: u64,
    #[prost(uint64, tag = "7")]
    counter: u64,
    #[prost(uint64, tag = "8")]
    seen_revision: u64,
    #[prost(bytes = "vec", tag = "9")]
    seen_head: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    device_log_head: Vec<u8>,
    /// Each a [`ChangeMessage`]: decoded once they are counted, as one of two bytes takes hundreds
    /// in memory.
    #[prost(bytes = "vec", repeated, tag = "11")]
    changes: Vec<Vec<u8>>,
}

pub(super) fn content_message(content: &Content) -> ContentMessage {
    ContentMessage {
        root: content.root.map(|root| root.id.to_vec()).unwrap_or_default(),
        level: content.root.map_or(0, |root| u32::from(root.level)),
        tag: content.tag.to_vec(),
        attributes: content.attributes.clone(),
    }
}

pub(super) fn content(message: Option<ContentMessage>) -> Result<Content, RecordError> {
    let message = message.ok_or(RecordError::Missing("content"))?;
    let root = if message.root.is_empty() {
        None
    } else {
        let level = u8::try_from(message.level)
            .ok()
            .filter(|level| *level <= limits::PAGE_LEVEL_MAX)
            .ok_or(RecordError::Unknown { field: "level", value: u64::from(message.level) })?;
        Some(Root { id: ChunkId::from_slice(&message.root)?, level })
    };
    at_most("attributes", message.attributes.len(), limits::ATTRIBUTES_BYTES_MAX)?;
    Ok(Content { root, tag: ContentTag::from_slice(&message.tag)?, attributes: message.attributes })
}

pub(super) fn place_message(place: &Place) -> PlaceMessage {
    PlaceMessage {
        parent: place.parent.to_vec(),
        name: place.name.clone(),
        name_tag: place.name_tag.to_vec(),
    }
}

pub(super) fn place(message: Option<PlaceMessage>) -> Result<Place, RecordError> {
    let message = message.ok_or(RecordError::Missing("place"))?;
    at_most("sealed name", message.name.len(), limits::SEALED_NAME_BYTES_MAX)?;
    Ok(Place {
        parent: EntryId::from_slice(&message.parent)?,
        name: message.name,
        name_tag: NameTag::from_slice(&message.name_tag)?,
    })
}

pub(super) fn at_most(field: &'static str, actual: usize, limit: usize) -> Result<(), RecordError> {
    if actual > limit {
        return Err(RecordError::TooLarge { field, actual, limit });
    }
    Ok(())
}

pub(super) fn kind(code: u32) -> Result<Kind, RecordError> {
    Kind::from_code(code).ok_or(RecordError::Unknown { field: "kind", value: u64::from(code) })
}

fn cursor_message(cursor: &Cursor) -> CursorMessage {
    CursorMessage { epoch: cursor.epoch, revision: cursor.revision, head: cursor.head.to_vec() }
}

fn cursor(message: Option<CursorMessage>, field: &'static str) -> Result<Cursor, RecordError> {
    let message = message.ok_or(RecordError::Missing(field))?;
    Ok(Cursor {
        epoch: message.epoch,
        revision: message.revision,
        head: crate::ids::Head::from_slice(&message.head)?,
    })
}

impl From<&Registers> for RegistersMessage {
    fn from(registers: &Registers) -> Self {
        Self {
            entry: registers.entry.to_vec(),
            kind: registers.kind.code(),
            place_revision: registers.place_revision,
            place: Some(place_message(&registers.place)),
            content_revision: registers.content_revision,
            content: Some(content_message(&registers.content)),
        }
    }
}

impl TryFrom<RegistersMessage> for Registers {
    type Error = RecordError;

    fn try_from(message: RegistersMessage) -> Result<Self, RecordError> {
        Ok(Self {
            entry: EntryId::from_slice(&message.entry)?,
            kind: kind(message.kind)?,
            place_revision: message.place_revision,
            place: place(message.place)?,
            content_revision: message.content_revision,
            content: content(message.content)?,
        })
    }
}

impl From<&ConflictRecord> for ConflictMessage {
    fn from(record: &ConflictRecord) -> Self {
        Self {
            conflict: record.conflict.to_vec(),
            entry: record.entry.to_vec(),
            base: record.base,
            theirs: record.theirs,
            copy: record.copy.to_vec(),
            opened: record.opened,
            time_ms: record.time_ms,
            device: record.device.to_vec(),
        }
    }
}

impl TryFrom<ConflictMessage> for ConflictRecord {
    type Error = RecordError;

    fn try_from(message: ConflictMessage) -> Result<Self, RecordError> {
        Ok(Self {
            conflict: ConflictId::from_slice(&message.conflict)?,
            entry: EntryId::from_slice(&message.entry)?,
            base: message.base,
            theirs: message.theirs,
            copy: EntryId::from_slice(&message.copy)?,
            opened: message.opened,
            time_ms: message.time_ms,
            device: crate::ids::DeviceId::from_slice(&message.device)?,
        })
    }
}

/// The bytes of a place, as the digest hashes them.
pub(super) fn place_bytes(place: &Place) -> Vec<u8> {
    place_message(place).encode_to_vec()
}

/// The bytes of a content, as the digest hashes them.
pub(super) fn content_bytes(content: &Content) -> Vec<u8> {
    content_message(content).encode_to_vec()
}

/// The bytes of one open conflict, as the digest hashes them.
pub(super) fn conflict(record: &ConflictRecord) -> Vec<u8> {
    ConflictMessage::from(record).encode_length_delimited_to_vec()
}

fn change_message(change: &Change) -> ChangeMessage {
    let mut message = ChangeMessage::default();
    match change {
        Change::Create { entry, kind, place, content } => {
            message.what = 1;
            message.entry = entry.to_vec();
            message.kind = kind.code();
            message.place = Some(place_message(place));
            message.content = Some(content_message(content));
        }
        Change::Edit { entry, base, content } => {
            message.what = 2;
            message.entry = entry.to_vec();
            message.base = Some(*base);
            message.content = Some(content_message(content));
        }
        Change::Move { entry, base, place } => {
            message.what = 3;
            message.entry = entry.to_vec();
            message.base = Some(*base);
            message.place = Some(place_message(place));
        }
        Change::Delete { entry, place_base, content_base } => {
            message.what = 4;
            message.entry = entry.to_vec();
            message.base = Some(*place_base);
            message.content_base = *content_base;
        }
        Change::Revive { entry, base, place } => {
            message.what = 5;
            message.entry = entry.to_vec();
            message.base = Some(*base);
            message.place = Some(place_message(place));
        }
        Change::OpenConflict { conflict, entry, base, theirs, copy } => {
            message.what = 6;
            message.conflict = conflict.to_vec();
            message.entry = entry.to_vec();
            message.base = *base;
            message.theirs = *theirs;
            message.copy = copy.to_vec();
        }
        Change::ResolveConflict { conflict, resolution } => {
            message.what = 7;
            message.conflict = conflict.to_vec();
            message.resolution = resolution_code(*resolution);
        }
        Change::ConfirmEpoch { restored, highest } => {
            message.what = 8;
            message.restored = Some(cursor_message(restored));
            message.highest = Some(cursor_message(highest));
        }
        Change::AddLabel { label, at, name } => {
            message.what = 9;
            message.label = label.to_vec();
            message.at = *at;
            message.name.clone_from(name);
        }
        Change::RemoveLabel { label } => {
            message.what = 10;
            message.label = label.to_vec();
        }
        Change::SetSettings { base, settings } => {
            message.what = 11;
            message.base = Some(*base);
            message.settings = Some(SettingsMessage::from(settings));
        }
    }
    message
}

const fn resolution_code(resolution: Resolution) -> u32 {
    match resolution {
        Resolution::KeepOriginal => 1,
        Resolution::KeepCopy => 2,
        Resolution::KeepBoth => 3,
        Resolution::Gone => 4,
        Resolution::Merged => 5,
    }
}

fn resolution(code: u32) -> Result<Resolution, RecordError> {
    match code {
        1 => Ok(Resolution::KeepOriginal),
        2 => Ok(Resolution::KeepCopy),
        3 => Ok(Resolution::KeepBoth),
        4 => Ok(Resolution::Gone),
        5 => Ok(Resolution::Merged),
        _ => Err(RecordError::Unknown { field: "resolution", value: u64::from(code) }),
    }
}

fn change(message: ChangeMessage) -> Result<Change, RecordError> {
    let base = message.base.ok_or(RecordError::Missing("base"));
    let entry = EntryId::from_slice(&message.entry);
    match message.what {
        1 => Ok(Change::Create {
            entry: entry?,
            kind: kind(message.kind)?,
            place: place(message.place)?,
            content: content(message.content)?,
        }),
        2 => Ok(Change::Edit { entry: entry?, base: base?, content: content(message.content)? }),
        3 => Ok(Change::Move { entry: entry?, base: base?, place: place(message.place)? }),
        4 => Ok(Change::Delete {
            entry: entry?,
            place_base: base?,
            content_base: message.content_base,
        }),
        5 => Ok(Change::Revive { entry: entry?, base: base?, place: place(message.place)? }),
        6 => Ok(Change::OpenConflict {
            conflict: ConflictId::from_slice(&message.conflict)?,
            entry: entry?,
            base: message.base,
            theirs: message.theirs,
            copy: EntryId::from_slice(&message.copy)?,
        }),
        7 => Ok(Change::ResolveConflict {
            conflict: ConflictId::from_slice(&message.conflict)?,
            resolution: resolution(message.resolution)?,
        }),
        8 => Ok(Change::ConfirmEpoch {
            restored: cursor(message.restored, "restored")?,
            highest: cursor(message.highest, "highest")?,
        }),
        9 | 10 => label_change(message),
        11 => Ok(Change::SetSettings {
            base: base?,
            settings: message.settings.ok_or(RecordError::Missing("settings"))?.try_into()?,
        }),
        other => Err(RecordError::Unknown { field: "change", value: u64::from(other) }),
    }
}

fn label_change(message: ChangeMessage) -> Result<Change, RecordError> {
    let label = LabelId::from_slice(&message.label)?;
    if message.what == 10 {
        return Ok(Change::RemoveLabel { label });
    }
    at_most("sealed label", message.name.len(), limits::SEALED_LABEL_NAME_BYTES_MAX)?;
    Ok(Change::AddLabel { label, at: message.at, name: message.name })
}

/// Encodes a group; the result is what is signed, hashed, sent and stored.
pub(super) fn encode_group(group: &Group) -> Vec<u8> {
    GroupMessage {
        version: GROUP_VERSION,
        folder: group.folder.to_vec(),
        epoch: group.epoch,
        user: group.user.to_vec(),
        device: group.device.to_vec(),
        incarnation: group.request.incarnation,
        counter: group.request.counter,
        seen_revision: group.seen_revision,
        seen_head: group.seen_head.to_vec(),
        device_log_head: group.device_log_head.to_vec(),
        changes: group.changes.iter().map(|c| change_message(c).encode_to_vec()).collect(),
    }
    .encode_to_vec()
}

/// Decodes a group that came from outside.
pub(super) fn decode_group(bytes: &[u8]) -> Result<Group, RecordError> {
    at_most("group", bytes.len(), limits::GROUP_BYTES_MAX)?;
    let message = GroupMessage::decode(bytes)?;
    if message.version != GROUP_VERSION {
        let value = u64::from(message.version);
        return Err(RecordError::Unknown { field: "group version", value });
    }
    at_most("changes", message.changes.len(), limits::GROUP_CHANGES_MAX)?;
    if message.changes.is_empty() {
        return Err(RecordError::Missing("changes"));
    }
    Ok(Group {
        folder: crate::ids::FolderId::from_slice(&message.folder)?,
        epoch: message.epoch,
        user: crate::ids::UserId::from_slice(&message.user)?,
        device: crate::ids::DeviceId::from_slice(&message.device)?,
        request: RequestId { incarnation: message.incarnation, counter: message.counter },
        seen_revision: message.seen_revision,
        seen_head: crate::ids::Head::from_slice(&message.seen_head)?,
        device_log_head: crate::ids::Head::from_slice(&message.device_log_head)?,
        changes: message
            .changes
            .iter()
            .map(|bytes| change(ChangeMessage::decode(bytes.as_slice())?))
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, FolderId, Head, UserId};

    /// The changes of a group as the messages that they are.
    #[derive(Clone, PartialEq, Message)]
    struct TypedChanges {
        #[prost(message, repeated, tag = "11")]
        changes: Vec<ChangeMessage>,
    }

    fn group() -> Group {
        let entry = EntryId::from_bytes([1; 16]);
        Group {
            folder: FolderId::from_bytes([2; 32]),
            epoch: 1,
            user: UserId::from_bytes([3; 32]),
            device: DeviceId::from_bytes([4; 32]),
            request: RequestId { incarnation: 5, counter: 6 },
            seen_revision: 7,
            seen_head: Head::from_bytes([8; 32]),
            device_log_head: Head::from_bytes([9; 32]),
            changes: vec![
                Change::Delete { entry, place_base: 1, content_base: 2 },
                Change::Delete { entry, place_base: 3, content_base: 0 },
            ],
        }
    }

    #[test]
    fn changes_are_messages_on_the_wire() {
        let bytes = encode_group(&group());
        let changes = group().changes.iter().map(change_message).collect();
        let typed = TypedChanges { changes }.encode_to_vec();
        assert!(bytes.ends_with(&typed));
        assert_eq!(decode_group(&bytes), Ok(group()));
    }

    #[test]
    fn changes_are_counted_before_they_are_decoded() {
        let mut message = GroupMessage::decode(encode_group(&group()).as_slice()).unwrap();
        // No message begins so.
        message.changes = vec![vec![0xff]];
        let refused = |message: &GroupMessage| decode_group(&message.encode_to_vec()).unwrap_err();
        assert!(matches!(refused(&message), RecordError::Malformed(_)));
        message.changes = vec![vec![0xff]; limits::GROUP_CHANGES_MAX + 1];
        assert!(matches!(refused(&message), RecordError::TooLarge { field: "changes", .. }));
    }
}
