//! Sealed names and attributes, each bound to the entry that it belongs to.
//!
//! Owns what the attributes of an entry are, their encoding (version 1) and the padding that hides
//! lengths. It must not know where an entry is: the name tag binds a name to its parent.

use super::body::{self, Body};
use super::envelope::{self, Binding};
use super::{ObjectType, OpenError};
use crate::archive::MODE_BUNDLE;
use crate::ids::{ContentTag, EntryId, FolderId};
use crate::keys::FolderKeys;
use crate::limits::{
    ATTRIBUTES_BYTES_MAX, FILE_BYTES_MAX, NAME_BYTES_MAX, NAME_PADDING_BYTES,
    SEALED_NAME_BYTES_MAX, SYMLINK_BYTES_MAX,
};
use crate::name::Name;
use crate::revision::Revision;
use prost::Message;

/// What travels of a mode: the nine rwx bits, never setuid or setgid, and whether it is a bundle.
const MODE_MAX: u32 = 0o777 | MODE_BUNDLE as u32;

/// What a content version says beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The nine permission bits, and [`MODE_BUNDLE`] for a bundle; 0 for a symlink.
    pub mode: u16,
    /// Modification time in nanoseconds since 1970; 0 for a directory.
    pub mtime_ns: i64,
    /// Length of the file in bytes; 0 for a directory and a symlink.
    pub size: u64,
    /// Where a symlink points, 1 to [`SYMLINK_BYTES_MAX`] bytes without NUL; else `None`.
    pub target: Option<Vec<u8>>,
    /// The content tag, which the reader compares with the register's.
    pub tag: ContentTag,
    /// The revision that this content was brought back from, if a restore wrote it.
    pub restored: Option<Revision>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributesMessage {
    #[prost(uint32, tag = "1")]
    mode: u32,
    #[prost(sint64, tag = "2")]
    mtime_ns: i64,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(bytes = "vec", optional, tag = "4")]
    target: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "5")]
    tag: Vec<u8>,
    #[prost(uint64, optional, tag = "6")]
    restored: Option<u64>,
}

/// Seals a name for an entry, padded to a multiple of [`NAME_PADDING_BYTES`].
///
/// The result has at most [`SEALED_NAME_BYTES_MAX`] bytes and is the same on all devices.
#[must_use]
pub fn seal_name(keys: &FolderKeys, folder: &FolderId, entry: &EntryId, name: &Name) -> Vec<u8> {
    seal_entry(keys, ObjectType::Name, folder, entry, name.as_str().as_bytes())
}

/// Opens the name of an entry; the caller recomputes the name tag from it.
///
/// # Errors
/// [`OpenError`] when it is not a name that was sealed for this entry of this folder.
pub fn open_name(
    keys: &FolderKeys,
    folder: &FolderId,
    entry: &EntryId,
    sealed: &[u8],
) -> Result<Name, OpenError> {
    let body = open_entry(keys, ObjectType::Name, folder, entry, sealed)?;
    Ok(Name::from_bytes(body.read(NAME_BYTES_MAX)?)?)
}

/// Seals the attributes of an entry, padded to a multiple of [`NAME_PADDING_BYTES`].
///
/// Bits of the mode that do not travel are left out. The result has at most [`ATTRIBUTES_BYTES_MAX`]
/// bytes as long as the target keeps its bound.
#[must_use]
pub fn seal_attributes(
    keys: &FolderKeys,
    folder: &FolderId,
    entry: &EntryId,
    attributes: &Attributes,
) -> Vec<u8> {
    let message = AttributesMessage {
        mode: u32::from(attributes.mode) & MODE_MAX,
        mtime_ns: attributes.mtime_ns,
        size: attributes.size,
        target: attributes.target.clone(),
        tag: attributes.tag.to_vec(),
        restored: attributes.restored,
    };
    seal_entry(keys, ObjectType::Attributes, folder, entry, &message.encode_to_vec())
}

/// Opens the attributes of an entry.
///
/// # Errors
/// [`OpenError`] when they were not sealed for this entry of this folder, or exceed a bound.
pub fn open_attributes(
    keys: &FolderKeys,
    folder: &FolderId,
    entry: &EntryId,
    sealed: &[u8],
) -> Result<Attributes, OpenError> {
    let body = open_entry(keys, ObjectType::Attributes, folder, entry, sealed)?;
    let message = AttributesMessage::decode(body.read(ATTRIBUTES_BYTES_MAX)?)
        .map_err(|_| OpenError::Malformed("the attributes do not decode"))?;
    check_attributes(&message)?;
    Ok(Attributes {
        mode: u16::try_from(message.mode & MODE_MAX).unwrap_or_default(),
        mtime_ns: message.mtime_ns,
        size: message.size,
        tag: ContentTag::from_slice(&message.tag)?,
        target: message.target,
        restored: message.restored,
    })
}

fn check_attributes(message: &AttributesMessage) -> Result<(), OpenError> {
    at_most("mode", message.mode.into(), MODE_MAX.into())?;
    at_most("size", message.size, FILE_BYTES_MAX)?;
    if let Some(target) = &message.target {
        at_most("symlink target", target.len() as u64, SYMLINK_BYTES_MAX as u64)?;
        if target.is_empty() || target.contains(&0) {
            return Err(OpenError::Malformed("the symlink target is empty or contains NUL"));
        }
    }
    Ok(())
}

fn at_most(field: &'static str, actual: u64, limit: u64) -> Result<(), OpenError> {
    if actual > limit { Err(OpenError::TooLarge { field, actual, limit }) } else { Ok(()) }
}

fn seal_entry(
    keys: &FolderKeys,
    object: ObjectType,
    folder: &FolderId,
    entry: &EntryId,
    body: &[u8],
) -> Vec<u8> {
    let (epoch, pair) = keys.current_sealing(object);
    let binding = Binding { object, folder, epoch, bound: entry.as_bytes() };
    let mut hashed = Vec::new();
    let plaintext_at = binding.begin(&mut hashed);
    body::append_raw(&mut hashed, body, NAME_PADDING_BYTES);
    envelope::seal(pair, &binding, &[], &hashed, plaintext_at)
}

/// A decrypted name or attributes, with what was hashed before it.
struct OpenedEntry {
    hashed: Vec<u8>,
    plaintext_at: usize,
}

impl OpenedEntry {
    fn read(&self, body_max: usize) -> Result<&[u8], OpenError> {
        Body::read(&self.hashed[self.plaintext_at..], body_max)?.raw()
    }
}

fn open_entry(
    keys: &FolderKeys,
    object: ObjectType,
    folder: &FolderId,
    entry: &EntryId,
    stored: &[u8],
) -> Result<OpenedEntry, OpenError> {
    let limit =
        if object == ObjectType::Name { SEALED_NAME_BYTES_MAX } else { ATTRIBUTES_BYTES_MAX };
    let (epoch, sealed) = envelope::read_header(object, stored, limit)?;
    let binding = Binding { object, folder, epoch, bound: entry.as_bytes() };
    let mut hashed = Vec::new();
    let plaintext_at = envelope::open(keys, &binding, sealed, &mut hashed)?;
    Ok(OpenedEntry { hashed, plaintext_at })
}
