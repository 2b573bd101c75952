//! Values that records are made of, and how golden bytes are compared.
//!
//! Every field has a value of its own, and numbers are too large for another integer type, so that
//! a change of a tag, a type or an order shows.

use common::ids::{ChunkId, ConflictId, ContentTag, DeviceId, EntryId, NameTag};
use common::record::{ConflictRecord, Content, Kind, Place, Registers, Root};
use data_encoding::HEXLOWER;

/// Numbers above this one fit in no signed integer and take all bytes of a u64.
pub(crate) const BIG: u64 = 1 << 63;
/// A field that no version has: tag 2000, length-delimited, three bytes.
pub(crate) const UNKNOWN_FIELD: &[u8] = &[0x82, 0x7d, 3, b'n', b'e', b'w'];

/// Compares bytes with what they always were: in hex, or if they are long by length and BLAKE3-256.
pub(crate) fn golden(what: &str, bytes: &[u8], expected: &str) {
    let found = match bytes.len() {
        0..=130 => HEXLOWER.encode(bytes),
        long => format!("{long} {}", blake3::hash(bytes).to_hex()),
    };
    assert_eq!(found, expected, "the bytes of {what} have changed");
}

pub(crate) fn place() -> Place {
    Place {
        parent: EntryId::from_bytes([2; 16]),
        name: vec![3; 9],
        name_tag: NameTag::from_bytes([4; 32]),
    }
}

pub(crate) fn content() -> Content {
    Content {
        root: Some(Root { id: ChunkId::from_bytes([5; 32]), level: 2 }),
        tag: ContentTag::from_bytes([6; 32]),
        attributes: vec![7; 11],
    }
}

pub(crate) fn registers() -> Registers {
    Registers {
        entry: EntryId::from_bytes([8; 16]),
        kind: Kind::Symlink,
        place_revision: BIG + 1,
        place: place(),
        content_revision: BIG + 2,
        content: content(),
    }
}

pub(crate) fn conflict() -> ConflictRecord {
    ConflictRecord {
        conflict: ConflictId::from_bytes([9; 16]),
        entry: EntryId::from_bytes([10; 16]),
        base: Some(BIG + 3),
        theirs: BIG + 4,
        copy: EntryId::from_bytes([11; 16]),
        opened: BIG + 5,
        time_ms: BIG + 6,
        device: DeviceId::from_bytes([12; 32]),
    }
}
