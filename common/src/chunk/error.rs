//! Why a stored object is refused.
//!
//! Owns the errors of opening and of reading what is clear. It must not know who asked.

use super::ObjectType;
use crate::ids::IdLengthError;
use crate::name::NameError;

/// Bytes that are not the object that was asked for, or not one that a device may trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What stands in the clear is wrong.
    #[error(transparent)]
    Clear(#[from] PageError),
    /// Sealed under an epoch that this device has no key of.
    #[error("the object is sealed under epoch {epoch}, of which this device has no key")]
    UnknownEpoch {
        /// The sealing epoch that the object names.
        epoch: u32,
    },
    /// Not sealed with this folder's key as this object of this folder.
    #[error("the object does not authenticate: altered, of another folder or of another entry")]
    Authentication,
    /// It decrypts, but its IV is not that of what it says: it was made to open in two ways.
    #[error("the object does not commit to its content")]
    Commitment,
    /// A codec of a later version, or none.
    #[error("the object uses codec {0}, which this version does not know")]
    UnknownCodec(u8),
    /// The sealed body contradicts its own lengths, or claims more than an object may hold.
    #[error("the sealed {field} is {actual}, over the limit of {limit}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// What it said.
        actual: u64,
        /// What it may say.
        limit: u64,
    },
    /// The sealed body is not laid out as its type is.
    #[error("the sealed body is malformed: {0}")]
    Malformed(&'static str),
    /// The compressed bytes do not decompress to the length that they claim.
    #[error("the object does not decompress to the length that it claims")]
    Decompress,
    /// A sealed name that no folder may hold.
    #[error("the sealed name is no name: {0}")]
    Name(#[from] NameError),
    /// An id of another length.
    #[error(transparent)]
    Id(#[from] IdLengthError),
    /// A page of another level than the one above it says.
    #[error("the page is of level {found}, not {expected}")]
    Level {
        /// The level that was expected.
        expected: u8,
        /// The level that the page says.
        found: u8,
    },
}

impl OpenError {
    /// Whether another copy of the object may open: the bytes are not those of the id.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Clear(PageError::Hash))
    }
}

/// Why the clear part of a stored object is refused, by a server or by a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The bytes do not hash to the id that was asked for.
    #[error("the bytes are not those of the id")]
    Hash,
    /// Fewer bytes than the object needs for what it says.
    #[error("the object is cut short: {actual} bytes of at least {needed}")]
    Truncated {
        /// Bytes that there are.
        actual: usize,
        /// Bytes that there must be.
        needed: usize,
    },
    /// More bytes than any object has.
    #[error("the object has {actual} bytes, over the limit of {limit}")]
    TooLong {
        /// Bytes that there are.
        actual: usize,
        /// Bytes that there may be.
        limit: usize,
    },
    /// Not a sealed object at all.
    #[error("the bytes are not a sealed object")]
    Magic,
    /// A format of a later version.
    #[error("the object is of format version {0}, which this version does not know")]
    UnknownVersion(u8),
    /// An object of another type, or of one that stands for nothing.
    #[error("the object is of type {found}, not {}", .expected.code())]
    Type {
        /// The type that was expected.
        expected: ObjectType,
        /// The number that the object says.
        found: u8,
    },
    /// A page that says it belongs to another folder.
    #[error("the page belongs to another folder")]
    Folder,
    /// A page of level 0 or above [`crate::limits::PAGE_LEVEL_MAX`].
    #[error("the page says level {0}, which no page has")]
    Level(u8),
    /// A page of no entries, or of more than [`crate::limits::PAGE_ENTRIES_MAX`].
    #[error("the page says {0} entries, which no page has")]
    Count(u16),
}
